"""Planted models: weights set by hand, so that what each head does is known."""
