"""Sparsity and layout: the sheet's values, intervals that hold them, and nulls that find nothing in noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from head_scores import made_scores

from interp.errors import InputError
from interp.stats.tests import holm
from probes.heads.selection.layout import functions_in_common, head_layout, models_in_common
from probes.heads.selection.sparsity import layer_centre, layer_profile, measures_of

SHEET = {
    "ones": (np.ones(8), {"gini": 0, "hoyer": 0, "effective_heads": 8, "participation_ratio": 8}),
    "one": (np.eye(8)[3], {"gini": 0.875, "hoyer": 1, "effective_heads": 1, "participation_ratio": 1}),
    "few": (
        np.array([4.0, 2, 1, 1, 0, 0, 0, 0]),
        {"gini": 0.6563, "hoyer": 0.6141, "effective_heads": 3.3636, "participation_ratio": 2.9091},
    ),
}


def rows(table, **where):
    for name, value in where.items():
        table = table[table[name] == value]
    return table.iloc[0]


@pytest.mark.parametrize("name", SHEET)
def test_measures_are_those_of_the_sheet(name):
    values, wanted = SHEET[name]
    rng = np.random.default_rng(0)
    measures = measures_of(0.5, 2)
    for key, value in wanted.items():
        for scale in (1.0, 1e-3):
            assert measures[key](scale * rng.permutation(values)) == pytest.approx(value, abs=6e-5)


def test_shares_mass_and_layers_are_counted():
    own = np.array([[4.0, 2], [1, 1], [0, 0]])
    measures = measures_of(1.0, 2)
    assert measures["share_above"](own.ravel()) == pytest.approx(2 / 6)
    assert measures["top_mass"](own.ravel()) == pytest.approx(6 / 8)
    np.testing.assert_allclose(layer_profile(own), [0.75, 0.25, 0])
    assert layer_centre(own) == pytest.approx(0.25)


def test_the_layout_tells_each_measure_beside_even_and_random_heads():
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(size=(2, 8, 16)))
    values[0, 6, 3] = 120
    found = head_layout(made_scores(values, ("spatial", "math")), deals=200, top_k=1)
    planted, noise = (rows(found.measures, function=name, measure="gini") for name in ("spatial", "math"))
    assert planted["value"] > planted["random_high"] and planted["even"] == pytest.approx(0, abs=1e-9)
    assert noise["random_low"] < noise["value"] < noise["random_high"]
    centre = rows(found.measures, function="spatial", measure="layer_centre")
    assert centre["value"] > 4.5 and centre["even"] == 3.5
    assert len(found.profile) == 16 and found.profile.groupby("function")["value"].sum().round(6).eq(1).all()
    assert rows(found.profile, function="spatial", layer=6)["value"] > 0.4
    assert found.measures["low"].isna().all()  # nothing was drawn


def test_noise_lies_outside_its_null_as_rarely_as_it_says():
    outside = []
    for seed in range(30):
        values = np.abs(np.random.default_rng(seed).normal(size=(6, 8)))
        told = head_layout(made_scores(values), deals=200, seed=seed).measures.set_index("measure")
        outside.append((told["value"] < told["random_low"]) | (told["value"] > told["random_high"]))
    rate = np.mean([own[["gini", "hoyer", "effective_heads", "top_mass", "layer_centre"]] for own in outside], axis=0)
    assert (rate <= 0.15).all()


def drawn_scores(truth, seed, *, noise=1.0, groups=30, draws=200):
    """Scores that are means over groups of the truth and noise, with draws of the groups."""
    rng = np.random.default_rng(seed)
    each = truth + noise * rng.normal(size=(groups, *truth.shape))
    counts = rng.multinomial(groups, np.full(groups, 1 / groups), size=draws) / groups
    drawn = np.tensordot(counts, each, axes=1).astype(np.float32)
    scores = made_scores(each.mean(axis=0))
    return replace(scores, draws=drawn, groups=(groups,) * len(scores.functions))


@pytest.mark.parametrize("truth", [0.0, 0.01, 50.0], ids=["noise", "little", "far above"])
@pytest.mark.parametrize("groups", [2, 3, 20])
def test_an_interval_holds_its_estimate_has_a_width_and_is_of_three_groups_or_more(truth, groups):
    maps = truth * np.random.default_rng(0).exponential(size=(2, 4, 6))
    own = replace(drawn_scores(maps, 1, groups=groups), functions=("a", "b"))
    layout = head_layout(own, top_k=4, deals=5)
    told = pd.concat([layout.measures, layout.profile, functions_in_common(own, "top_k", k=3, deals=5).table])
    told = pd.concat([told, models_in_common(own, own, deals=5)])
    known = told[told["low"].notna() | told["high"].notna()]
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"]) & (known["low"] < known["high"])).all()
    assert len(known) > len(told) / 2 if groups > 2 else known.empty


def test_intervals_hold_the_sparsity_of_the_truth_where_sizes_stand_out_of_the_noise():
    truth = 0.3 + np.random.default_rng(1).exponential(size=(1, 6, 8))
    wanted = {name: of(np.abs(truth[0]).ravel()) for name, of in measures_of(0.5, 4).items()}
    inside = dict.fromkeys(("hoyer", "participation_ratio", "top_mass"), 0)
    for seed in range(40):
        told = head_layout(drawn_scores(truth, seed, noise=0.5), above=0.5, top_k=4, deals=1).measures
        for name in inside:
            row = rows(told, measure=name)
            inside[name] += row["low"] <= wanted[name] <= row["high"]
    assert min(inside.values()) >= 32, inside  # of 40


def test_scores_above_their_null_are_measured_where_accuracies_are_all_alike():
    values = np.full((1, 4, 8), 0.5)
    values[0, 1, 2] = 0.9
    scores = made_scores(values, null=np.full((1, 4, 8), 0.5))
    flat, above = (head_layout(scores, sizes=own, deals=50) for own in ("absolute", "above_null"))
    assert rows(flat.measures, measure="effective_heads")["value"] > 30
    assert rows(above.measures, measure="effective_heads")["value"] == pytest.approx(1)
    with pytest.raises(InputError, match="has no null to be above"):
        head_layout(made_scores(values), sizes="above_null")
    with pytest.raises(InputError, match="sizes='square' is not known"):
        head_layout(scores, sizes="square")


def test_functions_that_share_heads_do_so_more_than_chance_and_others_do_not():
    rng = np.random.default_rng(0)
    values = rng.exponential(0.05, size=(3, 6, 10))
    for place, head in enumerate([3, 5, 7, 9]):
        values[:2, 2, head] += 2 + place
    values[2, 4, :4] += 3
    found = functions_in_common(made_scores(values, ("a", "b", "c")), "top_k", k=4, deals=200).table
    for measure in ("pearson", "jaccard", "shared"):
        alike, apart = (rows(found, first=one, second=two, measure=measure) for one, two in (("a", "b"), ("a", "c")))
        assert alike["value"] > 0.95 and alike["p_random"] < 0.01 and alike["p_within"] < 0.04
        assert apart["value"] < 0.05 and apart["p_random"] > 0.3
        assert alike["interval"] == "layers"
        # Both select the same heads of one layer, which says nothing of others.
        assert (alike["low"] < alike["value"]) if measure == "pearson" else np.isnan(alike["low"])
    with pytest.raises(InputError, match="give two functions or more"):
        functions_in_common(made_scores(values[0]))


def test_overlap_of_selections_is_drawn_where_scores_are():
    truth = np.zeros((2, 4, 6))
    truth[:, 1, :3] = 5
    for noise, sure in ((0.1, False), (8.0, True)):
        own = replace(drawn_scores(truth, 0, noise=noise), functions=("a", "b"))
        row = rows(functions_in_common(own, "top_k", k=3, deals=50).table, measure="jaccard")
        assert row["interval"] == "groups" and (row["low"] < row["high"]) == sure  # the same in all draws: none


def test_heads_of_several_functions_and_of_any_are_counted():
    values = np.zeros((3, 4, 5))
    values[0, 1, :2] = values[1, 1, 1:3] = 5
    values[2, 3, 3:] = 5
    scores = made_scores(values, ("a", "b", "c"))
    several = rows(functions_in_common(scores, "top_k", k=2, deals=400).table, measure="several")
    assert several["value"] == pytest.approx(1 / 5)  # one of five heads serves two functions
    # Of 20 heads, two for each of three functions: 3 (1/10)^2 (9/10) + (1/10)^3 serve several, of 1 - (9/10)^3.
    assert several["random"] == pytest.approx(0.028 / 0.271, abs=0.03) and several["p_random"] > 0.1
    nobody = functions_in_common(replace(scores, p=np.ones_like(scores.values)), "fdr", deals=5).table
    assert nobody.query("measure != 'pearson'")[["value", "p_random", "p_within"]].isna().all(axis=None)
    anywhere = rows(head_layout(scores, above=1.0, deals=50).measures, function="any")
    assert anywhere["value"] == pytest.approx(5 / 20)


def test_p_of_functions_in_common_are_corrected_for_all_pairs_of_a_measure():
    values = np.random.default_rng(0).normal(size=(4, 4, 6))
    found = functions_in_common(made_scores(values), "top_k", k=5, deals=200).table
    for measure, pairs in (("pearson", 6), ("jaccard", 6), ("shared", 6), ("several", 1)):
        own = found[found["measure"] == measure]
        assert len(own) == pairs
        for name in ("p_random", "p_within"):
            assert own[f"{name}_holm"].tolist() == pytest.approx(holm(own[name]).tolist())


def test_of_a_rule_that_can_not_be_drawn_the_share_that_serves_several_has_an_interval_of_layers():
    p = np.random.default_rng(0).uniform(size=(3, 8, 6))
    own = replace(made_scores(1 - p, ("a", "b", "c"), p=p, p_any=p / 8), draws=np.zeros((5, 3, 8, 6), np.float32))
    several = rows(functions_in_common(own, "max_t", deals=50).table, measure="several")
    assert several["interval"] == "layers" and several["low"] < several["value"] < several["high"]


def test_intervals_of_overlaps_and_counts_hold_what_draws_give():
    truth = np.zeros((2, 4, 6))
    truth[0, 1, :3] = truth[1, 2, :3] = 1
    own = replace(drawn_scores(truth, 0, noise=6.0), functions=("a", "b"))
    row = rows(functions_in_common(own, "top_k", k=6, deals=50).table, measure="jaccard")
    assert 0 <= row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]
    for name in ("share_above", "elbow_count"):
        row = rows(head_layout(own, above=1.0, deals=20).measures, function="a", measure=name)
        assert row["low"] <= row["value"] <= row["high"] and row["low"] < row["high"]


def test_models_of_other_shapes_are_held_against_each_other_at_relative_depth():
    def model(layers, heads, seed):
        depth = (np.arange(layers) + 0.5) / layers
        bump = np.exp(-(((depth - 0.6) / 0.15) ** 2))
        return made_scores(bump[:, None] * np.random.default_rng(seed).uniform(0.5, 1.5, size=(layers, heads)))

    alike = models_in_common(model(12, 8, 0), model(30, 4, 1), deals=200).iloc[0]
    assert alike["value"] > 0.9 and alike["p"] < 0.02 and np.isnan(alike["low"])
    noise = [made_scores(np.random.default_rng(seed).exponential(size=(12, 8))) for seed in (2, 3)]
    assert abs(models_in_common(*noise, deals=200).iloc[0]["value"]) < 0.9
    same = models_in_common(noise[0], noise[0], deals=50).iloc[0]
    assert same["value"] == pytest.approx(1)
    with pytest.raises(InputError, match="give the same scorer"):
        models_in_common(noise[0], replace(noise[1], scorer="other"))
    with pytest.raises(InputError, match="three layers or more"):
        models_in_common(made_scores(np.ones((2, 8))), noise[0])


def test_scores_that_are_missing_are_refused_with_their_number():
    values = np.ones((3, 4))
    values[1, 1] = np.nan
    with pytest.raises(InputError, match="1 not finite"):
        head_layout(made_scores(values))
    with pytest.raises(InputError, match="top_k=13 of 12 heads"):
        head_layout(made_scores(np.ones((3, 4))), top_k=13)
