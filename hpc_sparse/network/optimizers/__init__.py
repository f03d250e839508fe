"""Optimisers: how parameters move down their gradients."""
