"""Numbers as people read them: percent, points, decimals, p-values, counts of things; no minus sign before nothing."""

from __future__ import annotations

import math

NOTHING = "–"
"""What stands where there is no number."""


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share in percent, with its interval where it has one.

    Example:
        >>> percent(0.84, 0.701, 0.923)
        '84.0 [70.1, 92.3]'
    """
    return _ended(value, low, high, "{:z.1f}", 100)


def share(value: float, low: float, high: float) -> str:
    """A share in percent with its interval, as it stands in a sentence.

    Example:
        >>> share(0.84, 0.701, 0.923)
        '84.0 % [70.1, 92.3]'
    """
    return _ended(value, low, high, "{:z.1f}", 100, unit=" %")


def points(value: float, low: float | None = None, high: float | None = None) -> str:
    """A difference in points of percent, with its sign.

    Example:
        >>> points(0.017)
        '+1.7'
    """
    return _ended(value, low, high, "{:+z.1f}", 100)


def decimal(
    value: float, low: float | None = None, high: float | None = None, *, digits: int = 2, signed: bool = False
) -> str:
    """A number with its interval where it has one.

    Example:
        >>> decimal(0.5, 0.25, 0.75), decimal(0.1, digits=3, signed=True)
        ('0.50 [0.25, 0.75]', '+0.100')
    """
    return _ended(value, low, high, f"{{:{'+' if signed else ''}z.{digits}f}}", 1)


def significant(
    value: float, low: float | None = None, high: float | None = None, *, digits: int = 3, signed: bool = False
) -> str:
    """A number of any size with so many digits that mean something, its interval to the same place.

    Example:
        >>> significant(0.0072617, 0.0069, 0.0075), significant(52.478, digits=2)
        ('0.00726 [0.00690, 0.00750]', '52')
    """
    if not math.isfinite(value):
        return NOTHING
    ends = [end for end in (low, high) if end is not None and math.isfinite(end)]
    most = max(abs(part) for part in (value, *ends))
    places = max(0, digits - 1 - math.floor(math.log10(most))) if most else 0
    return decimal(value, low, high, digits=places, signed=signed)


def p_value(value: float) -> str:
    """A p-value with as many digits as mean something.

    Example:
        >>> p_value(0.00001), p_value(0.0312)
        ('<0.0001', '0.031')
    """
    return NOTHING if value != value else "<0.0001" if value < 0.0001 else f"{value:.2g}"


def p_said(value: float, sign: str = "=") -> str:
    """A p-value as it stands in a sentence.

    Example:
        >>> p_said(0.0312), p_said(0.00001), p_said(0.0312, "≤")
        ('p = 0.031', 'p < 0.0001', 'p ≤ 0.031')
    """
    words = p_value(value)
    return f"p < {words[1:]}" if words[0] == "<" else f"p {words}" if words == NOTHING else f"p {sign} {words}"


def counted(count: int, noun: str) -> str:
    """So many things, with the noun's plural where they are not one.

    Example:
        >>> counted(1, "seed"), counted(3, "seed")
        ('1 seed', '3 seeds')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def agree(count: int, one: str, several: str) -> str:
    """The form of a verb that goes with a count.

    Example:
        >>> f"1 of 4 items {agree(1, 'is', 'are')} left out"
        '1 of 4 items is left out'
    """
    return one if count == 1 else several


def _ended(value: float, low: float | None, high: float | None, form: str, factor: float, *, unit: str = "") -> str:
    """A number, with its interval if both ends are known."""
    if not math.isfinite(value):
        return NOTHING
    ends = [form.format(factor * end) for end in (low, high) if end is not None and math.isfinite(end)]
    return form.format(factor * value) + unit + (f" [{', '.join(ends)}]" if len(ends) == 2 else "")
