"""Functions: the eight cognitive functions of a step of a spatial question, those of text, and the names of all."""

from __future__ import annotations

from collections.abc import Iterable

LABELS = "functions"
"""Where the `meta` of a sample lists its functions."""

FUNCTIONS = ("spatial", "relational", "low_level", "high_level", "information", "recall", "math", "decision")
"""Short names, in the order of "Attention in Space" (arXiv 2603.20662): two spatial, two visual, and four others."""

OWN_TITLES = {
    "retrieval": "Retrieval",
    "semantic": "Semantic Understanding",
    "syntactic": "Syntactic Understanding",
    "inference": "Inference",
    "logical": "Logical Reasoning",
    "vision_recall": "Vision Knowledge Recall",
    "language_recall": "Language Knowledge Recall",
}
"""Functions of "Cognitive Mirrors" (text) and of "CogVision" that are none of the eight, and what files call them."""

TITLES = {
    "spatial": "Spatial Perception",
    "relational": "Relational Reasoning",
    "low_level": "Low-level Visual Perception",
    "high_level": "High-level Visual Perception",
    "information": "Information Extraction & Understanding",
    "recall": "Knowledge Recall",
    "math": "Math Reasoning",
    "decision": "Decision-Making",
    **OWN_TITLES,
}
"""The names that the paper gives to the eight, and those of the others."""

SPATIAL = ("spatial", "relational")
"""The functions that the paper calls spatial."""


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Names of functions, each once: the eight first and in their order, then others as they come.

    Example:
        >>> in_order(["logical", "math", "spatial", "math"])
        ('spatial', 'math', 'logical')
    """
    seen = dict.fromkeys(names)
    return (*(name for name in FUNCTIONS if name in seen), *(name for name in seen if name not in FUNCTIONS))
