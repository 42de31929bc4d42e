"""The GLM-4V family: photos as in Qwen2-VL, sized for two frames, and norms after attention and MLP as well."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from interp.families import Family, Tower
from interp.families.qwen import PACKED, PACKED_REMARK, merge_size, merged_grid

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid


def grid(image_size: tuple[int, int], processor: Any, config: Any) -> ImageGrid:
    """The image tokens of one photo of `image_size` (width, height), with the resize to whole tokens undone."""
    from transformers.models.glm4v.image_processing_pil_glm4v import smart_resize

    from interp.image.resizing import check_steps

    check_steps(processor.image_processor, "Glm4vImageProcessor")
    frames = processor.image_processor.temporal_patch_size
    new_size = partial(smart_resize, frames, temporal_factor=frames)
    return merged_grid(image_size, processor.image_processor, config, new_size)


GLM4V = Family(
    name="glm4v",
    model_types=("glm4v",),
    text=Tower(
        "model.language_model.layers",
        attention_out="post_self_attn_layernorm",
        mlp_out="post_mlp_layernorm",
        mlp_in=("gate_up_proj",),
    ),
    vision={"glm4v_vision": PACKED},
    grid=grid,
    wrapped_image="<|begin_of_image|>{}<|end_of_image|>",
    remarks=PACKED_REMARK,
    merged=merge_size,
)

FAMILIES = (GLM4V,)
