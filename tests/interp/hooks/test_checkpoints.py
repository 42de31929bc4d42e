"""Gradients through blocks that backward computes again are those of a model that keeps its activations."""

import pytest
import tiny
import torch
from torch.utils.checkpoint import checkpoint

from interp.compat import checkpoint_activations
from interp.errors import HookError, ModelError
from interp.intervene.image_logits import ScaleImageLogits

PATTERN, RESIDUAL, Z = "blocks.1.attn.hook_pattern", "blocks.1.hook_resid_mid", "blocks.1.attn.hook_z"
EDITS = {
    "pattern": (PATTERN, lambda tensor, hook: tensor * 0.5),
    "logits": ("blocks.1.attn.hook_attn_logits", lambda tensor, hook: tensor * 0.3),
    "residual": (RESIDUAL, lambda tensor, hook: tensor * 0.5),
    "values": ("blocks.1.attn.hook_v", lambda tensor, hook: tensor + 1),
    "heads": (Z, lambda tensor, hook: tensor * 0.5),
    "neurons": ("blocks.1.mlp.hook_post", lambda tensor, hook: tensor * 0.5),
    "norm": ("blocks.1.ln1.hook_normalized", lambda tensor, hook: tensor * 1.3),
    "results": ("blocks.1.attn.hook_result", lambda tensor, hook: tensor * 0.5),
    "tower": ("vision.blocks.0.attn.hook_pattern", lambda tensor, hook: tensor * tensor),
    "tower's residual": ("vision.blocks.0.hook_mlp_out", lambda tensor, hook: tensor * 3),
}
WAYS = {"not": None, "reentrant": True, "not reentrant": False}


def trained(way):
    vlm = tiny.vlm(dtype=torch.float64, self_check=False).train()
    vlm.model.requires_grad_(True)
    checkpointed(vlm, way)
    return vlm, tiny.inputs(vlm, 2)


def checkpointed(vlm, way):
    checkpoint_activations(vlm.model, WAYS[way] is not None, reentrant=bool(WAYS[way]))


def gradient(vlm, logits):
    vlm.model.zero_grad()
    logits[:, -1, 5].sum().backward()
    layers = vlm.model.model.language_model.layers[0], first_of_tower(vlm)
    return torch.cat([layer.self_attn.q_proj.weight.grad.flatten().clone() for layer in layers])


def first_of_tower(vlm):
    return next(module for name, module in vlm.model.named_modules() if "vision" in name and name.endswith("layers.0"))


@pytest.mark.parametrize("way", ["reentrant", "not reentrant"])
@pytest.mark.parametrize("edit", EDITS)
def test_the_gradient_of_an_edit_that_ended_before_backward_is_right(edit, way):
    vlm, inputs = trained("not")
    hooks = {"fwd_hooks": [EDITS[edit]], "query_rows": "all"}
    wanted, plain = gradient(vlm, vlm.run_with_hooks(inputs, **hooks).logits), gradient(vlm, vlm(inputs).logits)
    assert not torch.allclose(wanted, plain)
    checkpointed(vlm, way)
    torch.testing.assert_close(gradient(vlm, vlm(inputs).logits), plain)
    torch.testing.assert_close(gradient(vlm, vlm.run_with_hooks(inputs, **hooks).logits), wanted)
    with vlm.hooks(**hooks):
        torch.testing.assert_close(gradient(vlm, vlm(inputs).logits), wanted)
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


@pytest.mark.parametrize("way", ["reentrant", "not reentrant"])
def test_each_pass_is_computed_again_under_its_own_hooks(way):
    vlm, inputs = trained("not")
    blind, other = ScaleImageLogits(-5, mode="add"), {"fwd_hooks": [EDITS["heads"]]}

    def passes():
        edited = vlm.run_with_hooks(inputs, intervention=blind).logits
        plain = vlm(inputs).logits
        read, _ = vlm.run_with_cache(inputs, names_filter=[PATTERN, Z], query_rows=[0, -2])
        with torch.no_grad():
            vlm.generate(tiny.inputs(vlm), 2)  # another prompt between pass and backward
        return [edited, plain, read.logits, vlm.run_with_hooks(inputs, **other).logits]

    wanted = [gradient(vlm, logits) for logits in passes()]
    checkpointed(vlm, way)
    made = passes()
    with vlm.hooks([EDITS["residual"]]):  # on in backward alone: of no effect on passes that are over
        found = [gradient(vlm, logits) for logits in reversed(made)]
        vlm(inputs)
    for ours, theirs in zip(reversed(found), wanted, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_at_hook_points_reach_those_who_wait_for_them():
    vlm, inputs = trained("not")
    heard = []
    listen = {"bwd_hooks": [(PATTERN, lambda g, hook: heard.append(g.clone()))], "query_rows": "last"}
    with vlm.hooks(**listen):
        gradient(vlm, vlm(inputs).logits)
    checkpointed(vlm, "not reentrant")
    logits = vlm.run_with_hooks(inputs, **listen).logits
    gradient(vlm, logits)
    assert len(heard) >= 2 and all(torch.allclose(each, heard[0]) for each in heard)
    checkpointed(vlm, "reentrant")
    with pytest.raises(HookError, match="use_reentrant"):
        vlm.run_with_hooks(inputs, **listen)

    def leaf(tensor, hook):
        tensor.requires_grad_()

    with pytest.raises(HookError, match="use_reentrant"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(PATTERN, leaf)])


def test_a_cache_is_not_written_into_when_backward_computes_again():
    vlm, inputs = trained("not reentrant")
    output, cache = vlm.run_with_cache(inputs, names_filter=[PATTERN, Z])
    for kept in cache.cache_dict.values():
        kept.zero_()
    gradient(vlm, output.logits)
    assert all(not kept.any() for kept in cache.cache_dict.values())


@pytest.mark.parametrize("way", ["reentrant", "not reentrant"])
def test_backward_after_unwrap_is_refused_and_the_model_has_its_own_functions_back(way):
    vlm, inputs = trained(way)
    own = first_of_tower(vlm)._gradient_checkpointing_func
    logits = vlm.run_with_hooks(inputs, fwd_hooks=[EDITS["residual"]]).logits
    model = vlm.unwrap()
    with pytest.raises(ModelError, match=r"call backward\(\) before"):
        logits.sum().backward()
    assert first_of_tower(vlm)._gradient_checkpointing_func is own
    model(**inputs.tensors).logits.sum().backward()


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("part", ["layer", "attention", "tower's attention"])
def test_checkpoints_that_are_not_transformers_own_are_refused_under_hooks(part, reentrant):
    vlm, inputs = trained("not")
    layer = vlm.model.model.language_model.layers[1]
    module = {"layer": layer, "attention": layer.self_attn, "tower's attention": first_of_tower(vlm).self_attn}[part]
    own = module.forward
    wanted = gradient(vlm, vlm(inputs).logits)

    def forward(hidden_states, **named):
        return checkpoint(lambda states: own(states, **named), hidden_states, use_reentrant=reentrant)

    module.forward = forward
    torch.testing.assert_close(gradient(vlm, vlm(inputs).logits), wanted)
    inside = "vision.blocks.0.attn.hook_z" if part == "tower's attention" else Z
    with pytest.raises(HookError, match=f"{inside}.*not transformers' own"):
        vlm.run_with_hooks(inputs, fwd_hooks=[(inside, lambda t, hook: t * 0.5)])
    with torch.no_grad():
        assert inside in vlm.run_with_cache(inputs, names_filter=inside)[1]
    torch.testing.assert_close(gradient(vlm, vlm(inputs).logits), wanted)


def test_layers_that_are_trained_alone_are_computed_again_under_hooks_as_well():
    """The whole model is in evaluation mode, which says nothing of its layers."""
    vlm, inputs = trained("not")
    vlm.model.eval()
    for layer in vlm.model.model.language_model.layers:
        layer.train()
    wanted = gradient(vlm, vlm.run_with_hooks(inputs, fwd_hooks=[EDITS["residual"]]).logits)
    checkpointed(vlm, "reentrant")
    found = gradient(vlm, vlm.run_with_hooks(inputs, fwd_hooks=[EDITS["residual"]]).logits)
    torch.testing.assert_close(found, wanted)
