"""Samples to ask about: real data sets' readers and synthetic scenes."""

from interp.datasets.questions import paper_prompt, where_in_photo, where_in_relation
from interp.datasets.sample import Object, Sample

__all__ = ["Object", "Sample", "paper_prompt", "where_in_photo", "where_in_relation"]
