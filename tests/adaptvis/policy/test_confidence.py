"""Each measure of confidence is its formula, and policies go by the one that they name."""

import math

import numpy as np
import pytest
import tiny
import torch

from adaptvis.policy.answering import answer, answer_batch, of_policy
from adaptvis.policy.confidence import MEASURES, measure, option_tokens
from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.sweep.read import policy_rows
from adaptvis.sweep.run import sweep_alphas
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM

OPTIONS = ("left", "right", "above", "below")


class Words:
    """A tokenizer of whole words: its ids are their places in a list."""

    unk_token_id = 0
    words = ("?", "left", "Left", "right", "above", "below", "in", "front", "behind")

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [self.words.index(word) if word in self.words else 0 for word in text.split()]}

    def decode(self, ids):
        return self.words[ids[0]]


def test_every_measure_is_its_formula():
    logits = torch.log(torch.tensor([[0.02, 0.30, 0.10, 0.25, 0.03, 0.05, 0.05, 0.15, 0.05]]))
    tokens = option_tokens(Words(), OPTIONS)
    assert tokens.ids == ((1, 2), (3,), (4,), (5,)) and tokens.distinct
    (found,) = measure(logits + 7.0, [tokens])
    assert set(found) == set(MEASURES)
    assert found["probability"] == pytest.approx(0.30) and found["margin"] == pytest.approx(0.05)
    assert found["options"] == pytest.approx((0.30 + 0.10) / (0.40 + 0.25 + 0.03 + 0.05))
    chances = logits[0].exp().tolist()
    assert found["entropy"] == pytest.approx(math.exp(sum(p * math.log(p) for p in chances)))
    assert found["probability-rounded"] == 0.3 and found["raw-logit"] == round(math.log(0.30) + 7.0, 2) == 5.8


def test_a_certain_token_is_certain_by_every_measure():
    logits = torch.tensor([[-1e4, 5.0, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4]])
    (found,) = measure(logits, [option_tokens(Words(), OPTIONS)])
    assert [found[name] for name in ("probability", "options", "entropy", "margin")] == [1.0] * 4
    (even,) = measure(torch.zeros(1, 9), [option_tokens(Words(), OPTIONS)])
    assert even["entropy"] == pytest.approx(1 / 9) and even["margin"] == 0


@pytest.mark.parametrize(
    "options", [("in front", "in"), ("left", "upwards"), ()], ids=["one first token", "an unknown word", "none"]
)
def test_options_that_can_not_be_told_apart_have_no_confidence_by_options(options):
    tokens = option_tokens(Words(), options)
    assert not tokens.distinct
    (found,) = measure(torch.zeros(1, 9), [tokens])
    assert math.isnan(found["options"]) and found["probability"] == pytest.approx(1 / 9)
    with pytest.raises(InputError, match="can not be told apart"):
        of_policy(AdaptVis(confidence="options"), Words(), torch.zeros(1, 9), [options])


def test_the_embedded_models_can_say_each_option_of_their_scenes():
    tokenizer = HookedVLM.from_pretrained("shapes-vlm").processor.tokenizer
    tokens = option_tokens(tokenizer, OPTIONS)
    assert tokens.distinct and [tokenizer.decode(list(own)).strip() for own in tokens.ids] == list(OPTIONS)


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "raw-logit"])
def test_a_policy_read_off_a_sweep_goes_by_its_own_measure(name):
    vlm, samples = HookedVLM.from_pretrained("shapes-vlm"), shapes(12, kinds=("relation",))
    table = sweep_alphas(vlm, samples, (0.2, 3.0), batch=4, progress=False)
    inputs = vlm.prepare([item.image for item in samples], [item.question for item in samples], prompt="paper")
    with torch.no_grad():
        logits = vlm(inputs, logits_to_keep=1).logits[:, -1].float()
    sure = of_policy(AdaptVis(confidence=name), vlm.processor.tokenizer, logits, [item.options for item in samples])
    policy = AdaptVis(0.2, 3.0, round(float(np.median(sure)), 4), confidence=name)
    rows = policy_rows(table, policy)
    assert list(rows["branch"]) == [policy.branch(value) for value in sure] and len(set(rows["branch"])) == 2
    answers = answer_batch(vlm, inputs, policy, options=[item.options for item in samples])
    assert [one.text for one in answers] == list(rows["text"])
    assert [one.branch for one in answers] == list(rows["branch"])


def test_the_raw_logit_of_the_authors_code_takes_every_sample_for_sure():
    logits = torch.tensor([[12.0, 11.9, 11.8, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    fair, defect = (AdaptVis(0.5, 1.2, 0.64, confidence=name) for name in ("probability", "raw-logit"))
    (low,), (high,) = (of_policy(policy, Words(), logits, [OPTIONS]) for policy in (fair, defect))
    assert fair.branch(low) == "unsure" and defect.branch(high) == "sure"


def test_rounding_moves_a_sample_over_the_threshold():
    policy = AdaptVis(0.5, 1.5, 0.4, confidence="probability-rounded")
    logits = torch.log(torch.tensor([[0.396, 0.204, 0.2, 0.2]]))
    (rounded,) = of_policy(policy, Words(), logits, [("left", "right")])
    assert rounded == 0.4 and policy.branch(rounded) == "sure"
    assert AdaptVis(0.5, 1.5, 0.4).branch(0.396) == "unsure"


def test_thresholds_are_probabilities_but_for_the_raw_logit():
    assert AdaptVis(0.5, 1.5, 24.3, confidence="raw-logit").branch(24.2) == "unsure"
    for wrong, name in ((1.5, "margin"), (-0.1, "probability"), (math.nan, "raw-logit"), (True, "probability")):
        with pytest.raises(InputError, match="threshold"):
            AdaptVis(0.5, 1.5, wrong, confidence=name)


def test_two_alphas_that_differ_have_two_names():
    names = {str(ScalingVis(alpha)) for alpha in (0.12345678, 0.12345679, 2.0, 2.0000001)}
    assert len(names) == 4 and "ScalingVis(alpha=2)" in names


def test_an_unknown_measure_is_refused_and_the_default_is_not_spelt():
    with pytest.raises(InputError, match="not known: use one of probability"):
        AdaptVis(confidence="certainty")
    assert str(AdaptVis()) == "AdaptVis(alpha_unsure=0.5, alpha_sure=1.5, threshold=0.4)"
    assert str(AdaptVis(confidence="margin")).endswith("threshold=0.4, confidence=margin)")
    assert str(ScalingVis(2, mode="add")) == "ScalingVis(alpha=2, mode=add)"


def test_a_question_alone_can_be_answered_by_its_options():
    vlm, (sample,) = tiny.vlm(), shapes(1, kinds=("relation",))
    with pytest.raises(InputError, match="can not be told apart"):
        answer(vlm, sample.image, sample.question, AdaptVis(confidence="options"), prompt="paper")
