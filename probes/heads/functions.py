"""Functions: the eight cognitive functions of a step of a spatial question, and the names that files give to them."""

from __future__ import annotations

FUNCTIONS = ("spatial", "relational", "low_level", "high_level", "information", "recall", "math", "decision")
"""Short names, in the order of "Attention in Space" (arXiv 2603.20662): two spatial, two visual, and four others."""

TITLES = {
    "spatial": "Spatial Perception",
    "relational": "Relational Reasoning",
    "low_level": "Low-level Visual Perception",
    "high_level": "High-level Visual Perception",
    "information": "Information Extraction & Understanding",
    "recall": "Knowledge Recall",
    "math": "Math Reasoning",
    "decision": "Decision-Making",
}
"""The names that the paper gives to them."""

SPATIAL = ("spatial", "relational")
"""The functions that the paper calls spatial."""
