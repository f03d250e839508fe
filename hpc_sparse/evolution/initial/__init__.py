"""Initial topologies that depend on the data."""
