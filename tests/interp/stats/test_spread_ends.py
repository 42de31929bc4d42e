"""Ends of bootstrap intervals are spread as Student's t is, are not there for two units, and never meet."""

from itertools import product
from operator import sub
from statistics import NormalDist

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from interp.errors import InputError
from interp.stats.clusters import (
    clustered_mean,
    clustered_share,
    few_groups,
    few_samples,
    few_units,
    group_names,
    groups_with,
    mean_over_groups,
    ratio_over_groups,
    shared_groups,
)
from interp.stats.intervals import (
    Interval,
    bootstrap,
    bootstrap_difference,
    hull,
    quantiles,
    spread_ends,
    square_and_add,
    wilson,
)


def normal_draws(estimate, deviation, n=20_001):
    """Draws whose quantiles are those of a normal."""
    grid = (np.arange(n) + 0.5) / n
    return estimate + deviation * np.array([NormalDist().inv_cdf(share) for share in grid])


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [3, 5, 12, 60])
def test_with_normal_draws_the_ends_are_those_of_student(n, level):
    values = np.random.default_rng(n).normal(3, 2, size=n)
    drawn = normal_draws(values.mean(), values.std() / np.sqrt(n))  # as a bootstrap of a mean spreads
    exact = stats.t.interval(level, n - 1, loc=values.mean(), scale=stats.sem(values))
    assert spread_ends(values.mean(), drawn, level, units=n) == pytest.approx(exact, rel=2e-3)


def test_with_thousands_of_units_the_ends_are_the_quantiles_of_the_draws():
    drawn = np.random.default_rng(0).normal(size=(500, 3))
    found = spread_ends(np.zeros(3), drawn, 0.9, units=50_000)
    assert found == pytest.approx(quantiles(drawn, 0.9), rel=1e-4)


def test_fewer_than_three_units_have_no_ends_place_by_place():
    drawn = np.random.default_rng(0).normal(size=(200, 4))
    found = spread_ends(np.zeros(4), drawn, 0.95, units=[0, 2, 3, 40], bounds=(-9, 9))
    assert np.isnan(found[:, :2]).all() and np.isfinite(found[:, 2:]).all()
    assert found[1, 2] - found[0, 2] > 2 * (found[1, 3] - found[0, 3])


@pytest.mark.parametrize("units", [3, 20, 400])
def test_where_nothing_varies_the_ends_are_what_could_have_been_missed_with_the_level_it_says(units):
    low, high = spread_ends(0.25, np.full(50, 0.25), 0.95, units=units, bounds=(0, 1))
    rare = (high - 0.25) / 0.75  # the share of others, all of them 1
    assert (1 - rare) ** units == pytest.approx(0.025) and (0.25 - low) / 0.25 == pytest.approx(rare)
    assert low < 0.25 < high


def test_where_nothing_varies_and_nothing_bounds_it_there_are_no_ends():
    assert np.isnan(spread_ends(0.3, np.full(50, 0.3), 0.95, units=20)).all()
    assert np.isnan(spread_ends(0.3, np.full(50, 0.3), 0.95, units=20, bounds=(0, np.inf))).all()
    drawn = np.stack([np.full(50, 0.1 + 0.2), np.arange(50.0)], axis=1)  # a sum that is not quite 0.3
    found = spread_ends(np.array([0.3, 24.5]), drawn, 0.95, units=20)
    assert np.isnan(found[:, 0]).all() and np.isfinite(found[:, 1]).all()


@pytest.mark.parametrize("units", [3, 20, 400])
def test_no_end_lies_on_the_estimate_or_leaves_it_out(units):
    """Draws of a count that lie on one side of it, and of a slope that draws make larger."""
    count = np.r_[np.full(90, 7.0), np.full(10, 9.0)]
    apart = stats.t.ppf(0.975, units - 1) * np.sqrt(units / (units - 1)) * 2 * np.sqrt(0.1)
    low, high = spread_ends(7.0, count, 0.95, units=units)
    assert low == pytest.approx(7 - apart, rel=1e-6) and high >= 9
    assert spread_ends(-7.0, -count, 0.95, units=units) == pytest.approx([-high, -low])
    beyond = 3 + np.random.default_rng(0).random(500)
    low, high = spread_ends(2.0, beyond, 0.95, units=units)
    assert low < 1 and high > 3.9
    assert spread_ends(7.0, count, 0.95, units=units, bounds=(7, 20))[0] == 7, "no less than it can be"


def test_ends_stay_inside_their_bounds_and_undefined_draws_are_left_out():
    drawn = np.array([[0.8, 1.0], [0.9, np.nan], [1.0, 0.6], [0.95, np.nan]])
    found = spread_ends(np.array([0.9, 0.8]), drawn, 0.95, units=4, bounds=(np.array([0.0, 0.5]), 1))
    assert found[1].tolist() == [1, 1] and found[0, 1] == 0.5
    assert np.isnan(spread_ends(0.5, np.full(9, np.nan), 0.95, units=9, bounds=(0, 1))).all()
    low, high = spread_ends(0.2, np.array([0.0, 0.1, 0.3, 0.4]), 0.95, units=4, bounds=(0, np.inf))
    assert low == 0 and high > 0.4


def test_two_photos_have_a_mean_and_no_interval():
    values, photos = np.array([-4.0, -5.4, -4.7]), ["a", "a", "b"]
    found = clustered_mean(values, photos, seed=0)
    assert found.estimate == pytest.approx(values.mean()) and np.isnan([found.low, found.high]).all()
    two = bootstrap(values[:2], seed=0)
    assert two.estimate == pytest.approx(-4.7) and np.isnan([two.low, two.high]).all()


def test_nothing_that_changed_is_not_a_change_of_exactly_nothing():
    before = np.arange(30) % 3 == 0
    found = bootstrap_difference(before, before, seed=0, bounds=(-1, 1))
    assert found.estimate == 0 and -0.13 < found.low < -0.11 and found.high == -found.low
    assert np.isnan(bootstrap_difference(before, before, seed=0).low)
    grouped = clustered_mean(np.zeros(40), np.repeat(np.arange(10), 4), seed=0, bounds=(-1, 1))
    assert grouped.high == pytest.approx(1 - 0.025**0.1) and grouped.low == -grouped.high


def test_a_layer_counts_the_groups_that_have_something_to_divide_by():
    groups = np.repeat(np.arange(5), 2)
    above, below = np.random.default_rng(0).random((2, 10, 3))
    above[4:, 0] = below[4:, 0] = 0  # two groups are left
    above[6:, 1] = np.nan  # three
    assert groups_with((below != 0) & np.isfinite(above), groups).tolist() == [2, 3, 5]
    found = ratio_over_groups(above, below, groups, seed=0)
    assert np.isnan(found.low).tolist() == [True, False, False]
    assert found.estimate[0] == pytest.approx(above[:4, 0].sum() / below[:4, 0].sum())


def test_a_difference_of_shares_has_newcombes_interval():
    """Method 10 of Newcombe (1998), table II: 56 of 70 against 48 of 80, and 9 of 10 against 3 of 10."""
    for (k, n), (other, of), wanted in (
        ((56, 70), (48, 80), (0.0524, 0.3339)),
        ((9, 10), (3, 10), (0.1705, 0.8090)),
        ((10, 10), (0, 20), (0.6791, 1.0)),
    ):
        found = square_and_add(sub, [wilson(k, n), wilson(other, of)])
        assert (found.low, found.high) == pytest.approx(wanted, abs=1e-4) and found.estimate == k / n - other / of


def test_a_hull_holds_both_and_is_not_there_where_one_is_not():
    one, other, none = Interval(0.5, 0.2, 0.6), Interval(0.5, 0.3, 0.9), Interval(0.5, np.nan, np.nan)
    assert (hull(one, other).low, hull(one, other).high) == (0.2, 0.9)
    assert np.isnan([hull(one, none).low, hull(none, other).high, square_and_add(sub, [one, none]).low]).all()


def test_means_have_bounds_of_their_own():
    values = np.stack([np.ones(20), np.zeros(20)], axis=1)
    found = mean_over_groups(values, np.arange(20), seed=0, bounds=([0, -1], [1, 1]))
    rare = 1 - 0.025 ** (1 / 20)
    assert found.low == pytest.approx([1 - rare, -rare]) and found.high == pytest.approx([1, rare])


@pytest.mark.parametrize("size", [1, 3])
def test_a_share_of_groups_that_go_together_is_that_of_as_many_samples_as_groups(size):
    """Wilson's of the groups, with Student's quantile; without sharing it is Wilson's of the samples."""
    right = np.arange(12) < 9
    groups = np.repeat(np.arange(12), size)
    found = clustered_share(np.repeat(right, size), groups)
    if size == 1:
        assert (found.low, found.high) == (wilson(9, 12).low, wilson(9, 12).high)
        return
    z2, n = stats.t.ppf(0.975, 11) ** 2, 12 * 11 / 12  # of 12 independent groups, with n - 1 for n
    for end in (found.low, found.high):
        assert (0.75 - end) ** 2 == pytest.approx(z2 * end * (1 - end) / n)


def test_a_share_is_never_surer_than_wilson_and_at_an_edge_counts_groups():
    halves = np.tile([True, False], 20)  # one of two in every group: they can not vary
    found, plain = clustered_share(halves, np.repeat(np.arange(20), 2)), wilson(20, 40)
    assert found.low < plain.low and found.high > plain.high
    for right in (np.ones(40, dtype=bool), np.zeros(40, dtype=bool)):
        edge, samples = clustered_share(right, np.repeat(np.arange(10), 4)), wilson(int(right.sum()), 40)
        exact = stats.t.ppf(0.975, 9) ** 2 / (10 + stats.t.ppf(0.975, 9) ** 2)
        assert edge.high - edge.low == pytest.approx(exact) and edge.high - edge.low > samples.high - samples.low


def test_a_share_of_two_groups_has_no_interval_and_groups_have_to_fit():
    found = clustered_share([True, False, True], list("aab"))
    assert found.estimate == 2 / 3 and np.isnan([found.low, found.high]).all()
    assert clustered_share([True, False]).high == wilson(1, 2).high
    with pytest.raises(InputError, match="one group for each"):
        clustered_share([True, False], ["a"])


@pytest.mark.parametrize(
    ("count", "says"), [(1, "1 group: what is drawn by group"), (2, "of fewer than 3."), (11, "which are few")]
)
def test_few_groups_are_told(count, says):
    assert says in few_groups(count)


def test_twelve_groups_are_not_few():
    assert few_groups(12) == few_samples(12) == ""


@pytest.mark.parametrize(
    ("groups", "says"),
    [
        (["a"] * 5, "Samples lie in 1 group: what is drawn by group has no interval of fewer than 3."),
        (["a", "a", "b", "c"], "Samples lie in 3 groups, which are few"),
        (["a", "b", "c", ""], "There are only 4 samples: intervals are as wide"),
        (["a", "b"], "There are only 2 samples: fewer than 3 have no interval but that of a share."),
        ([""], "There is only 1 sample: fewer than 3 have no interval but that of a share."),
        ([""] * 12, ""),
        ([*map(str, range(12)), "0"], ""),
        ([*map(str, range(11)), "0"], "Samples lie in 11 groups"),
    ],
)
def test_few_units_are_groups_where_samples_share_them_and_samples_where_not(groups, says):
    samples = pd.DataFrame({"group": groups})
    told = few_units(samples)
    assert told.startswith(says) and bool(told) == bool(says)
    assert set(groups) != {""} or few_units(samples.drop(columns="group")) == told
    values, drawn = np.arange(len(groups)) % 2.0, group_names(samples)
    assert np.isnan(clustered_mean(values, drawn, seed=0).low) == ("fewer than 3" in told)
    share = clustered_share(values > 0, shared_groups(samples))
    assert np.isnan(share.low) == told.endswith("of fewer than 3.")


def test_the_spread_of_a_mean_of_three_covers_what_its_quantiles_do_not():
    """All ways to draw three of three values, for normal values: the quantiles alone hold zero in 6 of 10."""
    held = {"spread": 0, "quantiles": 0}
    ways = np.array(list(product(range(3), repeat=3)))
    for seed in range(400):
        values = np.random.default_rng(seed).normal(size=3)
        drawn = values[ways].mean(axis=1)
        for name, ends in (
            ("spread", spread_ends(values.mean(), drawn, 0.95, units=3)),
            ("quantiles", quantiles(drawn, 0.95)),
        ):
            held[name] += ends[0] <= 0 <= ends[1]
    error = 3 * np.sqrt(0.95 * 0.05 / 400)
    assert held["spread"] / 400 > 0.95 - error and held["quantiles"] / 400 < 0.8
