"""Agreement: Spearman and Jaccard of two scorers are the textbook's, and layers alone do not pass for heads."""

from dataclasses import replace

import numpy as np
import pytest
from head_scores import made_scores
from scipy import stats

from interp.errors import InputError
from probes.heads.selection.agreement import scorer_agreement
from probes.heads.selection.related import Pair
from probes.heads.selection.selectors import select_heads


def told(several, measure="spearman", **options):
    table = scorer_agreement(several, deals=200, **options).table
    return table[table["measure"] == measure].iloc[0]


def test_spearman_and_jaccard_are_the_textbooks():
    rng = np.random.default_rng(0)
    first = rng.normal(size=(6, 8)).round(1)
    second = (first + rng.normal(size=(6, 8))).round(1)
    several = [made_scores(first, scorer="one"), made_scores(second, scorer="two")]
    row = told(several)
    assert row["value"] == pytest.approx(stats.spearmanr(first.ravel(), second.ravel()).statistic, abs=1e-6)
    assert row["p_random"] < 0.01 and row["low"] < row["value"] < row["high"] and row["interval"] == "layers"
    chosen = [set(select_heads(own, rule="top_k", k=12)) for own in several]
    row = told(several, "jaccard", rule="top_k", k=12)
    assert row["value"] == pytest.approx(len(chosen[0] & chosen[1]) / len(chosen[0] | chosen[1]))
    assert row["random"] == pytest.approx(12 * 12 / 48 / (24 - 12 * 12 / 48), abs=0.03)


def test_maps_that_share_their_layers_alone_agree_by_chance_within_layers():
    rng = np.random.default_rng(1)
    layers = np.linspace(0, 4, 8)[:, None]
    row = told([made_scores(layers + rng.normal(size=(8, 12)), scorer=name) for name in ("one", "two")])
    assert row["p_random"] < 0.01 and row["p_within"] > 0.05
    assert row["within_low"] < row["value"] < row["within_high"] and row["within"] > 0.5


def test_noise_agrees_as_rarely_as_it_says():
    p = []
    for seed in range(60):
        row = Pair(*np.random.default_rng(seed).normal(size=(2, 4, 8))).told("spearman", n=99, seed=seed, level=0.95)
        p += [row["p_random"], row["p_within"]]
    assert np.mean(np.array(p) <= 0.1) <= 0.2 and 0.4 < np.mean(p) < 0.6


def test_a_head_that_one_scorer_lacks_is_left_out_of_both():
    first, second = np.random.default_rng(0).normal(size=(2, 4, 6))
    second[1] = np.nan
    row = told([made_scores(first, scorer="one"), made_scores(second, scorer="two")])
    keep = [0, 2, 3]
    assert row["heads"] == 18
    assert row["value"] == pytest.approx(stats.spearmanr(first[keep].ravel(), second[keep].ravel()).statistic, abs=1e-6)


def test_a_scorer_that_knows_no_function_is_held_against_each():
    values = np.random.default_rng(0).normal(size=(2, 4, 6))
    several = [made_scores(values, ("spatial", "math"), "one"), made_scores(values[1], ("all",), "two")]
    table = scorer_agreement(several, deals=50).table.query("measure == 'spearman'").set_index("function")
    assert table.loc["math", "value"] == pytest.approx(1) and abs(table.loc["spatial", "value"]) < 0.9
    assert list(table.index) == ["spatial", "math"]


def test_draws_of_groups_are_used_where_both_scorers_keep_them():
    rng = np.random.default_rng(0)
    own = rng.normal(size=(4, 6))
    drawn = (own + 0.1 * rng.normal(size=(50, 1, 4, 6))).astype(np.float32)
    several = [replace(made_scores(own, scorer=name), draws=drawn) for name in ("one", "two")]
    assert told(several)["interval"] == "groups"
    assert told([several[0], made_scores(own, scorer="two")])["interval"] == "layers"


def test_scorers_that_can_not_be_compared_are_refused():
    own = made_scores(np.ones((2, 3)), scorer="one")
    with pytest.raises(InputError, match="scorers are one: give two or more"):
        scorer_agreement([own])
    with pytest.raises(InputError, match="scorers are one, one: give two or more with different names"):
        scorer_agreement([own, own])
    with pytest.raises(InputError, match="one 2 x 3, two 3 x 2"):
        scorer_agreement([own, made_scores(np.ones((3, 2)), scorer="two")])
    with pytest.raises(InputError, match="no function in common"):
        scorer_agreement([own, made_scores(np.ones((2, 3)), ("math",), scorer="two")])


def test_draws_of_layers_hold_the_correlation_that_layers_have():
    """Layers of a world in which two scores correlate by 0.6: nine of ten intervals of 90 % hold it."""
    inside, several = [], 150
    for seed in range(several):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(2, 8, 6))
        row = Pair(first, 0.6 * first + 0.8 * second).told("pearson", n=200, seed=seed, level=0.9)
        assert row["low"] <= row["value"] <= row["high"]
        inside.append(row["low"] <= 0.6 <= row["high"])
    assert abs(np.mean(inside) - 0.9) <= 3 * np.sqrt(0.9 * 0.1 / several)


def test_two_layers_have_no_interval():
    row = Pair(*np.random.default_rng(0).normal(size=(2, 2, 9))).told("pearson", n=50, seed=0, level=0.95)
    assert np.isfinite(row["value"]) and np.isnan(row["low"]) and np.isnan(row["high"])
