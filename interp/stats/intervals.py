"""Intervals: Wilson's, and those of the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from einops import reduce
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.reprs import fits_a_cell

DRAWS = 2000
"""How often every bootstrap draws where nothing else is asked for."""


@fits_a_cell("estimate low high")
@dataclass(frozen=True, eq=False)
class Interval:
    """An estimate with its interval; numbers, or arrays where the statistic gave an array.

    Attributes:
        estimate: the statistic of the data.
        low: lower end.
        high: upper end.
        level: nominal coverage.
        draws: bootstrap draws that entered (those whose statistic was NaN did not); 0 for a formula.

    Example:
        >>> Interval(0.5, 0.4, 0.6).level
        0.95
    """

    estimate: Any
    low: Any
    high: Any
    level: float = 0.95
    draws: int = 0

    def cells(self, name: str) -> dict[str, Any]:
        """The cells of a table's row: the estimate under a name, `low` and `high`."""
        return {name: self.estimate, "low": self.low, "high": self.high}


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, k of n (Wilson 1927).

    Args:
        k: how many were right.
        n: how many there are; 0 gives NaN with the interval from 0 to 1.
        level: nominal coverage, between 0 and 1.

    Example:
        >>> found = wilson(8, 10)
        >>> round(found.low, 3), round(found.high, 3)
        (0.49, 0.943)

    Raises:
        InputError: not 0 <= k <= n, or a level outside 0 to 1.
    """
    _check_level(level)
    if not 0 <= k <= n:
        raise InputError(f"{k} of {n} is no proportion: give 0 <= k <= n")
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, level)
    z2 = NormalDist().inv_cdf(0.5 + level / 2) ** 2
    share = k / n
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if k == 0 else middle - half
    return Interval(share, low, 1.0 if k == n else middle + half, level)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], Any] = lambda draw: np.mean(draw, axis=0),
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap over samples (Efron 1979).

    Args:
        values: [sample ...]; whole samples are drawn, so that what belongs to one stays together.
        statistic: takes a drawn [sample ...] array; gives a number or an array. The mean over samples by default.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> profile = bootstrap(shares, seed=0)  # shares [sample layer]: low and high are [layer]

    Raises:
        InputError: there is no sample, no draw, or the level is outside 0 to 1.
    """
    values = np.asarray(values)
    _check_level(level)
    if n < 1 or values.ndim == 0 or len(values) == 0:
        raise InputError(
            f"can not draw {n} times from values of shape {values.shape}: give samples first and draws >= 1"
        )
    rng = np.random.default_rng(seed)
    draws = np.stack([statistic(values[rng.integers(len(values), size=len(values))]) for _ in range(n)])
    low, high = quantiles(draws, level)
    defined = reduce(np.isfinite(draws), "draw ... -> draw", "any")
    return Interval(statistic(values), low, high, level, int(defined.sum()))


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[[np.ndarray], Any] = lambda draw: np.mean(draw, axis=0),
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Paired percentile bootstrap of statistic(b) - statistic(a): the same samples are drawn for both.

    Args:
        a: [sample ...], before.
        b: [sample ...], after; the same samples in the same order.
        statistic: the statistic, as in `bootstrap`.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> gain = bootstrap_difference(baseline_right, adaptvis_right, seed=0)  # bool [sample] each

    Raises:
        InputError: a and b do not have the same shape, or `bootstrap` refuses.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape:
        raise InputError(f"paired values have shapes {first.shape} and {second.shape}: give the same samples in both")
    both = np.stack([first.astype(float), second.astype(float)], axis=1)
    return bootstrap(both, lambda draw: statistic(draw[:, 1]) - statistic(draw[:, 0]), seed=seed, n=n, level=level)


def students_t(values: ArrayLike, level: float = 0.95) -> Interval:
    """Student's interval of the mean of a few independent values, such as one of each training run (Student 1908).

    Args:
        values: [value]; two or more.
        level: nominal coverage.

    Example:
        >>> found = students_t([0.1, 0.2, 0.3])
        >>> round(float(found.low), 3), round(float(found.high), 3)
        (-0.048, 0.448)

    Raises:
        InputError: fewer than two values, one that is not finite, or a level outside 0 to 1.
    """
    own = np.asarray(values, dtype=np.float64)
    _check_level(level)
    if own.ndim != 1 or len(own) < 2 or not np.isfinite(own).all():
        raise InputError(f"values of shape {own.shape} have no interval of Student: give two finite numbers or more")
    half = _t_quantile(level, len(own) - 1) * own.std(ddof=1) / math.sqrt(len(own))
    return Interval(float(own.mean()), float(own.mean() - half), float(own.mean() + half), level)


def quantiles(draws: Float[np.ndarray, " draw *axes"], level: float) -> Float[np.ndarray, " 2 *axes"]:
    """Both ends of the central `level` of the draws [draw ...], NaN left out; NaN where all are NaN."""
    flat = draws.reshape(len(draws), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    some = ~np.isnan(flat).all(axis=0)
    if some.any():
        ends[:, some] = np.nanquantile(flat[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends.reshape(2, *draws.shape[1:])


def pivoted(
    estimate: Float[np.ndarray, "*axes"], draws: Float[np.ndarray, " draw *axes"], level: float
) -> Float[np.ndarray, " 2 *axes"]:
    """Both ends of the basic bootstrap interval (Davison and Hinkley 1997, section 5.2.1), 2 estimate - quantiles.

    What noise does to an estimate, a draw does to it once more; so where noise moves a statistic to one side, as it
    makes sizes more even, this interval lies on the other side of the estimate and may leave it out.
    """
    low, high = quantiles(draws, level)
    return np.stack([2 * estimate - high, 2 * estimate - low])


def _t_quantile(level: float, freedom: int) -> float:
    """What a variable of Student's t lies within on both sides of zero, with a probability of `level`."""
    low, high = 0.0, math.pi / 2  # angles whose tangent is t over the root of the degrees of freedom
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _t_within(middle, freedom) < level else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _t_within(angle: float, freedom: int) -> float:
    """The probability within that angle, by the finite series for whole degrees of freedom (Abramowitz 26.7.3, 4)."""
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, cosine if freedom > 1 else 0.0) if odd else (1.0, 1.0)
    for k in range(3 if odd else 2, freedom - 1, 2):
        term *= cosine**2 * (k - 1) / k
        total += term
    return (angle + sine * total) * 2 / math.pi if odd else sine * total


def _check_level(level: float) -> None:
    """Refuse a level that is no coverage."""
    if not 0 < level < 1:
        raise InputError(f"level {level} is no coverage: give a number between 0 and 1, such as 0.95")
