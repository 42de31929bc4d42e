"""Norms in the residual stream: taken at each position while the model runs, and which positions are one group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, Int

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

GROUPS: dict[str, tuple[str, ...]] = {
    "bos": ("bos",),
    "system": ("system",),
    "text": ("question", "template"),
    "question": ("question",),
    "image": ("image",),
}
"""Groups of positions, by the kinds of a layout. `text` is the prompt without BOS and system prompt, role words
included: the paper's user text. Padding, and what marks the image (start, end, newline), are in none."""


Kept = Mapping[str, Float[np.ndarray, "batch pos"] | Float[np.ndarray, " image_token"]]
"""Norms by hook name, as `norms_at` keeps them."""


def norms_at(vlm: HookedVLM, inputs: VLMInputs, names: Sequence[str]) -> Kept:
    """The L2 norm over the last axis of what passes some hook points, in one run of the prompt.

    What passes is reduced where it passes, so no more than one layer of the stream is ever held. Norms are taken in
    float32, whatever the model computes in. Hooks and interventions that are on act before.
    """
    kept: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        vlm.run_with_hooks(inputs, fwd_hooks=[(list(names), KeepNorms(kept))], logits_to_keep=1)
    return {name: norms.cpu().numpy() for name, norms in kept.items()}


class KeepNorms:
    """A hook function that keeps the norms of what it sees, and never edits."""

    reads_only = True

    def __init__(self, kept: dict[str, torch.Tensor]) -> None:
        """Keep into `kept`, by hook name."""
        self.kept = kept

    def __call__(self, tensor: Float[torch.Tensor, "*positions d_model"], *, hook: Any) -> None:
        """Keep the norms of one tensor."""
        self.kept[hook.name] = l2_norms(tensor)


def l2_norms(vectors: Float[torch.Tensor, "*positions d_model"]) -> Float[torch.Tensor, "*positions"]:
    """L2 norms over the last axis, in float32 or, of float64, in float64; without a copy of the vectors."""
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return torch.linalg.vector_norm(vectors.detach(), dim=-1, dtype=wide)


def positions_by_group(layout: TokenLayout) -> dict[str, Int[np.ndarray, " position"]]:
    """The positions of each of `GROUPS` that a prompt has; a group without positions is not there."""
    found = {group: layout.positions(*kinds) for group, kinds in GROUPS.items()}
    return {group: positions for group, positions in found.items() if len(positions)}


def name_samples(inputs: VLMInputs, sample_ids: Sequence[str] | None) -> tuple[str, ...]:
    """The names of a batch's samples: those given, or their places.

    Raises:
        InputError: not one name a sample, or layouts that are not those of the batch.
    """
    names = tuple(str(place) for place in range(len(inputs))) if sample_ids is None else tuple(sample_ids)
    if isinstance(sample_ids, str) or len(names) != len(inputs):
        given = (
            f"{len(names)} sample_ids" if isinstance(sample_ids, (list, tuple)) else f"sample_ids {sample_ids!r:.80}"
        )
        raise InputError(f"{given} for {len(inputs)} samples: give a list with one for each")
    shapes = {(len(inputs.layouts), layout.length) for layout in inputs.layouts}
    if shapes != {tuple(inputs.input_ids.shape)}:
        raise InputError(
            f"the batch has ids of shape {tuple(inputs.input_ids.shape)} and its {len(inputs.layouts)} layouts have "
            f"{sorted({length for _, length in shapes})} positions: give inputs as vlm.prepare made them"
        )
    return names
