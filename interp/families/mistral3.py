"""The Mistral-3 family, and the Pixtral tower that it shares with some LLaVA models: photos of any shape, in rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, ModelError
from interp.families import Family, Tower

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height): patches, merged where the model merges them.

    The photo keeps its shape but for the rounding of both sides up to whole tokens. Row ends are tokens of their own,
    not image placeholders. Source: `PixtralImageProcessor` and `PixtralProcessor` of transformers.

    Raises:
        InputError: a photo so narrow that nothing is left of its shorter side, or one that is smaller than a token.
        ModelError: an image processor with steps that are not known.

    Example:
        >>> len(grid((640, 480), processor, model.config))  # tokens of 28 pixels: 23 columns, 18 rows
        414
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import Axis, check_patch_size, check_steps, filter_radius

    check_patch_size(processor, config)
    images = processor.image_processor
    check_steps(images, "PixtralImageProcessor")
    if getattr(images, "do_center_crop", None):
        raise ModelError("the image processor has do_center_crop=True, which is not supported with a Pixtral tower")
    width, height = image_size
    if images.do_resize:
        width, height = _resized(image_size, dict(images.size), processor.patch_size * processor.spatial_merge_size)
    token = config.vision_config.patch_size * getattr(config, "spatial_merge_size", 1)
    if min(width, height) < token:
        raise InputError(
            f"the image processor makes {width} x {height} pixels of the photo of {image_size[0]} x {image_size[1]}, "
            f"which is less than an image token of {token} x {token}: crop it to the part that matters"
        )
    x, y = (Axis(length, length) for length in image_size)
    if images.do_resize:
        radius = filter_radius(images)
        x, y = x.resized(width, radius), y.resized(height, radius)
    return grid_of_views(image_size, [View.of_axes(x, y, (token, token))])


def merged_grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The same for Mistral-3, whose projector takes the tokens of a photo apart from each other.

    Raises:
        InputError: also a photo that becomes one image token, of which the projector makes none.
    """
    found = grid(image_size, processor, config)
    if len(found) == 1:
        (width, height), side = image_size, processor.patch_size * processor.spatial_merge_size
        raise InputError(
            f"the photo of {width} x {height} pixels becomes a single image token, which Mistral-3 of transformers can "
            f"not take: enlarge it until a side has more than {side} pixels"
        )
    return found


def _resized(image_size: tuple[int, int], size: dict[str, int], step: int) -> tuple[int, int]:
    """Width and height after the resize: shrunk to the limits, cut to whole pixels, rounded up to multiples of `step`.

    In floats, as the processor does it.
    """
    if size.get("longest_edge"):
        limits = (size["longest_edge"], size["longest_edge"])
    elif size.get("width") and size.get("height"):
        limits = (size["width"], size["height"])
    else:
        raise ModelError(f"the image processor resizes to {size}: only longest_edge, or height and width, are known")
    ratio = max(length / limit for length, limit in zip(image_size, limits, strict=True))
    width, height = (math.floor(length / ratio) if ratio > 1 else length for length in image_size)
    return -(-width // step) * step, -(-height // step) * step


PIXTRAL = Tower(
    "model.vision_tower.transformer.layers",
    attention="attention",
    mlp="feed_forward",
    mlp_norm="ffn_norm",
    attention_norm="attention_norm",
)
"""Pixtral's vision tower: the patches of all photos of a batch in one sequence."""

MISTRAL3 = Family(
    name="mistral3",
    model_types=("mistral3",),
    vision={"pixtral": PIXTRAL},
    grid=merged_grid,
    remarks={"vision": "the patches of all photos of a batch are one sequence"},
    merged=lambda config: config.spatial_merge_size,
)

FAMILIES = (MISTRAL3,)
