"""Scorers: one number for each function, layer and head, as `HeadScores`, with its interval and its null."""
