"""Building and changing connectivity, and scoring positions without connections."""
