"""The vision tower run for its patterns alone: on each photo by itself, as far as the projector reads."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import signature
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError, RefusedError
from interp.image.patches import Patches
from interp.maps.tower_patches import patches_of

if TYPE_CHECKING:
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs


def feature_depth(vlm: HookedVLM) -> int:
    """After how many blocks of the vision tower the projector reads it.

    Raises:
        RefusedError: it reads several layers, of which none is the one to go through.
    """
    layer = getattr(vlm.model.config, "vision_feature_layer", -1)
    layers = list(layer) if isinstance(layer, (list, tuple)) else [layer]
    if len(layers) > 1:
        raise RefusedError(
            f"roll-out is not offered by default for this model of the {vlm.family.name} family: its projector joins "
            f"the vision tower's layers {layers}; say how many blocks to go through, such as "
            f"through={len(vlm.vision.blocks)}"
        )
    return layers[0] + len(vlm.vision.blocks) + 1 if layers[0] < 0 else layers[0]


def patch_grid(vlm: HookedVLM, inputs: VLMInputs) -> tuple[ImageGrid, ...]:
    """The geometry of the vision tower's patches, one grid per photo; nothing is run.

    Example:
        >>> (grid,) = patch_grid(vlm, vlm.prepare("photo.jpg", "Where is the mug?"))  # Qwen2-VL
        >>> len(grid)
        140
    """
    return tuple(patches_of(vlm, grid).grid for grid in inputs.grids)


def photos_of(vlm: HookedVLM, inputs: VLMInputs) -> Iterator[tuple[dict[str, Tensor], Patches]]:
    """What the tower takes of each photo alone, with the photo's patches."""
    taken = signature(vlm.model.model.get_image_features).parameters
    tensors = {name: value for name, value in inputs.tensors.items() if name in taken}
    found = [patches_of(vlm, grid) for grid in inputs.grids]
    for place, patches in enumerate(found):
        yield {name: _own_part(name, value, found, place) for name, value in tensors.items()}, patches


def run_tower(vlm: HookedVLM, tensors: dict[str, Tensor], visitors: dict[int, Any]) -> None:
    """Run the vision tower as far as the projector; visitors by layer are shown its patterns, and edit nothing."""
    import torch

    from interp.hooks.rows import RowHook

    hooks = [
        (f"vision.blocks.{layer}.attn.hook_pattern", RowHook(visit, "all", reads_only=True))
        for layer, visit in visitors.items()
    ]
    with torch.no_grad(), vlm.hooks(hooks):
        vlm.model.model.get_image_features(**tensors, return_dict=True)


def check_places(pattern: Tensor, patches: Patches) -> None:
    """Refuse a pattern [view head place place] that is not over the patches that the family says."""
    views, places = pattern.shape[0], pattern.shape[-1]
    if (views, places) != (len(patches.views), patches.length):
        raise ModelError(
            f"the vision tower attends over {places} places in {views} views, and the photo has {patches.per_view} "
            f"patches and {len(patches.specials)} special tokens in each of {len(patches.views)} views: the model's "
            "settings do not fit its family's"
        )


def _own_part(name: str, tensor: Tensor, found: list[Patches], place: int) -> Tensor:
    """The rows of one photo in a tensor that has one for each photo, for each view, or for each patch."""
    for counts in ([1] * len(found), [len(each.views) for each in found], [len(each.grid) for each in found]):
        if sum(counts) == len(tensor):
            return tensor[sum(counts[:place]) : sum(counts[: place + 1])]
    raise ModelError(
        f"{name} has {len(tensor)} rows for {len(found)} photos of {sum(len(each.views) for each in found)} views and "
        f"{sum(len(each.grid) for each in found)} patches: which rows are whose is not known"
    )
