"""Synthetic scenes: coloured shapes, drawn on the spot."""
