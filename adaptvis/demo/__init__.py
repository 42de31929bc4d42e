"""The demo: what it asks and measures, its figures, and its words."""
