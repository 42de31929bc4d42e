"""The mean of samples in groups is drawn by whole groups, and covers what drawing single samples does not."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from interp.answers.comparison import compare
from interp.errors import InputError
from interp.stats.clusters import (
    clustered_mean,
    clustered_share,
    group_names,
    mean_over_groups,
    ratio_over_groups,
    share_of_part,
    shared_groups,
    statistic_over_groups,
)
from interp.stats.intervals import DRAWS, bootstrap, spread_ends


def test_the_interval_is_that_of_drawing_groups_one_by_one():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), rng.integers(1, 6, size=30))
    values = rng.normal(size=len(groups)) + rng.normal(size=30)[groups]
    found = clustered_mean(values, groups, seed=1, n=20_000)
    members = [values[groups == group] for group in range(30)]
    means = [np.concatenate([members[i] for i in rng.integers(30, size=30)]).mean() for _ in range(4_000)]
    low, high = spread_ends(values.mean(), np.array(means), 0.95, units=30)
    assert found.estimate == pytest.approx(values.mean())
    assert found.low == pytest.approx(low, abs=0.03) and found.high == pytest.approx(high, abs=0.03)


def test_groups_of_one_are_samples():
    values = np.random.default_rng(3).normal(size=200)
    own, usual = clustered_mean(values, np.arange(200), seed=0, n=8000), bootstrap(values, seed=0, n=8000)
    assert own.low == pytest.approx(usual.low, abs=0.01) and own.high == pytest.approx(usual.high, abs=0.01)


def test_where_a_group_stands_or_falls_together_whole_groups_cover_and_single_samples_do_not():
    held = {"groups": 0, "samples": 0}
    for seed in range(120):
        rng = np.random.default_rng(100 + seed)
        groups = np.repeat(np.arange(60), 4)
        values = rng.choice([-1.0, 0.0, 1.0], size=60)[groups]
        whole, single = clustered_mean(values, groups, seed=0, n=400), bootstrap(values, seed=0, n=400)
        held["groups"] += whole.low <= 0 <= whole.high
        held["samples"] += single.low <= 0 <= single.high
    assert held["groups"] >= 106, "95 % intervals, 120 times"
    assert held["samples"] <= 95, "drawn one by one, four copies count as four"


def answers(right, groups):
    ids = [f"s{place}" for place in range(len(right))]
    return pd.DataFrame({"id": ids, "group": groups, "correct": right})


def test_a_comparison_draws_groups_where_samples_share_them():
    rng = np.random.default_rng(5)
    groups = [f"g{place // 4}" for place in range(80)]
    before = rng.random(80) < 0.5
    after = np.where(np.repeat(rng.random(20) < 0.3, 4), True, before)
    together = compare(answers(before, groups), answers(after, groups))
    apart = compare(answers(before, range(80)), answers(after, range(80)))
    assert (together.groups, apart.groups) == (20, 0)
    assert together.difference.estimate == pytest.approx(apart.difference.estimate)
    assert together.p_value > apart.p_value  # of groups that go together, and of samples that do not
    assert together.difference.high - together.difference.low > apart.difference.high - apart.difference.low
    shuffled = answers(after, groups).sample(frac=1, random_state=0)
    again = compare(answers(before, groups), shuffled).difference
    assert (again.low, again.high) == pytest.approx((together.difference.low, together.difference.high))


@pytest.mark.parametrize("groups", [[""] * 4, [None] * 4, ["a", "b", "c", ""]], ids=str)
def test_no_names_or_no_shared_one_means_samples(groups):
    assert shared_groups(answers([True] * 4, groups)) is None
    assert shared_groups(answers([True] * 4, groups).drop(columns="group")) is None


def test_samples_that_all_share_one_group_are_one_group():
    assert shared_groups(answers([True] * 4, ["a"] * 4)).tolist() == ["a"] * 4
    assert shared_groups(answers([True], ["a"])) is None


@pytest.mark.parametrize("groups", [["a", "", "a", ""], ["a", None, "a", np.nan]], ids=str)
def test_samples_without_a_group_stand_alone_beside_those_that_share_one(groups):
    found = shared_groups(answers([True, False, True, True], groups))
    assert found[0] == found[2] == "a" and len(set(found)) == 3
    assert compare(answers([True] * 4, groups), answers([True, False, True, True], groups)).groups == 3


@pytest.mark.parametrize(
    "given, says",
    [
        (([1.0, 2.0], ["a"]), "one group for each value"),
        (([[1.0]], [["a"]]), "one group for each value"),
    ],
)
def test_what_has_no_groups_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        clustered_mean(*given, seed=0)
    with pytest.raises(InputError, match="at least one draw"):
        clustered_mean([1.0, 2.0], ["a", "b"], seed=0, n=0)


def test_samples_without_a_group_are_drawn_each_by_itself():
    table = pd.DataFrame({"group": ["a", "", "a", None, "b", ""]})
    numbered = pd.factorize(group_names(table))[0]
    assert numbered.tolist() == [0, 1, 0, 2, 3, 4]
    assert len(set(group_names(table.drop(columns="group")))) == 6


def test_the_mean_over_groups_is_the_clustered_mean_of_each_layer():
    values, groups = np.random.default_rng(0).random((30, 3)), np.arange(30) // 4
    found = mean_over_groups(values, groups, seed=7)
    for layer in range(3):
        exact = clustered_mean(values[:, layer], groups, seed=7)
        assert (found.estimate[layer], found.low[layer], found.high[layer]) == pytest.approx(
            (exact.estimate, exact.low, exact.high)
        )


def test_what_is_drawn_hangs_on_where_groups_first_appear_and_not_on_their_names():
    values, groups = np.random.default_rng(0).random((30, 3)), np.array(list("zzaaxxccbb"))[np.arange(30) % 10]
    found = mean_over_groups(values, groups, seed=7)
    renamed = mean_over_groups(values, pd.factorize(groups)[0], seed=7)
    assert np.array_equal(found.low, renamed.low) and np.array_equal(found.high, renamed.high)


def test_draws_without_a_value_are_left_out_and_counted():
    above, below = (np.array([own + [0.0] * 6]).T for own in ([0.0, 1.0, 1.0], [1.0] * 3))
    found = ratio_over_groups(above, below, np.arange(9), seed=0, bounds=(0, 1))
    assert found.estimate == pytest.approx([2 / 3]) and (found.low[0], found.high[0]) == (0, 1)
    assert found.draws / DRAWS == pytest.approx(1 - (6 / 9) ** 9, abs=0.01)
    assert ratio_over_groups(above, np.ones_like(above), np.arange(9), seed=0).draws == DRAWS


def test_a_gap_in_one_layer_takes_nothing_from_another():
    values = np.random.default_rng(0).random((12, 2))
    holed = np.where(np.arange(24).reshape(12, 2) == 3, np.nan, values)
    whole, found = (mean_over_groups(table, np.arange(12), seed=0) for table in (values, holed))
    assert found.estimate[1] == pytest.approx(np.nanmean(holed[:, 1])) and np.isfinite(found.low).all()
    assert (found.low[0], found.high[0]) == (whole.low[0], whole.high[0])


def test_a_sample_without_any_value_is_as_if_it_were_not_there():
    values = np.random.default_rng(0).random((12, 2))
    holed = np.vstack([np.full((1, 2), np.nan), values])
    alone, found = (mean_over_groups(table, np.arange(len(table)), seed=0) for table in (values, holed))
    assert np.array_equal(found.low, alone.low) and np.array_equal(found.high, alone.high)


def test_one_group_has_no_interval():
    found = mean_over_groups(np.ones((4, 2)), np.zeros(4, dtype=int), seed=0)
    assert found.estimate.tolist() == [1, 1] and np.isnan(found.low).all() and found.draws == 0


def test_a_ratio_is_one_with_its_interval_around_one_under_the_null():
    rng = np.random.default_rng(1)
    found = ratio_over_groups(rng.random((400, 20)), rng.random((400, 20)), np.arange(400), seed=0)
    inside = (found.low <= 1) & (1 <= found.high)
    assert inside.sum() >= 16  # of 20 at 95 %


def test_a_ratio_over_nothing_is_not_defined():
    assert np.isnan(ratio_over_groups(np.ones((4, 1)), np.zeros((4, 1)), np.arange(4), seed=0).estimate).all()


def test_a_part_of_few_groups_counts_each_as_one_sample():
    """The exact interval of one or two, by its own tails."""
    for right, groups, k in (([1, 1], "aa", 1), ([0, 0, 0], "aaa", 0), ([1, 1, 0, 0], "aabb", 1), ([1] * 4, "aabb", 2)):
        found, n = share_of_part(np.array(right, dtype=bool), list(groups)), len(set(groups))
        exact = binomtest(k, n).proportion_ci(0.95, method="exact")
        assert (found.low, found.high) == pytest.approx((exact.low, exact.high)), groups
    between = share_of_part([True, False], ["a", "a"])
    assert (between.low, between.estimate, between.high) == (0.0, 0.5, 1.0)
    of_three = [True, True, False], ["a", "b", "c"]
    assert share_of_part(*of_three).low == clustered_share(*of_three).low
    assert np.isnan(share_of_part([], []).estimate)
    assert share_of_part([True], None).low == clustered_share([True], None).low


@pytest.mark.parametrize("wrong", [{"n": 0}, {"level": 0.0}, {"level": np.nan}, {"n": True}, {"seed": 0.5}])
def test_sums_over_groups_refuse_no_draws_and_what_is_no_level(wrong):
    values, groups = np.arange(6.0)[:, None], np.arange(6)
    for act in (lambda **how: mean_over_groups(values, groups, **how),
                lambda **how: ratio_over_groups(values, values + 1, groups, **how),
                lambda **how: statistic_over_groups(lambda sums: sums, [values], groups, **how),
                lambda **how: clustered_mean(values[:, 0], groups, **how)):  # fmt: skip
        with pytest.raises(InputError, match="at least one draw|no seed"):
            act(**{"seed": 0, **wrong})
