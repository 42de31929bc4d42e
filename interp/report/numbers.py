"""Numbers as people read them: percent, points, decimals, p-values."""

from __future__ import annotations

NOTHING = "–"
"""What stands where there is no number."""


def percent(value: float, low: float | None = None, high: float | None = None) -> str:
    """A share in percent, with its interval where it has one.

    Example:
        >>> percent(0.84, 0.701, 0.923)
        '84.0 [70.1, 92.3]'
    """
    return _ended(value, low, high, "{:.1f}", 100)


def points(value: float, low: float | None = None, high: float | None = None) -> str:
    """A difference in points of percent, with its sign.

    Example:
        >>> points(0.017)
        '+1.7'
    """
    return _ended(value, low, high, "{:+.1f}", 100)


def decimal(value: float, low: float | None = None, high: float | None = None) -> str:
    """A number with two decimals, with its interval where it has one."""
    return _ended(value, low, high, "{:.2f}", 1)


def p_value(value: float) -> str:
    """A p-value with as many digits as mean something.

    Example:
        >>> p_value(0.00001), p_value(0.0312)
        ('<0.0001', '0.031')
    """
    return NOTHING if value != value else "<0.0001" if value < 0.0001 else f"{value:.2g}"


def _ended(value: float, low: float | None, high: float | None, form: str, factor: float) -> str:
    """A number, with its interval if that is known."""
    if value != value:
        return NOTHING
    ends = [form.format(factor * end) for end in (low, high) if end is not None and end == end]
    return form.format(factor * value) + (f" [{', '.join(ends)}]" if len(ends) == 2 else "")
