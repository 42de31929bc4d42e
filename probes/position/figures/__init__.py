"""Figures of what is measured of position: they draw, and measure nothing."""
