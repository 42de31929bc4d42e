"""z rows: what every query head mixes at chosen positions of prompts, in one pass that keeps no other position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from probes.heads.activations.hearing import z_points

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


def z_at(
    vlm: HookedVLM, inputs: VLMInputs, places: Sequence[Sequence[int]]
) -> list[Float32[np.ndarray, "layer place head d_head"]]:
    """z, before the output projection, at these positions of each sample, which count the padding of the batch.

    Args:
        vlm: the model.
        inputs: the batch.
        places: the positions of each sample.

    Example:
        >>> z_at(vlm, inputs, [[layout.last] for layout in inputs.layouts])[0].shape
        (32, 1, 32, 128)
    """
    kept = [_Places(places) for _ in range(vlm.cfg.n_layers)]
    with torch.no_grad():
        vlm.run_with_hooks(inputs, fwd_hooks=list(zip(z_points(vlm), kept, strict=True)), logits_to_keep=1)
    return [np.stack([layer.found[sample] for layer in kept]) for sample in range(len(inputs))]


def last_z(vlm: HookedVLM, inputs: VLMInputs) -> Float32[np.ndarray, "sample layer head d_head"]:
    """Z at the last position of each prompt."""
    return np.stack([own[:, 0] for own in z_at(vlm, inputs, [[layout.last] for layout in inputs.layouts])])


class _Places:
    """A hook function that keeps some positions of each sample, in float32."""

    reads_only = True

    def __init__(self, places: Sequence[Sequence[int]]) -> None:
        self.places = places
        self.found: list[np.ndarray] = []

    def __call__(self, tensor: Float[Tensor, "batch pos head d_head"], *, hook: object) -> None:
        rows = zip(tensor.detach(), self.places, strict=True)
        self.found = [own[list(places)].float().cpu().numpy() for own, places in rows]
