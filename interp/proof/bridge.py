"""TransformerLens proved: our hook tensors beside those of its own bridge to the same model."""

from __future__ import annotations

import copy
from contextlib import suppress
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.errors import RefusedError
from interp.proof.samples import largest, one_prompt

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

LARGEST = 1_000_000_000
"""Weights of a model that is still copied for the bridge."""


def bridged(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of any tensor that has a name in both, in every layer, from TransformerBridge's.

    Where a tensor is larger than one, as a share of its largest entry. What the bridge calls scores are probabilities
    in some families, which its own pattern tells: these are left out.

    Raises:
        RefusedError: the bridge can not take this model, or shows nothing of it under our names.
    """
    size = sum(weight.numel() for weight in vlm.parameters())
    if size > LARGEST:
        raise RefusedError(f"TransformerBridge needs a copy, and this model has {size / 1e9:.1f} billion weights")
    inputs = one_prompt(vlm)
    bridge = _bridge(vlm)
    with suppress(NotImplementedError):  # in some families it does not show what each head adds
        bridge.set_use_attn_result(True)
    tensors = {name: value for name, value in inputs.tensors.items() if name != "input_ids"}
    with torch.no_grad():
        _, theirs = bridge.run_with_cache(inputs.input_ids, output_attentions=False, **tensors)
        shared = [name for name in vlm.hook_dict if name in theirs and not name.startswith("vision.")]
        missing = [name for name in MUST if name not in shared]
        if missing:
            raise RefusedError(f"TransformerBridge shows no {', '.join(missing)}")
        _, ours = vlm.run_with_cache(inputs, names_filter=shared, query_rows="all")
    names = [name for name in shared if not (name.endswith(SCORES) and _are_probabilities(name, theirs))]
    left_out = f", without {SCORES}, which are probabilities there" if len(names) < len(shared) else ""
    return largest(_apart(ours[name], theirs[name]) for name in names), f"{len(names)} tensors{left_out}"


MUST = tuple(f"blocks.0.{point}" for point in ("hook_resid_pre", "hook_resid_mid", "hook_resid_post"))
"""Names without which there is little to compare."""

SCORES = "hook_attn_scores"


def _are_probabilities(name: str, theirs: Any) -> bool:
    """Whether what is called scores is the pattern already."""
    pattern = theirs[name.replace(SCORES, "hook_pattern")]
    return bool((theirs[name].softmax(-1) - pattern).abs().max() > 0.01)


def _apart(ours: Tensor, theirs: Tensor) -> Tensor:
    """How far two tensors are from each other; what is hidden is minus infinity in one and very small in the other."""
    if ours.shape != theirs.shape:
        return torch.tensor(torch.inf)
    hidden = (ours == -torch.inf) & (theirs < HIDDEN)
    theirs = theirs.float().masked_fill(hidden, 0.0)
    return (ours.float().masked_fill(hidden, 0.0) - theirs) / theirs.abs().max().clamp_min(1.0)


HIDDEN = -1e4
"""What masks add is less than this, in any dtype."""


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
