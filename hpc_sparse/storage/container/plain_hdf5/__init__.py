"""Check that a file contains only the plain HDF5 in which containers are written.

HDF5 has many features that a container never needs: links into other files, external arrays, filters, objects of every
kind. Its C library trusts a file whose checksums are right: it follows wrong addresses and sizes until the process
crashes. Before the library opens a file, :func:`check_plain` therefore reads all of its structure in Python, by the
HDF5 File Format Specification 3.0. It accepts only:

- one superblock of version 3, groups with hard links, and arrays, each linked once;
- arrays of integers, floats and fixed-length text, contiguous, of just the bytes that their shape needs;
- attributes that are one such element;
- every block within the file, none over another one. So no structure runs in circles, and nothing that is read can
  take more memory than the file has bytes.
"""

from hpc_sparse.storage.container.plain_hdf5.objects import check_plain

__all__ = ["check_plain"]
