"""Paired draws are those of whole groups, and allow for controls that are few."""

import numpy as np
import pytest

from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import APART
from interp.stats.paired_draws import PairedDraws

GROUPS = np.array([f"photo {place % 7}" for place in range(30)], dtype=object)


def test_intervals_are_those_of_every_other_mean_over_groups():
    values = np.random.default_rng(0).random((30, 4))
    wanted = mean_over_groups(values, GROUPS, seed=3, n=500)
    for place, own in enumerate(PairedDraws(GROUPS, 3, 500).told(values, 0.95)):
        assert own["value"] == pytest.approx(wanted.estimate[place])
        assert (own["low"], own["high"]) == pytest.approx((wanted.low[place], wanted.high[place]))


def test_what_is_alike_in_every_item_differs_by_nothing_that_was_seen():
    missed = 1 - 0.025 ** (1 / 7)  # of seven photos
    values = np.random.default_rng(1).random((30, 1)) < 0.3
    (own,) = PairedDraws(GROUPS, 0, 200).told(values.astype(float) - values, 0.95, bounds=(-1, 1))
    assert list(own.values()) == pytest.approx([0, -missed, missed])
    moved = np.where(np.arange(30) == 0, 1.0, np.where(np.arange(30) == 7, -1.0, 0.0))[:, None]  # both of one photo
    (own,) = PairedDraws(GROUPS, 0, 200).told(moved, 0.95)
    assert list(own.values()) == pytest.approx([0, 0, missed])
    (two,) = PairedDraws(GROUPS[:2], 0, 200).told(values[:2].astype(float), 0.95)
    assert np.isnan([two["low"], two["high"]]).all()


def test_the_interval_beyond_controls_is_that_of_one_more_of_them():
    """Treatment and controls drawn from one normal: beyond in 1 of 40, though there are three controls only."""
    rng, beyond = np.random.default_rng(2), 0
    groups = np.arange(60)
    for number in range(200):
        effects = rng.normal(size=4) * 0.2
        values = effects[None, :] + rng.normal(size=(60, 4)) * 1e-3
        draws = PairedDraws(groups, number, 200)
        beyond += draws.told_beyond(values[:, :1], values[:, 1:, None], 0.95, bounds=APART)[0]["low"] > 0
    assert 1 <= beyond <= 12  # 5 are expected


def test_a_mean_over_seeds_moves_with_what_lies_between_them_and_one_seed_moves_nothing():
    values = np.repeat(np.array([0.1, 0.3, 0.5])[None, :, None], 20, axis=0)
    draws = PairedDraws(np.arange(20), 0, 4000)
    (own,) = draws.told_of_seeds(values, 0.95)
    half = 4.303 * 0.2 / 3**0.5
    assert own["value"] == pytest.approx(0.3) and own["low"] == 0  # clipped
    assert own["high"] == pytest.approx(0.3 + half, abs=0.12)
    (alone,) = draws.told_of_seeds(values[:, :1], 0.95)
    missed = 1 - 0.025 ** (1 / 20)
    assert (alone["low"], alone["high"]) == pytest.approx((0.1 - 0.1 * missed, 0.1 + 0.9 * missed))


def test_a_difference_of_shares_is_no_more_than_all_of_them():
    treated, controls = np.zeros((8, 1)), np.zeros((8, 3, 1))
    controls[:, 0], controls[:2, 1] = 1, 1
    draws = PairedDraws(np.arange(8), 0, 200)
    (own,) = draws.told_beyond(treated, controls, 0.95)
    assert -1 <= own["low"] <= own["value"] <= own["high"] <= 1
    (net,) = draws.told_beyond(treated, controls, 0.95, bounds=APART)
    assert -2 <= net["low"] <= own["low"]
