"""Forced answers under edits have the chances that they are generated with, and arms are what was planned."""

import numpy as np
import pytest
import torch
from planted_tasks import SPATIAL, two_tasks
from ragged import loaded

from interp.errors import InputError
from interp.intervene.base import Chain, Untouched
from interp.intervene.head_bias import BiasImageLogits
from interp.intervene.heads import ScaleHeads
from interp.intervene.redistribution import RedistributeAttention
from interp.model.features import ImageFeatures
from interp.model.generation import generate_scored
from interp.model.prefix import Prefix
from probes.heads.evaluation.arms import ArmPlan, distinct_sets, lowest_heads, read_sets
from probes.heads.evaluation.forced import forced_chances
from probes.heads.scores import HeadScores

HEADS = ((0, 1), (1, 0))
FAMILIES = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3", "tiny-llava_next")


def said_under(vlm, inputs, edit, steps=4):
    """What is generated under an edit, and the log-probability of each token."""
    with vlm.intervene(edit, inputs):
        answer, chances = generate_scored(vlm, inputs, steps)
    rows = zip(answer.tokens.tolist(), chances, answer.lengths, strict=True)
    return zip(*[(tokens[:length], own[:length]) for tokens, own, length in rows], strict=True)


def check_forced(vlm, inputs, edit):
    answers, chances = said_under(vlm, inputs, edit)
    features = ImageFeatures.capture(vlm, inputs)
    untouched, forced = forced_chances(features, answers, [Untouched(), edit])
    for own, wanted in zip(forced, chances, strict=True):
        torch.testing.assert_close(own, wanted, rtol=1e-3, atol=2e-4)
    assert max(float((a - b).abs().max()) for a, b in zip(untouched, forced, strict=True)) > 1e-3


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
@pytest.mark.parametrize("name", FAMILIES)
def test_scaled_heads_force_answers_as_they_generate_them(name, scope):
    vlm, inputs = loaded(name, 2)
    check_forced(vlm, inputs, ScaleHeads(HEADS, 20.0, scope=scope))
    if scope != "decode":
        check_forced(vlm, inputs, Chain((ScaleHeads(HEADS, 5.0, "text", scope), ScaleHeads(HEADS[:1], 4.0, "image"))))


def test_biased_and_redistributed_attention_force_answers_as_they_generate_them():
    vlm, inputs = loaded("tiny-llava", 2)
    check_forced(vlm, inputs, BiasImageLogits(HEADS, ((0, 1), (2,)), 30.0))
    sinks = np.arange(len(inputs.layouts[0].image_positions)) < 3
    check_forced(vlm, inputs, Chain((RedistributeAttention(sinks, 0.0, heads=HEADS), ScaleHeads(HEADS, 20.0))))


@pytest.mark.parametrize("scope", ["prompt", "decode", "both"])
def test_answers_of_one_token_are_told_by_the_last_row_of_the_prompt(scope):
    vlm, inputs = loaded("tiny-llava", 3)
    features = ImageFeatures.capture(vlm, inputs)
    edits = [Untouched(), ScaleHeads(HEADS, 20.0, scope=scope), BiasImageLogits(HEADS, ((0, 1), (2,), (3,)), 30.0)]
    answers = [(9,), (12,), (20,)]
    passes = list(forced_chances(features, answers, edits))
    shared = list(forced_chances(features, answers, edits, prefix=Prefix(vlm, inputs, features=features)))
    for own, wanted in zip(shared, passes, strict=True):
        torch.testing.assert_close(torch.cat(own), torch.cat(wanted), rtol=1e-3, atol=2e-4)
    several = [(9, 10), (12,), (20,)]
    torch.testing.assert_close(
        [list(one) for one in forced_chances(features, several, edits, prefix=Prefix(vlm, inputs, features=features))],
        [list(one) for one in forced_chances(features, several, edits)],
    )


def plan(**changes):
    given = {"sets": {"spatial": SPATIAL}, "factor": 0.0, "controls": ("random", "same_layers"), **changes}
    return ArmPlan(**given)


def test_drawn_sets_are_as_large_differ_from_each_other_and_hold_none_of_the_set():
    arms, out = plan(draws=6, counts=(1,)).arms(two_tasks().cfg)
    assert not out and arms[0].name == "untouched"
    for role in ("random", "same_layers"):
        drawn = [arm.heads for arm in arms if arm.role == role and not arm.dose]
        assert len(set(drawn)) == 6 and not set(SPATIAL) & {head for own in drawn for head in own}
        assert {len(own) for own in drawn} == {2}
    layers = [sorted(layer for layer, _ in arm.heads) for arm in arms if arm.role == "same_layers"]
    assert layers == [[1, 2]] * 6
    assert arms == plan(draws=6, counts=(1,)).arms(two_tasks().cfg)[0] != plan(draws=6, seed=1).arms(two_tasks().cfg)[0]


def test_controls_that_can_not_be_drawn_are_left_out_by_name():
    shape = two_tasks().cfg
    whole = tuple((3, head) for head in range(4))
    arms, out = plan(sets={"last layer": whole}).arms(shape)
    assert [one["measure"] for one in out] == ["beyond_same_layers"] and "of layer 3" in out[0]["why"]
    assert not [arm for arm in arms if arm.role == "same_layers"]
    three = tuple((3, head) for head in range(3))
    arms, out = plan(sets={"most": three[:2]}).arms(shape)
    assert "there are only 1 different sets" in out[0]["why"]
    assert len(distinct_sets(three, shape, 5, (0,))) == 5


def test_heads_of_other_functions_are_as_many_and_none_of_the_set():
    others = {"math": ((0, 0), SPATIAL[0], (0, 1), (0, 2)), "same": SPATIAL}
    arms, out = plan(controls=("other",), others=others).arms(two_tasks().cfg)
    assert [arm.heads for arm in arms if arm.role == "other"] == [((0, 0), (0, 1))]
    assert out == [{"arm": "spatial", "measure": "beyond_other", "why": "all heads of same are in the set"}]


def test_the_lowest_heads_are_those_with_a_score_from_the_lowest_up():
    values = np.array([[[0.5, np.nan, 0.1], [0.1, 0.9, -0.2]]], dtype=np.float32)
    scores = HeadScores("made_up", ("spatial",), values, (4,), (2,))
    assert lowest_heads(scores, None) == ((1, 2), (0, 2), (1, 0), (0, 0), (1, 1))


def test_sets_are_named_once():
    assert read_sets([(1, 0)], {"more": [(2, 2)]}) == {"heads": ((1, 0),), "more": ((2, 2),)}
    with pytest.raises(InputError, match="both name 'heads'"):
        read_sets([(1, 0)], {"heads": [(2, 2)]})
    with pytest.raises(InputError, match="no head set is given"):
        read_sets({})
