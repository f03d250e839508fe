"""Data set files."""
