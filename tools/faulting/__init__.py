"""Faults injected into real runs: what ends how, what is lost, and whether a resumed run is the undisturbed one."""
