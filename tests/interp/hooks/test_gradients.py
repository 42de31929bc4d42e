"""Gradients: through edited rows, through backward hooks, with frozen parameters, all as an eager reference says."""

import naive
import pytest
import torch
from naive import in_place, reference
from tiny import MODELS, case

from interp.errors import HookError

POINTS = [
    "blocks.1.attn.hook_attn_logits",
    "blocks.1.attn.hook_attn_scores",
    "blocks.1.attn.hook_pattern",
    "blocks.1.attn.hook_q",
    "blocks.1.attn.hook_rot_k",
    "blocks.1.attn.hook_v",
    "blocks.1.attn.hook_z",
    "blocks.1.hook_resid_pre",
    "blocks.1.hook_resid_mid",
    "blocks.1.hook_attn_out",
    "blocks.1.hook_mlp_out",
    "vision.blocks.1.attn.hook_pattern",
    "vision.blocks.0.hook_resid_mid",
    "projector.hook_out",
]


def rows_for(name):
    return "all" if name.endswith(("logits", "scores", "pattern")) else None


def score(logits):
    return logits[:, -1, 7].sum() - logits[:, -1, 11].sum()


def naive_gradient(vlm, inputs, name):
    """The gradient of the score at a point, by autograd through explicit loops."""
    points = []

    def mark(value):
        points.append(value.detach().requires_grad_())
        return points[0]

    return torch.autograd.grad(score(reference(vlm, inputs, {name: mark})), points[0])[0]


@pytest.mark.parametrize("model", MODELS[::3], ids=str)
@pytest.mark.parametrize("name", POINTS)
def test_a_gradient_equals_the_one_through_explicit_loops(model, name):
    vlm, inputs, _ = case(*model)
    wanted = naive_gradient(vlm, inputs, name)
    heard, leaves = [], []

    def by_retained_gradient(tensor, hook):
        tensor.requires_grad_()
        tensor.retain_grad()
        leaves.append(tensor)

    score(
        vlm.run_with_hooks(inputs, fwd_hooks=[(name, by_retained_gradient)], query_rows=rows_for(name)).logits
    ).backward()
    with vlm.hooks(bwd_hooks=[(name, lambda g, hook: heard.append(g.clone()))], query_rows=rows_for(name)):
        score(vlm(inputs).logits).backward()
    assert len(heard) == len(leaves) == 1
    assert wanted.abs().max() > 0
    torch.testing.assert_close(heard[0], wanted, rtol=naive.tolerance(vlm), atol=naive.tolerance(vlm))
    torch.testing.assert_close(leaves[0].grad, wanted, rtol=naive.tolerance(vlm), atol=naive.tolerance(vlm))


@pytest.mark.parametrize("rows", ["last", [20, 3]])
def test_a_gradient_for_chosen_rows_is_that_part_of_the_gradient(rows):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    name, heard = "blocks.1.attn.hook_attn_logits", []
    with vlm.hooks(bwd_hooks=[(name, lambda g, hook: heard.append(g.clone()))], query_rows=rows):
        score(vlm(inputs).logits).backward()
    index = [inputs.input_ids.shape[1] - 1] if rows == "last" else rows
    torch.testing.assert_close(
        heard[0], naive_gradient(vlm, inputs, name)[:, :, index], rtol=naive.tolerance(vlm), atol=naive.tolerance(vlm)
    )


@pytest.mark.parametrize("point", ["attn_logits", "pattern"])
def test_a_gradient_equals_finite_differences(point):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    name, heard = f"blocks.0.attn.hook_{point}", []
    with vlm.hooks(bwd_hooks=[(name, lambda g, hook: heard.append(g.clone()))], query_rows="last"):
        score(vlm(inputs).logits).backward()
    steepest = heard[0].abs().flatten().topk(5).indices.tolist()
    for place in steepest:

        def push(step, place=place):
            def edit(tensor, hook):
                tensor.view(-1)[place] += step

            return score(vlm.run_with_hooks(inputs, fwd_hooks=[(name, edit)], query_rows="last").logits)

        slope = (push(1e-3) - push(-1e-3)) / 2e-3  # transformers takes its norms in fp32: no smaller steps
        torch.testing.assert_close(heard[0].view(-1)[place], slope, rtol=1e-2, atol=0)


def test_a_backward_hook_may_change_the_gradient():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    early, late, heard = "blocks.0.hook_resid_post", "blocks.1.attn.hook_attn_logits", {}

    def run(hooks, key):
        listen = (early, lambda g, hook: heard.update({key: g.clone()}))
        with vlm.hooks(bwd_hooks=[listen, *hooks], query_rows="last"):
            score(vlm(inputs).logits).backward()

    run([], "plain")
    run([(late, lambda g, hook: g * 0)], "cut")
    run([(late, lambda g, hook: None)], "kept")
    with vlm.paused():
        wanted = []

        def mark(value):
            wanted.append(value.detach().requires_grad_())
            return wanted[0]

        last = inputs.input_ids.shape[1] - 1
        cut = naive.on_rows(lambda t: t.detach(), [last])
        logits = naive.naive_run(vlm.model, inputs.tensors, {early: mark, late: cut})[0]
        torch.testing.assert_close(
            heard["cut"],
            torch.autograd.grad(score(logits), wanted[0])[0],
            rtol=naive.tolerance(vlm),
            atol=naive.tolerance(vlm),
        )
    torch.testing.assert_close(heard["kept"], heard["plain"])
    assert not torch.allclose(heard["cut"], heard["plain"])


@pytest.mark.parametrize("name", POINTS)
def test_a_hook_may_edit_the_very_tensor_that_it_wants_a_gradient_of(name):
    vlm, inputs, _ = case("clip", 2, "sdpa")
    leaves = []

    def edit(tensor, hook):
        leaves.append(tensor.requires_grad_())
        return tensor * 2

    logits = vlm.run_with_hooks(inputs, fwd_hooks=[(name, edit)], query_rows=rows_for(name)).logits
    got = torch.autograd.grad(score(logits), leaves[0])[0]
    points = []

    def mark(value):
        points.append(value.detach().requires_grad_())
        return points[0] * 2

    wanted = torch.autograd.grad(score(reference(vlm, inputs, {name: mark})), points[0])[0]
    torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


def test_gradients_flow_to_trainable_parameters_through_edited_rows():
    vlm, inputs, _ = case("clip", 2, "eager")
    weight = vlm.model.model.language_model.layers[0].self_attn.q_proj.weight
    name = "blocks.0.attn.hook_pattern"
    try:
        weight.requires_grad_()
        logits = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: t * t)], query_rows="last").logits
        got = torch.autograd.grad(score(logits), weight)[0]
        square = naive.on_rows(lambda t: t * t, [inputs.input_ids.shape[1] - 1])
        wanted = torch.autograd.grad(score(reference(vlm, inputs, {name: square})), weight)[0]
    finally:
        weight.requires_grad_(False)
    torch.testing.assert_close(got, wanted, rtol=naive.tolerance(vlm), atol=naive.tolerance(vlm))


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("name", ["blocks.1.attn.hook_pattern", "blocks.1.hook_resid_mid", "projector.hook_out"])
def test_a_backward_hook_without_gradients_is_refused(context, name):
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    with context(), pytest.raises(HookError, match="gradients are off"):
        with vlm.hooks(bwd_hooks=[(name, lambda g, hook: None)]):
            vlm(inputs)
    assert torch.equal(vlm(inputs).logits, untouched)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_edits_work_without_gradients(context):
    vlm, inputs, _ = case("siglip", 2, "eager")
    for name in ("blocks.1.attn.hook_scores", "blocks.1.attn.hook_rot_k", "blocks.1.hook_resid_mid"):
        name = name.replace("hook_scores", "hook_attn_scores")
        with context():
            returned = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: t * 1.5)]).logits
            changed = vlm.run_with_hooks(inputs, fwd_hooks=[(name, in_place(lambda t: t * 1.5))]).logits
        wanted = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda t, hook: t * 1.5)]).logits
        assert torch.equal(returned, changed)
        torch.testing.assert_close(returned, wanted)
