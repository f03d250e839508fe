"""What a run will need, told beforehand: memory, disk, messages and time."""
