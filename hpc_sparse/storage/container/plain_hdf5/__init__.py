"""Whether a file is made of nothing but the plain HDF5 that containers are written in.

HDF5 can do much that a container never needs: links into other files, arrays whose bytes are elsewhere, filters,
objects of every kind. And its C library trusts a file whose checksums are right: it follows wrong addresses and sizes
until the process crashes. So before the library opens a file, :func:`check_plain` has read all of its structure,
in Python, by the HDF5 File Format Specification 3.0, and let through only this:

- one superblock of version 3, groups with hard links, and arrays, each linked once;
- arrays of integers, floats and fixed-length text, contiguous, of just the bytes that their shape needs;
- attributes that are one such element;
- every block within the file, none over another one. So no structure runs in circles, and nothing that is read can
  take more memory than the file has bytes.
"""

from hpc_sparse.storage.container.plain_hdf5.objects import check_plain

__all__ = ["check_plain"]
