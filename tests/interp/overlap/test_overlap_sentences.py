"""The sentences of an overlap study's report claim what the numbers say, in both directions, and no more."""

from types import SimpleNamespace

import numpy as np

from interp.overlap.report.sentences import (
    association_says,
    ended,
    layers_say,
    name_layers,
    null_says,
    partial_says,
)
from interp.report.numbers import p_value
from interp.stats.association import association
from interp.stats.intervals import Interval
from interp.stats.partial import partial_effect


def interval(*numbers):
    return Interval(*(np.array(one, dtype=float) for one in numbers))


def test_an_association_is_said_to_both_sides_and_by_the_corrected_p_alone():
    shape = {"null_mean": 0.5, "null_low": 0.45, "null_high": 0.55, "n": 9}
    arrays = {name: np.full((4, 2), value) for name, value in shape.items()}
    arrays["auroc"] = np.array([[0.9, 0.8], [0.9, 0.2], [0.9, 0.7], [0.9, 0.5]])
    arrays |= {"low_all": arrays["auroc"] - 0.05, "high_all": arrays["auroc"] + 0.05}
    counts = {"n_right": 5, "n_wrong": 5, "level": 0.95}
    arrays["p_max"] = np.array([[0.01, 0.01], [0.01, 0.01], [0.01, 0.2], [0.01, 1.0]])
    said = association_says(SimpleNamespace(**arrays, **counts), "over all pairs", "mass")
    assert "a mass that is higher in layer 0 and lower in layer 1." in said
    assert (
        "Farthest from one half is layer 0: AUROC 0.800 [95 % CI 0.750, 0.850], an interval that holds for all layers "
        "and heads together, over 9 of 10 answers"
        in said
        and "p = 0.01, " in said
    )
    arrays["p_max"][:, -1] = 0.06  # of the head mean, which the sentence is about
    weak = association_says(SimpleNamespace(**arrays, **counts), "over all pairs", "mass")
    assert "no difference was detected in the mass" in weak and "right answers have" not in weak


def test_an_association_of_shuffled_answers_is_seldom_said():
    rng = np.random.default_rng(0)
    told = []
    for seed in range(40):
        found = association(rng.random((40, 5, 3)), rng.random(40) < 0.5, seed=seed, n_draws=20, n_shuffles=200)
        told.append("no difference was detected" in association_says(found, "over all pairs", "mass"))
    assert sum(told) >= 35  # 38 of 40 at 5 %


def test_a_null_is_beaten_where_the_interval_leaves_out_zero():
    gain = interval([0.2, -0.2, 0.1, np.nan], [0.1, -0.3, -0.1, np.nan], [0.3, -0.1, 0.2, np.nan])
    said = null_says("moved", gain, [2, 3], np.array([27, 27, 27, 0]), 30)
    told = "more in layer 0 and less in layer 1; layer 2 +0.100 [95 % CI -0.100, +0.200] (27 of 30 samples)."
    assert told in said and "layer 3" not in said
    assert "no difference was detected in any" in null_says(
        "even", interval([0.1], [-0.1], [0.2]), [], np.array([3]), 3
    )
    assert "not defined" in null_says("even", interval([np.nan], [np.nan], [np.nan]), [0], np.array([0]), 3)


def comparison(difference, p):
    one = Interval(0.6, 0.5, 0.7)
    return SimpleNamespace(
        difference=Interval(difference, difference - 0.1, difference + 0.1), chosen=one, best=one, p=p, width=1,
        chosen_layers=(17, 18), chosen_reversed=0.25, best_reversed=1.0,
        apparent=0.8, apparent_reversed=True, apparent_layers=(5,), n_right=9, n_wrong=4,
    )  # fmt: skip


def test_the_best_layers_are_called_better_only_where_p_says_so():
    better, worse, alike = (layers_say(comparison(*one), "mass") for one in ((0.2, 0.01), (-0.2, 0.01), (0.2, 0.2)))
    assert "predict right answers better" in better and "predict right answers worse" in worse
    assert (
        "no difference was detected" not in better + worse and "do not agree" in alike and "layers 17-18 here" in alike
    )
    assert "can not be set against" in layers_say(comparison(np.nan, np.nan), "mass")


def test_which_way_layers_predict_is_said_in_words():
    said, auroc = layers_say(comparison(0.2, 0.01), "mass"), "AUROC 0.600 [95 % CI 0.500, 0.700], taken so that"
    assert (
        f"The paper's (layers 17-18 here): {auroc} a higher mass goes with right answers in 75 % of the choices" in said
    )
    assert f"scored: {auroc} a higher mass goes with wrong answers (which" not in said
    assert f"scored: {auroc} a higher mass goes with wrong answers (whether it holds" in said
    assert said.count("whether it holds on other samples can not be told") == 2
    for ends, told in (((0.51, 0.7), "which holds on other samples"), ((0.2, 0.49), "which turns round on other")):
        one = comparison(0.2, 0.01)
        one.best = Interval(0.6, *ends)
        assert f"goes with wrong answers ({told}" in layers_say(one, "mass")
    assert "would seem to have 0.800 (a higher mass goes with wrong answers): 0.200 more than on other samples" in said
    one = comparison(0.2, 0.01)
    one.best, one.apparent = Interval(0.5, 0.4, 0.6), 0.5
    none = layers_say(one, "mass")
    assert "scored: AUROC 0.500 [95 % CI 0.400, 0.600] (" in none and "would seem to have 0.500: no more" in none


def effect(slope, p, separated, skipped=()):
    ends = {"low": np.array(slope) - 0.5, "high": np.array(slope) + 0.5}
    own = SimpleNamespace(log_odds=np.array(slope), p_bh=np.array(p), separated=np.array(separated), **ends)
    counts = {"n": np.full(len(slope), 40), "left_out": np.full(len(slope), 2), "test": "likelihood ratio"}
    counts["unadjusted"] = own
    return SimpleNamespace(adjusted=own, beside=("confidence", "area_union"), skipped=skipped, constant=(), **counts)


def test_where_no_effect_can_be_told_the_reason_is_said():
    rng = np.random.default_rng(0)
    right, score, column = rng.random(30) < 0.5, rng.random(30), rng.random(30)
    some = "of the 30 answers that are left all are right, all are wrong, or all have the same mass"
    for scores, truth, beside, why in (
        (score, np.ones(30, bool), column, some),
        (np.ones(30), right, column, some),
        (2 * column, right, column, "the covariates together tell the mass of every answer"),
        (np.where(right, score, np.nan), right, column, some.replace("30", str(int(right.sum())))),
        (score, right, np.full(30, np.nan), "no answer that is left has both the mass and the covariates"),
    ):
        said = partial_says(partial_effect(scores[:, None], truth, {"confidence": beside}), "mass")
        assert f"no effect of the mass can be told, as {why}." in said, said
    groups = np.array(["left", "right"] * 15, dtype=object)
    said = partial_says(partial_effect(score[:, None], groups == "left", {"relation": groups}), "mass")
    assert said.count("all right or all wrong: ") == 1 and "no answer that is left has both" in said, said


def test_an_effect_beside_other_columns_is_said_by_sign_and_corrected_p():
    said = partial_says(effect([1.0, -1.0, 2.0], [0.01, 0.01, 0.3], [False, True, False]), "mass")
    assert "goes with right answers in layer 0 (" in said and "wrong answers" not in said
    assert "Beside confidence, area_union" in said and "In layer 1 only the penalty" in said
    both = partial_says(effect([1.0, -1.0], [0.01, 0.01], [False, False]), "mass")
    assert "goes with right answers in layer 0 and a higher mass goes with wrong answers in layer 1" in both
    assert "no difference was detected" in partial_says(effect([0.1], [0.2], [False]), "mass")
    assert "no effect of the mass can be told, as" in partial_says(effect([np.nan], [np.nan], [False]), "mass")
    assert "all right or all wrong: relation=left." in partial_says(
        effect([1.0], [0.2], [False], ("relation=left",)), "mass"
    )


def test_numbers_are_written_as_they_are_read():
    assert name_layers(np.array([True, True, False, True])) == "layers 0-1, 3" and name_layers((4,)) == "layer 4"
    assert ended(0.5, 0.25, 0.75) == "0.500 [0.250, 0.750]" and ended(0.5, np.nan, np.nan) == "0.500"
    assert ended(np.nan, 0, 1) == "–" and ended(0.1, 0.0, 0.2, signed=True) == "+0.100 [+0.000, +0.200]"
    assert p_value(0.00001) == "<0.0001" and p_value(0.0312) == "0.031" and p_value(float("nan")) == "–"
