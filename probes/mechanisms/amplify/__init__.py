"""Image tokens made larger along directions of a probe."""
