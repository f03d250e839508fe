"""Monitoring of a run: metrics, displays, heartbeats, stalls, planned stops."""
