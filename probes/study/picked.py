"""Picked rows: what stands out in a table, its interval that of all rows that it was picked from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from interp.stats.intervals import FREE, Interval
from interp.stats.picked import for_all

if TYPE_CHECKING:
    import pandas as pd


def picked_ends(
    row: pd.Series | Any, count: int, level: float, *, bounds: tuple[float, float] = FREE, units: str = "groups"
) -> tuple[float, float, float]:
    """The value of a row that stands out, and the ends of its interval, so that those of all rows hold together.

    Args:
        row: it has `value`, `low`, `high`, and of how many units these are.
        count: how many rows it was picked from.
        level: nominal coverage of the interval.
        bounds: the least and the most that the value can be.
        units: the name of what says how many were drawn.
    """
    value, low, high = (float(row[name]) for name in ("value", "low", "high"))
    found = for_all(Interval(value, low, high, level), count, units=int(row[units]), bounds=bounds)
    return found.estimate, found.low, found.high


def together(count: int, low: float, before: str = "; ") -> str:
    """What is said of one that was picked from so many, and of its interval; nothing where there was no choice.

    Args:
        count: from how many.
        low: the lower end of its interval, NaN where it has none.
        before: what stands before it.

    Example:
        >>> together(7, 0.2), together(1, 0.2)
        ('; picked after the fact, its interval one for all 7 together', '')
        >>> together(7, math.nan)
        '; picked after the fact'
    """
    if count < 2:
        return ""
    return f"{before}picked after the fact" + (
        "" if math.isnan(low) else f", its interval one for all {count} together"
    )
