"""The command line: the only place that starts MPI and ends the process."""
