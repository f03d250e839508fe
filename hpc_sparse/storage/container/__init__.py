"""One HDF5 container: structure, back ends, checksums. Only storage and importers touch h5py."""
