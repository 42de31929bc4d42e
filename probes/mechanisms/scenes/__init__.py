"""Scenes and pairs that tools ask about, their words, and which pairs are answered right both times."""
