"""Connections of layers: which there are, their weights, and the products with them."""
