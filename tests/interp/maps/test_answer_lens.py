"""The lens reads image tokens by the model's own last modules, normed once, and knows what was written there."""

from functools import cache

import numpy as np
import pytest
import tiny
import torch

from interp.errors import InputError
from interp.maps import answer_lens as module
from interp.maps.answer_lens import answer_lens
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM
from interp.proof.samples import one_prompt
from interp.zoo.tiny import TINY


@cache
def family(name):
    return HookedVLM.from_pretrained(name, self_check=False)


@pytest.mark.parametrize("name", TINY)
def test_the_last_layer_says_what_the_model_says_of_that_position(name):
    vlm = family(name)
    inputs = one_prompt(vlm)
    with torch.no_grad():
        logits = vlm(inputs).logits[0, inputs.layouts[0].image_positions].float()
    ((token, chance),) = answer_lens(vlm, inputs, 7)
    ((_, score),) = answer_lens(vlm, inputs, 7, value="logit")
    assert token.id == 7 and chance.shape == (vlm.cfg.n_layers, len(inputs.grids[0]))
    np.testing.assert_allclose(chance[-1], logits.softmax(-1)[:, 7], atol=1e-6)
    np.testing.assert_allclose(score[-1], logits[:, 7], atol=1e-4)


def test_a_batch_is_read_sample_by_sample_layer_by_layer(monkeypatch):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)
    streams = [f"blocks.{layer}.hook_resid_post" for layer in range(3)]
    output, cache = vlm.run_with_cache(inputs, names_filter=streams)
    own, language = output.logits[:, -1].argmax(-1).tolist(), vlm.model.model.language_model
    features = ImageFeatures.capture(vlm, inputs)
    found = answer_lens(vlm, inputs)
    for sample, (token, chance) in enumerate(found):
        assert token.id == own[sample]
        for layer, name in enumerate(streams):
            for place, position in enumerate(inputs.layouts[sample].image_positions):
                said = vlm.model.lm_head(language.norm(cache[name][sample, position])).softmax(-1)[own[sample]]
                assert chance[layer, place] == pytest.approx(float(said), abs=1e-6)
    monkeypatch.setattr(module, "NUMBERS", 70)  # two rows of the vocabulary at once
    for (_, one), (_, other) in zip(found, answer_lens(vlm, inputs, own, features=features), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_word_that_is_written_into_an_image_token_is_read_there():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    ids = vlm.processor.tokenizer.convert_tokens_to_ids(["left", "dog"])
    position = int(inputs.layouts[0].image_positions[5])

    def write(stream, hook):
        stream[:, position] = 100 * vlm.model.lm_head.weight[ids[0]]

    plain = answer_lens(vlm, inputs, "left")[0][1]
    with vlm.hooks([("blocks.1.hook_resid_post", write)]):
        written, other = (answer_lens(vlm, inputs, word)[0][1] for word in ("left", "dog"))
    assert written[1].argmax() == 5 and written[1, 5] > plain[1, 5] and other[1, 5] < written[1, 5]
    np.testing.assert_array_equal(np.delete(written[1], 5), np.delete(plain[1], 5))
    np.testing.assert_array_equal(written[0], plain[0])


def test_what_can_not_be_read_is_refused_before_the_model_runs():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    with tiny.passes(vlm) as ran:
        for given, said in {
            "value": ({"value": "rank"}, "probability, logit"),
            "word": ({"answer": "giraffe"}, "not known to the tokenizer"),
            "number": ({"answer": 10**6}, "from 0 to"),
        }.values():
            with pytest.raises(InputError, match=said):
                answer_lens(vlm, inputs, **given)
    assert ran == []
