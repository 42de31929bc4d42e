"""TransformerLens proved: our hook tensors beside those of its own bridge to the same model."""

from __future__ import annotations

import copy
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from interp.errors import RefusedError
from interp.proof.samples import largest, one_prompt

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

POINTS = ("hook_resid_pre", "hook_resid_mid", "hook_resid_post", "attn.hook_pattern")
"""Where the bridge's values are right; what it calls scores are probabilities in some families."""

LARGEST = 1_000_000_000
"""Weights of a model that is still copied for the bridge."""


def bridged(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of residual streams and patterns, in every layer, from TransformerBridge's.

    Raises:
        RefusedError: the bridge can not take this model, or does not show all of these.
    """
    size = sum(weight.numel() for weight in vlm.parameters())
    if size > LARGEST:
        raise RefusedError(f"TransformerBridge needs a copy, and this model has {size / 1e9:.1f} billion weights")
    inputs = one_prompt(vlm)
    bridge = _bridge(vlm)
    names = [f"blocks.{layer}.{point}" for layer in range(vlm.cfg.n_layers) for point in POINTS]
    tensors = {name: value for name, value in inputs.tensors.items() if name != "input_ids"}
    with torch.no_grad():
        _, theirs = bridge.run_with_cache(inputs.input_ids, names_filter=names, output_attentions=False, **tensors)
        _, ours = vlm.run_with_cache(inputs, names_filter=names, query_rows="all")
    missing = [name for name in names if name not in theirs]
    if missing:
        raise RefusedError(f"TransformerBridge shows no {', '.join(missing)}")
    return largest(ours[name] - theirs[name] for name in names), f"{len(names)} tensors"


def _bridge(vlm: HookedVLM) -> Any:
    """A bridge to a copy of the model: it would put the model's attention on another implementation."""
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoTokenizer

    with vlm.paused() as model:
        twin = copy.deepcopy(model)
    twin.config.architectures = [type(twin).__name__]
    try:
        with TemporaryDirectory() as folder:  # where it looks for a processor, rather than on the hub
            vlm.processor.save_pretrained(folder)
            words = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)  # one that knows where it comes from
            return TransformerBridge.boot_transformers(folder, hf_model=twin, tokenizer=words, dtype=vlm.dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever an adapter stumbles over, it can not take the model
        first = (str(error).strip().splitlines() or [""])[0].split(". ")[0][:120]
        raise RefusedError(f"TransformerBridge can not take this model ({type(error).__name__}: {first})") from error
