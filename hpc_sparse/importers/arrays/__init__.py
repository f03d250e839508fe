"""Arrays of other programs: NumPy, MATLAB, HDF5."""
