"""Numbers as people read them: percent, points, decimals, p-values, counts of things; no minus sign before nothing.

Of an estimate the interval stands in brackets, `0.61 [0.52, 0.70]`; in a sentence it names its level,
`0.61 [95 % CI 0.52, 0.70]`. The range of a null has neither: `0.50 (0.45 to 0.55)`.
"""

from __future__ import annotations

import math

from interp.numeric import percentage

NOTHING = "–"
"""What stands where there is no number."""


def percent(
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    level: float | None = None,
    digits: int = 1,
) -> str:
    """A share in percent, with its interval where it has one, and the interval's level where it is given.

    Only all are 100 and only none are 0, see `percentage`; the ends of an interval are rounded.

    Example:
        >>> percent(0.84, 0.701, 0.923), percent(0.9997)
        ('84.0 [70.1, 92.3]', '>99.9')
    """
    return _ended(value, low, high, f"{{:z.{digits}f}}", 100, level=level, told=percentage(value, digits))


def share(value: float, low: float, high: float, *, level: float | None = None, signed: bool = False) -> str:
    """A share in percent with its interval, as it stands in a sentence; with a sign, a change relative to something.

    Example:
        >>> share(0.84, 0.701, 0.923, level=0.95)
        '84.0 % [95 % CI 70.1, 92.3]'
    """
    form = "{:+z.1f}" if signed else "{:z.1f}"
    return _ended(value, low, high, form, 100, unit=" %", level=level, told="" if signed else percentage(value))


def points(value: float, low: float | None = None, high: float | None = None, *, level: float | None = None) -> str:
    """A difference in points of percent, with its sign; in a sentence, where the level is given, with its unit.

    Example:
        >>> points(0.017), points(0.017, 0.002, 0.032, level=0.95)
        ('+1.7', '+1.7 points [95 % CI +0.2, +3.2]')
    """
    return _ended(value, low, high, "{:+z.1f}", 100, unit="" if level is None else " points", level=level)


def decimal(
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    digits: int = 2,
    signed: bool = False,
    level: float | None = None,
) -> str:
    """A number with its interval where it has one.

    Example:
        >>> decimal(0.5, 0.25, 0.75), decimal(0.1, digits=3, signed=True)
        ('0.50 [0.25, 0.75]', '+0.100')
    """
    return _ended(value, low, high, f"{{:{'+' if signed else ''}z.{digits}f}}", 1, level=level)


def significant(
    value: float,
    low: float | None = None,
    high: float | None = None,
    *,
    digits: int = 3,
    signed: bool = False,
    level: float | None = None,
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
    return decimal(value, low, high, digits=places, signed=signed, level=level)


def ranged(mean: float, low: float, high: float, *, digits: int = 2, factor: float = 1, of: str = "") -> str:
    """What a null gives: its mean, and from where to where it goes, which is no interval of an estimate.

    `of` tells how much of it lies there.

    Example:
        >>> ranged(0.5, 0.45, 0.55, of="95 %")
        '0.50 (95 % 0.45 to 0.55)'
    """
    form = f"{{:z.{digits}f}}"
    if not math.isfinite(mean):
        return NOTHING
    ends = [form.format(factor * end) for end in (low, high) if math.isfinite(end)]
    return form.format(factor * mean) + (f" ({of and f'{of} '}{' to '.join(ends)})" if len(ends) == 2 else "")


def p_value(value: float) -> str:
    """A p-value with as many digits as mean something.

    Example:
        >>> p_value(0.00001), p_value(0.0312)
        ('<0.0001', '0.031')
    """
    return NOTHING if value != value else "<0.0001" if value < 0.0001 else f"{value:.2g}"


def p_said(value: float, sign: str = "=", *, test: str = "") -> str:
    """A p-value as it stands in a sentence, with the test that gave it, and what it is corrected for.

    Where there is none, no test is named.

    Example:
        >>> p_said(0.0312), p_said(0.00001, test="McNemar's exact test"), p_said(0.0312, "≤")
        ('p = 0.031', "p < 0.0001, McNemar's exact test", 'p ≤ 0.031')
    """
    words, by = p_value(value), f", {test}" if test else ""
    if words == NOTHING:
        return f"p {NOTHING}"
    return f"p < {words[1:]}{by}" if words[0] == "<" else f"p {sign} {words}{by}"


def counted(count: int, noun: str, plural: str = "") -> str:
    """So many things, with the noun's plural, by default with an s, where they are not one.

    Example:
        >>> counted(1, "seed"), counted(3, "seed"), counted(2, "policy", "policies")
        ('1 seed', '3 seeds', '2 policies')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def agree(count: int, one: str, several: str) -> str:
    """The form of a verb that goes with a count.

    Example:
        >>> f"1 of 4 items {agree(1, 'is', 'are')} left out"
        '1 of 4 items is left out'
    """
    return one if count == 1 else several


def _ended(
    value: float,
    low: float | None,
    high: float | None,
    form: str,
    factor: float,
    *,
    unit: str = "",
    level: float | None = None,
    told: str = "",
) -> str:
    """A number, as it is told or by its form, with its interval if both ends are known, and the level of that."""
    if not math.isfinite(value):
        return NOTHING
    ends = [form.format(factor * float(end)) for end in (low, high) if end is not None and math.isfinite(end)]
    named = "" if level is None else f"{100 * level:g} % CI "
    return (
        (told or form.format(factor * float(value))) + unit + (f" [{named}{', '.join(ends)}]" if len(ends) == 2 else "")
    )
