"""Graphs: nodes with features diffused over their edges become samples.

The method is that of sparse diffusion-convolutional networks: Atwood and Towsley 2016, arXiv 1511.02136; Atwood, Pal,
Towsley and Swami 2017, arXiv 1710.09813.
"""

from hpc_sparse.importers.graphs.diffusion import diffuse

__all__ = ["diffuse"]
