"""Layers of networks, one file per kind."""
