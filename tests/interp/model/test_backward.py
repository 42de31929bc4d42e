"""Gradients of activations are those of autograd, and a pass that ends early gives what a whole one gives there."""

from functools import cache

import numpy as np
import pytest
import torch

from interp.errors import HookError
from interp.model.hooked_vlm import HookedVLM
from interp.proof.samples import four_prompts, one_prompt

POINTS = (
    "hook_embed",
    "projector.hook_out",
    "blocks.0.hook_resid_pre",
    "blocks.1.ln1.hook_normalized",
    "blocks.1.attn.hook_q",
    "blocks.1.attn.hook_pattern",
    "blocks.1.attn.hook_z",
    "blocks.1.mlp.hook_post",
    "blocks.2.hook_mlp_out",
    "ln_final.hook_scale",
    "ln_final.hook_normalized",
)


@cache
def loaded(name):
    vlm = HookedVLM.from_pretrained(name)
    return vlm, one_prompt(vlm)


def goal(output):
    return output.logits[0, -1, 5] - output.logits[0, -1, 7]


def slope(vlm, inputs, point, direction):
    """The change of the goal along a direction, by two runs."""
    step, said = 1e-3, []  # some layers compute in fp32 all the same
    for sign in (1, -1):

        def shift(tensor, hook, sign=sign):
            return tensor + sign * step * direction.to(tensor)

        with torch.no_grad():
            said.append(goal(vlm.run_with_hooks(inputs, [(point, shift)])))
    return float(said[0] - said[1]) / (2 * step)


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl"])
def test_a_kept_gradient_is_the_slope_of_the_goal(name, point):
    vlm = HookedVLM.from_pretrained(name, dtype=torch.float64, self_check=False)
    inputs = one_prompt(vlm).to("cpu", torch.float64)
    output, kept = vlm.run_with_cache(inputs, point, query_rows="all", incl_bwd=goal)
    gradient = kept[f"{point}_grad"]
    assert gradient.shape == kept[point].shape and not gradient.requires_grad
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if point.endswith("pattern"):
        direction = direction * (kept[point] > 0)
    wanted = slope(vlm, inputs, point, direction)
    assert float((gradient * direction).sum()) == pytest.approx(wanted, rel=1e-2, abs=2e-3)


def test_gradients_leave_the_model_its_mode_its_weights_and_its_output():
    vlm, inputs = loaded("tiny-llava")
    names = ["blocks.1.attn.hook_pattern", "blocks.1.mlp.hook_pre"]
    with torch.no_grad():
        output, kept = vlm.run_with_cache(inputs, names, incl_bwd=goal)  # turned on for the while
        torch.testing.assert_close(output.logits, vlm(inputs).logits, rtol=1e-4, atol=1e-5)
    assert kept["pattern_grad", 1].shape == kept["pattern", 1].shape == (1, 4, 1, inputs.shape[1])
    assert list(kept) == [*names, *[f"{name}_grad" for name in reversed(names)]]
    assert all(weight.grad is None for weight in vlm.parameters()) and not vlm.training
    assert not any(point.has_hooks() for point in vlm.hook_points())


def test_every_point_of_the_language_model_gets_a_gradient_and_the_loss_is_a_goal():
    vlm, inputs = loaded("tiny-qwen2_5_vl")
    _, kept = vlm.run_with_cache(inputs, lambda name: "vision" not in name, incl_bwd=True, labels=inputs.input_ids)
    names = [name for name in vlm.hook_dict if "vision" not in name]
    assert set(kept) == {*names, *[f"{name}_grad" for name in names]}
    own = vlm.run_with_cache(
        inputs, "blocks.0.hook_resid_pre", incl_bwd=lambda output: output.loss, labels=inputs.input_ids
    )
    torch.testing.assert_close(own[1]["resid_pre_grad", 0], kept["resid_pre_grad", 0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "asked, match",
    [
        (dict(incl_bwd=True), "give labels="),
        (dict(incl_bwd="loss"), "'loss' is not understood: give a function"),
        (dict(incl_bwd=0), "0 is not understood: give a function"),
        (dict(incl_bwd=lambda output: output.logits), "goes back from one number"),
        (dict(incl_bwd=lambda output: 3.0), "goes back from one number"),
        (dict(incl_bwd=lambda output: output.logits.detach().sum()), "follows from none of the points"),
        (
            dict(names_filter=["vision.blocks.1.hook_resid_post", "hook_embed"], incl_bwd=goal),
            "blocks.1.hook_resid_post has no",
        ),
        (dict(names_filter="vision.blocks.1.hook_resid_post", incl_bwd=goal), "follows from none of the points"),
    ],
)
def test_what_has_no_gradient_is_refused(asked, match):
    vlm, inputs = loaded("tiny-llava")  # whose photo is read before the tower's last block
    with pytest.raises(HookError, match=match):
        vlm.run_with_cache(inputs, **{"names_filter": "blocks.0.hook_resid_pre", **asked})
    assert not any(point.has_hooks() for point in vlm.hook_points())


# stopping ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-paligemma2", "tiny-smolvlm"])
def test_a_pass_that_stops_gives_the_stream_that_the_block_is_given(name):
    vlm, _ = loaded(name)
    inputs, calls = four_prompts(vlm)[0], []
    with torch.no_grad():
        _, whole = vlm.run_with_cache(inputs, lambda name: "hook_resid" in name)
        with vlm.hooks([("blocks.2.hook_resid_post", lambda tensor, hook: calls.append(1))]):
            for layer in (0, 1, -1, 3):
                stream = vlm(inputs, stop_at_layer=layer)
                wanted = whole["resid_post", 2] if layer == 3 else whole["resid_pre", layer]
                assert torch.equal(stream, wanted), layer
        assert len(calls) == 1  # of the whole one
        assert (
            torch.equal(vlm(inputs).logits, vlm(inputs).logits)
            and not vlm.hook_dict["blocks.1.hook_resid_pre"].has_hooks()
        )


def test_what_a_stopped_pass_does_not_reach_is_not_kept_and_can_not_be_named():
    vlm, inputs = loaded("tiny-llava")
    with torch.no_grad():
        stream, kept = vlm.run_with_cache(inputs, stop_at_layer=1)
        edited, _ = vlm.run_with_cache(
            inputs, "hook_embed", stop_at_layer=1, fwd_hooks=[("hook_embed", lambda tensor, hook: tensor * 2)]
        )
    assert torch.equal(stream, kept["resid_pre", 1]) and not torch.equal(edited, stream)
    there = {name for name in kept if name.startswith(("blocks", "ln_final", "unembed"))}
    assert there == {name for name in vlm.hook_dict if name.startswith("blocks.0.") and "result" not in name} | {
        "blocks.1.hook_resid_pre"
    }
    for name in ("blocks.1.hook_resid_mid", "blocks.2.hook_resid_pre", "ln_final.hook_out", "unembed.hook_out"):
        with pytest.raises(HookError, match=f"{name} is not reached with stop_at_layer=1"):
            vlm.run_with_cache(inputs, name, stop_at_layer=1)


@pytest.mark.parametrize("layer", [4, -4, 1.0, "1", True, 2**70, torch.tensor(True)])
def test_a_block_that_is_not_there_is_refused(layer):
    vlm, inputs = loaded("tiny-llava")
    with pytest.raises(HookError, match="give a block from 0 to 3"):
        vlm(inputs, stop_at_layer=layer)


def test_a_block_is_known_by_a_number_of_any_library():
    vlm, inputs = loaded("tiny-llava")
    for layer in (np.int64(1), torch.tensor(1), np.int8(-2)):
        assert torch.equal(vlm(inputs, stop_at_layer=layer), vlm(inputs, stop_at_layer=1))


def test_without_a_goal_no_gradients_are_kept():
    vlm, inputs = loaded("tiny-llava")
    for none in (None, False):
        assert list(vlm.run_with_cache(inputs, "hook_embed", incl_bwd=none)[1]) == ["hook_embed"]


def test_gradients_go_back_from_where_a_pass_stops():
    vlm, inputs = loaded("tiny-llava")
    stream, kept = vlm.run_with_cache(
        inputs, "hook_embed", stop_at_layer=1, incl_bwd=lambda stream: stream[0, -1].sum()
    )
    assert kept["hook_embed_grad"].abs().max() > 0 and stream.shape == (*inputs.shape, 32)
