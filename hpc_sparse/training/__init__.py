"""A run from its configuration to its summary: the training loop and what it leaves behind."""
