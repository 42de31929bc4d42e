"""Shuffles: labels dealt anew, whole groups together, and p-values of many cells under draws of a null."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int

TIE = 1e-9
"""Statistics as near as this are equal: their floats may have been added in another order."""


def shuffled_labels(
    right: Bool[np.ndarray, " sample"],
    strata: Int[np.ndarray, " sample"],
    units: Int[np.ndarray, " sample"],
    keys: Float[np.ndarray, "shuffle sample"],
) -> Float[np.ndarray, "row sample"]:
    """Labels [row sample]: the data, shuffles between groups of one make-up and inside them, and their exact mean.

    Args:
        right: whether each answer is right, bool [sample].
        strata: the code of each sample's stratum, [sample].
        units: the code of each sample's group, each sample its own where there are none, [sample].
        keys: random numbers from 0 to 1, which alone decide the shuffles, [shuffle sample].

    Returns:
        float64 [1 + shuffle + 1, sample].
    """
    out = np.empty((len(keys) + 2, len(right)))
    out[0] = right
    for members in _same_make_up(strata, units):
        kinds, own = strata[members[0]], keys[:, members]
        blocks = right[members][np.lexsort(right[members].T)]
        if len(kinds) == 1:  # the right ones go to the largest keys: no need to sort
            wrong = int((~blocks).sum())
            out[1:-1, members[:, 0]] = own[:, :, 0] >= _ordered(own[:, :, 0], wrong)
        else:
            # The sum of a group's keys says nothing of their order, so that both can be used.
            blocks = blocks[np.argsort(np.argsort(own.sum(axis=2), axis=1), axis=1)]
            if len(np.unique(kinds)) < len(kinds):
                blocks = np.take_along_axis(blocks, np.argsort(kinds + own, axis=2), axis=2)
            out[1:-1, members] = blocks
        for kind in np.unique(kinds):
            out[-1, members[:, kinds == kind]] = right[members[:, kinds == kind]].mean()
    return out


def share_beyond(
    distance: Float[np.ndarray, " cell"], farthest: Float[np.ndarray, " row"]
) -> Float[np.ndarray, " cell"]:
    """The share of shuffles whose farthest cell lies at least as far out as each cell does; NaN where undefined.

    Args:
        distance: how far out each cell of the data lies, [cell].
        farthest: how far out the farthest cell of each shuffle lies, the data among them, [shuffle].
    """
    nearer = np.searchsorted(np.sort(farthest), distance - TIE)
    return np.where(np.isnan(distance), np.nan, (len(farthest) - nearer) / len(farthest))


def dealt_rows(
    units: Int[np.ndarray, " sample"], n: int, rng: np.random.Generator
) -> Int[np.ndarray, "shuffle sample"]:
    """Whose labels each sample gets when all that a group is labelled goes to another group of its size.

    Inside a group the labels are dealt among its samples. A group whose size no other has keeps its own.

    Args:
        units: the code of each sample's group, [sample].
        n: the number of deals.
        rng: what draws them.
    """
    out = np.empty((n, len(units)), dtype=int)
    for members in _same_make_up(np.zeros(len(units), dtype=int), units):
        blocks = members[np.argsort(rng.random((n, len(members))), axis=1)]
        inside = np.argsort(rng.random((n, *members.shape)), axis=2)
        out[:, members] = np.take_along_axis(blocks, inside, axis=2)
    return out


def pooled_p(
    values: Float[np.ndarray, " cell"], drawn: Float[np.ndarray, "shuffle cell"]
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """One-sided p-values of cells that are measured on the same samples, against what shuffles of the labels give.

    The first are uncorrected, (1 + as large ones) / (1 + all), among the shuffled values of all cells: one deal of
    labels says little of one cell, but of a thousand cells it says what the largest of a thousand look like (Tusher et
    al. 2001). The second are corrected for all cells by the largest of each shuffle (Westfall and Young 1993, maxT).

    Args:
        values: the data, [cell]; a cell without a value has none in any shuffle and gets NaN.
        drawn: the same of each shuffle, [shuffle cell].
    """
    known = ~np.isnan(values)
    pool = np.sort(drawn[:, known].ravel())
    larger = len(pool) - np.searchsorted(pool, values - 1e-9)
    p = np.where(known, (1 + larger) / (1 + len(pool)), np.nan)
    if not known.any():
        return p, p
    largest = np.concatenate([[np.nanmax(values)], np.nanmax(drawn[:, known], axis=1)])
    return p, share_beyond(values, largest)


def p_of_draws(
    drawn: Float[np.ndarray, "row cell"],
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """P-values of each cell by itself, and corrected for all cells together by the farthest of each draw (maxT).

    The data count among the draws, so that a p-value is (1 + draws at least as far out) / (1 + draws), and never 0.
    Corrected, all that are below a level err together at most at that rate (Westfall and Young 1993).

    Args:
        drawn: how far out each cell lies, in the data, row 0, and in each draw under the null, [1 + draw, cell].
    """
    return (drawn >= drawn[0] - TIE).mean(axis=0), share_beyond(drawn[0], drawn.max(axis=1))


def _ordered(keys: np.ndarray, place: int) -> np.ndarray:
    """The key [shuffle 1] of keys [shuffle member] that so many are smaller than; infinite where none are larger."""
    if place == keys.shape[1]:
        return np.full((len(keys), 1), np.inf)
    return np.partition(keys, place, axis=1)[:, place, None]


def _same_make_up(strata: np.ndarray, units: np.ndarray) -> list[np.ndarray]:
    """Positions [unit member] of units with as many samples of each stratum, members in the order of their strata."""
    order = np.lexsort((strata, units))
    found: dict[tuple[int, ...], list[np.ndarray]] = {}
    for members in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
        found.setdefault(tuple(strata[members].tolist()), []).append(members)
    return [np.stack(alike) for alike in found.values()]
