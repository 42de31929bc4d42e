"""Hooks of torch on a hook point hear, edit and get gradients as functions that were put on by name do."""

import copy
import pickle
import re

import pytest
import tiny
import torch

from interp.errors import HookError, ModelError
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY

POINTS = (
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_resid_mid",
    "blocks.1.attn.hook_q",
    "blocks.1.attn.hook_rot_k",
    "blocks.1.attn.hook_attn_logits",
    "blocks.1.attn.hook_attn_scores",
    "blocks.1.attn.hook_pattern",
    "blocks.1.attn.hook_z",
    "blocks.1.hook_mlp_out",
    "vision.blocks.0.hook_resid_post",
    "vision.blocks.0.attn.hook_pattern",
    "projector.hook_out",
    "ln_final.hook_normalized",
    "unembed.hook_out",
)
TEXT = "blocks.1.hook_resid_pre"


def score(logits):
    return logits[:, -1, 7].sum() - logits[:, -1, 11].sum()


@pytest.fixture(scope="module")
def model():
    vlm = tiny.vlm(dtype=torch.float64)
    return vlm, tiny.inputs(vlm, 2)


def listeners(seen):
    """Each way to hear of a tensor, by the method that registers it."""
    return {
        "forward": ("register_forward_hook", lambda point, given, out: seen.append(out.clone()), {}),
        "before": ("register_forward_pre_hook", lambda point, given: seen.append(given[0].clone()), {}),
        "keywords": ("register_forward_hook", lambda p, a, k, out: seen.append(out.clone()), {"with_kwargs": True}),
        "always": ("register_forward_hook", lambda p, a, out: seen.append(out.clone()), {"always_call": True}),
    }


@pytest.mark.parametrize("way", listeners([]))
@pytest.mark.parametrize("name", POINTS)
def test_a_torch_hook_hears_what_a_cache_keeps_and_changes_nothing(model, name, way):
    vlm, inputs = model
    seen = []
    method, function, options = listeners(seen)[way]
    with torch.no_grad():
        plain = vlm(inputs).logits
        kept = vlm.run_with_cache(inputs, names_filter=name, query_rows="all")[1][name]
        handle = getattr(vlm.hook_dict[name], method)(function, **options)
        heard = vlm(inputs).logits
        handle.remove()
        after = vlm(inputs).logits
    assert len(seen) == 1 and torch.equal(seen[0], kept)
    assert torch.equal(heard, plain) and torch.equal(after, plain)
    assert not vlm.hook_dict[name].has_hooks() and not vlm._wiring.guard.listening


@pytest.mark.parametrize("name", TINY)
def test_every_point_of_every_family_fires_for_hooks_of_torch_as_for_a_cache(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    inputs = vlm.prepare(tiny.photo(), "Where is the mug?", prompt="paper")
    fired = []
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: True, query_rows="all")
        handles = [
            point.register_forward_hook(lambda point, given, out: fired.append(point.name))
            for point in vlm.hook_dict.values()
        ]
        vlm(inputs)
        for handle in handles:
            handle.remove()
        vlm(inputs)
    assert set(cache) == set(vlm.hook_dict) == set(fired)
    assert len(fired) == len(set(fired)) and not vlm._wiring.guard.listening


def editors(change):
    def in_place(point, given, out):
        out.copy_(change(out))

    return {
        "forward": ("register_forward_hook", lambda point, given, out: change(out)),
        "before": ("register_forward_pre_hook", lambda point, given: (change(given[0]),)),
        "in place": ("register_forward_hook", in_place),
    }


@pytest.mark.parametrize("way", editors(None))
@pytest.mark.parametrize("name", POINTS)
def test_an_edit_by_a_torch_hook_is_the_edit_by_name(model, name, way):
    vlm, inputs = model
    method, function = editors(lambda tensor: tensor * 0.5)[way]
    with torch.no_grad():
        wanted = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: t * 0.5)], query_rows="all").logits
        handle = getattr(vlm.hook_dict[name], method)(function)
        try:
            edited = vlm(inputs).logits
        finally:
            handle.remove()
        assert torch.equal(edited, wanted)
        assert not torch.equal(edited, vlm(inputs).logits)


@pytest.mark.parametrize("name", [*POINTS[:9], "projector.hook_out"])
def test_gradients_are_heard_and_changed_as_by_name(model, name):
    vlm, inputs = model
    heard = {"by name": [], "torch": [], "torch, before": []}
    with vlm.hooks(bwd_hooks=[(name, lambda g, hook: heard["by name"].append(g.clone()))], query_rows="all"):
        score(vlm(inputs).logits).backward()
    point = vlm.hook_dict[name]
    handles = [
        point.register_full_backward_hook(lambda p, into, out: heard["torch"].append(out[0].clone())),
        point.register_full_backward_pre_hook(lambda p, out: heard["torch, before"].append(out[0].clone())),
    ]
    score(vlm(inputs).logits).backward()
    for handle in handles:
        handle.remove()
    for found in heard.values():
        assert len(found) == 1 and torch.equal(found[0], heard["by name"][0])
    with torch.no_grad(), pytest.raises(HookError, match="gradients are off"):
        handle = point.register_full_backward_hook(lambda p, into, out: None)
        try:
            vlm(inputs)
        finally:
            handle.remove()


def test_torch_hooks_and_functions_by_name_run_in_the_order_in_which_they_came(model):
    vlm, inputs = model
    order = []
    handle = vlm.hook_dict[TEXT].register_forward_hook(lambda *given: order.append("torch"))
    with vlm.hooks([(TEXT, lambda t, hook: order.append("by name"))]):
        vlm(inputs)
    vlm(inputs)
    handle.remove()
    vlm(inputs)
    assert order == ["torch", "by name", "torch"]


def test_torch_hooks_hear_every_pass_of_a_generation(model):
    vlm, inputs = model
    lengths = []
    handle = vlm.hook_dict[TEXT].register_forward_hook(lambda p, a, out: lengths.append(out.shape[1]))
    tokens = vlm.generate(inputs, 3).tokens
    handle.remove()
    assert lengths == [inputs.input_ids.shape[1]] + [1] * (tokens.shape[1] - 1)


def test_a_hook_of_the_old_kind_which_would_hear_another_gradient_is_refused(model):
    with pytest.raises(HookError, match="register_full_backward_hook"):
        model[0].hook_dict[TEXT].register_backward_hook(lambda *given: None)


def test_no_hook_goes_on_a_point_of_a_model_that_is_unwrapped_or_paused():
    vlm = tiny.vlm()
    point = vlm.hook_dict[TEXT]
    with vlm.paused(), pytest.raises(ModelError, match="was unwrapped, or is paused"):
        point.register_forward_hook(lambda *given: None)
    point.register_forward_hook(lambda *given: None).remove()
    vlm.unwrap()
    for put_on in (point.register_forward_pre_hook, point.register_full_backward_hook, point.add_hook):
        with pytest.raises(ModelError, match="was unwrapped, or is paused"):
            put_on(lambda *given, **named: None)
    assert not point.has_hooks()


@pytest.mark.parametrize("way", [copy.deepcopy, copy.copy, pickle.dumps])
def test_points_are_not_copied(model, way):
    with pytest.raises(ModelError, match=r"hook points of a HookedVLM can not be copied.*paused"):
        way(model[0].hook_dict[TEXT])


def test_the_recipe_of_the_docs_for_captum_runs(repo):
    pytest.importorskip("captum", reason="needs captum")
    page = (repo / "docs" / "how-to.md").read_text(encoding="utf-8")
    (recipe,) = re.findall(r"```py\n(from captum.*?)```", page, re.DOTALL)
    vlm = HookedVLM.from_pretrained("shapes-vlm", dtype="float32")
    names = {"vlm": vlm, "inputs": vlm.prepare(tiny.photo(), "Where is the red circle?", prompt="paper"), "token": 5}
    exec(compile(recipe, "docs/how-to.md", "exec"), names)
    length = names["inputs"].input_ids.shape[1]
    assert names["by_weight"].shape == (1, vlm.cfg.n_heads, length, length) and names["by_weight"].abs().sum() > 0
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def test_captum_attributes_to_hook_points(model):
    attr = pytest.importorskip("captum.attr", reason="needs captum")
    vlm, inputs = model
    rest = {name: value for name, value in inputs.tensors.items() if name != "input_ids"}

    def last(ids):
        return vlm.model(input_ids=ids, **rest, use_cache=False).logits[:, -1]

    leaves = []

    def leaf(tensor, hook):
        leaves.append(tensor.requires_grad_())
        return leaves[0] * 1

    for name in ("blocks.1.hook_resid_post", "blocks.1.attn.hook_pattern", "blocks.1.attn.hook_z"):
        point, ids = vlm.hook_dict[name], inputs.input_ids
        leaves.clear()
        logits = vlm.run_with_hooks(inputs, fwd_hooks=[(name, leaf)], query_rows="all").logits[:, -1, 7]
        slope, value = torch.autograd.grad(logits.sum(), leaves[0])[0], leaves[0].detach()
        kept = attr.LayerActivation(last, point).attribute(ids)
        torch.testing.assert_close(kept.detach(), value)
        by_slope = attr.LayerGradientXActivation(last, point).attribute(ids, target=7)
        torch.testing.assert_close(by_slope.detach(), value * slope, rtol=1e-9, atol=1e-12)
        assert by_slope.abs().max() > 0
        assert not point.has_hooks()
    total = attr.LayerIntegratedGradients(last, vlm.hook_dict["blocks.1.hook_resid_post"])
    one = tiny.inputs(vlm)
    rest = {name: value for name, value in one.tensors.items() if name != "input_ids"}
    _, gap = total.attribute(
        one.input_ids,
        baselines=torch.full_like(one.input_ids, 8).where(one.input_ids != 4, one.input_ids),
        target=7,
        n_steps=64,
        internal_batch_size=1,
        return_convergence_delta=True,
    )
    assert gap.abs().max() < 0.05
