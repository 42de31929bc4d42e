"""Numbers as people read them: percent, points, decimals, p-values, counts of things; no minus sign before nothing.

Of an estimate the interval stands in brackets, `0.61 [0.52, 0.70]`; in a sentence it names its level,
`0.61 [95 % CI 0.52, 0.70]`. The range of a null has neither: `0.50 (0.45 to 0.55)`.

Numbers have the digits that are asked for, and more where both ends of an interval would else read as one number, or
the end of a signed one as 0 that is not: rounding takes no interval its width, nor a difference its sign, but where an
end is a thousandth of the last digit or less.
"""

from __future__ import annotations

import math

from interp.numeric import named_level, percentage
from interp.report.verdicts import SIGNIFICANT

_ROUNDING = 1e-12  # what is left of rounding: ends as near as this are one number
_MORE = 3  # digits that are added before a small number stands as 3.0e-09

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
        >>> percent(0.84, 0.701, 0.923), percent(0.9997), percent(0.9997, 0.9996, 0.9998)
        ('84.0 [70.1, 92.3]', '>99.9', '99.97 [99.96, 99.98]')
    """
    return _ended(_texts(value, low, high, digits, factor=100, whole=True), level=level)


def share(value: float, low: float, high: float, *, level: float | None = None, signed: bool = False) -> str:
    """A share in percent with its interval, as it stands in a sentence; with a sign, a change relative to something.

    Example:
        >>> share(0.84, 0.701, 0.923, level=0.95)
        '84.0 % [95 % CI 70.1, 92.3]'
    """
    return _ended(_texts(value, low, high, 1, factor=100, signed=signed, whole=not signed), unit=" %", level=level)


def points(value: float, low: float | None = None, high: float | None = None, *, level: float | None = None) -> str:
    """A difference in points of percent, with its sign; in a sentence, where the level is given, with its unit.

    Example:
        >>> points(0.017), points(0.017, 0.002, 0.032, level=0.95)
        ('+1.7', '+1.7 points [95 % CI +0.2, +3.2]')
        >>> points(0.017, 0.0003, 0.032), points(0.017, 0.0, 0.032)
        ('+1.70 [+0.03, +3.20]', '+1.7 [+0.0, +3.2]')
    """
    return _ended(
        _texts(value, low, high, 1, factor=100, signed=True), unit="" if level is None else " points", level=level
    )


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
        >>> decimal(0.9993, 0.9991, 0.9996), decimal(3e-9, 1e-9, 5e-9), decimal(0.0, 0.0, 0.0)
        ('0.9993 [0.9991, 0.9996]', '3.0e-09 [1.0e-09, 5.0e-09]', '0.00 [0.00, 0.00]')
    """
    return _ended(_texts(value, low, high, digits, signed=signed), level=level)


def probability(
    value: float, low: float | None = None, high: float | None = None, *, level: float | None = None
) -> str:
    """A probability, or a mean of some, with its interval where it has one: only 1 reads as 1, and only 0 as 0.

    Example:
        >>> probability(0.9997, 0.98, 1.0), probability(1.0)
        ('>0.99 [0.98, 1.00]', '1.00')
    """
    return _ended(_texts(value, low, high, 2, whole=True), level=level)


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


def ranged(
    mean: float,
    low: float,
    high: float,
    *,
    digits: int = 2,
    factor: float = 1,
    of: str = "",
    unit: str = "",
    whole: bool = False,
) -> str:
    """What a null gives: its mean, and from where to where it goes, which is no interval of an estimate.

    Such an interval stands so only for readers who know no brackets, and is then named.

    Args:
        mean: its mean.
        low: where it begins; without both ends the mean stands alone.
        high: where it ends.
        digits: decimals.
        factor: what all are multiplied by.
        of: how much of it lies there, or what it is.
        unit: what stands behind each number.
        whole: whether it is a share, of which only all are 100 and only none are 0.

    Example:
        >>> ranged(0.5, 0.45, 0.55, of="95 %"), ranged(0.5, 0.4, 0.6, digits=0, factor=100, unit=" %")
        ('0.50 (95 % 0.45 to 0.55)', '50 % (40 % to 60 %)')
    """
    texts = _texts(mean, low, high, digits, factor=factor, whole=whole)
    if not texts:
        return NOTHING
    number, *ends = (f"{text}{unit}" for text in texts)
    return number + (f" ({of and f'{of} '}{' to '.join(ends)})" if ends else "")


def p_value(value: float) -> str:
    """A p-value with as many digits as mean something; up to six where it would else read as 0.05 or as 1 and is not.

    Example:
        >>> p_value(0.00001), p_value(0.0312), p_value(0.0497), p_value(0.05)
        ('<0.0001', '0.031', '0.0497', '0.05')
    """
    if value != value:
        return NOTHING
    told = [f"{value:.{digits}g}" for digits in (2, 3, 4, 5, 6)]
    apart = (text for text in told if float(text) not in (SIGNIFICANT, 1.0))
    return "<0.0001" if value < 0.0001 else next(apart, told[0])


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


def _ended(texts: list[str], *, unit: str = "", level: float | None = None) -> str:
    """A number with its unit and, if both ends are there, its interval and the level of that."""
    if not texts:
        return NOTHING
    number, *ends = texts
    named = "" if level is None else f"{named_level(level)} CI "
    return number + unit + (f" [{named}{', '.join(ends)}]" if ends else "")


def _texts(
    value: float,
    low: float | None,
    high: float | None,
    digits: int,
    *,
    factor: float = 1,
    signed: bool = False,
    whole: bool = False,
) -> list[str]:
    """A number and both ends, if these are known, with as many digits as tell the ends apart; nothing of no number.

    Args:
        value: the number.
        low: its lower end.
        high: its upper end.
        digits: decimals, at least.
        factor: what all are multiplied by.
        signed: whether each has its sign, so that an end that is not 0 has to be seen not to be.
        whole: whether it is a share of something, see `percentage`.
    """
    if not math.isfinite(value):
        return []
    ends = [factor * float(end) for end in (low, high) if end is not None and math.isfinite(end)]
    ends, sign = ends if len(ends) == 2 else [], "+" if signed else ""
    places, kind = _places(ends, digits, sign)
    form = f"{{:{sign}z.{places}{kind}}}"
    said = percentage(value, places, of=factor) if whole and kind == "f" else form.format(factor * float(value))
    return [said, *map(form.format, ends)]


def _places(ends: list[float], digits: int, sign: str) -> tuple[int, str]:
    """How many decimals tell two ends apart, and if signed from 0, and their format: fixed, or `e` of small ones."""
    width, most = (abs(ends[1] - ends[0]), max(map(abs, ends))) if ends else (0.0, 0.0)
    least = 10.0 ** -(digits + _MORE)
    if width <= _ROUNDING * max(1.0, most):
        return digits, "f"
    if most < least:
        return max(1, _place(width) - _place(most)), "e"
    texts = [f"{end:{sign}z.{digits}f}" for end in ends]
    hidden = [abs(end) for end, text in zip(ends, texts, strict=True) if sign and not float(text) and abs(end) >= least]
    hidden += [width] if texts[0] == texts[1] else []
    return max([digits, *map(_place, hidden)]), "f"


def _place(size: float) -> int:
    """At which decimal the first digit of a number above 0 stands."""
    return -math.floor(math.log10(size))
