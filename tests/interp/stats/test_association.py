"""Association: AUROCs against double loops, nulls against every way to shuffle, and honest p-values where none is."""

import math
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd
import pytest
from by_hand import by_pairs, holds_level

from interp.errors import InputError
from interp.stats.association import association
from interp.stats.auroc_intervals import auroc_interval
from interp.stats.cells import NUMBERS
from interp.stats.tests import benjamini_hochberg


def made_up(seed=0, n=50, cells=(3, 4)):
    """Scores with ties and some missing, right answers, relations and groups."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 8, size=(n, *cells)).astype(np.float32)
    scores[rng.random(scores.shape) < 0.1] = np.nan
    return scores, rng.random(n) < 0.4, np.array(["on", "under", "left"])[rng.integers(3, size=n)], np.arange(n) // 3


@pytest.mark.parametrize("within", [False, True])
def test_every_cell_is_the_share_of_pairs_in_order_with_ties_as_half(within):
    scores, right, relation, _ = made_up()
    strata = relation if within else None
    found = association(scores, right, strata=strata, seed=0, n_draws=3, n_shuffles=3)
    for cell in np.ndindex(3, 4):
        expected, pairs = by_pairs(scores[:, *cell], right, strata)
        assert found.auroc[cell] == pytest.approx(expected)
        assert found.pairs[cell] == pairs
        assert found.undefined[cell] == np.isnan(scores[:, *cell]).sum() > 0


@pytest.mark.parametrize("grouped", [False, True])
def test_the_interval_of_each_cell_is_that_of_this_cell_alone_and_does_not_contradict_its_p(grouped):
    scores, right, relation, units = made_up(n=80)
    groups = units if grouped else None
    found = association(scores, right, strata=relation, groups=groups, seed=0, n_draws=9, n_shuffles=9, level=0.8)
    for cell in np.ndindex(3, 4):
        some = ~np.isnan(scores[:, *cell])
        alone = auroc_interval(
            scores[some, *cell], right[some], strata=relation[some], groups=units[some] if grouped else None, level=0.8
        )
        ends = (alone.low, alone.high) if found.p[cell] <= 0.2 else (min(alone.low, 0.5), max(alone.high, 0.5))
        assert (found.low[cell], found.high[cell]) == pytest.approx(ends)


@pytest.mark.parametrize("count", [3, 4, 5, 6])
def test_no_interval_of_few_groups_leaves_out_one_half_where_its_p_is_large(count):
    """So few groups, each all right or all wrong, can be shuffled in twenty ways or less."""
    units = np.arange(20 * count) // 20
    right = units % 2 == 0
    scores = 3 * right[:, None] + np.random.default_rng(count).normal(size=(20 * count, 3))
    found = association(scores, right, groups=units, seed=0, n_draws=9, n_shuffles=99)
    alone = auroc_interval(scores, right, groups=units)
    assert (found.p > 0.05).all() and (found.low <= 0.5).all() and (found.high == alone.high).all()
    assert (alone.low > 0.5).any() == (count > 3), "what the interval alone would claim"


def test_the_interval_covers_the_true_auroc_near_its_level():
    rng = np.random.default_rng(3)
    right = np.arange(90) % 3 > 0
    scores = rng.normal(size=(90, 250)) + right[:, None]
    true = (1 + math.erf(1 / 2)) / 2  # of normal scores one standard deviation apart
    found = auroc_interval(scores, right, level=0.9)
    covered = ((found.low <= true) & (true <= found.high)).mean()
    assert 0.83 <= covered <= 0.96


def against_every_shuffle(scores, right, ways, **given):
    """The p of `association` and that of going through all the ways to shuffle the labels."""
    strata = given.get("strata")
    values = np.array([by_pairs(scores, np.array(way), strata)[0] for way in ways])
    found = association(scores, right, seed=0, n_draws=1, n_shuffles=20_000, **given)
    far = np.abs(values - values.mean())
    exact = np.mean(far >= abs(by_pairs(scores, right, strata)[0] - values.mean()) - 1e-9)
    assert found.null_mean == pytest.approx(values.mean())
    assert found.p == pytest.approx(exact, abs=0.015)
    return exact


def test_p_is_the_share_of_all_shuffles_as_far_out():
    scores, right = np.array([0.1, 0.5, 0.5, 0.2, 0.9, 0.7, 0.3]), np.array([0, 1, 0, 0, 1, 1, 0], dtype=bool)
    ways = [np.isin(np.arange(7), chosen) for chosen in combinations(range(7), 3)]
    assert 0.05 < against_every_shuffle(scores, right, ways) < 0.5


def test_p_within_strata_is_that_of_all_shuffles_inside_them():
    scores = np.array([0.1, 0.5, 0.4, 0.2, 0.9, 0.7, 0.3, 0.8])
    right, strata = np.array([0, 1, 0, 1, 1, 0, 0, 1], dtype=bool), np.array(["on"] * 4 + ["under"] * 4)
    halves = [np.isin(np.arange(4), chosen) for chosen in combinations(range(4), 2)]
    ways = [np.concatenate(both) for both in product(halves, halves)]
    assert 0.05 < against_every_shuffle(scores, right, ways, strata=strata) < 0.9


def test_groups_pass_their_labels_on_as_a_whole():
    rng = np.random.default_rng(1)
    right = np.array([[1, 1], [0, 0], [1, 1], [1, 0], [0, 0]], dtype=bool)
    scores = rng.normal(size=10) + right.ravel()
    strata, units = np.tile(["left", "right"], 5), np.repeat(np.arange(5), 2)
    ways = [right[list(order)].ravel() for order in permutations(range(5))]
    exact = against_every_shuffle(scores, right.ravel(), ways, strata=strata, groups=units)
    alone = association(scores, right.ravel(), strata=strata, seed=0, n_draws=1, n_shuffles=20_000)
    assert abs(exact - alone.p) > 0.015, "shuffled one by one, the labels lose what their groups share"


def test_labels_of_one_group_and_stratum_are_shuffled_among_each_other():
    scores = np.array([0.3, 0.1, 0.9, 0.2, 0.6, 0.7])
    right, units = np.array([1, 0, 1, 1, 0, 0], dtype=bool), np.array([0, 0, 1, 1, 2, 2])
    pairs = [(True, False), (True, True), (False, False)]
    ways = [
        np.ravel([pair[::-1] if turned else pair for pair, turned in zip(order, turns, strict=True)])
        for order in permutations(pairs)
        for turns in product((False, True), repeat=3)
    ]
    against_every_shuffle(scores, right, ways, groups=units)


def test_a_group_unlike_all_others_keeps_its_labels_and_that_is_told():
    scores, right = np.arange(7.0), np.array([0, 1, 0, 1, 0, 0, 1], dtype=bool)
    units, strata = np.array([0, 0, 1, 1, 2, 2, 2]), np.array(["a", "b", "a", "b", "c", "b", "d"])
    found = association(scores, right, strata=strata, groups=units, seed=0, n_draws=9, n_shuffles=99)
    assert found.movable == 0 and found.p == 1
    right[0] = True
    assert association(scores, right, strata=strata, groups=units, seed=0, n_draws=9, n_shuffles=99).movable == 2


def test_p_values_are_uniform_when_scores_know_nothing():
    rng = np.random.default_rng(4)
    trials = [
        association(rng.normal(size=(36, 1)), rng.random(36) < 0.5, seed=trial, n_draws=1, n_shuffles=99).p[0]
        for trial in range(400)
    ]
    assert holds_level(np.sum(np.array(trials) <= 0.05), 400)
    assert abs(np.mean(trials) - 0.5) < 4 / math.sqrt(12 * 400)


def test_all_cells_together_err_at_the_level_however_alike_they_are():
    rng = np.random.default_rng(5)
    smallest = {"p": [], "p_max": []}
    for trial in range(300):
        shared = rng.normal(size=(40, 1)) * 1.5
        scores = np.round(shared + rng.normal(size=(40, 15)), 1)
        relation = rng.integers(2, size=40)
        found = association(scores, rng.random(40) < 0.5, strata=relation, seed=trial, n_draws=1, n_shuffles=99)
        for name, values in smallest.items():
            values.append(getattr(found, name).min())
    assert holds_level(np.sum(np.array(smallest["p_max"]) <= 0.05), 300)
    assert not holds_level(np.sum(np.array(smallest["p"]) <= 0.05), 300)


def test_the_correction_pays_for_different_cells_only():
    scores, right, _, _ = made_up(cells=(1,))
    alone = association(scores, right, seed=0, n_shuffles=300)
    copies = association(np.repeat(scores, 40, axis=1), right, seed=0, n_shuffles=300)
    assert alone.p_max == pytest.approx(alone.p) and copies.p_max == pytest.approx(np.repeat(alone.p, 40))
    others = association(made_up(cells=(40,))[0], right, seed=0, n_shuffles=300)
    assert (others.p_max >= others.p).all() and others.p_max.mean() > others.p.mean() + 0.1
    assert others.p_bh == pytest.approx(benjamini_hochberg(others.p))


def test_a_cell_of_four_samples_does_not_hide_a_finding():
    rng = np.random.default_rng(6)
    right = np.arange(80) % 2 == 0
    scores = np.column_stack([2 * right + rng.normal(size=80), rng.normal(size=80)])
    scores[4:, 1] = np.nan
    found = association(scores, right, seed=0, n_shuffles=999)
    assert found.null_high[1] == 1 and found.p_max[0] == pytest.approx(0.001)


def grouped(seed, cells=1):
    """Groups of four that are hard or easy as a whole, and scores that know the group but not the answer."""
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(24), 4)
    easy = rng.random(24) < 0.5
    right = rng.random(96) < np.where(easy, 0.95, 0.05)[units]
    return rng.normal(size=(24, cells))[units] + 0.3 * rng.normal(size=(96, cells)), right, units, np.tile(range(4), 24)


def test_where_groups_stand_or_fall_together_only_whole_groups_give_honest_p_values():
    rejected = {"groups": 0, "samples": 0}
    for trial in range(250):
        scores, right, units, relation = grouped(trial)
        for name, groups in (("groups", units), ("samples", None)):
            found = association(scores, right, strata=relation, groups=groups, seed=trial, n_draws=1, n_shuffles=99)
            rejected[name] += int(found.p[0] <= 0.05)
    assert holds_level(rejected["groups"], 250)
    assert rejected["samples"] > 50, "five in a hundred were promised"


def test_where_groups_stand_or_fall_together_only_whole_groups_cover():
    held = {"groups": 0, "samples": 0}
    for trial in range(150):
        scores, right, units, relation = grouped(1000 + trial)
        for name, groups in (("groups", units), ("samples", None)):
            found = auroc_interval(scores[:, 0], right, strata=relation, groups=groups)
            held[name] += int(found.low <= 0.5 <= found.high)
    assert held["groups"] >= 127 and held["samples"] < 115


def test_a_relation_detector_has_a_perfect_auroc_and_knows_nothing_within_relations():
    rng = np.random.default_rng(8)
    relation = np.array(["left", "on", "right", "under"])[np.arange(400) % 4]
    familiar = np.isin(relation, ["left", "right"])
    right = rng.random(400) < np.where(familiar, 0.98, 0.02)
    scores = familiar + 0.1 * rng.normal(size=400)
    pooled = association(scores, right, seed=0)
    within = association(scores, right, strata=relation, seed=0)
    assert pooled.auroc > 0.95 and pooled.p_max == pytest.approx(1 / 2001)
    assert within.auroc == pytest.approx(0.5, abs=0.17) and within.low < 0.5 < within.high and within.p > 0.05


def test_scores_that_are_the_answer_are_found_in_every_way():
    right = np.arange(60) % 3 > 0
    rng = np.random.default_rng(9)
    scores = np.stack([right + rng.random(60) * 0.9, rng.random(60)], axis=1)
    for given in ({}, {"strata": np.arange(60) % 2}, {"groups": np.arange(60) // 2}):
        found = association(scores, right, seed=0, n_shuffles=500, **given)
        assert found.auroc[0] == found.high[0] == 1 and 0.8 < found.low[0] < 1
        assert found.p[0] == found.p_max[0] == pytest.approx(1 / 501) and found.p_bh[0] == pytest.approx(2 / 501)
        assert found.p_max[1] > 0.05 and found.null_low[0] < 0.5 < found.null_high[0] < 1


def test_turned_scores_mirror_and_their_scale_says_nothing():
    scores, right, relation, _ = made_up(3)
    plain = association(scores, right, strata=relation, seed=1, n_draws=50, n_shuffles=50)
    turned = association(-scores, right, strata=relation, seed=1, n_draws=50, n_shuffles=50)
    scaled = association(np.exp(scores), right, strata=relation, seed=1, n_draws=50, n_shuffles=50)
    assert turned.auroc == pytest.approx(1 - plain.auroc) and turned.p_max == pytest.approx(plain.p_max)
    assert turned.low == pytest.approx(1 - plain.high)
    for name in NUMBERS:
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name))


def test_a_cell_is_measured_on_the_samples_that_have_a_score():
    rng = np.random.default_rng(10)
    right = np.arange(120) < 60
    scores = rng.normal(size=(120, 2))
    gone = ~right & (np.arange(120) % 12 > 0)  # of the wrong answers five are left
    scores[gone, 1] = np.nan
    found = association(scores, right, seed=0)
    alone = association(scores[~gone, 1], right[~gone], seed=0)
    assert found.auroc[1] == alone.auroc and (found.undefined == [0, gone.sum()]).all()
    assert found.pairs[1] == 60 * 5
    for name in ("null_low", "null_high"):
        assert getattr(found, name)[1] == pytest.approx(getattr(alone, name), abs=0.03)
    assert found.null_high[1] > found.null_high[0] + 0.05, "shuffled among all samples, its null would be too narrow"


def test_cells_that_miss_other_samples_still_share_their_shuffles():
    rng = np.random.default_rng(11)
    right = rng.random(80) < 0.5
    scores = np.repeat(rng.normal(size=(80, 1)) + 0.6 * right[:, None], 30, axis=1)
    scores[np.arange(30), np.arange(30)] = np.nan
    found = association(scores, right, seed=0, n_draws=1, n_shuffles=999)
    assert 0.002 < found.p.min() and found.p_max.max() < 3 * found.p.max() < 0.3, "copies but for one sample"


def test_one_class_is_undefined_and_never_an_error():
    found = association(np.ones((4, 2)), [True] * 4, seed=0, n_draws=5, n_shuffles=5)
    for name in NUMBERS:
        assert np.isnan(getattr(found, name)).all()
    assert (found.pairs == 0).all() and found.movable == 0
    scores, right, relation, units = made_up()
    scores[:, 1, 2] = np.nan
    for groups in (None, units):
        holed = association(scores, right, strata=relation, groups=groups, seed=0, n_draws=5, n_shuffles=5)
        assert np.isnan(holed.auroc[1, 2]) and np.isnan(holed.p_bh[1, 2]) and holed.undefined[1, 2] == 50
        assert np.isfinite(np.delete(holed.p_bh.ravel(), 6)).all()


def test_equal_scores_say_nothing():
    found = association(np.ones(20), np.arange(20) < 7, seed=0, n_draws=20, n_shuffles=20)
    assert found.auroc == found.null_low == found.null_high == 0.5 and found.p == found.p_max == 1
    assert 0.2 < found.low < 0.3 < 0.7 < found.high < 0.8


def test_strata_without_a_pair_are_named_and_counted():
    right = np.array([1, 1, 0, 0, 1, 0], dtype=bool)
    strata = np.array(["left", "left", "on", "on", "under", "under"])
    found = association(np.arange(6.0), right, strata=strata, seed=0, n_draws=50, n_shuffles=50)
    assert found.strata == {"left": (2, 0), "on": (0, 2), "under": (1, 1)} and found.skipped == ("left", "on")
    assert (found.n_right, found.n_wrong, found.pairs, found.movable) == (3, 3, 1, 2)
    assert found.auroc == 0


@pytest.mark.parametrize("grouped", [False, True])
def test_cells_are_worked_through_in_parts_with_the_same_result(monkeypatch, grouped):
    scores, right, relation, units = made_up()
    given = dict(strata=relation, groups=units if grouped else None, seed=0, n_draws=40, n_shuffles=40)
    whole = association(scores, right, **given)
    monkeypatch.setattr("interp.stats.cells._CELLS", 2)
    monkeypatch.setattr("interp.stats.pairs._MOST_FLOATS", 50)
    pd.testing.assert_frame_equal(association(scores, right, **given).to_dataframe(), whole.to_dataframe())


def test_the_seed_alone_decides():
    scores, right, _, _ = made_up()
    one, same, other = (association(scores, right, seed=seed, n_draws=30, n_shuffles=30) for seed in (5, 5, 6))
    assert (one.low_all == same.low_all).all() and (one.p == same.p).all() and (one.p != other.p).any()
    assert (one.low == other.low).all()


def test_the_table_has_a_row_per_cell_and_calls_the_mean_head_minus_one():
    scores, right, relation, _ = made_up()
    found = association(scores, right, strata=relation, seed=0, n_draws=9, n_shuffles=9)
    table = found.to_dataframe()
    assert len(table) == 12 and table["head"].tolist() == [0, 1, 2, -1] * 3
    row = table[(table["layer"] == 2) & (table["head"] == -1)].iloc[0]
    assert (
        row["auroc"] == found.auroc[2, -1] and row["p_max"] == found.p_max[2, -1] and row["pairs"] == found.pairs[2, -1]
    )
    assert found.to_dataframe(("region", "layer"))["layer"].max() == 3
    assert list(association(scores[:, 0, 0], right, seed=0, n_draws=9, n_shuffles=9).to_dataframe())[0] == "auroc"
    with pytest.raises(InputError, match="one name per axis"):
        found.to_dataframe(("layer",))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (dict(scores=np.ones((3, 2))), "for 4 samples"),
        (dict(scores=np.ones((4, 0))), "give \\[sample"),
        (dict(scores=[1.0, 2.0, np.inf, 0.0]), "infinite"),
        (dict(right=[0.5, 1, 0, 1]), "one bool per sample"),
        (dict(strata=["a", "b"]), "give one per sample"),
        (dict(strata=["a", "b", None, "a"]), "1 of 4 samples has no name in strata"),
        (dict(groups=["a", "", "", "a"]), "2 of 4 samples have no name in groups"),
        (dict(n_draws=0), "at least one draw"),
        (dict(n_shuffles=0), "at least one draw"),
        (dict(level=95), "between 0 and 1"),
    ],
)
def test_what_can_not_be_compared_is_refused(given, says):
    usual = dict(scores=np.arange(4.0), right=[True, False, True, False], seed=0, n_draws=2, n_shuffles=2)
    with pytest.raises(InputError, match=says):
        association(**{**usual, **given})


def test_samples_of_one_group_have_an_auroc_and_no_interval():
    found = association(np.arange(4.0), [True, False, True, False], groups=["a"] * 4, seed=0, n_draws=9, n_shuffles=9)
    assert found.auroc == 0.25 and np.isnan([found.low, found.high, found.low_all, found.high_all]).all()
