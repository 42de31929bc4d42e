"""The Qwen-VL families: photos of any shape, patches merged into square tokens, rotary positions in three streams.

Qwen2-VL, Qwen2.5-VL and Qwen3-VL keep their parts in the same places, and cut photos in the same way. The tokens that
the language model sees are ordered row by row. Inside the vision tower it is different: there the patches of one token
follow each other, Qwen2.5-VL orders the tokens by attention window, and all photos of a batch stand in one sequence.

The first language layers of Qwen3-VL also add what earlier vision layers made of the photo (DeepStack), after the
layer's last hook point: there the residual stream that the next layer receives is not the one that this layer gave.
What is added behind layer k is shown, and can be edited, at `projector.deepstack.{k}.hook_out`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from einops import rearrange

from interp.errors import InputError, ModelError
from interp.families import Family, Tower

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Int

    from interp.image.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height), with the resize to whole tokens undone."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    from interp.image.resizing import check_steps

    check_steps(processor.image_processor, "Qwen2VLImageProcessor")
    return merged_grid(image_size, processor.image_processor, config, smart_resize)


def merged_grid(
    image_size: tuple[int, int], image_processor: Any, config: Any, new_size: Callable[..., tuple[int, int]]
) -> ImageGrid:
    """The grid of a photo that is resized to whole tokens, each of several patches, row after row.

    Args:
        image_size: (width, height) of the photo in pixels.
        image_processor: the model's image processor.
        config: the model's configuration.
        new_size: `(height, width, factor=, min_pixels=, max_pixels=) -> (height, width)` of the resized photo, whose
            sides are multiples of `factor`; a ValueError where there is none.

    Raises:
        InputError: a photo that the image processor can not bring to whole tokens.
        ModelError: an image processor that cuts other patches than the vision tower takes.
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import Axis, filter_radius

    made, taken = image_processor, config.vision_config
    if (made.patch_size, made.merge_size) != (taken.patch_size, taken.spatial_merge_size):
        raise ModelError(
            f"the image processor merges {made.merge_size} x {made.merge_size} patches of {made.patch_size} pixels, "
            f"and the vision tower {taken.spatial_merge_size} x {taken.spatial_merge_size} of {taken.patch_size}: "
            "use the processor that belongs to the model"
        )
    side = made.patch_size * made.merge_size
    width, height = image_size
    x, y = Axis(width, width), Axis(height, height)
    if made.do_resize:
        new_width, new_height = _resized(image_size, made, side, new_size)
        x, y = (axis.resized(new, filter_radius(made)) for axis, new in ((x, new_width), (y, new_height)))
    elif width % side or height % side:
        raise InputError(
            f"the image processor does not resize, and a photo of {width} x {height} pixels is not made of whole "
            f"tokens of {side} pixels: crop it"
        )
    return grid_of_views(image_size, [View.of_axes(x, y, (side, side))])


def _resized(
    image_size: tuple[int, int], image_processor: Any, side: int, new_size: Callable[..., tuple[int, int]]
) -> tuple[int, int]:
    """Width and height after the resize, within the numbers of pixels that the image processor is set to."""
    width, height = image_size
    size = image_processor.size
    limits = {"min_pixels": size["shortest_edge"], "max_pixels": size["longest_edge"]}
    try:
        new_height, new_width = new_size(height, width, factor=side, **limits)
    except ValueError as error:
        raise InputError(
            f"the image processor does not take a photo of {width} x {height} pixels ({error}): "
            "crop it to the part that matters"
        ) from error
    return new_width, new_height


def merge_size(config: Any) -> int:
    """How many patches the merger joins along each side of an image token."""
    return config.vision_config.spatial_merge_size


def block_order(rows: int, cols: int, config: Any) -> Int[np.ndarray, " patch"]:
    """Where each patch, row after row, stands in the tower: the patches of a token follow each other.

    Example:
        >>> print(block_order(2, 4, config))
        [0 1 4 5 2 3 6 7]
    """
    import numpy as np

    side = merge_size(config)
    return _of_patches(np.arange(rows // side * (cols // side)), cols // side, side)


def window_order(rows: int, cols: int, config: Any) -> Int[np.ndarray, " patch"]:
    """The same in Qwen2.5-VL: its blocks are ordered by attention window, windows and blocks each row after row."""
    import numpy as np

    side = merge_size(config)
    window = config.vision_config.window_size // side // config.vision_config.patch_size
    down, right = rearrange(np.indices((rows // side, cols // side)), "index row col -> index (row col)")
    sequence = np.lexsort((right % window, down % window, right // window, down // window))
    return _of_patches(np.argsort(sequence), cols // side, side)


def _of_patches(blocks: Int[np.ndarray, " block"], across: int, side: int) -> Int[np.ndarray, " patch"]:
    """Where each patch stands, row after row, from where its block of `side` x `side` does, `across` blocks a row."""
    import numpy as np

    places = blocks[:, None] * side**2 + np.arange(side**2)
    return rearrange(places, "(down right) (row col) -> (down row right col)", right=across, row=side)


PACKED = Tower(
    "model.visual.blocks",
    attention="attn",
    mlp_norm="norm2",
    attention_norm="norm1",
    output="proj",
    projections=("qkv",),
    order=block_order,
)
"""A vision tower that takes the patches of all photos as one sequence, with queries, keys and values fused."""

WINDOWED = replace(PACKED, order=window_order)
"""Qwen2.5-VL's, most of whose layers attend inside windows."""

PACKED_REMARK = {"vision": "the patches of all photos of a batch are one sequence, those of a token side by side"}

DEEPSTACK_REMARK = {
    "rows": "the first layers also add what earlier vision layers made of the photo: after hook_resid_post, and past "
    "projector.hook_out; projector.deepstack.{k}.hook_out shows what is added behind layer k"
}

_TOWERS = {
    "qwen2_vl": replace(PACKED, mlp_in=("fc1",), mlp_down="fc2"),
    "qwen2_5_vl": WINDOWED,
    "qwen3_vl": replace(PACKED, mlp_in=("linear_fc1",), mlp_down="linear_fc2"),
}

FAMILIES = tuple(
    Family(
        name=kind,
        model_types=(kind,),
        vision={f"{kind}_vision": tower},
        grid=grid,
        wrapped_image="<|vision_start|>{}<|vision_end|>",
        remarks={**PACKED_REMARK, **(DEEPSTACK_REMARK if kind == "qwen3_vl" else {})},
        merged=merge_size,
    )
    for kind, tower in _TOWERS.items()
)
