"""Tests: McNemar's, of signs, shuffled nulls, and corrections for many (Holm; Benjamini and Hochberg). numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.stats.auroc import as_bool, auroc
from interp.stats.intervals import quantiles


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
    first, second = as_bool(a, "a"), as_bool(b, "b")
    if first.shape != second.shape:
        raise InputError(f"{first.size} and {second.size} answers can not be paired: give the same samples in both")
    only_a, only_b = int((first & ~second).sum()), int((second & ~first).sum())
    total = only_a + only_b
    ways = tail = 1  # of the disagreements to fall 0 to one side; then 1, 2, ...
    for count in range(min(only_a, only_b)):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**total))


def sign_test(differences: ArrayLike, groups: ArrayLike) -> float:
    """The exact two-sided p of a sign test over groups: that a group gains is as likely as that it loses.

    Groups whose differences sum to 0 say nothing. A bootstrap of a few differences other than 0 finds too often that
    they did not come by chance, and this does not.

    Args:
        differences: of each sample, [sample].
        groups: which group each sample belongs to, [sample].

    Example:
        >>> sign_test([1, 0, 1, 1, 1, 1, 1], ["a", "a", "b", "c", "d", "e", "f"])
        0.03125

    Raises:
        InputError: lengths differ, or a difference is not finite.
    """
    own, named = np.asarray(differences, dtype=np.float64), np.asarray(groups)
    if own.ndim != 1 or own.shape != named.shape or not np.isfinite(own).all():
        raise InputError(
            f"differences of shape {own.shape} with groups {named.shape}: give finite ones, and a group for each"
        )
    _, places = np.unique(named, return_inverse=True)
    sums = np.bincount(places, weights=own)
    return mcnemar(sums < 0, sums > 0).p_value


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
        seed: the seed of the shuffles.
        n: the number of shuffles.
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
    low, high = quantiles(drawn, 0.95)
    return Null(observed, mean, float(low), float(high), float((1 + extreme) / (1 + n)))


def holm(p_values: ArrayLike) -> Float[np.ndarray, " test"]:
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


def benjamini_hochberg(p_values: ArrayLike) -> Float[np.ndarray, " test"]:
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


def benjamini_hochberg_where_defined(p_values: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's correction over the p-values that are defined; NaN stays NaN.

    Args:
        p_values: [test], one family of tests; NaN of one that could not be made, which does not count.

    Returns:
        Corrected p-values [test], as `benjamini_hochberg` gives them.

    Raises:
        InputError: as `benjamini_hochberg`.
    """
    return _where_defined(benjamini_hochberg, p_values)


def holm_where_defined(p_values: np.ndarray) -> np.ndarray:
    """Holm's correction over the p-values that are defined; NaN stays NaN.

    Args:
        p_values: [test], one family of tests; NaN of one that could not be made, which does not count.

    Returns:
        Corrected p-values [test], as `holm` gives them.

    Raises:
        InputError: as `holm`.
    """
    return _where_defined(holm, p_values)


def _where_defined(correct: Callable[[np.ndarray], np.ndarray], p_values: np.ndarray) -> np.ndarray:
    """The correction of those that are defined."""
    out, some = np.full(p_values.shape, np.nan), ~np.isnan(p_values)
    out[some] = correct(p_values[some])
    return out


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
