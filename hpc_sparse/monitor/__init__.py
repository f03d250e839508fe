"""What is told of a run and watched in it: metrics, displays, heartbeats, stalls, planned stops."""
