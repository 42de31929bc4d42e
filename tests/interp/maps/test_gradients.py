"""Gradient maps are eager attention's own autograd, and tell what is used from what is only looked at."""

from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
import torch

from interp.errors import HookError, InputError, ModelError
from interp.maps.gradients import KINDS, _run, answer_gradient
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM
from interp.planted.llava import _PLACES, OBJECT_HEAD, SINK_HEAD, _look, build_planted, planted_scenes
from interp.planted.parts import STRENGTH, set_head
from interp.prompt.layout import TokenLayout
from interp.proof.samples import one_prompt
from interp.zoo.tiny import TINY, build_tiny


@cache
def family(name, dtype):
    model, processor = build_tiny(name)
    return HookedVLM.wrap(model.to(dtype), processor, self_check=False)


def eager_gradient(vlm, inputs, ids=None):
    """Attention of the last row and its gradient [layer batch head key], as transformers and autograd have them."""
    with vlm.paused() as model:
        configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
        before = [(config, config._attn_implementation) for config in configs.values()]
        model.set_attn_implementation("eager")
        model.requires_grad_(True)
        try:
            output = model(**inputs.tensors, use_cache=False, output_attentions=True)
            chances = output.logits[:, -1].log_softmax(-1)
            ids = chances.argmax(-1) if ids is None else torch.tensor(ids)
            own = chances.gather(1, ids[:, None])[:, 0]
            slopes = torch.autograd.grad(own.sum(), output.attentions)
        finally:
            model.requires_grad_(False)
            for config, kernel in before:
                config._attn_implementation = kernel
    rows = [torch.stack([each[:, :, -1] for each in those]).detach().numpy() for those in (output.attentions, slopes)]
    return *rows, own.detach().numpy(), ids.tolist()


def assert_equal(found, wanted, close):
    attention, slopes, own, ids = wanted
    assert len(found) == len(ids)
    for sample, one in enumerate(found):
        assert one.answer.id == ids[sample]
        assert one.log_probability == pytest.approx(own[sample], abs=close)
        seen = attention[:, sample] > 0
        np.testing.assert_allclose(one.attention, attention[:, sample], atol=close)
        largest = np.abs(slopes[:, sample][seen]).max()
        assert largest > 1e-4 and one.gradient.shape == one.attention.shape
        np.testing.assert_allclose(one.gradient[seen], slopes[:, sample][seen], atol=close * max(1, largest))
        assert not one.gradient[~seen].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", TINY)
def test_the_gradient_is_that_of_eager_attention_in_every_family(name, dtype):
    vlm = family(name, dtype)
    inputs = one_prompt(vlm)
    found = answer_gradient(vlm, inputs)
    assert_equal(found, eager_gradient(vlm, inputs), 2e-5 if dtype == torch.float32 else 2e-6)
    assert all(abs(slope).max() > 0 for slope in found[0].gradient)


@pytest.mark.parametrize("window", [None, 20])
def test_a_ragged_batch_has_each_sample_s_own_gradient_of_its_own_answer(window):
    vlm = tiny.vlm(window=window)
    inputs = tiny.inputs(vlm, 3)
    words = ["left", "above", "mug"]
    ids = vlm.processor.tokenizer.convert_tokens_to_ids(words)
    found = answer_gradient(vlm, inputs, words)
    assert_equal(found, eager_gradient(vlm, inputs, ids), 1e-4)
    assert [one.answer.pieces for one in found] == [(word,) for word in words]
    for by_number, one in zip(answer_gradient(vlm, inputs, ids), found, strict=True):
        assert np.array_equal(by_number.gradient, one.gradient) and by_number.answer == one.answer
    for sample, one in enumerate(found):
        alone = answer_gradient(vlm, vlm.prepare(tiny.photo(sample), tiny.QUESTIONS[sample]), words[sample])[0]
        np.testing.assert_allclose(alone.maps(), one.maps(), rtol=1e-4, atol=1e-5)
        assert not one.gradient[..., one.layout.positions("pad")].any()


def test_a_graph_of_the_whole_prompt_says_the_same():
    vlm = tiny.vlm(dtype=torch.float64)
    inputs = tiny.inputs(vlm, 2)
    features = ImageFeatures.capture(vlm, inputs)
    found = answer_gradient(vlm, inputs)
    for way in (_run(vlm, inputs, None, None, whole=True), _run(vlm, inputs, None, features, whole=True)):
        for one, other in zip(found, way, strict=True):
            np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-9)
    for one, other in zip(found, answer_gradient(vlm, inputs, features=features), strict=True):
        np.testing.assert_allclose(other.gradient, one.gradient, atol=1e-9)


def test_no_map_of_rows_by_keys_is_kept_and_the_prompt_runs_once():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    length, kept = inputs.input_ids.shape[1], []

    def keep(tensor):
        kept.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), tiny.passes(vlm) as shapes:
        answer_gradient(vlm, inputs)
    assert shapes == [(1, length), (1, 1)]
    assert kept and not any(shape.count(length) > 1 for shape in kept)
    positions = [shape for shape in kept if len(shape) == 3 and shape[-1] == vlm.cfg.d_model]
    assert positions and {shape[1] for shape in positions} == {1}  # of the residual stream, the last row alone


def test_maps_are_what_their_names_say():
    vlm = tiny.vlm()
    (found,) = answer_gradient(vlm, tiny.inputs(vlm))
    image = found.layout.image_positions
    for layer, head in np.ndindex(found.attention.shape[:2]):
        looked, slope = found.attention[layer, head][image], found.gradient[layer, head][image]
        wanted = {
            "gradient": [a * max(g, 0) for a, g in zip(looked, slope, strict=True)],
            "gradient-alone": [max(g, 0) for g in slope],
            "gradcam": [a * max(sum(slope) / len(slope), 0) for a in looked],
        }
        assert tuple(wanted) == KINDS
        for kind, own in wanted.items():
            np.testing.assert_allclose(found.maps(kind)[layer, head], own, rtol=1e-4, atol=1e-9)
    with pytest.raises(InputError, match="'saliency' is not known: use one of gradient, gradient-alone, gradcam"):
        found.maps("saliency")


# --- whatever the model is set to


@contextmanager
def as_in_training(vlm):
    """Dropout on, and weights that learn."""
    weights = list(vlm.model.parameters())
    vlm.model.train()
    weights[3].requires_grad_(True)
    for block in vlm.model.model.language_model.layers:
        block.self_attn.attention_dropout = 0.5
    try:
        yield weights[3]
    finally:
        vlm.model.eval().requires_grad_(False)


def test_dropout_is_off_weights_are_frozen_and_both_are_put_back_also_after_an_error(monkeypatch):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    (wanted,) = answer_gradient(vlm, inputs)
    vlm.model.model.language_model.norm.eval()
    with as_in_training(vlm) as weight:
        vlm.model.model.vision_tower.eval()
        modes = [module.training for module in vlm.model.modules()]
        assert True in modes and False in modes

        def assert_put_back():
            assert [module.training for module in vlm.model.modules()] == modes
            assert [each is weight for each in vlm.model.parameters()] == [
                each.requires_grad for each in vlm.model.parameters()
            ]
            assert weight.grad is None and not any(point.has_hooks() for point in vlm.hook_dict.values())

        (found,) = answer_gradient(vlm, inputs)
        np.testing.assert_array_equal(found.gradient, wanted.gradient)
        assert_put_back()
        monkeypatch.setattr(torch.autograd, "grad", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            answer_gradient(vlm, inputs)
        assert_put_back()


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("whole", [False, True])
def test_gradients_are_turned_on_where_they_are_off(context, whole):
    vlm = tiny.vlm()
    wanted = answer_gradient(vlm, tiny.inputs(vlm, 2))
    with context():
        found = _run(vlm, tiny.inputs(vlm, 2), None, None, whole=whole)
        assert not torch.is_grad_enabled()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one.gradient, other.gradient, rtol=1e-4, atol=1e-5)


# --- planted models


@pytest.fixture(scope="module")
def planted():
    """A planted model with one head more, which looks at the object, too, and whose output nobody uses."""
    model, processor = build_planted("planted-object")
    with torch.no_grad():
        set_head(model, replace(_look(STRENGTH), head=IDLE_HEAD, writes=()), _PLACES)
    return HookedVLM.wrap(model, processor, self_check=False)


IDLE_HEAD = (2, 3)


@pytest.mark.parametrize("seed", range(3))
def test_the_head_that_is_used_is_found_and_one_that_only_looks_is_not(planted, seed):
    (scene,) = planted_scenes("planted-object", 1, seed=seed)
    inputs = planted.prepare(scene.image, scene.question, prompt="paper")
    (found,) = answer_gradient(planted, inputs)
    assert found.answer.text == scene.answer
    mask = inputs.grids[0].union_membership([scene.objects[0].box])
    looked, maps = found.attention[..., found.layout.image_positions], found.maps()
    for head in (OBJECT_HEAD, IDLE_HEAD):
        assert (looked[head] @ mask) > 0.99
    assert (maps[OBJECT_HEAD] @ mask) > 0.99 * maps[OBJECT_HEAD].sum() > 0
    assert looked[SINK_HEAD].sum() > 0.9
    assert not maps[SINK_HEAD].any() and not maps[IDLE_HEAD].any()
    others = maps.sum(-1)
    others[OBJECT_HEAD] = 0
    assert others.max() < 0.01 * maps[OBJECT_HEAD].sum()


def test_the_gradient_alone_is_the_side_that_was_answered_and_not_the_object(planted):
    (scene,) = planted_scenes("planted-object", 1, seed=1)
    inputs = planted.prepare(scene.image, scene.question, prompt="paper")
    (found,) = answer_gradient(planted, inputs)
    alone, cols = found.maps("gradient-alone")[OBJECT_HEAD], inputs.grids[0].cols
    assert np.array_equal(alone > 0, cols < 4 if scene.answer == "left" else cols > 3)
    across = found.gradient[OBJECT_HEAD][found.layout.image_positions].mean()
    assert abs(across) < 1e-3 * alone.max()  # so that Grad-CAM's one weight for the head says nothing of it


# --- bad input


def test_what_can_not_be_asked_is_refused_before_the_model_runs(monkeypatch):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    without = tuple(
        TokenLayout(tuple("question" if kind == "image" else kind for kind in own.kinds), own.tokens)
        for own in inputs.layouts
    )
    with tiny.passes(vlm) as ran:
        with pytest.raises(InputError, match="sample 0 has no image token"):
            answer_gradient(vlm, replace(inputs, layouts=without))
        for answer, said in {
            " left": "without space around it",
            "": "without space around it",
            "giraffe": "not known to the tokenizer",
            -1: "from 0 to 33",
            34: "from 0 to 33",
            True: "from 0 to 33",
            ("left",): "1 answers for 2 samples",
            ("left", 0.5): "no token",
            2.5: "is no list",
        }.items():
            with pytest.raises(InputError, match=said):
                answer_gradient(vlm, inputs, answer)
        monkeypatch.setattr(vlm.model, "is_quantized", True, raising=False)
        with pytest.raises(ModelError, match="quantised"):
            answer_gradient(vlm, inputs)
    assert ran == []


def test_whole_numbers_for_weights_are_refused_as_quantised():
    vlm = tiny.vlm()
    projection = vlm.model.model.language_model.layers[0].mlp.down_proj
    projection.weight = torch.nn.Parameter(projection.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(ModelError, match=r"layers\.0\.mlp\.down_proj\.weight and 0 more.*quantization_config"):
        answer_gradient(vlm, tiny.inputs(vlm))


@pytest.mark.parametrize("whole", [False, True])
def test_hooks_that_are_on_are_refused(whole):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    with vlm.hooks([("blocks.0.attn.hook_pattern", lambda pattern, hook: None)]):
        with pytest.raises(HookError, match="hooks are on"):
            _run(vlm, inputs, None, None, whole=whole)


@pytest.mark.parametrize("whole", [False, True])
def test_a_layer_that_no_gradient_reaches_is_named(whole):
    vlm = tiny.vlm()
    layer = vlm.model.model.language_model.layers[1]
    layer.register_forward_hook(lambda module, args, output: output.detach())
    with pytest.raises(ModelError, match="no gradient reaches the attention of layer 0"):
        _run(vlm, tiny.inputs(vlm), None, None, whole=whole)


def test_a_word_of_several_tokens_is_read_by_its_first_as_it_follows_the_prompt():
    vlm = family("tiny-qwen2_5_vl", torch.float32)
    (bare,) = answer_gradient(vlm, vlm.prepare(tiny.photo(), "Where is the mug?"), "left")  # behind a line end
    assert bare.answer.pieces == tuple("left") and bare.answer.text == "l"
    with pytest.raises(InputError, match="begins with a token of white space"):  # "ASSISTANT:" and a space
        answer_gradient(vlm, one_prompt(vlm), "left")
