"""DeepStack: what a model adds to its image tokens behind the first blocks is seen, edited and given back by name."""

from inspect import signature

import pytest
import tiny
import torch
from ragged import loaded

from interp.compat import DEEPSTACK_NAMES
from interp.errors import HookError, InputError, ModelError
from interp.intervene.base import Chain
from interp.intervene.image_hooks import IMAGE_POINT, image_points
from interp.intervene.image_tokens import PermuteImageTokens, ScaleImageNorms, permute_image_tokens
from interp.model import selfcheck
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY, build_tiny

POINTS = ("projector.deepstack.0.hook_out", "projector.deepstack.1.hook_out")


@pytest.fixture(scope="module")
def qwen():
    """A model with DeepStack and a ragged batch about photos of several shapes."""
    return loaded("tiny-qwen3_vl", 3)


def given_to_language(vlm, inputs):
    """What Hugging Face's own model gives its language model, where nothing is hooked."""
    found = []
    with vlm.paused() as model, torch.no_grad():
        note = model.model.language_model.register_forward_pre_hook(
            lambda module, args, kwargs: found.append(kwargs), with_kwargs=True
        )
        model(**inputs.tensors, use_cache=False)
        note.remove()
    (given,) = found
    return given


def said_by_language(vlm, given, **changed):
    """The logits of Hugging Face's language model on its own, where nothing is hooked."""
    with vlm.paused() as model, torch.no_grad():
        return model.lm_head(model.model.language_model(**{**given, **changed}).last_hidden_state)


def in_place(tensor, hook):
    tensor.mul_(0.5).sub_(1)


def without_pixels(inputs):
    return {name: value for name, value in inputs.tensors.items() if name != "pixel_values"}


def moved_by_hand(inputs, orders, features):
    """The features [image_token d_model] of all photos, the tokens of each in another order, one at a time."""
    rows, start = [], 0
    for grid, order in zip(inputs.grids, orders, strict=True):
        rows += [features[start + int(order[slot])] for slot in range(len(grid))]
        start += len(grid)
    assert start == len(features)
    return torch.stack(rows)


def test_only_models_with_deepstack_have_the_points_and_they_are_in_the_catalogue(qwen):
    for name in TINY:
        vlm, _ = loaded(name, 1)
        found = [point for point in vlm.hook_dict if "deepstack" in point]
        assert found == list(image_points(vlm.cfg)[1:]) == (list(POINTS) if name == "tiny-qwen3_vl" else [])


def test_they_show_what_the_language_model_is_given_and_adds_to_the_bit(qwen):
    vlm, inputs = qwen
    given = given_to_language(vlm, inputs)
    names = [*POINTS, *(f"blocks.{layer}.hook_resid_{end}" for layer in range(3) for end in ("pre", "post"))]
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=names)
        assert torch.equal(output.logits, vlm(inputs).logits)  # who reads changes nothing
    where = inputs.input_ids == vlm.model.config.image_token_id
    for layer, (name, own) in enumerate(zip(POINTS, given[DEEPSTACK_NAMES[1]], strict=True)):
        assert torch.equal(cache[name], own) and own.abs().max() > 0.1
        left, received = cache[f"blocks.{layer}.hook_resid_post"], cache[f"blocks.{layer + 1}.hook_resid_pre"]
        assert torch.equal(left[where] + own, received[where]) and torch.equal(left[~where], received[~where])


@pytest.mark.parametrize("place", range(2))
def test_an_edit_of_one_is_the_language_model_given_another(qwen, place):
    vlm, inputs = qwen
    given = given_to_language(vlm, inputs)
    other = [own * 0.5 - 1 if each == place else own for each, own in enumerate(given[DEEPSTACK_NAMES[1]])]
    wanted = said_by_language(vlm, given, **{DEEPSTACK_NAMES[1]: other})
    with torch.no_grad():
        plain = vlm(inputs).logits
        for edit in (lambda t, hook: t * 0.5 - 1, in_place):
            with vlm.hooks([(POINTS[place], edit)]):
                assert torch.equal(vlm(inputs).logits, wanted)
        assert not torch.equal(wanted, plain) and torch.equal(vlm(inputs).logits, plain)


def test_permuting_is_the_language_model_given_all_of_the_photo_permuted_by_hand(qwen):
    vlm, inputs = qwen
    given, edit = given_to_language(vlm, inputs), permute_image_tokens(inputs.grids, 2)
    orders = [part.order for part in edit.parts]
    where = inputs.input_ids == vlm.model.config.image_token_id
    embedded = given["inputs_embeds"].clone()
    embedded[where] = moved_by_hand(inputs, orders, embedded[where])
    added = [moved_by_hand(inputs, orders, own) for own in given[DEEPSTACK_NAMES[1]]]
    wanted = said_by_language(vlm, given, inputs_embeds=embedded, **{DEEPSTACK_NAMES[1]: added})
    only_first = said_by_language(vlm, given, inputs_embeds=embedded)
    with torch.no_grad():
        permuted = vlm.run_with_hooks(inputs, intervention=edit).logits
        blind = ImageFeatures.capture(vlm, inputs).forward(intervention=edit).logits
    assert torch.equal(permuted, wanted) and torch.equal(blind, wanted)
    assert (wanted - only_first)[:, -1].abs().amax(-1).min() > 1e-3  # what is added counts, in every photo


def test_a_permutation_that_is_its_own_inverse_twice_is_the_untouched_run_to_the_bit():
    vlm, inputs = loaded("tiny-qwen3_vl", 1)
    count = len(inputs.grids[0])
    swap = next(
        edit
        for edit in (PermuteImageTokens(seed, tuple(place // 2 for place in range(count))) for seed in range(9))
        if (edit.order != range(count)).sum() > count / 3
    )
    assert (swap.order[swap.order] == range(count)).all()
    with torch.no_grad():
        plain = vlm(inputs).logits
        once, twice = (vlm.run_with_hooks(inputs, intervention=Chain((swap,) * times)).logits for times in (1, 2))
    assert torch.equal(twice, plain) and not torch.equal(once, plain)


def test_lengths_of_tokens_are_scaled_and_what_is_added_to_them_is_not(qwen):
    vlm, inputs = qwen
    names = [IMAGE_POINT, *POINTS]
    with torch.no_grad():
        (_, plain), (_, scaled) = (
            vlm.run_with_cache(inputs, names_filter=names, intervention=edit)
            for edit in (ScaleImageNorms(scale=1), ScaleImageNorms(scale=0.5))
        )
    assert torch.equal(scaled[IMAGE_POINT], plain[IMAGE_POINT] * 0.5)
    assert all(torch.equal(scaled[name], plain[name]) for name in POINTS)


def test_without_pixels_nothing_is_added_and_what_is_put_there_is(qwen):
    vlm, inputs = qwen
    given, seen = given_to_language(vlm, inputs), []
    words = given_to_language(vlm, inputs)["inputs_embeds"]
    with torch.no_grad():
        blind = vlm.model(**without_pixels(inputs), use_cache=False).logits
        with vlm.hooks([(POINTS, lambda tensor, hook: seen.append(tensor))]):
            assert torch.equal(vlm.model(**without_pixels(inputs), use_cache=False).logits, blind)
        assert [own.shape for own in seen] == [own.shape for own in given[DEEPSTACK_NAMES[1]]]
        assert not any(own.any() for own in seen)
        put = dict(zip(POINTS, given[DEEPSTACK_NAMES[1]], strict=True))
        hooks = [(name, lambda tensor, hook: put[hook.name]) for name in POINTS]
        hooks.append((IMAGE_POINT, lambda tensor, hook: words[inputs.input_ids == vlm.model.config.image_token_id]))
        with vlm.hooks(hooks):
            assert torch.equal(vlm.model(**without_pixels(inputs), use_cache=False).logits, vlm(inputs).logits)


def test_words_alone_and_a_call_without_ids_are_refused(qwen):
    vlm, inputs = qwen
    words, hooks = torch.arange(3, 9)[None], [(POINTS[1], lambda tensor, hook: pytest.fail("there is no photo"))]
    with torch.no_grad():
        with pytest.raises(HookError, match=r"deepstack\.1\.hook_out: hooks were on, and never"), vlm.hooks(hooks):
            vlm.model(input_ids=words, use_cache=False)
        with (
            vlm.hooks(hooks),
            pytest.raises(HookError, match=r"deepstack\.1\.hook_out: which positions are the image's is known from"),
        ):
            vlm.model(inputs_embeds=torch.zeros(1, 3, vlm.cfg.d_model), use_cache=False)


def test_a_language_model_that_is_given_them_under_other_names_is_refused_and_not_edited_in_vain(qwen):
    vlm, inputs = qwen

    def other_names(module, args, kwargs):
        return args, {name: value for name, value in kwargs.items() if name not in DEEPSTACK_NAMES}

    note = vlm.model.model.language_model.register_forward_pre_hook(other_names, with_kwargs=True, prepend=True)
    try:
        with pytest.raises(HookError, match=r"deepstack\.0\.hook_out: the language model is not given visual_pos"):
            vlm.run_with_hooks(inputs, intervention=permute_image_tokens(inputs.grids, 0))
    finally:
        note.remove()
    assert set(DEEPSTACK_NAMES) <= set(signature(vlm.model.model.language_model.forward).parameters)


def test_gradients_reach_them_and_equal_finite_differences():
    vlm, inputs = loaded("tiny-qwen3_vl", 1)
    vlm.model.double()
    inputs = inputs.to(vlm.device, torch.float64)
    own = vlm.run_with_cache(inputs, names_filter=POINTS)[1][POINTS[0]].requires_grad_()
    heard = []

    def answer(values):
        given = [(POINTS[0], lambda tensor, hook: values)]
        return vlm.run_with_hooks(inputs, fwd_hooks=given).logits[:, -1].square().sum()

    (slope,) = torch.autograd.grad(answer(own), own)
    with torch.no_grad():
        step = slope / slope.norm() * 1e-2
        change = (answer(own + step) - answer(own - step)) / 2
    assert change.abs() > 1e-4  # transformers' norms are of float32, whatever the model is of
    torch.testing.assert_close((slope * step).sum(), change, rtol=5e-3, atol=1e-6)
    with torch.enable_grad(), vlm.hooks(bwd_hooks=[(POINTS[0], lambda grad, hook: heard.append(grad))]):
        vlm(inputs).logits[:, -1].square().sum().backward()
    torch.testing.assert_close(heard[0], slope)


def test_beams_get_what_is_added_to_their_own_photo(qwen):
    vlm, inputs = qwen
    settings = {"num_beams": 3, "max_new_tokens": 3, "min_new_tokens": 3, "do_sample": False}
    wanted = vlm.model.generate(**inputs.tensors, **settings)
    with ImageFeatures.capture(vlm, inputs).given():
        assert torch.equal(vlm.model.generate(**without_pixels(inputs), **settings), wanted)
        with pytest.raises((HookError, InputError), match="prompts"):
            vlm.model(**without_pixels(loaded("tiny-qwen3_vl", 1)[1]), use_cache=False)


def test_the_self_check_proves_them_and_finds_a_model_that_adds_nothing(monkeypatch):
    monkeypatch.setattr(selfcheck, "_PASSED", set())
    model, processor = build_tiny("tiny-qwen3_vl")
    assert HookedVLM.wrap(model, processor).self_checked
    selfcheck._PASSED.clear()
    text = type(model.model.language_model)
    monkeypatch.setattr(text, "_deepstack_process", lambda self, hidden, where, added: hidden)
    with pytest.raises(
        ModelError, match=r"behind the projector: an edit of projector\.deepstack\.0\.hook_out does not"
    ):
        HookedVLM.wrap(*build_tiny("tiny-qwen3_vl"))
    assert tiny.vlm().self_checked
