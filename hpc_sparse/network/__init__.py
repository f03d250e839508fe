"""The sparse network itself: topology, layers, losses, optimiser. Knows no MPI and no files."""
