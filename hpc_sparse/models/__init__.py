"""Trained networks as files: stored, merged, pruned, described."""
