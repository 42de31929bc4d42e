"""Figures of where places are computed: they draw, and measure nothing."""
