"""Spatial IDs: what words of objects carry of a place, and what happens when it is changed."""
