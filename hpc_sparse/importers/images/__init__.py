"""Published sets of images."""
