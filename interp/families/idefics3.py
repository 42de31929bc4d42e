"""The Idefics3 family, SmolVLM among it: the photo cut into square tiles, and the whole of it once more at the end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError
from interp.families import VIEWS_REMARK, Family, Tower, llava

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid, View
    from interp.image.resizing import Axis


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height): its tiles row after row, then the whole photo.

    The photo is resized to the processor's longest edge, then stretched to whole tiles. The last view is the stretched
    photo, made as small as one tile; a photo that fills no more than one tile has only this view.

    Raises:
        ModelError: another image processor than the family's, or tiles that the pixel shuffle can not divide.
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import Axis, check_steps, filter_radius

    image_processor = processor.image_processor
    check_steps(image_processor, "Idefics3ImageProcessor", "SmolVLMImageProcessor")
    radius = filter_radius(image_processor)
    tile = int(image_processor.max_image_size["longest_edge"])
    token = token_side(tile, config.vision_config.patch_size, config.scale_factor)
    x, y = (Axis(length, length) for length in image_size)
    if image_processor.do_resize:
        x, y = _stretched(x, y, _resized(x.length, y.length, dict(image_processor.size)), radius)
    tiles = []
    if image_processor.do_image_splitting:
        x, y = _stretched(x, y, _whole_tiles(x.length, y.length, tile), radius)
        tiles = tile_views(x, y, tile, token)
    whole = View.of_axes(*_stretched(x, y, (tile, tile), radius), (token, token))
    return grid_of_views(image_size, [*tiles, whole])


def tile_views(x: Axis, y: Axis, side: int, token: int) -> list[View]:
    """Tiles of a resized photo, row after row, as views from 1 on; none where it is no larger than one.

    Args:
        x: its horizontal axis.
        y: its vertical axis.
        side: the side of a tile, in pixels; both axes are multiples of it.
        token: side of an image token, in pixels of a tile.
    """
    from interp.image.grid import View

    corners = [(left, top) for top in range(0, y.length, side) for left in range(0, x.length, side)]
    if len(corners) == 1:
        return []
    return [
        View.of_axes(x.moved(-left, side), y.moved(-top, side), (token, token), number=number)
        for number, (left, top) in enumerate(corners, start=1)
    ]


def _stretched(x: Axis, y: Axis, size: tuple[int, int], radius: int) -> tuple[Axis, Axis]:
    """The axes after a resize to (width, height); to the size that they have already, nothing is resampled."""
    if (x.length, y.length) == size:
        return x, y
    return x.resized(size[0], radius), y.resized(size[1], radius)


def _resized(width: int, height: int, size: dict[str, int]) -> tuple[int, int]:
    """Width and height after the first resize, by the rule of transformers itself."""
    import numpy as np
    from transformers.models.idefics3.image_processing_idefics3 import get_resize_output_image_size

    if size.keys() == {"height", "width"}:
        return size["width"], size["height"]
    if size.keys() != {"longest_edge"}:
        raise ModelError(f"the image processor resizes to {size}: only longest_edge, or height and width, are known")
    height, width = get_resize_output_image_size(np.empty((0, height, width)), size["longest_edge"])
    return width, height


def _whole_tiles(width: int, height: int, tile: int) -> tuple[int, int]:
    """Width and height stretched to multiples of the tile, the longer side first, as transformers rounds them."""
    ratio = width / height
    if width >= height:
        width = math.ceil(width / tile) * tile
        return width, math.ceil(int(width / ratio) / tile) * tile
    height = math.ceil(height / tile) * tile
    return math.ceil(int(height * ratio) / tile) * tile, height


def token_side(tile: int, patch: int, shuffled: int) -> int:
    """Side of an image token in pixels of a tile: of the patches that a pixel shuffle makes one.

    Raises:
        ModelError: the tile's patches can not be joined without a rest.
    """
    if tile // patch % shuffled:
        raise ModelError(
            f"a tile of {tile} pixels has {tile // patch} patches of {patch} a side, which can not be joined "
            f"{shuffled} by {shuffled}: use the processor that belongs to the model"
        )
    return patch * shuffled


ENCODER = replace(llava.ENCODER, blocks="model.vision_model.encoder.layers")
"""The vision tower, a SigLIP inside of the model."""

IDEFICS3 = Family(
    name="idefics3",
    model_types=("idefics3", "smolvlm"),
    language="model.text_model",
    text=Tower("model.text_model.layers"),
    vision={"idefics3_vision": ENCODER, "smolvlm_vision": ENCODER},
    final_norm="model.text_model.norm",
    grid=grid,
    remarks=VIEWS_REMARK,
    merged=lambda config: config.scale_factor,
)

FAMILIES = (IDEFICS3,)
