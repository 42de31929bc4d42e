"""A model whose weights wait in memory or on the disk is given its inputs where it computes, and is the same."""

import numpy as np
import pytest
import torch

from interp import HookedVLM, Prefix, ScaleImageLogits
from interp.compat import at_hand, place_of
from interp.model.readout import readout
from interp.proof.samples import one_prompt
from interp.zoo.tiny import build_tiny
from probes import token_norms
from probes.heads.activations.writes import head_writes

accelerate = pytest.importorskip("accelerate", reason="needs accelerate, which offloads weights")
STREAM, PATTERN = "blocks.1.hook_resid_post", "blocks.1.attn.hook_pattern"
CPU = torch.device("cpu")


def in_memory(model, folder):
    return accelerate.cpu_offload(model, execution_device=CPU)


def on_disk(model, folder):
    accelerate.disk_offload(model, folder, execution_device=CPU)
    return model


MAP = {
    "model.vision_tower": "cpu",
    "model.multi_modal_projector": "disk",
    "model.language_model": "disk",
    "lm_head": "cpu",
}


def in_part(model, folder):
    return accelerate.dispatch_model(model, MAP, main_device="cpu", offload_dir=folder)


def unembedding_alone(model, folder):
    return accelerate.dispatch_model(
        model, {"model": "cpu", "lm_head": "disk"}, main_device="cpu", offload_dir=folder, force_hooks=True
    )


@pytest.fixture(scope="module")
def whole():
    return HookedVLM.from_pretrained("tiny-llava")


@pytest.mark.parametrize("offload", [in_memory, on_disk, in_part, unembedding_alone])
def test_an_offloaded_model_is_the_whole_one(whole, offload, tmp_path):
    model, processor = build_tiny("tiny-llava")
    vlm = HookedVLM.wrap(offload(model, str(tmp_path)), processor)
    assert vlm.device == CPU and any(weight.is_meta for weight in model.parameters())
    inputs, edit = one_prompt(vlm), ScaleImageLogits(0.5)
    assert all(tensor.device == CPU for tensor in inputs.tensors.values())
    z = np.random.default_rng(0).random((1, 3, 4, 8), dtype=np.float32)
    got, wanted = [
        (
            each(inputs).logits,
            each.run_with_cache(inputs, names_filter=PATTERN, intervention=edit)[1][PATTERN],
            each.generate(inputs, 3, intervention=edit).tokens,
            Prefix(each, inputs).step([edit]).logits,
            readout(each)(whole.run_with_cache(inputs, names_filter=STREAM)[1][STREAM]),
            torch.from_numpy(head_writes(each, z)),
            torch.from_numpy(token_norms(each, inputs)[0].paper_norms),
        )
        for each in (vlm, whole)
    ]
    assert all(torch.equal(ours, own) for ours, own in zip(got, wanted, strict=True))
    assert vlm._wiring.guard.turns.owner is None
    assert all(weight.is_meta for weight in model.lm_head.parameters()) == (offload is not in_part)


def test_a_checkpoint_loaded_with_a_map_of_devices_is_offloaded_too(tmp_path):
    vlm = HookedVLM.from_pretrained(
        "shapes-vlm", device_map={**MAP, "lm_head": "disk"}, offload_folder=str(tmp_path), self_check=False
    )
    whole = HookedVLM.from_pretrained("shapes-vlm", self_check=False)
    assert vlm.device == CPU and any(weight.is_meta for weight in vlm.model.parameters())
    inputs = one_prompt(whole)
    assert torch.equal(vlm(inputs).logits, whole(inputs).logits)


def test_a_module_whose_weights_are_there_or_nowhere_has_no_other_place():
    linear = torch.nn.Linear(2, 2)
    assert place_of(linear) is None and place_of(torch.nn.Linear(2, 2, device="meta")) is None
    with at_hand(linear):
        assert not linear.weight.is_meta
    accelerate.cpu_offload(linear, execution_device=CPU)
    assert place_of(linear) == CPU and linear.weight.is_meta
    with at_hand(linear):
        assert not linear.weight.is_meta
    assert linear.weight.is_meta
    linear._hf_hook = accelerate.hooks.SequentialHook(accelerate.hooks.ModelHook(), linear._hf_hook)
    assert place_of(linear) == CPU
