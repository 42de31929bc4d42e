"""Figures of where places are computed: they draw, and measure nothing."""

"""Figures of what is measured of mechanisms: they draw, and measure nothing."""
