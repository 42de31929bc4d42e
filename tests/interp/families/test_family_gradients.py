"""Gradients and half precision where a family is built otherwise than LLaVA: packed, windowed, scaled, normed twice."""

from functools import cache

import pytest
import torch

from interp.model.hooked_vlm import HookedVLM
from interp.proof.samples import one_prompt

CASES = [
    ("tiny-qwen2_5_vl", "vision.blocks.0.attn.hook_q"),
    ("tiny-qwen2_5_vl", "vision.blocks.0.attn.hook_pattern"),
    ("tiny-qwen2_5_vl", "vision.blocks.1.hook_resid_mid"),
    ("tiny-qwen3_vl", "vision.blocks.0.attn.hook_v"),
    ("tiny-internvl", "vision.blocks.0.hook_attn_out"),
    ("tiny-internvl", "vision.blocks.0.hook_mlp_out"),
    ("tiny-gemma3", "blocks.1.hook_attn_out"),
    ("tiny-gemma3", "blocks.1.attn.hook_pattern"),
    ("tiny-llava_next", "projector.hook_out"),
]


@cache
def tiny(name, dtype=torch.float64):
    return HookedVLM.from_pretrained(name, dtype=dtype)


def score(logits):
    return logits[:, -1, 7].sum() - logits[:, -1, 11].sum()


@pytest.mark.parametrize(("name", "point"), CASES)
def test_a_gradient_is_the_slope_of_the_score(name, point):
    """Against a finite difference along a random direction; some layers compute in fp32 all the same."""
    hooked = tiny(name)
    inputs = one_prompt(hooked).to("cpu", torch.float64)
    seen, rows = [], "all" if point.endswith("pattern") else None

    def listen(tensor, hook):
        tensor = tensor.detach().requires_grad_()
        seen.append(tensor)
        return tensor

    score(hooked.run_with_hooks(inputs, fwd_hooks=[(point, listen)], query_rows=rows).logits).backward()
    gradient = seen[0].grad
    direction = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(0), dtype=gradient.dtype)
    if point.endswith("pattern"):  # nothing may be put where nothing is seen
        direction = direction * (seen[0] > 0)

    def moved(step):
        hook = [(point, lambda tensor, hook: tensor + step * direction)]
        with torch.no_grad():
            return float(score(hooked.run_with_hooks(inputs, fwd_hooks=hook, query_rows=rows).logits))

    near, far = ((moved(step) - moved(-step)) / (2 * step) for step in (5e-3, 1e-2))
    slope = (4 * near - far) / 3
    assert abs(slope) > 1e-3
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=3e-2)


@pytest.mark.parametrize(("name", "point"), CASES)
def test_an_edit_in_place_under_gradients_is_an_edit(name, point):
    hooked = tiny(name)
    inputs = one_prompt(hooked).to("cpu", torch.float64)
    rows = "all" if point.endswith("pattern") else None

    def halve(tensor, hook):
        return tensor * 0.5

    def halve_in_place(tensor, hook):
        tensor.mul_(0.5)

    with torch.no_grad():
        wanted = hooked.run_with_hooks(inputs, fwd_hooks=[(point, halve)], query_rows=rows).logits
        found = hooked.run_with_hooks(inputs, fwd_hooks=[(point, halve_in_place)], query_rows=rows).logits
    assert torch.equal(found, wanted)
    under = hooked.run_with_hooks(inputs, fwd_hooks=[(point, halve)], query_rows=rows).logits
    assert torch.allclose(under, wanted, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", ["tiny-internvl", "tiny-qwen2_5_vl", "tiny-gemma3"])
def test_half_precision_runs_untouched_and_an_edit_that_changes_nothing_changes_nothing(name, dtype):
    hooked = tiny(name, dtype)
    inputs = one_prompt(hooked).to("cpu", dtype)
    points = ["vision.blocks.0.hook_attn_out", "blocks.1.hook_mlp_out", "blocks.1.attn.hook_q"]
    with torch.no_grad():
        untouched = hooked(inputs).logits
        same = hooked.run_with_hooks(inputs, fwd_hooks=[(points, lambda tensor, hook: tensor.clone())]).logits
    assert untouched.isfinite().all()
    assert torch.equal(same, untouched)
