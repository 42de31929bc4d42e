"""A hook point that is named and never fires is refused, whatever it was named for; nothing is quietly missing."""

import pytest
import tiny
import torch

from interp.errors import HookError, ModelError
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM

TOWER = "vision.blocks.0.hook_resid_pre"
TEXT = [f"blocks.1.{name}" for name in ("hook_resid_pre", "hook_resid_mid", "hook_mlp_out", "attn.hook_z")]


def nothing(tensor, hook):
    return None


@pytest.fixture(scope="module")
def model():
    vlm = tiny.vlm()
    return vlm, tiny.inputs(vlm)


@pytest.fixture(scope="module")
def blind(model):
    """A batch without pixels, whose image tokens are what the embedding holds for them."""
    return ImageFeatures.capture(*model)._blind


@pytest.mark.parametrize("name", [TOWER, "vision.blocks.2.attn.hook_z"])
def test_the_tower_s_points_are_refused_where_no_photo_is_run(model, blind, name):
    vlm, _ = model
    with torch.no_grad():
        for use in (
            lambda: vlm.run_with_cache(blind, names_filter=name),
            lambda: vlm.run_with_cache(blind, names_filter=lambda own: own == name),
            lambda: vlm.run_with_hooks(blind, fwd_hooks=[(name, nothing)]),
            lambda: vlm.generate(blind, 2, fwd_hooks=[([name, TEXT[0]], nothing)]),
        ):
            with pytest.raises(HookError, match=rf"^{name}: hooks were on, and never fired"):
                use()
        plain = vlm.model(**blind.tensors).logits
        with pytest.raises(HookError, match="never fired"), vlm.hooks([(name, nothing)]):
            vlm.model(**blind.tensors)
        with pytest.raises(HookError, match="never fired"), vlm.hooks([(name, nothing)]):
            vlm.model.generate(**blind.tensors, max_new_tokens=2)
        assert torch.equal(vlm.model(**blind.tensors).logits, plain)


def test_words_alone_come_by_no_point_of_the_image(model):
    vlm, _ = model
    words = torch.tensor([[1, 8, 9, 10]])
    for name in (TOWER, "projector.hook_out"):
        with torch.no_grad(), pytest.raises(HookError, match=f"{name}: hooks were on"), vlm.hooks([(name, nothing)]):
            vlm.model(input_ids=words)


def test_logits_are_refused_where_the_head_is_not_run(model):
    vlm, inputs = model
    with (
        pytest.raises(HookError, match=r"unembed\.hook_out: hooks were on"),
        vlm.hooks([("unembed.hook_out", nothing)]),
    ):
        vlm.model.model(**inputs.tensors)


def test_of_everything_the_tower_is_left_out_where_it_is_not_run(model, blind):
    vlm, inputs = model
    with torch.no_grad():
        whole, without = (vlm.run_with_cache(batch)[1] for batch in (inputs, blind))
    assert set(whole) - set(without) == {name for name in whole if name.startswith("vision.")} != set()


@pytest.mark.parametrize("names", ["blocks.1.attn.hook_pattern", None])
def test_rows_that_a_pass_does_not_have_are_refused_and_not_left_out(model, names):
    vlm, inputs = model
    with torch.no_grad(), pytest.raises(HookError, match="query_rows='decoded' has no row in this pass"):
        vlm.run_with_cache(inputs, names_filter=names, query_rows="decoded")


def test_a_part_that_is_run_alone_asks_for_none_of_the_other_s_points(model):
    vlm, inputs = model
    with torch.no_grad():
        with vlm.hooks([(TEXT[0], nothing)]):
            vlm.model.model.get_image_features(inputs.tensors["pixel_values"])
        with vlm.hooks([(TOWER, nothing)]):
            vlm.model.model.language_model(input_ids=torch.tensor([[1, 8, 9]]))


def test_a_pass_that_is_refused_says_why_and_not_that_points_were_silent(model):
    vlm, inputs = model

    def broken(tensor, hook):
        raise ZeroDivisionError

    with torch.no_grad(), vlm.hooks([(["projector.hook_out", *TEXT], nothing), (TOWER, broken)]):
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                vlm(inputs)


@pytest.mark.parametrize(
    "name", ["blocks.1.hook_resid_mid", "blocks.2.ln1.hook_out", "ln_final.hook_scale", "unembed.hook_out"]
)
def test_what_is_behind_the_end_of_a_pass_is_refused(model, name):
    vlm, inputs = model
    with torch.no_grad():
        with pytest.raises(HookError, match=rf"^{name}: hooks were on, and never fired.*stop_at_layer"):
            vlm.run_with_hooks(inputs, fwd_hooks=[(name, nothing)], stop_at_layer=1)
        with vlm.hooks([(name, nothing)]):  # and runs to its end, too
            vlm(inputs, stop_at_layer=1)
            vlm(inputs)


def test_of_everything_what_words_alone_or_an_end_leave_out_is_left_out(model):
    vlm, inputs = model
    with torch.no_grad():
        whole, words = (vlm.run_with_cache(given)[1] for given in (inputs, "the mug"))
        begun = vlm.run_with_cache("the mug", stop_at_layer=1)[1]
        with pytest.raises(HookError, match=r"^projector\.hook_out: hooks were on, and never fired"):
            vlm.run_with_cache("the mug", "projector.hook_out", stop_at_layer=1)
    of_photo = {name for name in whole if name.startswith(("vision.", "projector."))}
    assert set(whole) - set(words) == of_photo and set(whole) >= set(words) > set(begun) > {"blocks.0.ln1.hook_scale"}


@pytest.mark.parametrize(
    "name", ["blocks.1.ln1.hook_scale", "blocks.1.mlp.hook_post", "blocks.1.attn.hook_result", "hook_embed"]
)
def test_points_inside_of_parts_hear_hooks_of_torch_and_are_joined_no_longer_than_these(model, name):
    vlm, inputs = model
    point, heard = vlm.hook_dict[name], []
    handle = point.register_forward_hook(lambda module, args, output: heard.append(output.clone()))
    with torch.no_grad():
        vlm(inputs)
        assert point.join.handle is not None
        handle.remove()
        assert point.join.handle is None
        cache = vlm.run_with_cache(inputs, name)[1]
    assert len(heard) == 1 and torch.equal(heard[0], cache[name])


def test_what_runs_nothing_or_breaks_off_is_not_refused_for_it(model):
    vlm, inputs = model
    with vlm.hooks([(TOWER, nothing)]):
        pass
    with pytest.raises(ZeroDivisionError), vlm.hooks([(TOWER, nothing)]):
        raise ZeroDivisionError
    with torch.no_grad(), vlm.hooks([(TOWER, nothing)]):
        vlm.reset_hooks()
        vlm.model(input_ids=torch.tensor([[1, 8, 9]]))


def _skips_the_block(language):
    language.layers[1].forward = lambda hidden_states, *given, **named: hidden_states


def _calls_past_the_hooks(language):
    layer = language.layers[1]
    own = layer.forward
    layer.mlp.__class__ = type("Fused", (type(layer.mlp),), {"__call__": lambda self, x: self.forward(x)})
    layer.post_attention_layernorm.__class__ = type(
        "FusedNorm", (type(layer.post_attention_layernorm),), {"__call__": lambda self, x: self.forward(x)}
    )
    layer.forward = own


def _stops_early(language):
    language.layers = language.layers[:1]


@pytest.mark.parametrize(
    "change, lost",
    [
        (_skips_the_block, ["hook_resid_mid", "hook_mlp_out", "attn.hook_z", "attn.hook_q", "attn.hook_pattern"]),
        (_calls_past_the_hooks, ["hook_resid_mid", "hook_mlp_out"]),
        (_stops_early, ["hook_resid_pre", "hook_resid_post", "attn.hook_pattern"]),
    ],
)
def test_a_pass_that_goes_by_a_point_is_refused_however_it_was_put_on(change, lost):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    change(vlm.model.model.language_model)
    with torch.no_grad():
        vlm(inputs)
        for name in lost:
            name = f"blocks.1.{name}"
            for use in (
                lambda: vlm.run_with_cache(inputs, names_filter=name),  # noqa: B023
                lambda: vlm.generate(inputs, 2, fwd_hooks=[(name, nothing)]),  # noqa: B023
            ):
                with pytest.raises((HookError, ModelError), match=f"{name}: hooks are on|was replaced"):
                    use()
            for put_on in (vlm.hook_dict[name].add_hook, vlm.hook_dict[name].register_forward_hook):
                put_on(lambda *given, **named: None)
                with pytest.raises((HookError, ModelError), match=f"{name}: hooks are on|was replaced"):
                    vlm(inputs)
                vlm.hook_dict[name].remove_hooks("both")
                vlm.hook_dict[name]._forward_hooks.clear()
        vlm(inputs)


def test_an_intervention_at_a_block_that_is_skipped_is_refused():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    _skips_the_block(vlm.model.model.language_model)
    blind = ScaleImageLogits(-5, mode="add", layers=(1,))
    with torch.no_grad():
        for use in (
            lambda: vlm.run_with_hooks(inputs, intervention=blind),
            lambda: vlm.generate(inputs, 2, intervention=blind),
        ):
            with pytest.raises(HookError, match=r"blocks\.1\.attn\.hook_attn_logits: hooks are on"):
                use()


def _cleared(model, names):
    for module in model.modules():
        if type(module).__name__ in names:
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()


@pytest.mark.parametrize("names", [("LlamaDecoderLayer",), ("LlamaAttention", "LlamaMLP"), ("CLIPEncoderLayer",)])
def test_hooks_that_something_else_took_off_are_missed(names):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)
    assert vlm.wrapped
    with torch.no_grad():
        _cleared(vlm.model, names)
        assert not vlm.wrapped
        for use in (
            lambda: vlm.run_with_cache(inputs, names_filter=TEXT[1]),
            lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(TEXT[1], nothing)]),
            lambda: vlm.generate(inputs, 2, fwd_hooks=[(TEXT[1], nothing)]),
            lambda: vlm.add_hook(TEXT[1], nothing),
        ):
            with pytest.raises(ModelError, match="taken off the modules"):
                use()
        again = HookedVLM.wrap(vlm.unwrap(), vlm.processor)
        assert again.wrapped and TEXT[1] in again.run_with_cache(inputs, names_filter=TEXT[1])[1]
