"""Elbow: where the sorted sizes of scores bend, the point of their curve that lies farthest from its chord."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

STRAIGHT = 1e-9
"""A curve that lies off its chord by less than this part of its range, or by rounding, is straight: it has no elbow."""


def elbow(values: Float[np.ndarray, " *axes"]) -> int:
    """How many values stand before the elbow of their sizes: the point farthest from the chord, itself not counted.

    Sizes are sorted from the largest; the chord joins the first and the last. On a straight line there is none: 0.

    Example:
        >>> elbow(np.array([10, 8, 2, 1, 0.5, 0.25, 0.1, 0]))
        2
    """
    sizes = -np.sort(-np.abs(values[~np.isnan(values)].ravel().astype(np.float64)))
    if len(sizes) < 3:
        return 0
    gap = np.abs(sizes - np.linspace(sizes[0], sizes[-1], len(sizes)))
    rounding = 2 * np.finfo(values.dtype).eps * sizes[0] if values.dtype.kind == "f" else 0.0
    return 0 if gap.max() <= max(STRAIGHT * (sizes[0] - sizes[-1]), rounding) else int(gap.argmax())
