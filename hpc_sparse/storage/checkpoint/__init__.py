"""Checkpoints of runs."""
