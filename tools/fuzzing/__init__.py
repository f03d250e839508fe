"""What ``tools/fuzz`` is made of: sound files, ways to spoil them, and trials in processes that may die."""
