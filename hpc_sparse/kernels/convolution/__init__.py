"""Kernels of convolutional layers: products with taps, gradients of taps, sampling, means over all places."""
