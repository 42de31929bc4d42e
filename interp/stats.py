"""Statistics: intervals, paired tests, and nulls for results on a few hundred samples. numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.reprs import fits_a_cell


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


@dataclass(frozen=True)
class McNemar:
    """Two answerers compared on the same samples.

    Attributes:
        only_a: samples that a got right and b got wrong.
        only_b: samples that b got right and a got wrong.
        p_value: two-sided, exact.

    Example:
        >>> McNemar(only_a=1, only_b=9, p_value=0.021484375).only_b
        9
    """

    only_a: int
    only_b: int
    p_value: float


@dataclass(frozen=True)
class Null:
    """A statistic against what it gives when the labels are shuffled.

    Attributes:
        observed: the statistic of the data.
        mean: its mean over shuffles.
        low: lower end of the central 95 % of the shuffles.
        high: upper end.
        p_value: two-sided, (1 + shuffles at least as far from their mean) / (1 + shuffles); NaN if undefined.

    Example:
        >>> shuffled_null(scores, labels, seed=0).p_value < 0.05  # scores [sample], labels [sample]
        True
    """

    observed: float
    mean: float
    low: float
    high: float
    p_value: float


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion, k of n (Wilson 1927).

    Args:
        k: how many were right.
        n: of how many; 0 gives NaN with the interval from 0 to 1.
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
    n: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Percentile bootstrap over samples (Efron 1979).

    Args:
        values: [sample ...]; whole samples are drawn, so that what belongs to one stays together.
        statistic: takes a drawn [sample ...] array; gives a number or an array. The mean over samples by default.
        seed: of the draws.
        n: number of draws.
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
    low, high = _quantiles(draws, level)
    defined = np.isfinite(draws).reshape(n, -1).any(axis=1)
    return Interval(statistic(values), low, high, level, int(defined.sum()))


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[[np.ndarray], Any] = lambda draw: np.mean(draw, axis=0),
    *,
    seed: int,
    n: int = 2000,
    level: float = 0.95,
) -> Interval:
    """Paired percentile bootstrap of statistic(b) - statistic(a): the same samples are drawn for both.

    Args:
        a: [sample ...], before.
        b: [sample ...], after; the same samples in the same order.
        statistic: as in `bootstrap`.
        seed: of the draws.
        n: number of draws.
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


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's exact two-sided test of two answerers on the same samples (McNemar 1947, binomial form).

    Args:
        a: whether a was right, bool [sample].
        b: whether b was right, bool [sample].

    Example:
        >>> mcnemar([True, True, False], [True, False, False])
        McNemar(only_a=1, only_b=0, p_value=1.0)

    Raises:
        InputError: shapes differ, or the values are not true or false.
    """
    first, second = _as_bool(a, "a"), _as_bool(b, "b")
    if first.shape != second.shape:
        raise InputError(f"{first.size} and {second.size} answers can not be paired: give the same samples in both")
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    total = only_a + only_b
    ways = tail = 1  # of the disagreements to fall 0 to one side; then 1, 2, ...
    for count in range(min(only_a, only_b)):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**total))


def auroc(scores: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Area under the ROC curve: how often a true sample scores above a false one, ties counting half.

    Args:
        scores: [sample], finite.
        labels: bool [sample].
        groups: if given, only pairs of one group are compared: the within-relation AUROC, for one.

    Returns:
        0 to 1; NaN when no true sample can be compared with a false one.

    Example:
        >>> auroc([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
        0.875

    Raises:
        InputError: shapes differ or a score is not finite (leave such samples out, and count them).
    """
    scores, truth = _as_scores(scores), _as_bool(labels, "labels")
    of = np.zeros(len(scores), dtype=int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if not len(scores) == len(truth) == len(of):
        raise InputError(f"{len(scores)} scores, {len(truth)} labels, {len(of)} groups: give one of each per sample")
    wins = pairs = 0.0
    for group in range(of.max(initial=-1) + 1):
        won, compared = _wins(scores[of == group], truth[of == group])
        wins, pairs = wins + won, pairs + compared
    return wins / pairs if pairs else math.nan


def shuffled_null(
    scores: ArrayLike,
    labels: ArrayLike,
    statistic: Callable[[np.ndarray, np.ndarray], float] = auroc,
    *,
    seed: int,
    n: int = 1000,
    within: ArrayLike | None = None,
) -> Null:
    """Shuffle the labels `n` times and see where the statistic of the data lies.

    Args:
        scores: [sample].
        labels: [sample].
        statistic: takes scores and labels.
        seed: of the shuffles.
        n: number of shuffles.
        within: if given, labels are shuffled only inside each of these groups, so that what the groups explain
            (a relation that is always answered wrongly) stays in the null.

    Example:
        >>> null = shuffled_null(cosine, right, seed=0, within=relation)  # three times [sample]

    Raises:
        InputError: lengths differ, n is below 1, or the statistic refuses.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    of = np.zeros(len(labels), dtype=int) if within is None else np.unique(np.asarray(within), return_inverse=True)[1]
    if n < 1 or not len(scores) == len(labels) == len(of):
        raise InputError(
            f"{len(scores)} scores, {len(labels)} labels, {len(of)} groups, {n} shuffles: lengths must agree"
        )
    rng = np.random.default_rng(seed)
    observed = float(statistic(scores, labels))
    if math.isnan(observed):
        return Null(math.nan, math.nan, math.nan, math.nan, math.nan)
    places = [np.flatnonzero(of == group) for group in range(of.max() + 1)]
    drawn = np.array([statistic(scores, _shuffled(labels, places, rng)) for _ in range(n)])
    mean = float(drawn.mean())
    # Equal statistics must count as equal whatever the order in which their floats were added.
    extreme = np.sum(np.abs(drawn - mean) >= abs(observed - mean) - 1e-12)
    low, high = _quantiles(drawn, 0.95)
    return Null(observed, mean, float(low), float(high), float((1 + extreme) / (1 + n)))


def holm(p_values: ArrayLike) -> np.ndarray:
    """Holm's step-down correction (Holm 1979): all p below a level together err at most at that rate.

    Args:
        p_values: [test], one family of tests, however dependent.

    Returns:
        Corrected p-values [test], at most 1, in the same order.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        array([0.03, 0.06, 0.06])

    Raises:
        InputError: a value is not between 0 and 1.
    """
    values, order = _as_p_values(p_values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    return _in_place(np.minimum(stepped, 1.0), order)


def benjamini_hochberg(p_values: ArrayLike) -> np.ndarray:
    """Benjamini and Hochberg's correction (1995): of the tests below a level, at most that share errs on average.

    Args:
        p_values: [test], one family of tests, independent or positively dependent.

    Returns:
        Corrected p-values [test], at most 1, in the same order.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03])
        array([0.03, 0.04, 0.04])

    Raises:
        InputError: a value is not between 0 and 1.
    """
    values, order = _as_p_values(p_values)
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    return _in_place(np.minimum.accumulate(scaled[::-1])[::-1], order)


def _as_p_values(p_values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """P-values [test] and their order from the smallest; refuses what is no p-value."""
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise InputError(
            f"p-values of shape {values.shape} are not all between 0 and 1: give one per test, none missing"
        )
    return values, np.argsort(values, kind="stable")


def _in_place(ordered: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Undo an ordering."""
    out = np.empty_like(ordered)
    out[order] = ordered
    return out


def _shuffled(labels: np.ndarray, places: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """The labels, permuted inside each group of places."""
    out = labels.copy()
    for group in places:
        out[group] = labels[rng.permutation(group)]
    return out


def _wins(scores: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """Pairs won by a true sample over a false one, ties half, by midranks; and how many pairs there are."""
    n_true, n_false = int(truth.sum()), int((~truth).sum())
    _, of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    midranks = (np.cumsum(counts) - (counts - 1) / 2)[of]
    return float(midranks[truth].sum() - n_true * (n_true + 1) / 2), n_true * n_false


def _quantiles(draws: np.ndarray, level: float) -> np.ndarray:
    """Both ends of the central `level` of the draws [draw ...], NaN left out; NaN where all are NaN."""
    flat = draws.reshape(len(draws), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    some = ~np.isnan(flat).all(axis=0)
    if some.any():
        ends[:, some] = np.nanquantile(flat[:, some], [(1 - level) / 2, (1 + level) / 2], axis=0)
    return ends.reshape(2, *draws.shape[1:])


def _as_scores(scores: ArrayLike) -> np.ndarray:
    """Scores as float64 [sample]; refuses any that is not finite."""
    out = np.asarray(scores, dtype=np.float64)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise InputError(
            f"{int((~np.isfinite(out)).sum())} of {out.size} scores are not finite (shape {out.shape}): "
            "give one number per sample, leave the undefined samples out and report how many"
        )
    return out


def _as_bool(values: ArrayLike, name: str) -> np.ndarray:
    """Truth values [sample]; refuses what is neither bool nor 0 or 1."""
    out = np.asarray(values)
    if out.ndim != 1 or not np.isin(out, (0, 1)).all():
        raise InputError(f"{name} has shape {out.shape} and values other than true and false: give one bool per sample")
    return out.astype(bool)


def _check_level(level: float) -> None:
    """Refuse a level that is no coverage."""
    if not 0 < level < 1:
        raise InputError(f"level {level} is no coverage: give a number between 0 and 1, such as 0.95")
