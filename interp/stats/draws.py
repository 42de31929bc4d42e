"""Draws: halves of samples, draws of a name's own, and what is refused as a number of draws, a level or a seed."""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Int, Shaped

from interp.errors import InputError
from interp.numeric import real


def halves(
    groups: Shaped[np.ndarray, " sample"], strata: Shaped[np.ndarray, " sample"], *, seed: int
) -> Int[np.ndarray, " sample"]:
    """Which half each sample is in, 0 or 1: whole groups dealt by a seed, alike in the strata of their first samples.

    What is chosen on one half can be reported on the other, and the other way round.
    """
    names, first, places = np.unique(groups.astype(str), return_index=True, return_inverse=True)
    order = np.random.default_rng([seed, 2]).permutation(len(names))
    order = order[np.argsort(strata[first][order], kind="stable")]
    part = np.empty(len(names), dtype=int)
    part[order] = np.arange(len(names)) % 2
    return part[places]


def own_draws(seed: int, name: str) -> np.random.Generator:
    """Draws that depend on the seed and a name alone, so that a sample has its own in every batch."""
    digest = hashlib.sha256(name.encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "little")])


def check_draws(n: int, level: float, seed: int = 0) -> None:
    """Refuse no draws, a level that is no coverage, and a seed that draws nothing.

    Raises:
        InputError: one of them.
    """
    whole = isinstance(n, (int, np.integer)) and not isinstance(n, bool)
    if not whole or n < 1 or not 0 < real(level) < 1:
        raise InputError(f"{n!r:.40} draws at level {level!r:.40}: give at least one draw, and a level between 0 and 1")
    check_seed(seed)


def check_seed(seed: int) -> None:
    """Refuse a seed that draws nothing, or that scikit-learn does not take.

    Raises:
        InputError: it is no whole number from 0 up to what fits in 32 bits.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise InputError(f"seed={seed!r:.40} is no seed: give a whole number, 0 or more, below 2**32")
