"""Data sets and checkpoints in HDF5, written and read by any number of ranks. Only this package imports h5py."""
