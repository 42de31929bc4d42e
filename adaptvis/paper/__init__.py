"""The paper: its numbers, its settings, and its split."""
