"""Picked: an interval for the one of several statistics that stood out, which holds for all of them together."""

from __future__ import annotations

import math
from dataclasses import replace

from interp.errors import InputError
from interp.stats.draws import check_draws
from interp.stats.intervals import FEWEST, FREE, Interval
from interp.stats.student import t_quantile


def level_of_each(level: float, count: int) -> float:
    """The level of each of so many intervals that all hold together at `level`, however they go together (Dunn 1961).

    By Bonferroni's inequality: 1 - (1 - level) / count.

    Args:
        level: how often all of them are to hold.
        count: how many they are, 1 or more.

    Example:
        >>> round(level_of_each(0.95, 10), 6)
        0.995

    Raises:
        InputError: there is no interval, or no such level.
    """
    check_draws(1, level)
    if count < 1:
        raise InputError(f"an interval of one of {count} statistics is not one: give how many it was picked from")
    return 1 - (1 - level) / count


def for_all(found: Interval, count: int, *, units: int, bounds: tuple[float, float] = FREE) -> Interval:
    """The interval of one of `count` statistics, widened so that those of all of them hold together.

    The largest of several estimates was picked for what chance adds to it, so that its own interval holds the truth
    less often than it says. Intervals of `level_of_each` hold all at once at least as often as `level` says, and so
    does the one that is picked. Each end is moved away from the estimate as Student's quantile asks for, of units - 1
    degrees of freedom; that is near the interval of that level for means, and less wide where samples are all alike.

    Args:
        found: its own interval; numbers.
        count: out of how many it was picked.
        units: samples, or groups, that were drawn.
        bounds: the least and the most that the statistic can be; the ends do not leave them.

    Returns:
        The interval; its level is that of all of them together. Without ends, or with fewer than `FEWEST` units, its
        ends are NaN.

    Example:
        >>> found = for_all(Interval(0.5, 0.4, 0.6), 10, units=30)
        >>> round(found.low, 3), round(found.high, 3)
        (0.351, 0.649)

    Raises:
        InputError: it was picked out of none, or its level is no level.
    """
    each = level_of_each(found.level, count)
    if units < FEWEST:
        return replace(found, low=math.nan, high=math.nan)
    wider = t_quantile(each, units - 1) / t_quantile(found.level, units - 1)
    low, high = (found.estimate + wider * (end - found.estimate) for end in (found.low, found.high))
    return replace(found, low=max(low, bounds[0]), high=min(high, bounds[1]))
