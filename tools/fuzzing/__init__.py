"""Parts of ``tools/fuzz``: sound files, mutations of them, and trials in processes that may die."""
