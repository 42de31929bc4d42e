"""Sign flips: whether paired differences lie about zero, at one place or any of many, groups flipped whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.draws import check_seed
from interp.stats.shuffles import p_of_draws

FLIPS = 4999
"""How often signs are flipped where nothing else is asked for."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class SignFlips:
    """What sign flips say of each place.

    Attributes:
        p: two-sided, of each place by itself [cell].
        p_any: corrected for all places: at most so often does any of them lie this far out where none differs [cell].
        flips: how many flips there were, with the data as one of them.
    """

    p: Float[np.ndarray, " cell"]
    p_any: Float[np.ndarray, " cell"]
    flips: int


def flip_signs(
    differences: ArrayLike, groups: Shaped[np.ndarray, " sample"], *, seed: int, n: int = FLIPS
) -> SignFlips:
    """A sign-flip test of the mean of paired differences at many places, corrected by the largest of all (maxT).

    Under the null, in which both arms of a pair are alike, the sign of a group's differences says nothing: all places
    of a group change theirs together, and the statistic is the mean over its root mean square under flips (Westfall and
    Young 1993 for the largest; Winkler et al. 2014 for whole groups). A place at which nothing differs has p = 1.

    Args:
        differences: [sample cell], none missing.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the flips.
        n: how many flips; the data count as one more.

    Example:
        >>> found = flip_signs(patched - control, object_pair, seed=0)  # [sample slot]
        >>> found.p_any.min() < 0.05

    Raises:
        InputError: lengths differ, a difference is not finite, fewer than two groups, no flip, or no seed.
    """
    return SignFlips(*p_of_draws(np.abs(flipped(differences, groups, seed=seed, n=n))), flips=n + 1)


def sign_flip_test(differences: ArrayLike, groups: ArrayLike) -> float:
    """The exact two-sided p of flipped group sums of whole differences, such as right answers gained less those lost.

    Under the null, in which both arms of a pair are alike, a group's sum is as likely to be its negative, whatever its
    samples share. Of all ways to flip the signs of the sums, counted one group after the other, p is the share whose
    total lies at least as far from zero as that of the data (Fisher 1935, of pairs; Winkler et al. 2014, of whole
    groups). Groups that sum to 0 say nothing, and with fewer than six others no p is below 0.05. Where each sample is a
    group of its own and gains or loses one answer, this is McNemar's exact test.

    Args:
        differences: of each sample, whole numbers [sample].
        groups: which group each sample belongs to, [sample].

    Example:
        >>> sign_flip_test([1, 1, 1, 1, 1, 1, -1], ["a", "a", "b", "c", "d", "e", "f"])
        0.1875

    Raises:
        InputError: lengths differ, or a difference is not a whole number; of others, see `flip_signs`.
    """
    own, named = np.asarray(differences, dtype=np.float64), np.asarray(groups)
    if own.ndim != 1 or own.shape != named.shape or not (np.isfinite(own) & (own == np.rint(own))).all():
        raise InputError(
            f"differences of shape {own.shape} with groups {named.shape}: give whole numbers, and a group for each"
        )
    _, places = np.unique(named, return_inverse=True)
    sums = np.rint(np.bincount(places, weights=own)).astype(int)
    sizes = np.abs(sums[sums != 0])
    chance = np.zeros(sizes.sum() + 1)  # of each total of the sums that are not flipped to below zero
    chance[0] = 1.0
    for size in sizes:
        chance /= 2
        chance[size:] += chance[:-size]
    totals = 2 * np.arange(len(chance)) - sizes.sum()
    return min(1.0, float(chance[np.abs(totals) >= abs(sums.sum())].sum()))


def flipped(
    differences: ArrayLike, groups: Shaped[np.ndarray, " sample"], *, seed: int, n: int = FLIPS
) -> Float[np.ndarray, "row cell"]:
    """How far the mean of paired differences lies from zero, in the data, row 0, and under each flip of `flip_signs`.

    That is the sum over groups over its root mean square under flips; 0 where nothing differs. One-sided tests take it
    as it is, and `flip_signs` its size.

    Args:
        differences: [sample cell], none missing.
        groups: which group each sample belongs to, [sample].
        seed: the seed of the flips.
        n: how many flips.

    Raises:
        InputError: see `flip_signs`.
    """
    own, named = np.asarray(differences, dtype=np.float64), np.asarray(groups)
    check_seed(seed)
    if own.ndim != 2 or named.shape != (len(own),) or not np.isfinite(own).all() or n < 1:
        raise InputError(
            f"differences of shape {own.shape} with groups {named.shape} and {n} flips: give finite [sample cell], a "
            "group for each sample, and at least one flip"
        )
    names, first, places = np.unique(named, return_index=True, return_inverse=True)
    if len(names) < 2:
        raise InputError(f"{len(own)} samples lie in {len(names)} group: give at least two groups")
    sums = np.zeros((len(names), own.shape[1]))
    np.add.at(sums, np.argsort(np.argsort(first))[places], own)  # in the order in which groups appear
    signs = np.random.default_rng(seed).integers(0, 2, size=(n, len(names))) * 2 - 1
    drawn = np.vstack([sums.sum(axis=0), signs @ sums])
    spread = np.sqrt((sums**2).sum(axis=0))
    return np.divide(drawn, spread, out=np.zeros_like(drawn), where=spread > 0)
