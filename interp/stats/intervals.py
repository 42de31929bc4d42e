"""Intervals: Wilson's, Student's, and those of the bootstrap, spread as few units need."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from einops import reduce
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import ratio
from interp.reprs import fits_a_cell
from interp.stats.student import students_factor, t_quantile
from interp.stats.student import students_tail as students_tail

DRAWS = 2000
"""How often every bootstrap draws where nothing else is asked for."""

FEWEST = 3
"""Samples or groups without which nothing has an interval: two say next to nothing of how far apart others lie."""

FEW = 12
"""Groups below which a report says that they are few."""

Bounds: TypeAlias = tuple[ArrayLike, ArrayLike]
"""The least and the most that a statistic can be; numbers, or [...] for a statistic [...]."""

SHARE, APART = (0.0, 1.0), (-1.0, 1.0)
"""The bounds of a share, and those of a difference of two, or of a correlation."""

FREE = (-math.inf, math.inf)
"""The bounds of what has none."""

_SLACK = 1e-9  # a p of the level itself, but for rounding, does not refuse
_ROUNDING = 1e-12  # draws as near the estimate as this share of it are equal to it


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
    return Interval(k / n, *_wilson(k / n, n, z2), level)


def shrunk_wilson(share: float, n: float, freedom: int, level: float = 0.95) -> Interval:
    """Wilson's interval of a share that so many independent samples, whole or not, would tell as well.

    Args:
        share: the share of right ones, 0 to 1.
        n: how many independent samples the samples are worth; above 0.
        freedom: degrees of freedom of Student's quantile, which stands in the place of the normal's.
        level: nominal coverage.
    """
    found = _wilson(share, n, t_quantile(level, freedom) ** 2)
    return Interval(share, *found, level)


def _wilson(share: float, n: float, z2: float) -> tuple[float, float]:
    """Both ends of Wilson's interval of a share of n, for a squared quantile."""
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return 0.0 if share == 0 else middle - half, 1.0 if share == 1 else middle + half


def square_and_add(statistic: Callable[..., float], parts: Sequence[Interval], *, bounds: Bounds = FREE) -> Interval:
    """What is made of several numbers that do not tell of each other, from the interval of each.

    Each number by itself is moved to its ends, and the changes are added as squares (Newcombe 1998; Zou and Donner
    2008). So a share of few samples that happen to be all right keeps its width, where no draw of a bootstrap has any.

    Args:
        statistic: takes the numbers; rises or falls in each.
        parts: the interval of each, all of one level.
        bounds: the least and the most that the statistic can be; added squares can go beyond.

    Returns:
        The interval; its ends are NaN where a part has none.

    Example:
        >>> found = square_and_add(lambda one, other: one - other, [wilson(56, 70), wilson(48, 80)])
        >>> round(found.low, 4), round(found.high, 4)
        (0.0524, 0.3339)
    """
    values = [part.estimate for part in parts]
    here = statistic(*values)
    moved = [
        [statistic(*values[:at], end, *values[at + 1 :]) - here for end in (part.low, part.high)]
        for at, part in enumerate(parts)
    ]
    down, up = (math.sqrt(sum(float(pick([0.0, *own])) ** 2 for own in moved)) for pick in (np.min, np.max))
    low, high = np.maximum(here - down, bounds[0]), np.minimum(here + up, bounds[1])
    return Interval(here, float(low), float(high), parts[0].level)


def hull(one: Interval, other: Interval) -> Interval:
    """The estimate and draws of the first, from the lower of both lower ends to the higher of both upper; NaN stays.

    Args:
        one: an interval; numbers or arrays [...].
        other: another of the same shape and level.
    """
    low, high = np.minimum(one.low, other.low), np.maximum(one.high, other.high)
    return Interval(one.estimate, low, high, one.level, one.draws)


def reaching(found: Interval, p: ArrayLike, *, none: float = 0.0) -> Interval:
    """The interval, moved as far as what means no difference wherever the test that goes with it does not refuse that.

    Args:
        found: the interval of a difference; numbers or arrays [...].
        p: its p, [...].
        none: what means no difference.

    Example:
        >>> [float(reaching(Interval(0.3, 0.1, 0.5), p).low) for p in (0.25, 0.01)]
        [0.0, 0.1]
    """
    kept = np.asarray(p) > 1 - found.level - _SLACK
    low, high = (
        np.where(kept, further(end, none), end)[()]
        for further, end in ((np.minimum, found.low), (np.maximum, found.high))
    )
    return Interval(found.estimate, low, high, found.level, found.draws)


def bootstrap(
    values: ArrayLike,
    statistic: Callable[[np.ndarray], Any] = lambda draw: np.mean(draw, axis=0),
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """Percentile bootstrap over samples (Efron 1979), its ends moved outwards as `spread_ends` says.

    Args:
        values: [sample ...]; whole samples are drawn, so that what belongs to one stays together.
        statistic: takes a drawn [sample ...] array; gives a number or an array. The mean over samples by default.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        bounds: the least and the most that the statistic can be, such as 0 and 1 of a share.

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
    estimate = statistic(values)
    low, high = spread_ends(estimate, draws, level, units=len(values), bounds=bounds)
    defined = reduce(np.isfinite(draws), "draw ... -> draw", "any")
    return Interval(estimate, low, high, level, int(defined.sum()))


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[[np.ndarray], Any] = lambda draw: np.mean(draw, axis=0),
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """Paired percentile bootstrap of statistic(b) - statistic(a): the same samples are drawn for both; see `bootstrap`.

    Args:
        a: [sample ...], before.
        b: [sample ...], after; the same samples in the same order.
        statistic: the statistic, as in `bootstrap`.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        bounds: the least and the most that the difference can be.

    Example:
        >>> gain = bootstrap_difference(baseline_right, adaptvis_right, seed=0)  # bool [sample] each

    Raises:
        InputError: a and b do not have the same shape, or `bootstrap` refuses.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape:
        raise InputError(f"paired values have shapes {first.shape} and {second.shape}: give the same samples in both")
    both = np.stack([first.astype(float), second.astype(float)], axis=1)
    how: dict[str, Any] = {"seed": seed, "n": n, "level": level, "bounds": bounds}
    return bootstrap(both, lambda draw: statistic(draw[:, 1]) - statistic(draw[:, 0]), **how)


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
    half = t_quantile(level, len(own) - 1) * own.std(ddof=1) / math.sqrt(len(own))
    return Interval(float(own.mean()), float(own.mean() - half), float(own.mean() + half), level)


def quantiles(draws: Float[np.ndarray, " draw *axes"], level: float) -> Float[np.ndarray, " 2 *axes"]:
    """Both ends of the central `level` of the draws [draw ...], NaN left out; NaN where all are NaN."""
    flat = draws.reshape(len(draws), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    some = ~np.isnan(flat).all(axis=0)
    if some.any():
        ends[:, some] = np.nanquantile(flat[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends.reshape(2, *draws.shape[1:])


def spread_ends(
    estimate: ArrayLike,
    draws: Float[np.ndarray, " draw *axes"],
    level: float,
    *,
    units: ArrayLike,
    alike: ArrayLike | None = None,
    bounds: Bounds | None = None,
) -> Float[np.ndarray, " 2 *axes"]:
    """Both ends of a percentile interval, moved away from the estimate as few units need: the one rule of them all.

    A bootstrap of few units is too narrow twice: its draws spread by sqrt(units / (units - 1)) too little, and the
    quantiles are those of a normal where units - 1 degrees of freedom ask for Student's. So each end is moved from the
    estimate by the product of both, as Hesterberg (2015) expands percentile intervals; for a mean this is
    Student's interval where draws are normal. With many units nothing moves. Below `FEW` units,
    whose draws can lie on one side of the estimate almost alone, an end is Student's own where that is farther off;
    with more units, too, where the end would lie on the estimate, as of counts and quartiles, or beyond it.

    * Fewer than `FEWEST` units have no interval: NaN.
    * Where no draw differs from the estimate, units tell nothing of their spread, and an interval of no width would
      promise too much. If so large a share of all units as 1 - ((1 - level) / 2) ** (1 / units) were otherwise, and all
      of it as far off as `bounds` let it be, that none of them is among these would still be as rare as an interval
      may miss on one side (Hanley and Lippman-Hand 1983, the rule of three): so far do the ends lie. Where a
      side has no bound they are NaN.

    Args:
        estimate: the statistic of the data, [...].
        draws: the same in draws of whole units, [draw ...]; NaN where it is not defined.
        level: nominal coverage.
        units: samples, or groups, that were drawn and say something of the statistic; one number or [...].
        alike: of how many units the rule of three is, where those that were drawn are of two kinds, such as runs and
            scenes, and all of both are alike; `units` by default.
        bounds: the least and the most that the statistic can be, infinite where there is none; the ends do not leave
            them.
    """
    middle = np.asarray(estimate, dtype=np.float64)
    there = np.broadcast_to(np.asarray(units, dtype=int), middle.shape)
    known = np.isfinite(draws)
    apart = np.where(known, draws - middle, 0.0)
    still = np.abs(apart).max(axis=0) <= _ROUNDING * np.abs(middle)
    wider = np.reshape([_spread(level, int(own)) for own in there.ravel()], middle.shape)
    low, high = middle + wider * quantiles(np.where(known, apart, np.nan), level)
    deviation = np.sqrt(ratio((apart**2).sum(axis=0), known.sum(axis=0)))
    student = wider * NormalDist().inv_cdf(0.5 + level / 2) * deviation
    beside = _ROUNDING * np.abs(middle)
    low = np.where((there < FEW) | (low >= middle - beside), np.fmin(low, middle - student), low)
    high = np.where((there < FEW) | (high <= middle + beside), np.fmax(high, middle + student), high)
    lowest, highest = (np.asarray(end, dtype=np.float64) for end in (FREE if bounds is None else bounds))
    rare = 1 - ((1 - level) / 2) ** (1 / np.maximum(there if alike is None else alike, 1))
    edges = np.stack([middle + rare * (end - middle) for end in (lowest, highest)])
    edge_low, edge_high = np.where(np.isfinite(edges).all(axis=0), edges, np.nan)
    ends = np.stack(
        [np.where(still, edge_low, np.maximum(low, lowest)), np.where(still, edge_high, np.minimum(high, highest))]
    )
    return np.where((there < FEWEST) | ~known.any(axis=0), np.nan, ends)


def recentred_ends(
    estimate: ArrayLike,
    draws: Float[np.ndarray, " draw *axes"],
    level: float,
    *,
    units: ArrayLike,
    bounds: Bounds | None = None,
) -> Float[np.ndarray, " 2 *axes"]:
    """Both ends of an interval by draws that noise moves to one side: those of `spread_ends` with that taken out.

    Noise makes sizes more even and maps less alike. What it does to an estimate, a draw does to it once more, so that
    draws may lie beside the estimate altogether. Draws less their mean stand for estimates less theirs (Davison and
    Hinkley 1997, section 2.2); so they are moved until their mean is the estimate. The interval is of what the
    statistic is on average over data sets of so many units, with the noise that these have. What it would be without
    noise no draw can tell.

    The ends hold the estimate. They are NaN below `FEWEST` units, and where nearly all draws are the same: then units
    say nothing of how far others lie.

    Args:
        estimate: the statistic of the data, [...].
        draws: the same in draws of whole units, [draw ...]; NaN where it is not defined.
        level: nominal coverage.
        units: samples, or groups, that were drawn; one number or [...].
        bounds: the least and the most that the statistic can be; the ends do not leave them.
    """
    middle = np.asarray(estimate, dtype=np.float64)
    known = np.isfinite(draws)
    mean = ratio(np.where(known, draws, 0.0).sum(axis=0), known.sum(axis=0))
    low, high = spread_ends(middle, draws - mean + middle, level, units=units)
    lowest, highest = FREE if bounds is None else bounds
    ends = np.stack([np.maximum(np.minimum(low, middle), lowest), np.minimum(np.maximum(high, middle), highest)])
    first, last = quantiles(draws, level)
    return np.where(last - first > _ROUNDING * np.abs(middle), ends, np.nan)


def _check_level(level: float) -> None:
    """Refuse a level that is no coverage."""
    if not 0 < level < 1:
        raise InputError(f"level {level} is no coverage: give a number between 0 and 1, such as 0.95")


@lru_cache(maxsize=4096)
def _spread(level: float, units: int) -> float:
    """By how much the ends of a percentile interval of so many units are moved outwards; NaN below two."""
    if units < 2:
        return math.nan
    return students_factor(level, units) * math.sqrt(units / (units - 1))
