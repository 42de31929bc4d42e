"""Figures of what is measured of mechanisms: they draw, and measure nothing."""
