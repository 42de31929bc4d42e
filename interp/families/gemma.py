"""The Gemma families: Gemma-3, whose image tokens are pooled patches, and PaliGemma, which reads prompts both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp.errors import InputError, ModelError
from interp.families import VIEWS_REMARK, Family, Tower
from interp.families.llava import ENCODER
from interp.families.llava import grid as square_grid

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.image.resizing import Axis


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height): pooled patches of the whole, then of its crops.

    Source of the steps: `Gemma3ImageProcessor` (resize to a square, and "pan and scan", which cuts a long photo into
    pieces that are resized in the same way) and `Gemma3MultiModalProjector` (average pooling) of transformers.

    Raises:
        InputError: a photo of which a crop would be empty.
        ModelError: an image processor that does not make the image the tower takes.

    Example:
        >>> grid((640, 480), processor, model.config).boxes[0]  # 16 x 16 tokens of Gemma-3
        array([ 0.,  0., 40., 30.])
    """
    from interp.image.grid import View, grid_of_views
    from interp.image.resizing import check_steps

    check_steps(processor.image_processor, "Gemma3ImageProcessor")
    vision = config.vision_config
    token = vision.patch_size * _pooled(config)
    views = []
    for number, (x0, y0, x1, y1) in enumerate([(0, 0, *image_size), *_crops(image_size, processor)]):
        axes = _resized(image_size, (x0, y0, x1, y1), processor.image_processor)
        if any(axis.length != vision.image_size for axis in axes):
            raise ModelError(
                f"the image processor makes {axes[0].length} x {axes[1].length} pixels of a photo, and the vision "
                f"tower takes {vision.image_size} x {vision.image_size}: use the processor that belongs to the model"
            )
        views.append(View.of_axes(*axes, (token, token), number=number))
    return grid_of_views(image_size, views)


def _pooled(config: Any) -> int:
    """How many patches are pooled along each side of an image token of Gemma-3."""
    patches = config.vision_config.image_size // config.vision_config.patch_size
    return patches // int(config.mm_tokens_per_image**0.5)


def _resized(image_size: tuple[int, int], crop: tuple[int, int, int, int], image_processor: Any) -> tuple[Axis, Axis]:
    """The axes of one crop (x0, y0, x1, y1) of a photo as the tower takes it."""
    from interp.image.resizing import Axis, filter_radius

    size = dict(image_processor.size)
    if not image_processor.do_resize or size.keys() != {"height", "width"}:
        raise ModelError(
            f"the image processor has do_resize={image_processor.do_resize} and size={size}: only a resize to a height "
            "and a width is known"
        )
    width, height = image_size
    x0, y0, x1, y1 = crop
    radius = filter_radius(image_processor)
    x = Axis(width, width).moved(-x0, x1 - x0).resized(size["width"], radius)
    return x, Axis(height, height).moved(-y0, y1 - y0).resized(size["height"], radius)


def _crops(image_size: tuple[int, int], processor: Any) -> list[tuple[int, int, int, int]]:
    """Corners of the pieces that pan and scan cuts a long photo into, along its longer side; none where it is off."""
    from interp.image.resizing import processor_setting

    if not processor_setting(processor, "do_pan_and_scan"):
        return []
    smallest = processor_setting(processor, "pan_and_scan_min_crop_size")
    width, height = image_size
    long, short = max(image_size), min(image_size)
    if long / short < processor_setting(processor, "pan_and_scan_min_ratio_to_activate"):
        return []
    count = max(2, min(long // smallest, int(long / short + 0.5)))
    count = min(count, processor_setting(processor, "pan_and_scan_max_num_crops"))
    piece = -(-long // count)
    if min(piece, short) < smallest:
        return []
    if piece * (count - 1) >= long:
        raise InputError(
            f"pan and scan cuts the photo of {width} x {height} pixels into {count} pieces of which the last is empty: "
            "make the photo larger, or switch do_pan_and_scan off"
        )
    edges = [(piece * place, min(piece * (place + 1), long)) for place in range(count)]
    return [(start, 0, end, height) if width >= height else (0, start, width, end) for start, end in edges]


def _with_bos_and_break(text: str, processor: Any) -> str:
    """The prompt as PaliGemma's processor writes it: BOS after the image, a line break at the end."""
    end = text.rfind(processor.image_token) + len(processor.image_token)
    return f"{text[:end]}{processor.tokenizer.bos_token}{text[end:]}\n"


SANDWICH = Tower(
    "model.language_model.layers",
    mlp_norm="pre_feedforward_layernorm",
    attention_out="post_attention_layernorm",
    mlp_out="post_feedforward_layernorm",
)
"""The decoders of Gemma 2 and 3, which norm what attention and MLP add, too."""

GEMMA3 = Family(
    name="gemma3",
    model_types=("gemma3",),
    text=SANDWICH,
    vision={"siglip_vision_model": ENCODER},
    grid=grid,
    remarks=VIEWS_REMARK,
    merged=_pooled,
)

PALIGEMMA = Family(
    name="paligemma",
    model_types=("paligemma",),
    texts={"gemma2": SANDWICH},
    vision={"siglip_vision_model": ENCODER},
    grid=square_grid,
    written=_with_bos_and_break,
    refusals={"prefix": "all rows of its prompt attend to the last one too, so none can be computed without it"},
)

FAMILIES = (GEMMA3, PALIGEMMA)
