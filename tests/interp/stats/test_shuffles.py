"""Shuffles: each that groups allow comes as often as any other."""

import math

import numpy as np

from interp.stats.shuffles import shuffled_labels


def test_every_shuffle_of_groups_is_as_likely():
    right, units, strata = np.array([1, 0, 1, 1, 0, 0], bool), np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, int)
    keys = np.random.default_rng(0).random((24_000, 6))
    data, *drawn, mean = shuffled_labels(right, strata, units, keys)
    kinds, often = np.unique(drawn, axis=0, return_counts=True)
    assert (data == right).all() and (mean == 0.5).all()
    assert len(kinds) == 12, "three places for the mixed group, two for each other, and its two labels in either order"
    assert np.abs(often - 2000).max() < 5 * math.sqrt(2000)
