"""Whoever sets another attention, of the whole model or of a part and by whatever way, keeps it; graphs are refused."""

import copy
import io

import pytest
import tiny
import torch

from interp.errors import HookError, ModelError
from interp.model.hooked_vlm import HookedVLM

HALF = {"fwd_hooks": [("blocks.1.attn.hook_pattern", lambda tensor, hook: tensor * 0.5)]}

SETTERS = {
    "text": (lambda model, name: setattr(model.config.text_config, "_attn_implementation", name), "text"),
    "vision": (lambda model, name: setattr(model.config.vision_config, "_attn_implementation", name), "vision"),
    "by part": (lambda model, name: model.set_attn_implementation({"text_config": name}), "text"),
    "of a part": (lambda model, name: model.model.language_model.set_attn_implementation(name), "text"),
    "of the tower": (lambda model, name: model.model.vision_tower.set_attn_implementation(name), "vision"),
    "all": (lambda model, name: model.set_attn_implementation(name), "text vision"),
}


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("before, after", [("sdpa", "eager"), ("eager", "sdpa")])
def test_a_part_that_is_set_to_another_implementation_is_hooked_above_it_and_keeps_it(setter, before, after):
    vlm = tiny.vlm(attention=before, self_check=False)
    inputs = tiny.inputs(vlm)
    put, parts = SETTERS[setter]
    with torch.no_grad():
        wanted = vlm.run_with_hooks(inputs, **HALF).logits
        put(vlm.model, after)
        torch.testing.assert_close(vlm.run_with_hooks(inputs, **HALF).logits, wanted, rtol=1e-4, atol=1e-4)
        assert vlm.wrapped
        names = [after if part in parts else before for part in ("text", "vision")]
        assert vlm.implementations == names
        config = vlm.unwrap().config
        assert [config.text_config._attn_implementation, config.vision_config._attn_implementation] == names
        plain = type(vlm.model)(copy.deepcopy(config)).eval()
        plain.load_state_dict(vlm.model.state_dict())
        assert torch.equal(plain(**inputs.tensors).logits, vlm.model(**inputs.tensors).logits)


@pytest.mark.parametrize("kernel", ["sdpa", "eager"])
def test_the_private_name_is_nobody_s_choice(kernel):
    """A script that remembers the implementation, sets another and puts the first one back reads ours meanwhile."""
    vlm = tiny.vlm(attention=kernel, self_check=False)
    inputs, config = tiny.inputs(vlm), vlm.model.config
    remembered = config.text_config._attn_implementation
    with torch.no_grad():
        wanted = vlm.run_with_hooks(inputs, **HALF).logits
        vlm.model.set_attn_implementation("eager")
        vlm(inputs)
        vlm.model.set_attn_implementation(remembered)
        assert torch.equal(vlm.run_with_hooks(inputs, **HALF).logits, wanted)
        assert vlm.implementations == [kernel, kernel]
        vlm.unwrap()
    names = [part._attn_implementation for part in (config, config.text_config, config.vision_config)]
    assert names == [kernel] * 3


def test_a_configuration_that_was_copied_into_a_part_has_no_private_name_behind():
    vlm = tiny.vlm()
    attention = vlm.model.model.language_model.layers[1].self_attn
    attention.config = copy.deepcopy(attention.config)
    inputs = tiny.inputs(vlm)
    with torch.no_grad():
        assert vlm.run_with_cache(inputs, names_filter="blocks.1.attn.hook_pattern")[1]
        attention.config._attn_implementation = "eager"  # which nobody else is told of
        with pytest.raises(HookError, match="did not attend through transformers' attention interface"):
            vlm.run_with_hooks(inputs, **HALF)
        attention.config._attn_implementation = vlm.model.config.text_config._attn_implementation
        assert vlm.unwrap() and attention.config._attn_implementation == "sdpa"


def through_torch(model):
    """By its state; transformers' own hooks for hidden states keep a model that has run from being pickled whole."""
    kept = io.BytesIO()
    torch.save(model.state_dict(), kept)
    kept.seek(0)
    other = type(model)(copy.deepcopy(model.config)).eval()
    other.load_state_dict(torch.load(kept))
    return other


@pytest.mark.parametrize("way", [copy.deepcopy, through_torch])
def test_a_copy_made_while_paused_or_unwrapped_can_be_hooked_beside_its_original(way):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    with torch.no_grad():
        wanted = vlm.run_with_hooks(inputs, **HALF).logits
        with vlm.paused() as model:
            twin = HookedVLM.wrap(way(model), vlm.processor)
        assert vlm.wrapped and twin.wrapped
        plain = vlm(inputs).logits
        assert torch.equal(twin.run_with_hooks(inputs, **HALF).logits, wanted)
        with vlm.hooks(**HALF):  # of one, and not of the other
            assert torch.equal(twin(inputs).logits, plain)
        once_more = HookedVLM.wrap(way(vlm.unwrap()), vlm.processor)
        assert not vlm.wrapped and twin.wrapped
        assert torch.equal(once_more.run_with_hooks(inputs, **HALF).logits, wanted)


PARTS = {
    "model": lambda model: model,
    "language": lambda model: model.model.language_model,
    "layer": lambda model: model.model.language_model.layers[1],
    "attention": lambda model: model.model.language_model.layers[1].self_attn,
    "projection": lambda model: model.model.language_model.layers[1].self_attn.q_proj,
    "tower": lambda model: model.model.vision_tower,
}


def in_place(module):
    module.compile(backend="eager")


def its_forward(module):
    module.forward = torch.compile(module.forward, backend="eager")


@pytest.mark.parametrize("way", [in_place, its_forward])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.usefixtures("unlogged")
def test_what_is_compiled_after_or_before_wrap_is_refused_by_name(part, way):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    way(PARTS[part](vlm.model))
    with torch.no_grad():
        for use in (
            lambda: vlm.run_with_hooks(inputs, **HALF),
            lambda: vlm.run_with_cache(inputs, names_filter="blocks.1.hook_resid_post"),
            lambda: vlm.generate(inputs, 2, **HALF),
            lambda: vlm.add_hook("blocks.1.hook_resid_post", lambda tensor, hook: None),
        ):
            with pytest.raises(ModelError, match="was compiled"):
                use()
    with pytest.raises(ModelError, match="was compiled"):
        HookedVLM.wrap(vlm.unwrap(), vlm.processor)


@pytest.mark.usefixtures("unlogged")
def test_what_the_refusal_of_a_compiled_forward_advises_works():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    with torch.no_grad():
        wanted = vlm.run_with_hooks(inputs, **HALF).logits
        its_forward(vlm.model)
        torch.testing.assert_close(vlm(inputs).logits, vlm(inputs).logits)
        with pytest.raises(ModelError, match=r"`del module\.forward`"):
            vlm.run_with_hooks(inputs, **HALF)
        del vlm.model.forward
        assert torch.equal(vlm.run_with_hooks(inputs, **HALF).logits, wanted)


@pytest.mark.usefixtures("unlogged")
def test_a_graph_of_the_hooked_vlm_itself_is_refused_under_hooks():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    graph = torch.compile(vlm, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(graph(inputs).logits, vlm(inputs).logits)
        with pytest.raises(HookError, match=r"inside a graph of torch\.compile"), vlm.hooks(**HALF):
            graph(inputs)
