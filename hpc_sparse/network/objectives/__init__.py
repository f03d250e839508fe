"""What is learned from: losses with the output activations that belong to them."""
