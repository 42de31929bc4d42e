"""The LLaVA-1.5 family: a CLIP or SigLIP tower, an MLP projector, a decoder; one square view of each image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interp.families import Family, Tower

if TYPE_CHECKING:
    from interp.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height), through the processor's resize and crop."""
    from interp.grid import llava_grid

    vision = config.vision_config
    return llava_grid(image_size, processor.image_processor, patch_size=vision.patch_size, tower_size=vision.image_size)


_VISION = Tower("model.vision_tower.encoder.layers", mlp_norm="layer_norm2")

LLAVA = Family(
    name="llava",
    model_types=("llava",),
    language="model.language_model",
    text=Tower("model.language_model.layers"),
    vision={"clip_vision_model": _VISION, "siglip_vision_model": _VISION},
    projector="model.multi_modal_projector",
    final_norm="model.language_model.norm",
    unembed="lm_head",
    grid=grid,
)
