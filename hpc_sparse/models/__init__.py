"""Trained networks as files: stored, merged, pruned, looked at."""
