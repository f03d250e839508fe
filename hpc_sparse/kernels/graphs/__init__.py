"""Kernels that build the rows of a graph from its edges."""
