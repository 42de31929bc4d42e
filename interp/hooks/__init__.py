"""Hooks: the attention function, query rows, and the points and wiring that make a model's activations readable."""
