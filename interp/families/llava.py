"""The LLaVA-1.5 family: a CLIP or SigLIP tower, an MLP projector, a decoder; one square view of each image."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError
from interp.families import Family, Tower
from interp.families.mistral3 import PIXTRAL
from interp.families.mistral3 import grid as pixtral_grid

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height), through the processor's resize and crop."""
    vision = config.vision_config
    if vision.model_type == "pixtral":
        return pixtral_grid(image_size, processor, config)
    return llava_grid(image_size, processor.image_processor, patch_size=vision.patch_size, tower_size=vision.image_size)


def llava_grid(image_size: tuple[int, int], image_processor: Any, *, patch_size: int, tower_size: int) -> ImageGrid:
    """The grid of a LLaVA-1.5-like model: one view, cut into square patches, row after row.

    It follows the settings of the image processor at hand (padding to a square, resize, centre crop, final padding)
    with the whole-pixel rounding of transformers, which differs between its torchvision and its Pillow processors.

    Args:
        image_size: (width, height) of the photo in pixels.
        image_processor: the model's image processor (CLIP's, SigLIP's or LLaVA's of transformers).
        patch_size: side of the vision tower's patches, in pixels of its input.
        tower_size: side of the image that the vision tower takes, in pixels.

    Raises:
        InputError: a photo so narrow that its enlargement before the crop would fill the memory.
        ModelError: an image processor with steps that are not known, or that does not make the image the tower takes.

    Example:
        >>> llava_grid((640, 480), processor.image_processor, patch_size=14, tower_size=336).boxes[0]
        array([ 80.,   0., 100.,  20.])
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import follow_processor

    width, height = image_size
    x, y = follow_processor((width, height), image_processor)
    if (x.length, y.length) != (tower_size, tower_size):
        raise ModelError(
            f"the image processor makes {x.length} x {y.length} pixels of a photo of {width} x {height}, "
            f"and the vision tower takes {tower_size} x {tower_size}: use the processor that belongs to the model"
        )
    return grid_of_views((width, height), [View.of_axes(x, y, (patch_size, patch_size))])


ENCODER = Tower(
    "model.vision_tower.encoder.layers",
    mlp_norm="layer_norm2",
    attention_norm="layer_norm1",
    output="out_proj",
    mlp_in=("fc1",),
    mlp_down="fc2",
)
"""The vision towers of CLIP and SigLIP, as transformers lays them out."""

CLIP = replace(ENCODER, specials=("class",))
"""CLIP's, whose sequence begins with a class token; SigLIP has none."""

LLAVA = Family(
    name="llava",
    model_types=("llava",),
    vision={"clip_vision_model": CLIP, "siglip_vision_model": ENCODER, "pixtral": PIXTRAL},
    grid=grid,
)

FAMILIES = (LLAVA,)
