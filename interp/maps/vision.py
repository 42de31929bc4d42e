"""Vision maps: where the patches of a photo look, by the attention of the vision tower itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float32

from interp.errors import InputError
from interp.image.patches import Patches
from interp.intervene.indices import check_indices
from interp.maps.tower import check_places, photos_of, run_tower
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from torch import Tensor

    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

HEADS = ("mean", "each")
"""Whether patterns are kept as the mean over heads, on a head axis of one, or head by head."""


def vision_attention(
    vlm: HookedVLM, inputs: VLMInputs, *, layers: Sequence[int] | None = None, heads: str = "mean"
) -> tuple[VisionAttention, ...]:
    """The vision tower's attention patterns, one result per photo, windows stitched and patches in rows.

    Photos go one by one, and of each layer only what is returned is kept: float32 of views x layers x places squared,
    times the heads where each is kept. For CLIP-L at 336 pixels that is 1.3 MB a layer, and 21 MB with each of its
    heads; for Qwen2.5-VL with 5,000 patches it is 100 MB a layer: name the layers there.

    Args:
        vlm: the model; hooks that are on it are felt.
        inputs: what `prepare` gave. The language model does not run.
        layers: the layers of the tower, 0-based; all by default, also those behind the layer that the projector reads.
        heads: `mean` keeps the mean over heads, `each` every head.

    Example:
        >>> (seen,) = vision_attention(vlm, inputs, layers=[3], heads="each")
        >>> seen.between_patches().shape  # layer head query_patch key_patch
        (1, 4, 64, 64)

    Raises:
        HookError: a layer that does not exist.
        InputError: `heads` is not known, or no layer is named.
        RefusedError: the family can not show its tower.
        ModelError: what the tower attends over is not the patches that its family says.
    """
    vlm.require("vision")
    if heads not in HEADS:
        raise InputError(f"heads={heads!r} is not known: use one of {', '.join(HEADS)}")
    chosen = tuple(dict.fromkeys(check_indices(layers, len(vlm.vision.blocks), "vision layer")))
    if not chosen:
        raise InputError("layers is empty: name layers of the vision tower, or leave it out for all")
    return tuple(_kept(vlm, tensors, patches, chosen, heads) for tensors, patches in photos_of(vlm, inputs))


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class VisionAttention:
    """Where the vision tower looks in one photo.

    Attributes:
        patterns: after softmax, float32 [view layer head place place], query before key. Places are the special tokens,
            then the patches row after row. The head axis has one entry where the mean was kept.
        layers: the layers of the tower, 0-based.
        heads: `mean` or `each`.
        patches: the patches, with their geometry and the names of views and special tokens.

    Example:
        >>> seen.on_special("class").shape, seen.between_patches()[-1, 0, 12].shape  # what patch 12 looks at
        ((24, 1, 576), (576,))
    """

    patterns: Float32[np.ndarray, "view layer head place place"]
    layers: tuple[int, ...]
    heads: str
    patches: Patches

    def between_patches(self, *, view: int | None = None) -> Float32[np.ndarray, "layer head query_patch key_patch"]:
        """Attention of patches on patches in one view; below one in sum where there are special tokens.

        Raises:
            InputError: there is no such view, or there are several and none is named.
        """
        start = len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., start:, start:]

    def on_special(self, name: str, *, view: int | None = None) -> Float32[np.ndarray, "layer head query_patch"]:
        """Attention of patches on a special token.

        Raises:
            InputError: there is no such token or view.
        """
        place, start = self._special(name), len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., start:, place]

    def of_special(self, name: str, *, view: int | None = None) -> Float32[np.ndarray, "layer head key_patch"]:
        """Attention of a special token on patches.

        Raises:
            InputError: there is no such token or view.
        """
        place, start = self._special(name), len(self.patches.specials)
        return self.patterns[self.patches.view_place(view)][..., place, start:]

    def _special(self, name: str) -> int:
        if name not in self.patches.specials:
            known = ", ".join(self.patches.specials) or "none"
            raise InputError(f"special token {name!r} is not in this vision tower: it has {known}")
        return self.patches.specials.index(name)


def _kept(
    vlm: HookedVLM, tensors: dict[str, Tensor], patches: Patches, layers: tuple[int, ...], heads: str
) -> VisionAttention:
    """The patterns of one photo, each put into rows as it comes."""
    views, length = len(patches.views), patches.length
    specials = repeat(np.arange(len(patches.specials)), "special -> view special", view=views)
    orders = np.hstack([specials, rearrange(patches.places, "(view patch) -> view patch", view=views)])
    made: list[np.ndarray] = []

    def visit(place: int, pattern: Tensor, *, hook: Any) -> None:
        check_places(pattern, patches)
        chosen = (pattern if heads == "each" else pattern.mean(1, keepdim=True)).float().cpu().numpy()
        if not made:
            made.append(np.empty((views, len(layers), chosen.shape[1], length, length), dtype=np.float32))
        for view, order in enumerate(orders):
            made[0][view, place] = chosen[view][:, order[:, None], order]

    run_tower(vlm, tensors, {layer: partial(visit, place) for place, layer in enumerate(layers)})
    return VisionAttention(made[0], layers, heads, patches)
