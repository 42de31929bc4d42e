"""Answers: was it right, and is the difference real."""
