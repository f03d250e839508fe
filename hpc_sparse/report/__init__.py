"""Reports of runs: one self-contained page with pictures and tables, and files for TensorBoard."""
