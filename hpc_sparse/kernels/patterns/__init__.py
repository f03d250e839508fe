"""The passes of connections in groups of inputs."""
