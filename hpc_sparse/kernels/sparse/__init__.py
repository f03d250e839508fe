"""The passes of sparse layers."""
