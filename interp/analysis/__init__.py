"""Analysis: one photo and one question."""
