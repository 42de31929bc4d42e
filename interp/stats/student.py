"""Student's t: its quantile, and how often it lies farther out, for whole degrees of freedom."""

from __future__ import annotations

import math
from statistics import NormalDist

_MANY = 1000  # degrees of freedom, above which a series gives Student's quantile to ten digits


def t_quantile(level: float, freedom: int) -> float:
    """What a variable of Student's t lies within on both sides of zero, with a probability of `level`.

    Args:
        level: the probability, between 0 and 1.
        freedom: degrees of freedom, 1 or more.
    """
    if freedom > _MANY:
        z = NormalDist().inv_cdf(0.5 + level / 2)  # Abramowitz 26.7.5, whose next term is of freedom ** -3
        return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    low, high = 0.0, math.pi / 2  # angles whose tangent is t over the root of the degrees of freedom
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def students_factor(level: float, units: int) -> float:
    """By how much Student's quantile, of as many degrees of freedom as units less one, is farther than the normal's.

    Args:
        level: nominal coverage, between 0 and 1.
        units: samples or groups, 2 or more.

    Example:
        >>> round(students_factor(0.95, 20), 3)
        1.068
    """
    return t_quantile(level, units - 1) / NormalDist().inv_cdf(0.5 + level / 2)


def students_tail(t: float, freedom: int) -> float:
    """The probability that a variable of Student's t lies above `t`; NaN of NaN.

    Args:
        t: where.
        freedom: degrees of freedom, 1 or more.

    Example:
        >>> round(students_tail(4.303, 2), 4)
        0.025
    """
    if freedom > _MANY:
        return NormalDist().cdf(-t * (1 - 1 / (4 * freedom)) / math.sqrt(1 + t * t / (2 * freedom)))  # 26.7.8
    beyond = 1 - _within(math.atan(abs(t) / math.sqrt(freedom)), freedom)
    half = max(beyond, 0.0) / 2  # rounding may have left it below 0; NaN stays NaN
    return half if t >= 0 else 1 - half


def t_beyond(value: float, freedom: int) -> float:
    """How often a variable of Student's t lies at least so far from zero, on either side; NaN of NaN.

    Args:
        value: how far; its sign does not matter.
        freedom: degrees of freedom, 1 or more.
    """
    return math.nan if math.isnan(value) else min(1.0, max(0.0, 2 * students_tail(abs(value), freedom)))


def _within(angle: float, freedom: int) -> float:
    """The probability within that angle, by the finite series for whole degrees of freedom (Abramowitz 26.7.3, 4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, cosine if freedom > 1 else 0.0) if odd else (1.0, 1.0)
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if odd else sine * total
