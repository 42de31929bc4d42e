"""Tower attention: what the vision tower did with a photo, and which of its patches feed each image token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import einsum, repeat
from jaxtyping import Float

from interp.image.patches import Patches
from interp.maps.rollout import Rollout, rollout
from interp.maps.tower import feature_depth
from interp.maps.tower_patches import patches_of
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from torch import Tensor

    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class TowerAttention:
    """What the vision tower did with one photo.

    Attributes:
        rolled: which patches feed each image token.
        attention: the attention of the patches that image tokens are made of, mean over image tokens, as the softmax
            gave it: float32 [layer head patch], of the blocks before what the projector reads.

    Example:
        >>> (fed,) = tower_attention(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))
        >>> fed.attention.shape, fed.rolled.weights.shape
        ((23, 16, 576), (576, 576))
    """

    rolled: Rollout
    attention: Float[np.ndarray, "layer head patch"]


def tower_attention(vlm: HookedVLM, inputs: VLMInputs, *, through: int | None = None) -> list[TowerAttention]:
    """Roll-out and attention of the vision tower for each photo of a batch, from one run of the tower each.

    Args:
        vlm: the model.
        inputs: what `prepare` gave. The language model does not run.
        through: how many blocks the roll-out goes through, see `rollout`.

    Raises:
        RefusedError: the family can not show its tower, or the model reads several of its layers.
        ModelError: what the tower attends over is not the patches that its family says.
    """
    from interp.hooks.rows import RowHook

    depth, found = feature_depth(vlm), [patches_of(vlm, grid) for grid in inputs.grids]
    seen: list[np.ndarray] = []  # photo after photo, layer after layer

    def visit(pattern: Tensor, *, hook: Any) -> None:
        patches = found[len(seen) // depth]
        if pattern.shape[-1] == patches.length:  # where it is another, rollout says so
            seen.append(_of_tokens(pattern, patches))

    names = [f"vision.blocks.{layer}.attn.hook_pattern" for layer in range(depth)]
    with vlm.hooks([(names, RowHook(visit, "all", reads_only=True))]):
        rolled = rollout(vlm, inputs, through=through)
    return [TowerAttention(one, np.stack(seen[place * depth :][:depth])) for place, one in enumerate(rolled)]


def _of_tokens(pattern: Tensor, patches: Patches) -> Float[np.ndarray, "head patch"]:
    """One layer's pattern [view head place place] as the mean over image tokens, [head patch]."""
    import torch

    from interp.hooks.exact import exactly

    views = repeat(np.arange(len(patches.views)), "view -> (view patch)", patch=patches.per_view)
    counts = np.bincount(patches.sources.ravel(), patches.shares.ravel(), minlength=len(patches.grid))
    queries = np.zeros((len(patches.views), patches.length))
    queries[views, patches.places] = counts / len(patches.sources)
    mean = torch.as_tensor(queries).to(pattern)
    with exactly(pattern):
        rows = einsum(mean, pattern, "view query, view head query key -> head view key")
    return rows.float().cpu().numpy()[:, views, patches.places]
