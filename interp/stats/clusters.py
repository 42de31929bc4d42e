"""Clusters: samples that come in groups, such as four photos of one pair of objects, and intervals of their means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Real, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import ratio
from interp.stats.intervals import DRAWS, Interval, quantiles

if TYPE_CHECKING:
    import pandas as pd


def clustered_mean(values: ArrayLike, groups: ArrayLike, *, seed: int, n: int = DRAWS, level: float = 0.95) -> Interval:
    """The mean of values with a percentile bootstrap that draws whole groups (Davison and Hinkley 1997, section 3.8).

    Samples of one group share what makes them easy or hard; drawn one by one they would count as more than they are.

    Args:
        values: [sample]; those that are NaN are left out.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> clustered_mean(right.astype(float), object_pair, seed=0)

    Raises:
        InputError: lengths differ, there are fewer than two groups, no draw, or no such level.
    """
    own, named = np.asarray(values, dtype=np.float64), np.asarray(groups)
    if own.ndim != 1 or own.shape != named.shape or n < 1 or not 0 < level < 1:
        raise InputError(
            f"values have shape {own.shape} and groups {named.shape}, {n} draws at level {level}: give one group for "
            "each value, at least one draw, and a level between 0 and 1"
        )
    if (n_groups := len(_places(named)[0])) < 2:
        raise InputError(f"{len(own)} samples lie in {n_groups} group: give at least two groups")
    found = mean_over_groups(own[:, None], named, seed=seed, n=n, level=level)
    return Interval(float(found.estimate[0]), float(found.low[0]), float(found.high[0]), level, found.draws)


def mean_over_groups(
    values: Float[np.ndarray, "sample layer"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """The mean over the samples that have a value, with its interval as in `ratio_over_groups`, [layer]."""
    return ratio_over_groups(values, np.ones_like(values), groups, seed=seed, n=n, level=level)


def ratio_over_groups(
    above: Float[np.ndarray, "sample layer"],
    below: Float[np.ndarray, "sample layer"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int = DRAWS,
    level: float = 0.95,
) -> Interval:
    """Mean of `above` over mean of `below`, [layer], with a percentile bootstrap that draws whole groups.

    Samples count where they have both, and are not drawn if they have both in no layer; a ratio to nothing is NaN.
    Draws whose ratio is undefined are left out. Fewer than two groups have no interval: NaN. Seed and groups alone say
    what is drawn, and groups go by the order in which they first appear and not by their names, so that figures, tables
    and sentences of the same samples agree.
    """
    known = np.isfinite(above) & np.isfinite(below)
    some = known.any(axis=1)
    sums = [np.where(known, column, 0.0)[some] for column in (above, below)]
    groups = groups[some]
    estimate = ratio(*(column.sum(axis=0) for column in sums))
    if len(_places(groups)[0]) < 2:
        nothing = np.full_like(estimate, np.nan)
        return Interval(estimate, nothing, nothing, level)
    draws = ratio(*drawn_sums(sums, groups, seed=seed, n=n))
    low, high = quantiles(draws, level)
    return Interval(estimate, low, high, level, int(np.isfinite(draws).any(axis=1).sum()))


def drawn_sums(
    columns: Sequence[Real[np.ndarray, "sample ..."]], groups: ArrayLike, *, seed: int, n: int
) -> list[Float[np.ndarray, "draw ..."]]:
    """The sums of each column, [sample ...], over samples, in `n` draws of whole groups: [draw ...] for each.

    All columns are summed over the same draws, so that the quotient of two is a draw of a mean or of a ratio.
    """
    names, places = _places(groups)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    found = []
    for column in columns:
        sums = np.zeros((len(names), *column.shape[1:]))
        np.add.at(sums, places, column)
        found.append(counts @ sums)
    return found


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

    A sample without the name of a group is a group of its own. None where no two samples share one, or all do.

    Example:
        >>> shared_groups(pd.DataFrame({"group": ["mug", "mug", "cat"]}))
        array(['mug', 'mug', 'cat'], dtype=object)
    """
    named = group_names(samples)
    return named if 1 < len(set(named)) < len(named) else None
