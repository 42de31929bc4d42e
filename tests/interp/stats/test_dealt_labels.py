"""Dealt labels: what a group is labelled stays together, and p-values of many cells are what chance gives."""

import numpy as np

from interp.stats.shuffles import dealt_rows, pooled_p


def test_labels_of_a_group_go_to_one_group_of_its_size():
    units = np.repeat([0, 1, 2, 3, 4], [2, 3, 2, 3, 2])[np.random.default_rng(1).permutation(12)]
    dealt = dealt_rows(units, 200, np.random.default_rng(0))
    for own in dealt:
        assert sorted(own) == list(range(12))
        for unit in range(5):
            taken = units[own[units == unit]]
            assert len(set(taken)) == 1 and (units == taken[0]).sum() == (units == unit).sum()
    assert len(set(units[dealt[:, np.argmax(units == 0)]])) == 3  # of all groups of two
    assert (dealt != np.arange(12)).any(axis=0).all()


def test_a_group_alone_of_its_size_deals_among_its_own():
    units = np.array([0, 0, 0, 1])
    dealt = dealt_rows(units, 50, np.random.default_rng(0))
    assert (dealt[:, 3] == 3).all() and len({tuple(own[:3]) for own in dealt}) == 6


def test_p_values_are_counted_over_all_cells_and_over_the_largest_of_each_shuffle():
    values = np.array([0.9, 0.2, np.nan, 0.5])
    drawn = np.array([[0.1, 0.2, np.nan, 0.3], [0.6, 0.0, np.nan, 0.1], [0.2, 0.4, np.nan, 0.5]])
    p, p_any = pooled_p(values, drawn)
    np.testing.assert_allclose(p, [1 / 10, 7 / 10, np.nan, 3 / 10])
    np.testing.assert_allclose(p_any, [1 / 4, 1, np.nan, 3 / 4])


def test_under_chance_the_smallest_p_is_below_a_level_as_often_as_it_says():
    rng = np.random.default_rng(0)
    any_below = 0
    for _ in range(400):
        drawn = rng.normal(size=(20, 30)) + rng.normal(size=(20, 1))  # what all cells share, such as the labels
        p, p_any = pooled_p(drawn[0], drawn[1:])
        assert (p_any >= p - 1e-12).all()
        any_below += p_any.min() <= 0.1
    assert 22 <= any_below <= 60  # 40 of 400
