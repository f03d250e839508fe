"""Ranks working together: contexts, collectives, the shared index, local SGD. Only this package imports mpi4py."""
