"""The mean of samples in groups is drawn by whole groups, and covers what drawing single samples does not."""

import numpy as np
import pandas as pd
import pytest

from interp.answers.comparison import compare
from interp.errors import InputError
from interp.stats.clusters import clustered_mean, shared_groups
from interp.stats.intervals import bootstrap


def test_the_interval_is_that_of_drawing_groups_one_by_one():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), rng.integers(1, 6, size=30))
    values = rng.normal(size=len(groups)) + rng.normal(size=30)[groups]
    found = clustered_mean(values, groups, seed=1, n=20_000)
    members = [values[groups == group] for group in range(30)]
    means = [np.concatenate([members[i] for i in rng.integers(30, size=30)]).mean() for _ in range(4_000)]
    low, high = np.quantile(means, [0.025, 0.975])
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
    assert together.p_value == apart.p_value
    assert together.difference.high - together.difference.low > apart.difference.high - apart.difference.low
    shuffled = answers(after, groups).sample(frac=1, random_state=0)
    again = compare(answers(before, groups), shuffled).difference
    assert (again.low, again.high) == pytest.approx((together.difference.low, together.difference.high))


@pytest.mark.parametrize("groups", [["a"] * 4, [""] * 4, [None] * 4, ["a", "b", "c", ""]], ids=str)
def test_one_group_no_names_or_no_shared_one_means_samples(groups):
    assert shared_groups(answers([True] * 4, groups)) is None
    assert shared_groups(answers([True] * 4, groups).drop(columns="group")) is None


@pytest.mark.parametrize("groups", [["a", "", "a", ""], ["a", None, "a", np.nan]], ids=str)
def test_samples_without_a_group_stand_alone_beside_those_that_share_one(groups):
    found = shared_groups(answers([True, False, True, True], groups))
    assert found[0] == found[2] == "a" and len(set(found)) == 3
    assert compare(answers([True] * 4, groups), answers([True, False, True, True], groups)).groups == 3


@pytest.mark.parametrize(
    "given, says",
    [
        (([1.0, 2.0], ["a"]), "one group for each value"),
        (([1.0, 2.0], ["a", "a"]), "at least two groups"),
        (([[1.0]], [["a"]]), "one group for each value"),
    ],
)
def test_what_has_no_groups_is_refused(given, says):
    with pytest.raises(InputError, match=says):
        clustered_mean(*given, seed=0)
    with pytest.raises(InputError, match="at least one draw"):
        clustered_mean([1.0, 2.0], ["a", "b"], seed=0, n=0)
