"""Evaluation: what a model answers when heads are removed, patched, strengthened or steered, beside its controls."""
