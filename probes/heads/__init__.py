"""Functional heads: found by several scorers, counted, removed and strengthened, with controls that could say no."""
