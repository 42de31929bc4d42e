"""Shuffles: each that groups allow comes as often as any other, and p-values are those of a loop."""

import math

import numpy as np

from interp.stats.shuffles import p_of_draws, shuffled_labels


def test_every_shuffle_of_groups_is_as_likely():
    right, units, strata = np.array([1, 0, 1, 1, 0, 0], bool), np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, int)
    keys = np.random.default_rng(0).random((24_000, 6))
    data, *drawn, mean = shuffled_labels(right, strata, units, keys)
    kinds, often = np.unique(drawn, axis=0, return_counts=True)
    assert (data == right).all() and (mean == 0.5).all()
    assert len(kinds) == 12, "three places for the mixed group, two for each other, and its two labels in either order"
    assert np.abs(often - 2000).max() < 5 * math.sqrt(2000)


def test_p_values_are_those_of_a_loop_over_draws_alone_and_for_all_cells_together():
    drawn = np.random.default_rng(0).normal(size=(40, 6)).round(1)  # with ties
    alone, together = p_of_draws(drawn)
    for cell in range(6):
        beyond = [
            sum(row[cell] >= drawn[0, cell] for row in drawn[1:]),
            sum(max(row) >= drawn[0, cell] for row in drawn[1:]),
        ]
        assert alone[cell] == (1 + beyond[0]) / 40 and together[cell] == (1 + beyond[1]) / 40
    assert (p_of_draws(np.vstack([[9.0], np.zeros((3, 1))]))[0] == 0.25).all()  # never 0: the data count
    assert p_of_draws(np.array([[0.1 + 0.2], [0.3]]))[0] == 1  # sums in another order are ties
