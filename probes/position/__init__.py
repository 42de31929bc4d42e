"""Position: is order used, and what goes against it."""
