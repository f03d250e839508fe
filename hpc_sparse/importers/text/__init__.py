"""Text formats of sparse samples."""
