"""Plan of a run: its memory, disk space, messages and time."""
