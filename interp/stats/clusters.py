"""Clusters: samples that come in groups, such as four photos of one pair of objects, and the interval of their mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.stats.intervals import Interval

if TYPE_CHECKING:
    import pandas as pd


def clustered_mean(values: ArrayLike, groups: ArrayLike, *, seed: int, n: int = 2000, level: float = 0.95) -> Interval:
    """The mean of values with a percentile bootstrap that draws whole groups (Davison and Hinkley 1997, section 3.8).

    Samples of one group share what makes them easy or hard; drawn one by one they would count as more than they are.

    Args:
        values: [sample].
        groups: which group each sample belongs to, [sample].
        seed: of the draws.
        n: number of draws.
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
    if (n_groups := len(np.unique(named))) < 2:
        raise InputError(f"{len(own)} samples lie in {n_groups} group: give at least two groups")
    sums, sizes = drawn_sums((own, np.ones_like(own)), named, seed=seed, n=n)
    draws = sums / sizes
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(own.mean()), float(low), float(high), level, n)


def drawn_sums(columns: Sequence[np.ndarray], groups: ArrayLike, *, seed: int, n: int) -> list[np.ndarray]:
    """The sums of each column, [sample ...], over samples, in `n` draws of whole groups: [draw ...] for each.

    All columns are summed over the same draws, so that the quotient of two is a draw of a mean or of a ratio.
    """
    names, places = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=n)
    found = []
    for column in columns:
        sums = np.zeros((len(names), *column.shape[1:]))
        np.add.at(sums, places, column)
        found.append(counts @ sums)
    return found


def group_names(samples: pd.DataFrame) -> np.ndarray:
    """The group of each sample, [sample], by the column `group`; one without a name is a group of its own."""
    names = samples["group"].fillna("").astype(str) if "group" in samples else [""] * len(samples)
    # No name of a group that somebody gave begins so.
    return np.array([name or f"\0alone {place}" for place, name in enumerate(names)], dtype=object)


def shared_groups(samples: pd.DataFrame) -> np.ndarray | None:
    """What is drawn together, by the column `group`, such as an object pair or a photo, [sample].

    A sample without the name of a group is a group of its own. None where no two samples share one, or all do.

    Example:
        >>> shared_groups(pd.DataFrame({"group": ["mug", "mug", "cat"]}))
        array(['mug', 'mug', 'cat'], dtype=object)
    """
    named = group_names(samples)
    return named if 1 < len(set(named)) < len(named) else None
