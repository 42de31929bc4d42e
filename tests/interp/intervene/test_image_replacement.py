"""Image tokens replaced: against loops, recorded values, single runs and finite differences."""

import numpy as np
import pytest
import torch
from ragged import loaded, ragged

from interp import Chain, ImageFeatures, PerSample, Prefix, ReplaceImageTokens
from interp.errors import HookError, InputError, RefusedError
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_replacement import check_same_grid
from interp.intervene.image_tokens import ScaleImageNorms
from interp.zoo.tiny import TINY

SOME = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next")
WITHOUT_DEEPSTACK = [name for name in TINY if name != "tiny-qwen3_vl"]


def shown(vlm, inputs, intervention=None):
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT, intervention=intervention)
    return cache[IMAGE_POINT], output.logits


def of_photos(vlm, inputs, tensor):
    """Each photo's rows of the tensor, and which of them are image tokens, from the ids alone."""
    image, start, found = vlm.model.config.image_token_id, 0, []
    for ids, layout in zip(inputs.input_ids.tolist(), inputs.layouts, strict=True):
        places = [place for place, token in enumerate(ids) if token == image]
        found.append((tensor[start : start + len(places)], [places.index(place) for place in layout.image_positions]))
        start += len(places)
    return found


@pytest.mark.parametrize("name", WITHOUT_DEEPSTACK)
def test_chosen_tokens_become_the_mean_of_their_photo_and_all_else_stays(name):
    vlm, inputs = loaded(name, 2)
    before, _ = shown(vlm, inputs)
    after, _ = shown(vlm, inputs, ReplaceImageTokens("mean", (0, 3)))
    for (old, own), (new, _) in zip(of_photos(vlm, inputs, before), of_photos(vlm, inputs, after), strict=True):
        mean = sum(old[slot] for slot in own) / len(own)
        for slot in range(len(old)):
            if slot in (own[0], own[3]):
                torch.testing.assert_close(new[slot], mean, rtol=1e-5, atol=1e-5)
            else:
                assert torch.equal(new[slot], old[slot])


@pytest.mark.parametrize("name", SOME)
def test_features_of_another_photo_go_where_they_are_sent(name):
    vlm, inputs = loaded(name, 1)
    other = vlm.prepare(inputs.images[0].rotate(180), "Where is the mug?", prompt="paper")
    features = ImageFeatures.capture(vlm, other).tokens()[0]
    ((foreign, places),) = of_photos(vlm, other, ImageFeatures.capture(vlm, other).values)
    assert torch.equal(features, foreign[places])
    before, plain = shown(vlm, inputs)
    for edit, pairs in (
        (ReplaceImageTokens(features, (1, 2)), [(1, 1), (2, 2)]),
        (ReplaceImageTokens(features, (4, 1), (0, 4)), [(4, 0), (1, 4)]),
        (ReplaceImageTokens(features), [(slot, slot) for slot in range(len(places))]),
    ):
        after, logits = shown(vlm, inputs, edit)
        ((old, own), (new, _)) = (of_photos(vlm, inputs, tensor)[0] for tensor in (before, after))
        wanted = old.clone()
        for slot, source in pairs:
            wanted[own[slot]] = features[source]
        assert torch.equal(new, wanted) and not torch.equal(logits[:, -1], plain[:, -1])


def test_all_tokens_of_another_photo_are_the_run_of_that_photo():
    vlm, inputs = loaded("tiny-qwen2_5_vl", 1)
    other = vlm.prepare(inputs.images[0].rotate(180), "Where is the mug?", prompt="paper")
    edit = ReplaceImageTokens(ImageFeatures.capture(vlm, other).tokens()[0])
    torch.testing.assert_close(shown(vlm, inputs, edit)[1], shown(vlm, other)[1], rtol=0, atol=0)


@pytest.mark.parametrize("name", SOME)
def test_own_features_change_no_bit_in_a_ragged_batch(name):
    vlm, inputs = loaded(name, 3)
    own = ImageFeatures.capture(vlm, inputs).tokens()
    edit = PerSample(tuple(ReplaceImageTokens(values) for values in own))
    for found, plain in zip(shown(vlm, inputs, edit), shown(vlm, inputs), strict=True):
        assert torch.equal(found, plain)
    with pytest.raises(HookError, match="rows 'image'"):
        Prefix(vlm, inputs).step([edit])


@pytest.mark.parametrize("name", SOME)
def test_a_photo_is_edited_alike_alone_and_in_a_batch(name):
    vlm, inputs = loaded(name, 3)
    edit = ReplaceImageTokens("mean", (1, 2, 5))
    together = shown(vlm, inputs, edit)[1][:, -1]
    for place in range(3):
        single = shown(vlm, ragged(vlm, [place]), edit)[1][0, -1]
        torch.testing.assert_close(together[place], single, rtol=1e-4, atol=2e-4)


def test_a_vector_and_an_order_of_edits():
    vlm, inputs = loaded("tiny-llava", 2)
    vector = np.linspace(-1, 1, vlm.cfg.d_model).astype(np.float32)
    replace, double = ReplaceImageTokens(vector, (3,)), ScaleImageNorms(scale=2.0)
    for chain, size in ((Chain((replace, double)), 2), (Chain((double, replace)), 1)):
        for new, own in of_photos(vlm, inputs, shown(vlm, inputs, chain)[0]):
            torch.testing.assert_close(new[own[3]], size * torch.from_numpy(vector))
    assert str(replace) == f"ReplaceImageTokens(values=[{vlm.cfg.d_model}], slots=3)"


def test_decoding_goes_on_from_the_replaced_photo():
    vlm, inputs = loaded("tiny-llava", 1)
    features = ImageFeatures.capture(vlm, inputs)
    edit = ReplaceImageTokens("mean")
    found = features.generate(4, intervention=edit)
    assert found.texts == vlm.generate(inputs, 4, intervention=edit).texts


def test_gradients_reach_what_is_put_in():
    vlm, inputs = loaded("tiny-llava", 1)
    values = ImageFeatures.capture(vlm, inputs).tokens()[0].clone().requires_grad_(True)

    def said(given):
        with vlm.intervene(ReplaceImageTokens(given, (2,), (5,)), inputs):
            return vlm(inputs).logits[0, -1, 7]

    (found,) = torch.autograd.grad(said(values), values)
    rows = found.abs().sum(-1).nonzero().flatten().tolist()
    assert rows == [5]
    away = torch.zeros_like(values)
    away[5] = 1e-2 * found[5] / found[5].norm()
    with torch.no_grad():
        slope = (said(values.detach() + away) - said(values.detach() - away)) / 2e-2
    assert slope.item() == pytest.approx(found[5].norm().item(), rel=0.05)


def test_what_does_not_fit_is_refused_by_name():
    vlm, inputs = loaded("tiny-llava", 2)
    width = vlm.cfg.d_model
    for values, slots, sources, says in (
        ("median", None, None, "give 'mean'"),
        (torch.tensor([float("nan")] * width), None, None, "give 'mean'"),
        (torch.zeros(2, 2, width), None, None, "give 'mean'"),
        (torch.zeros(4, width), (0, 0), (1, 2), "name each slot once"),
        (torch.zeros(4, width), (0, 1), (1,), "one source for it"),
        (torch.zeros(4, width), None, (1,), "slots are missing"),
        ("mean", (0,), (1,), "sources are tokens of another photo"),
        ("mean", (), None, "slots is empty"),
    ):
        with pytest.raises(InputError, match=says):
            ReplaceImageTokens(values, slots, sources)
    for edit, error, says in (
        (ReplaceImageTokens(torch.zeros(width + 1)), InputError, "values of width"),
        (ReplaceImageTokens(torch.zeros(3, width)), InputError, "a photo of 3 image tokens"),
        (ReplaceImageTokens("mean", (999,)), HookError, "image token .* does not exist"),
    ):
        with pytest.raises(error, match=says):
            edit.hooks(vlm.cfg, inputs.layouts)
    deep, asked = loaded("tiny-qwen3_vl", 1)
    with pytest.raises(RefusedError, match="DeepStack"):
        ReplaceImageTokens("mean").hooks(deep.cfg, asked.layouts)


def test_photos_of_another_form_are_refused():
    vlm, inputs = loaded("tiny-qwen2_5_vl", 3)
    check_same_grid(inputs.grids[0], inputs.grids[0], "blank")
    with pytest.raises(InputError, match="blank: .* image tokens"):
        check_same_grid(inputs.grids[0], inputs.grids[1], "blank")
