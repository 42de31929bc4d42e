"""Verdicts: each control can say no, and chance alone makes a set causal no more often than is stated."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom, t

from probes.heads.evaluation.verdicts import BELOW_CHANCE, Evidence, beyond, judge

DRAWS = (0.02, -0.01, 0.0, 0.01, 0.03)
CLEAR = Evidence(
    edits=True, effect=0.4, p=0.001, p_random=0.001, random={"random": DRAWS, "same_layers": DRAWS}, control_loss=0.0
)
"""A set that every control speaks for."""


def test_a_set_that_every_control_speaks_for_is_causal():
    assert judge(CLEAR)[0] == "causal"
    assert judge(replace(CLEAR, perplexity_ratio=1.2, parse_change=0.04))[0] == "causal"


def test_a_layer_with_few_other_heads_can_say_no_and_need_not_be_drawn_five_times():
    assert judge(replace(CLEAR, random={"random": DRAWS, "same_layers": (0.02, 0.01)}))[0] == "causal"


def test_what_was_below_chance_before_is_not_broken_by_an_edit_without_effect():
    below = replace(CLEAR, effect=0.0, below_chance=True)
    assert BELOW_CHANCE in judge(below)[1] and BELOW_CHANCE not in judge(replace(below, was_below=True))[1]
    assert judge(replace(CLEAR, below_chance=True, was_below=True))[0] == "broken"


@pytest.mark.parametrize(
    ("change", "verdict", "why"),
    [
        ({"edits": False}, "edits nothing", "untouched model"),
        ({"effect": -0.4}, "no effect detected", "-40.0 points"),
        ({"p": 0.06}, "no effect detected", "corrected p = 0.06"),
        ({"below_chance": True}, "broken", BELOW_CHANCE),
        ({"parse_change": 0.2}, "broken", "20.0 points more answers can not be read"),
        ({"control_loss": 0.3}, "broken", "the control task loses 30.0 points"),
        ({"perplexity_ratio": 3.0}, "broken", "3 times"),
        ({"random": {}}, "unchecked", "no random control"),
        ({"random": {"random": DRAWS[:4]}}, "unchecked", "4 different draws of a random control, and 5 are needed"),
        ({"random": {"random": DRAWS, "same_layers": (0.0, 0.4)}}, "not beyond random", "same_layers: 1 of 2"),
        (
            {"random": {"random": DRAWS, "same_layers": (0.0, 0.4, 0.1, 0.0, 0.0)}},
            "not beyond random",
            "same_layers: 1",
        ),
        ({"random": {"random": (0.3, -0.3, 0.2, -0.2, 0.0)}}, "not beyond random", "a further draw may reach"),
        ({"p_random": 0.2}, "not beyond random", "against the mean of the draws, corrected p = 0.2"),
        ({"control_loss": None}, "unchecked", "no control task"),
        ({"control_could_fall": False}, "unchecked", "so that it can not fall"),
        (
            {"effect": -0.0, "could_fall": False},
            "no effect detected",
            "+0.0 points the way that they should, with corrected p",
        ),
        ({"effect": 0.0, "could_fall": False}, "no effect detected", "there is nothing to take away"),
    ],
)
def test_each_control_can_say_no(change, verdict, why):
    found = judge(replace(CLEAR, **change))
    assert found[0] == verdict and why in found[1]


def test_what_has_no_effect_and_is_broken_is_told_both():
    verdict, why = judge(replace(CLEAR, effect=-0.3, parse_change=0.5))
    assert verdict == "no effect detected" and "50.0 points more answers" in why


def test_the_bound_is_students_prediction_of_one_more_draw():
    own = np.array([0.0, 0.1, 0.2, 0.05, -0.1, 0.3])
    half = t.ppf(0.95, len(own) - 1) * own.std(ddof=1) * np.sqrt(1 + 1 / len(own))
    assert beyond(own, 0.05) == pytest.approx(own.mean() + half)
    assert beyond([0.0] * 5, 0.05) == 0


@pytest.mark.parametrize("draws", [5, 12])
@pytest.mark.parametrize(("kind", "rate"), [("normal", lambda k: 0.05), ("cauchy", lambda k: 1 / (k + 1))])
def test_one_more_draw_like_the_random_ones_is_called_causal_no_more_often_than_stated(kind, rate, draws):
    rng, times = np.random.default_rng(0), 400
    made = rng.normal(size=(times, draws + 1)) if kind == "normal" else rng.standard_cauchy(size=(times, draws + 1))
    called = sum(
        judge(replace(CLEAR, effect=float(own[0]), p=0.0, p_random=0.0, random={"random": own[1:].tolist()}))[0]
        == "causal"
        for own in made
    )
    assert called <= binom.ppf(0.995, times, rate(draws))


def test_among_several_sets_each_has_to_be_further_out():
    between = replace(CLEAR, effect=0.0495)
    assert beyond(DRAWS, 0.05) < between.effect < beyond(DRAWS, 0.01)
    assert judge(between)[0] == "causal" and judge(between, sets=5)[0] == "not beyond random"
