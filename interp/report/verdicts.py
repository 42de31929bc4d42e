"""Verdicts of a report: a difference is claimed where its test and its interval agree, and nowhere else."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from numpy.typing import ArrayLike

SIGNIFICANT = 0.05
"""A p below it is called a difference, if the interval agrees."""

NOT_DETECTED = "no difference was detected"
UNCLAIMED = "test and interval do not agree, so nothing is claimed"
NO_INTERVAL = "there is no interval, so nothing is claimed"


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What may be claimed of differences, each [...]; none of the three holds where nothing was detected.

    Attributes:
        above: the p is small, and the whole interval lies above what means no difference.
        below: the same below it.
        unclaimed: one of both finds a difference and the other does not.
    """

    above: Bool[np.ndarray, "*cells"]
    below: Bool[np.ndarray, "*cells"]
    unclaimed: Bool[np.ndarray, "*cells"]

    @property
    def word(self) -> str:
        """Of a single difference: `above`, `below`, `unclaimed` or nothing."""
        return next((name for name in ("above", "below", "unclaimed") if bool(getattr(self, name))), "")


def judge(low: ArrayLike, high: ArrayLike, p: ArrayLike, *, none: float = 0.0, alpha: float = SIGNIFICANT) -> Verdicts:
    """Hold tests and intervals of differences against each other.

    Args:
        low: lower ends, [...]; NaN where there is no interval.
        high: upper ends, [...].
        p: p-values, [...]; NaN where there is no test, of which nothing is said.
        none: what means no difference.
        alpha: a p below it is small.

    Example:
        >>> judge(0.1, 0.3, 0.01).word, judge(0.1, 0.3, 0.74).word, judge(-0.1, 0.3, 0.74).word
        ('above', 'unclaimed', '')
    """
    starts, ends, found = (np.asarray(one, dtype=np.float64) for one in (low, high, p))
    small, over, under = found < alpha, starts > none, ends < none
    known = np.isfinite(found)
    return Verdicts(
        above=np.asarray(small & over),
        below=np.asarray(small & under),
        unclaimed=np.asarray(known & (small != (over | under))),
    )


def undetected(low: float, high: float, *, none: float = 0.0) -> str:
    """The end of a sentence about a difference that has no test: that none was detected where its interval holds none.

    Without an interval, whose ends are then NaN, that nothing is claimed.

    Example:
        >>> undetected(-0.1, 0.3), undetected(0.1, 0.3), undetected(math.nan, math.nan)
        (': no difference was detected', '', ': there is no interval, so nothing is claimed')
    """
    if math.isnan(low) or math.isnan(high):
        return f": {NO_INTERVAL}"
    return f": {NOT_DETECTED}" if low <= none <= high else ""
