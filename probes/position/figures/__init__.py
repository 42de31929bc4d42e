"""Figures of the position probes: they draw, and compute nothing."""
