"""Clusters: samples that come in groups, such as four photos of one pair of objects, and intervals of their means."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import agree, counted, ratio
from interp.stats.auroc import as_bool
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, FEW, FEWEST, Bounds, Interval, shrunk_wilson, spread_ends, wilson

if TYPE_CHECKING:
    import pandas as pd


def clustered_mean(
    values: ArrayLike,
    groups: ArrayLike,
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """The mean of values with a bootstrap that draws whole groups (Davison and Hinkley 1997, section 3.8).

    Samples of one group share what makes them easy or hard; drawn one by one they would count as more than they are.
    The ends are those of `spread_ends`: fewer than three groups have no interval, NaN, and few have a wide one.

    Args:
        values: [sample]; those that are NaN are left out.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        bounds: the least and the most that a value can be, such as -1 and 1 of answers gained and lost.

    Example:
        >>> clustered_mean(right.astype(float), object_pair, seed=0)

    Raises:
        InputError: lengths differ, there is no value, no draw, or no such level or seed.
    """
    own, named = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if own.ndim != 1 or not len(own) or own.shape != named.shape:
        raise InputError(f"values have shape {own.shape} and groups {named.shape}: give one group for each value")
    found = mean_over_groups(own[:, None], named, seed=seed, n=n, level=level, bounds=bounds)
    return Interval(float(found.estimate[0]), float(found.low[0]), float(found.high[0]), level, found.draws)


def clustered_share(right: ArrayLike, groups: ArrayLike | None = None, *, level: float = 0.95) -> Interval:
    """A share of right samples with Wilson's interval, of as many samples as those of groups are worth.

    Samples of one group that are right and wrong together are worth fewer. How many fewer is the design effect: the
    variance of the share over groups, to that of as many independent samples (Kish 1965). Wilson's interval is taken of
    the samples divided by it, with Student's quantile of groups - 1 degrees of freedom (as Korn and Graubard 1998 do
    for another interval of shares). A design effect below 1 is taken as 1, so that the interval is never narrower than
    Wilson's; where all are right or none is, nothing is known of it, and the samples count for as many as there are
    groups. Without groups, or where no two samples share one, this is `wilson`.

    Args:
        right: bool [sample].
        groups: which group each sample belongs to, [sample].
        level: nominal coverage.

    Returns:
        The interval; its ends are NaN where samples share fewer than three groups.

    Example:
        >>> clustered_share([True, True, False, False, True, True], list("aabbcc")).low < wilson(4, 6).low
        True

    Raises:
        InputError: lengths differ, values are not true or false, or no such level.
    """
    own = as_bool(right, "right")
    plain = wilson(int(own.sum()), len(own), level)
    if groups is None:
        return plain
    named = np.asarray(groups)
    if named.shape != own.shape:
        raise InputError(f"{len(own)} samples have groups of shape {named.shape}: give one group for each sample")
    names = _places(named)[0]
    if len(names) == len(own):
        return plain
    if len(names) < FEWEST:
        return Interval(plain.estimate, math.nan, math.nan, level)
    return shrunk_wilson(plain.estimate, len(own) / _design_effect(own, named), len(names) - 1, level)


def share_of_part(right: ArrayLike, groups: ArrayLike | None, *, level: float = 0.95) -> Interval:
    """The share as one part of what is made of several, see `square_and_add`: one of few groups has an interval too.

    A share by itself is not told of fewer than three groups; a mean over answers need not go without an interval for
    one answer that all lies in one photo. There each group counts as one sample, and the exact interval of so many is
    taken (Clopper and Pearson 1934); of a share that is none of one or two, the lower end of the share below and the
    upper end of the one above. With three groups or more this is `clustered_share`.

    Args:
        right: bool [sample].
        groups: which group each sample belongs to, [sample]; None where no two share one.
        level: nominal coverage.

    Returns:
        The interval; NaN, with the ends 0 and 1, where there is no sample.

    Example:
        >>> found = share_of_part([True, True], ["a", "a"])
        >>> round(found.low, 3), found.high
        (0.025, 1.0)

    Raises:
        InputError: as `clustered_share`.
    """
    found = clustered_share(right, groups, level=level)
    count = 0 if groups is None else len(set(np.asarray(groups).tolist()))
    if count == 0 or count >= FEWEST:  # a share of samples that share none is Wilson's, of however few
        return found
    rare, hits = (1 - level) / 2, float(found.estimate * count)
    low, high = _least(math.floor(hits), count, rare), 1 - _least(math.floor(count - hits), count, rare)
    return Interval(found.estimate, low, high, level)


def _least(k: int, n: int, rare: float) -> float:
    """The share of which k or more of n, one or two, are as rare: the lower end of an exact interval."""
    if k == 0:
        return 0.0
    return rare ** (1 / n) if k == n else 1 - math.sqrt(1 - rare)


def _design_effect(right: Bool[np.ndarray, " sample"], groups: Shaped[np.ndarray, " sample"]) -> float:
    """How many samples in groups are worth one that is independent, at least 1; the mean size of groups at an edge."""
    names, places = _places(groups)
    share, count = right.mean(), len(names)
    if share in (0, 1):
        return len(right) / count
    apart = np.bincount(places, weights=right - share)
    variance = count / (count - 1) * (apart**2).sum() / len(right) ** 2
    return max(1.0, float(variance * len(right) / (share * (1 - share))))


def mean_over_groups(
    values: Float[np.ndarray, "sample layer"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """The mean over the samples that have a value, with its interval as in `ratio_over_groups`, [layer].

    Args:
        values: [sample layer]; NaN where a sample has none.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        bounds: the least and the most that a value can be.

    Raises:
        InputError: there is no draw, or no such level or seed.
    """
    return ratio_over_groups(values, np.ones_like(values), groups, seed=seed, n=n, level=level, bounds=bounds)


def ratio_over_groups(
    above: Float[np.ndarray, "sample layer"],
    below: Float[np.ndarray, "sample layer"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    bounds: Bounds | None = None,
) -> Interval:
    """Mean of `above` over mean of `below`, [layer], with a bootstrap that draws whole groups.

    Samples count where they have both, and are not drawn if they have both in no layer; a ratio to nothing is NaN.
    Draws whose ratio is undefined are left out. The ends are those of `spread_ends`, of as many groups as have
    something to divide by: fewer than three have no interval, NaN. Seed and groups alone say what is drawn, and groups
    go by the order in which they first appear and not by their names, so that figures, tables and sentences of the same
    samples agree.

    Args:
        above: [sample layer]; NaN where a sample has none.
        below: the same of what is divided by.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        bounds: the least and the most that the ratio can be.

    Raises:
        InputError: there is no draw, or no such level or seed.
    """
    known = np.isfinite(above) & np.isfinite(below)
    some = known.any(axis=1)
    sums = [np.where(known, column, 0.0)[some] for column in (above, below)]
    units = groups_with(sums[1] != 0, groups[some])
    how: dict[str, Any] = {"seed": seed, "n": n, "level": level, "bounds": bounds}
    return statistic_over_groups(ratio, sums, groups[some], units=units, **how)


def statistic_over_groups(
    statistic: Callable[..., np.ndarray],
    columns: Sequence[Real[np.ndarray, "sample ..."]],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
    units: ArrayLike | None = None,
    bounds: Bounds | None = None,
) -> Interval:
    """What is made of sums over samples, with a bootstrap that draws whole groups: what ratios and means stand on.

    Args:
        statistic: takes the sums of each column in each draw, [draw ...]; gives [draw *axes], NaN where there is none.
        columns: what is summed, [sample ...] each.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
        units: in how many groups is something that the statistic is made of, one number or [*axes], see `spread_ends`;
            by default in all.
        bounds: the least and the most that the statistic can be.

    Returns:
        The interval, [*axes]; its ends are NaN where samples lie in fewer than three groups.

    Example:
        >>> sides = np.stack([here, ~here], axis=1) * 1.0  # [sample 2]
        >>> gap = lambda values, counts: ratio(values[:, 0], counts[:, 0]) - ratio(values[:, 1], counts[:, 1])
        >>> statistic_over_groups(gap, [values[:, None] * sides, sides], groups, seed=0)

    Raises:
        InputError: there is no draw, or no such level or seed.
    """
    check_draws(n, level, seed)
    estimate = statistic(*(column.sum(axis=0)[None] for column in columns))[0]
    count = len(_places(groups)[0])
    if count < FEWEST:
        nothing = np.full_like(estimate, np.nan)
        return Interval(estimate, nothing, nothing, level)
    draws = statistic(*drawn_sums(columns, groups, seed=seed, n=n))
    low, high = spread_ends(estimate, draws, level, units=count if units is None else units, bounds=bounds)
    defined = np.isfinite(draws).reshape(len(draws), -1).any(axis=1)
    return Interval(estimate, low, high, level, int(defined.sum()))


def groups_with(
    something: Bool[np.ndarray, " sample *axes"], groups: Shaped[np.ndarray, " sample"]
) -> Int[np.ndarray, "*axes"]:
    """In how many groups some sample has something: what is drawn, for `spread_ends`.

    Args:
        something: whether each sample has it, bool [sample ...].
        groups: which group each sample belongs to, [sample].

    Returns:
        Counts, [...].
    """
    names, places = _places(groups)
    found = np.zeros((len(names), *something.shape[1:]), dtype=bool)
    np.logical_or.at(found, places, something)
    return found.sum(axis=0)


def few_groups(count: int, where: str = "Samples lie in", noun: str = "group") -> str:
    """What a reader has to know of intervals over so many groups; nothing where they are many.

    Args:
        count: how many.
        where: what is said before the count.
        noun: what is counted.

    Example:
        >>> few_groups(2)
        'Samples lie in 2 groups: what is drawn by group has no interval of fewer than 3.'
    """
    if count >= FEW:
        return ""
    where = f"{where} {counted(count, noun)}"
    if count < FEWEST:
        return f"{where}: what is drawn by {noun} has no interval of fewer than {FEWEST}."
    return f"{where}, which are few: intervals are as wide as Student's t asks for, and still to be taken with care."


def few_samples(count: int) -> str:
    """The same of so many samples of which no two share a group: their shares have Wilson's interval all the same.

    Example:
        >>> few_samples(2)
        'There are only 2 samples: fewer than 3 have no interval but that of a share.'
    """
    if count >= FEW:
        return ""
    where = f"There {agree(count, 'is', 'are')} only {counted(count, 'sample')}"
    if count < FEWEST:
        return f"{where}: fewer than {FEWEST} have no interval but that of a share."
    return f"{where}: intervals are as wide as so few ask for, and still to be taken with care."


def few_units(samples: pd.DataFrame) -> str:
    """What a reader has to know of intervals over these samples, of groups where they share them, else of themselves.

    Args:
        samples: one row per sample; `group`, where there is one, says what is drawn together.
    """
    shared = shared_groups(samples)
    return few_samples(len(samples)) if shared is None else few_groups(len(set(shared)))


def drawn_sums(
    columns: Sequence[Real[np.ndarray, "sample ..."]], groups: ArrayLike, *, seed: int, n: int
) -> list[Float[np.ndarray, "draw ..."]]:
    """The sums of each column, [sample ...], over samples, in `n` draws of whole groups: [draw ...] for each.

    All columns are summed over the same draws, so that the quotient of two is a draw of a mean or of a ratio.
    """
    names, places = _places(groups)
    counts = _times_drawn(len(names), seed, n)
    found = []
    for column in columns:
        sums = np.zeros((len(names), *column.shape[1:]))
        np.add.at(sums, places, column)
        found.append(counts @ sums)
    return found


@lru_cache(maxsize=2)  # one table after the other is drawn alike
def _times_drawn(count: int, seed: int, n: int) -> Float[np.ndarray, "draw group"]:
    """How often each of so many groups is in each draw."""
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=n).astype(np.float64)
    times.flags.writeable = False
    return times


def _places(groups: ArrayLike) -> tuple[Shaped[np.ndarray, " group"], Int[np.ndarray, " sample"]]:
    """The groups in order of first appearance, [group], and which of them each sample belongs to, [sample]."""
    names, first, places = np.unique(np.asarray(groups), return_index=True, return_inverse=True)
    order = np.argsort(first)
    return names[order], np.argsort(order)[places]


def group_names(samples: pd.DataFrame) -> Shaped[np.ndarray, " sample"]:
    """The group of each sample, [sample], by the column `group`; one without a name is a group of its own."""
    names = samples["group"].fillna("").astype(str) if "group" in samples else [""] * len(samples)
    # No name of a group that somebody gave begins so.
    return np.array([name or f"\0alone {place}" for place, name in enumerate(names)], dtype=object)


def drawn_together(
    count: int, groups: Iterable[str] | Shaped[np.ndarray, " sample"] | None
) -> Shaped[np.ndarray, " sample"]:
    """The group of each of so many samples, as they are named; where they are not, each is a group of its own.

    Raises:
        InputError: there is not one name for each.
    """
    if isinstance(groups, Iterable) and not isinstance(groups, (str, np.ndarray)):
        groups = list(groups)
    named = np.arange(count) if groups is None else np.array(groups, dtype=object)
    if isinstance(groups, str) or named.shape != (count,):
        given = f"{len(groups)} groups" if isinstance(groups, (list, tuple, np.ndarray)) else f"groups {groups!r:.80}"
        raise InputError(f"{given} for {count} samples: give a list with one for each")
    return named


def shared_groups(samples: pd.DataFrame) -> Shaped[np.ndarray, " sample"] | None:
    """What is drawn together, by the column `group`, such as an object pair or a photo, [sample].

    A sample without the name of a group is a group of its own. None where no two samples share one. Where all share
    one, that is what is drawn: one group, which has no interval.

    Example:
        >>> shared_groups(pd.DataFrame({"group": ["mug", "mug", "cat"]}))
        array(['mug', 'mug', 'cat'], dtype=object)
    """
    named = group_names(samples)
    return named if len(set(named)) < len(named) else None
