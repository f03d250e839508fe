"""Kernels of block-sparse connections: blocks of r x c weights, whose sums stay in vector registers."""
