"""Repeated runs: variants of a configuration over seeds or folds, and tables of their results."""
