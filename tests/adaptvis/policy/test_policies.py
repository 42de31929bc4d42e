"""ScalingVis and AdaptVis do what the paper says, sample by sample, and the sweep's table agrees with answering."""

from dataclasses import replace

import numpy as np
import pytest
import tiny
import torch
from tiny import passes

from adaptvis.policy.answering import answer_batch
from adaptvis.policy.policies import AdaptVis, Baseline, ScalingVis
from adaptvis.sweep.read import policy_rows, rows_under
from adaptvis.sweep.run import sweep_alphas
from interp.answers.scoring import first_option
from interp.errors import InputError
from interp.intervene.image_logits import ScaleImageLogits
from interp.objects.sample import Sample

QUESTION = "Where is the {} in relation to the table? Answer with left, right, above or below."
OPTIONS = ("left", "right", "above", "below")


def samples(n=6):
    names = ("mug", "dog", "red mug")
    return [
        Sample(str(place), tiny.photo(place), QUESTION.format(names[place % 3]), OPTIONS, "left", relation="left")
        for place in range(n)
    ]


def test_the_threshold_is_strict():
    policy = AdaptVis(0.5, 1.5, 0.4)
    assert policy.choose(0.4) == ScaleImageLogits(1.5) and policy.branch(0.4) == "sure"
    assert policy.choose(np.nextafter(0.4, 0)) == ScaleImageLogits(0.5)


def test_alphas_that_turn_the_method_round_are_taken_and_said_wherever_the_policy_is_named():
    usual, turned = AdaptVis(0.5, 1.5, 0.4), AdaptVis(1.2, 0.8, 0.4, confidence="margin")
    assert usual.caveats == AdaptVis(1.0, 1.0).caveats == () and "does not" not in str(usual)
    assert "alpha_unsure=1.2, which is above 1, does not smooth where the model is unsure" in turned.caveats[0]
    assert "alpha_sure=0.8, which is below 1, does not sharpen where the model is sure" in turned.caveats[1]
    assert str(turned) == (
        "AdaptVis(alpha_unsure=1.2, alpha_sure=0.8, threshold=0.4, confidence=margin; does not smooth; does not "
        "sharpen)"
    )
    assert turned.choose(0.1) == ScaleImageLogits(1.2) and turned.branch(0.1) == "unsure"
    assert "; does not smooth)" in str(AdaptVis(1.01)) and "; does not sharpen)" in str(AdaptVis(alpha_sure=0.99))


def test_layers_and_heads_are_read_as_the_intervention_reads_them():
    assert ScalingVis(0.5, layers=[3, 1]) == ScalingVis(0.5, layers=(1, 3))
    assert hash(AdaptVis(heads=[2, 0])) == hash(AdaptVis(heads=(0, 2)))
    with pytest.raises(InputError, match="empty"):
        ScalingVis(0.5, layers=())


def test_a_policy_takes_the_rows_of_its_own_layers_and_mode_and_the_untouched_run_is_always_there():
    vlm, own = tiny.vlm(), samples(2)
    some = sweep_alphas(vlm, own, (0.5,), layers=(1,), max_new_tokens=2, progress=False)
    assert set(some["layers"]) == {"", "1"} and set(some["setting"]) == {
        "untouched",
        str(ScalingVis(0.5, layers=(1,)).choose(1.0)),
    }
    with pytest.raises(InputError, match="add it to the plan"):
        policy_rows(some, ScalingVis(0.5))
    assert len(policy_rows(some, ScalingVis(0.5, layers=(1,)))) == 2
    added = sweep_alphas(vlm, own, (1.0,), mode="add", max_new_tokens=2, progress=False)
    assert set(policy_rows(added, Baseline())["setting"]) == {"untouched"}
    assert len(policy_rows(added, ScalingVis(1.0, mode="add"))) == 2
    assert set(policy_rows(added, ScalingVis(1.0))["setting"]) == {"untouched"}, "a factor of 1 changes nothing"
    assert list(rows_under(added, mode="add")["alpha"]) == [0.0, 0.0, 1.0, 1.0]


def test_an_alpha_that_is_no_number_is_refused_before_anything_runs():
    for alphas in (("0.5",), (float("nan"),)):
        with pytest.raises(InputError):
            sweep_alphas(tiny.vlm(), samples(1), alphas, progress=False)


@pytest.mark.parametrize("policy", [Baseline(), ScalingVis(0.3), AdaptVis(0.2, 3.0, 0.25)], ids=str)
def test_a_batch_of_answers_equals_whole_intervened_generations(policy):
    vlm = tiny.vlm()
    own = samples()
    inputs = vlm.prepare([item.image for item in own], [item.question for item in own], prompt="paper")
    answers = answer_batch(vlm, inputs, policy, max_new_tokens=5, keep_untouched=True)
    for place, found in enumerate(answers):
        alone = vlm.prepare(own[place].image, own[place].question, prompt="paper")
        with torch.no_grad():
            sure = vlm(alone).logits[0, -1].float().softmax(-1).max().item()
        assert abs(found.confidence - sure) < 1e-5
        assert found.text == vlm.generate(alone, 5, intervention=policy.choose(sure)).texts[0]
        assert found.untouched == vlm.generate(alone, 5).texts[0]
    shorter = answer_batch(vlm, inputs, policy, max_new_tokens=5)
    assert [replace(found, probability=0.0) for found in shorter] == [
        replace(found, probability=0.0, untouched=None) for found in answers
    ]
    chances = [found.probability for found in answers]
    assert [found.probability for found in shorter] == pytest.approx(chances, abs=1e-6)


@pytest.mark.parametrize(
    "policy, keep, rows",
    [
        (AdaptVis(0.2, 3.0, 0.25), False, [6] * 5),
        (AdaptVis(0.2, 3.0, 0.25), True, [12] * 5),
        (Baseline(), False, [6] * 4),
    ],
    ids=str,
)
def test_an_answer_costs_the_prefill_and_a_row_for_each_token_that_is_asked_for(policy, keep, rows):
    vlm, own = tiny.vlm(), samples()
    inputs = vlm.prepare([item.image for item in own], [item.question for item in own], prompt="paper")
    with passes(vlm) as shapes:
        answers = answer_batch(vlm, inputs, policy, max_new_tokens=5, keep_untouched=keep)
    assert shapes == [tuple(inputs.input_ids.shape), *((count, 1) for count in rows)]
    assert all((found.untouched is None) != keep for found in answers)


def test_a_policy_read_off_the_sweep_is_the_policy_run_by_itself():
    vlm, own = tiny.vlm(), samples()
    table = sweep_alphas(vlm, own, (0.2, 3.0), batch=4, max_new_tokens=5, progress=False)
    assert len(table) == 3 * len(own) and list(rows_under(table)["alpha"].unique()) == [0.2, 1.0, 3.0]
    threshold = float(table["confidence"].median())
    for policy in (Baseline(), ScalingVis(3.0), AdaptVis(0.2, 3.0, threshold)):
        rows = policy_rows(table, policy).set_index("id")
        for item in own:
            inputs = vlm.prepare(item.image, item.question, prompt="paper")
            chosen = policy.choose(float(rows.loc[item.id, "confidence"]))
            assert rows.loc[item.id, "text"] == vlm.generate(inputs, 5, intervention=chosen).texts[0]


def test_an_alpha_that_was_not_swept_is_refused():
    table = sweep_alphas(tiny.vlm(), samples(2), (0.5,), max_new_tokens=2, progress=False)
    with pytest.raises(InputError, match="1.5"):
        policy_rows(table, ScalingVis(1.5))


@pytest.mark.parametrize(
    "text, option",
    [("Left", "left"), ("It is right, not left", "right"), ("leftover", None), ("", None), ("ABOVE left", "above")],
)
def test_the_first_whole_word_decides(text, option):
    assert first_option(text, OPTIONS) == option
