"""Comparing topologies."""
