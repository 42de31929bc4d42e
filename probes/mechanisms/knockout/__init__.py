"""Edges of attention cut, window by window."""
