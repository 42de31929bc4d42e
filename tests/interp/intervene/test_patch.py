"""Patch puts what another run had at chosen positions into this run, and touches nothing else."""

import pytest
import tiny
import torch

from interp import HookedVLM, Patch

POINTS = [
    f"blocks.1.{point}"
    for point in ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "hook_attn_out", "hook_mlp_out")
]
POINTS += [f"blocks.1.attn.hook_{point}" for point in ("q", "k", "v", "rot_q", "z")] + ["ln_final.hook_normalized"]


def other_run(vlm, samples=2, names=None):
    """Another batch as `loaded` has it, of other photos, and what its run keeps."""
    questions = ["Is it on the left?", "Where is the red mug in relation to the dog?", "Where is the table?"]
    photos = [tiny.photo(place + 10, (80, 60)) for place in range(samples)]
    inputs = vlm.prepare(photos, questions[:samples], prompt="paper")
    with torch.no_grad():
        return inputs, vlm.run_with_cache(inputs, names_filter=names or (lambda name: name.startswith("blocks")))[1]


def logits(vlm, inputs, intervention):
    with torch.no_grad(), vlm.intervene(intervention, inputs):
        return vlm(inputs).logits


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3", "tiny-pixtral"])
def test_a_run_patched_into_itself_changes_no_bit(name, dtype):
    vlm = HookedVLM.from_pretrained(name, self_check=False, dtype=dtype)
    inputs = vlm.prepare([tiny.photo(0), tiny.photo(1)], ["Where is it?", "Where is the red mug?"], prompt="paper")
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=POINTS)
    for point in POINTS:
        for where in ("all", "last"):
            own = Patch.recorded(point, cache, where, inputs, over_deepstack=True)
            there = inputs.attention_mask.bool()
            assert torch.equal(logits(vlm, inputs, own)[there], output.logits[there]), own
