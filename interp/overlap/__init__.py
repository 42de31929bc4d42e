"""Overlap: does attention lie where the objects are."""
