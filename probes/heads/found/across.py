"""Across functions and scorers: in how few heads functions lie, and how far scorers agree, as far as can be told."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from probes.heads.selection.agreement import scorer_agreement
from probes.heads.selection.layout import HeadLayout, head_layout

if TYPE_CHECKING:
    import pandas as pd

    from probes.heads.scores import HeadScores


def layouts(
    scores: Mapping[str, HeadScores], drawing: dict[str, Any], untold: list[dict[str, str]]
) -> dict[str, HeadLayout]:
    """How few heads each function lies in, of every scorer that has a number of every head."""
    found = {}
    for name, own in scores.items():
        try:
            found[name] = head_layout(own, sizes=_sizes(own), top_k=_top(own), **drawing)
        except InputError as error:
            untold.append({"table": "layout", "scorer": name, "function": "all", "why": str(error)})
    return found


def agreement(
    scores: Mapping[str, HeadScores], rule: str, how: dict[str, Any], untold: list[dict[str, str]]
) -> pd.DataFrame | None:
    """How far scorers agree, of every pair that has a function in common."""
    import pandas as pd

    found = []
    for one, other in combinations(scores, 2):
        try:
            found.append(scorer_agreement([scores[one], scores[other]], rule, **how).table)
        except InputError as error:
            pair = {"scorer": f"{one}, {other}", "function": "all"}
            untold.append({"table": "agreement", **pair, "why": str(error)})
    return pd.concat(found, ignore_index=True) if found else None


def _sizes(scores: HeadScores) -> str:
    """Importances are measured by their size, all else above what chance gives."""
    return "absolute" if scores.scorer == "joint_network" or scores.null is None else "above_null"


def _top(scores: HeadScores) -> int:
    """Of how many heads `top_mass` is: ten, or all where there are fewer."""
    return min(10, scores.values[0].size)
