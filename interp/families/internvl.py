"""The InternVL family: as many square tiles as fit the photo's shape best, then a thumbnail of the whole photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp.errors import ModelError
from interp.families import VIEWS_REMARK, Family, Tower
from interp.families.idefics3 import tile_views, token_side

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height): its tiles row after row, then the thumbnail.

    The thumbnail is made of the photo itself, not of the tiles; a photo of a single tile has only this view.

    Raises:
        ModelError: another image processor than the family's, or tiles that are not what the tower takes.
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import Axis, check_steps, filter_radius

    image_processor = processor.image_processor
    check_steps(image_processor, "GotOcr2ImageProcessor")
    radius = filter_radius(image_processor)
    side, token = _sides(dict(image_processor.size), config)
    columns, rows = _columns_and_rows(image_size, processor, side)
    x, y = (Axis(length, length) for length in image_size)
    tiles = tile_views(x.resized(side * columns, radius), y.resized(side * rows, radius), side, token)
    if image_processor.do_resize or tiles:
        x, y = x.resized(side, radius), y.resized(side, radius)
    if (x.length, y.length) != (side, side):
        raise ModelError(f"the image processor leaves a photo as it is, and the tower takes {side} x {side} pixels")
    return grid_of_views(image_size, [*tiles, View.of_axes(x, y, (token, token))])


def _columns_and_rows(image_size: tuple[int, int], processor: Any, side: int) -> tuple[int, int]:
    """How many tiles are cut, by the rule of transformers itself; the settings of the whole processor go first."""
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    from interp.image.resizing import processor_setting

    names = ("crop_to_patches", "min_patches", "max_patches")
    crops, fewest, most = (processor_setting(processor, name) for name in names)
    if not crops or most < 2:
        return 1, 1
    return get_optimal_tiled_canvas((image_size[1], image_size[0]), (side, side), fewest, most)


def _sides(size: dict[str, int], config: Any) -> tuple[int, int]:
    """Sides of a tile and of an image token, in pixels of a tile."""
    patch, joined = config.vision_config.patch_size, _joined(config)
    if size.keys() != {"height", "width"} or size["height"] != size["width"] or patch[0] != patch[1]:
        raise ModelError(f"tiles of {size} and patches of {list(patch)} pixels: only squares are known")
    return size["height"], token_side(size["height"], patch[0], joined)


def _joined(config: Any) -> int:
    """How many patches the pixel shuffle joins along each side of an image token."""
    return round(1 / config.downsample_ratio)


ENCODER = Tower(
    "model.vision_tower.encoder.layer",
    attention="attention",
    mlp_norm="layernorm_after",
    attention_norm="layernorm_before",
    output="projection_layer",
    mlp_in=("fc1",),
    mlp_down="fc2",
    gains=("lambda_1", "lambda_2"),
    specials=("class",),
)
"""InternViT: its blocks scale what attention and MLP add."""

INTERNVL = Family(
    name="internvl",
    model_types=("internvl",),
    vision={"internvl_vision": ENCODER},
    grid=grid,
    remarks=VIEWS_REMARK,
    merged=_joined,
)

FAMILIES = (INTERNVL,)
