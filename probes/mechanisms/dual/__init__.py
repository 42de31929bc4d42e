"""The question of the paper, answered in one call."""
