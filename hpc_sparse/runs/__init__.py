"""One run's life: its plan, its folder, where it starts, and what is checked before it loads anything."""
