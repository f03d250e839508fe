"""Evolution strategies, one file each."""
