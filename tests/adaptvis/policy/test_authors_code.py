"""ScalingVis and AdaptVis give what the authors' own code gave on a small LLaVA: logits, tokens, confidence, branch."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from golden import golden
from PIL import Image

from adaptvis.policy.answering import answer_batch
from adaptvis.policy.confidence import measure, option_tokens
from adaptvis.policy.policies import AdaptVis, ScalingVis
from interp.intervene.base import Untouched
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import share_prefill

TOLERANCE = 1e-4
"""Of logits; half of it is what two versions of transformers and torch differ by."""


@pytest.fixture(scope="module")
def recorded():
    folder = golden("adaptvis")
    with np.load(folder / "cases.npz") as file:
        found = dict(file)
    return {**found, "cases": json.loads((folder / "cases.json").read_text())}


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained(golden("adaptvis") / "model", dtype="float32")


@pytest.fixture(scope="module")
def asked(vlm, recorded):
    """One input per case: the recorded prompt, and the recorded pixels in the place of a photo's."""
    blank = Image.new("RGB", (56, 56))
    singles = [vlm.prepare(blank, case["prompt"], prompt="raw") for case in recorded["cases"]]
    pixels = torch.from_numpy(recorded["pixel_values"])
    return [replace(one, tensors={**one.tensors, "pixel_values": pixels[[place]]}) for place, one in enumerate(singles)]


@pytest.fixture(scope="module")
def answered(vlm, asked, recorded):
    """Each case's answers under the recorded weights, of one prefill."""
    settings = [Untouched() if alpha == 1 else ScalingVis(float(alpha)).choose(1.0) for alpha in recorded["weights"]]
    return [share_prefill(vlm, one).generate(settings, recorded["tokens"].shape[-1]) for one in asked]


def test_the_prompts_become_the_authors_tokens(vlm, asked, recorded):
    image = vlm.processor.image_token_id
    for one, case in zip(asked, recorded["cases"], strict=True):
        ids = one.tensors["input_ids"][0].tolist()
        at = ids.index(image)
        assert set(ids[at : at + 16]) == {image} and image not in ids[at + 16 :]
        assert ids[: at + 1] + ids[at + 16 :] == case["input_ids"]


def test_first_logits_are_the_authors_within_1e_4_at_every_weight(answered, recorded):
    ours = np.stack([[one.first_logits[0].numpy() for one in answers] for answers in answered])
    assert ours.shape == recorded["first_logits"].shape == (10, 7, 905)
    np.testing.assert_allclose(ours, recorded["first_logits"], rtol=0, atol=TOLERANCE)
    assert np.abs(recorded["first_logits"][:, 0] - recorded["first_logits"][:, 3]).max() > 100 * TOLERANCE


def test_all_tokens_are_the_authors(answered, recorded):
    for answers, wanted in zip(answered, recorded["tokens"], strict=True):
        for one, tokens in zip(answers, wanted, strict=True):
            known = [token for token in tokens.tolist() if token >= 0]
            assert one.tokens[0].tolist()[: int(one.lengths[0])] == known


def test_the_rounded_confidence_is_the_authors(vlm, answered, recorded):
    none = option_tokens(vlm.processor.tokenizer, ())
    ours = [[measure(one.first_logits, [none])[0]["probability-rounded"] for one in each] for each in answered]
    np.testing.assert_array_equal(np.round(ours, 2), np.round(recorded["confidence_rounded"], 2))


@pytest.mark.parametrize("threshold", [0.39, 0.4, 0.6])
def test_adaptvis_goes_the_branch_of_the_authors_and_answers_as_they_do(vlm, asked, recorded, threshold):
    policy = AdaptVis(0.5, 1.5, threshold, confidence="probability-rounded")
    weights = recorded["weights"].tolist()
    for place, one in enumerate(asked):
        sure = recorded["confidence_rounded"][place, weights.index(1.0)] >= threshold
        (found,) = answer_batch(vlm, one, policy, max_new_tokens=10)
        tokens = recorded["tokens"][place, weights.index(1.5 if sure else 0.5)]
        text = vlm.processor.tokenizer.decode([t for t in tokens if t >= 0], skip_special_tokens=True)
        assert found.branch == ("sure" if sure else "unsure") and found.text == text.strip()


@pytest.mark.parametrize("threshold, sure", [(7.77, True), (7.766, True), (7.771, False)])
def test_a_raw_logit_is_rounded_to_two_decimals_before_it_is_compared(vlm, asked, recorded, threshold, sure):
    largest = float(recorded["first_logits"][2, recorded["weights"].tolist().index(1.0)].max())
    assert 7.765 < largest < 7.766, "unrounded, all three thresholds would find it unsure"
    policy = AdaptVis(0.5, 1.5, threshold, confidence="raw-logit")
    (found,) = answer_batch(vlm, asked[2], policy, max_new_tokens=1)
    assert (found.branch, found.confidence) == ("sure" if sure else "unsure", 7.77)
