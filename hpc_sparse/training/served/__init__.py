"""WASAP-SGD and WASSP-SGD: a server, its workers, and the two phases."""
