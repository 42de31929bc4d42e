"""Families: one row of data per kind of vision-language model, saying where its parts live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedModel

    from interp.image.grid import ImageGrid
    from interp.image.patches import Patches

Geometry = Callable[[tuple[int, int], Any, Any], "ImageGrid"]
"""`(image_size, processor, config) -> ImageGrid`: which pixels each image token saw of a photo of (width, height)."""

PatchRule = Callable[["ImageGrid", Any, Any], "Patches"]
"""`(grid, processor, config) -> Patches`: the image tokens of one photo taken apart into the patches of the tower."""

PatchOrder = Callable[[int, int, Any], "np.ndarray"]
"""`(rows, cols, config) -> int64 [patch]`: where each patch, row after row, stands in the sequence of the tower."""

CAPABILITIES = ("rows", "vision", "generate", "prefix", "batch", "boxes")
"""What a model is asked for: attention rows of the language model and of the vision tower, to read and to edit; answers
under hooks; one prefill shared among interventions on the last prompt row; several prompts at once; the pixels of each
image token."""

VIEWS_REMARK = {"vision": "the batch axis counts views, of all photos one after another"}
"""Of families whose vision tower takes tiles."""


@dataclass(frozen=True)
class Tower:
    """Where a stack of blocks lives, as attribute paths: the first from the model, the others from one block.

    Attributes:
        blocks: the list of blocks.
        attention: a block's attention.
        mlp: a block's MLP.
        mlp_norm: the norm before the MLP, whose input is the residual stream between the two.
        projections: what makes queries, keys and values, in that order, as paths from the attention; a single one
            where they are fused.
        attention_out: what is added to the residual stream after attention, where that is not the attention itself.
        mlp_out: what is added to it after the MLP, where that is not the MLP itself.
        gains: attributes of a block, parameters or numbers, that scale what attention and MLP add, where it does so.
        specials: names of the tokens before the patches in the sequence of the tower.
        order: where each patch stands behind those; None for row after row.
    """

    blocks: str
    attention: str = "self_attn"
    mlp: str = "mlp"
    mlp_norm: str = "post_attention_layernorm"
    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    attention_out: str = ""
    mlp_out: str = ""
    gains: tuple[str, str] | None = None
    specials: tuple[str, ...] = ()
    order: PatchOrder | None = None


def one_patch(config: Any) -> int:
    """One patch along each side of an image token: the model merges none."""
    return 1


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        name: the family's name, in results and messages.
        model_types: the `config.model_type` values that belong to it.
        vision: the vision tower's blocks, by the `model_type` of the vision configuration.
        grid: which pixels each image token saw.
        language: where the language model is; its forward is one pass, and what it is given at the image positions is
            what the projector made.
        text: the language model's blocks.
        final_norm: the norm before the unembedding.
        unembed: the unembedding.
        wrapped_image: how a photo is written into a bare prompt, with `{}` for the processor's image placeholder.
        written: the prompt as the processor writes it before it expands the image, where it adds something of its own.
        refusals: capabilities that the family does not have, by name, with the reason.
        remarks: what one has to know of a capability, by name.
        texts: the language model's blocks where they are laid out differently, by the `model_type` of the text
            configuration.
        merged: how many patches lie along each side of an image token, by the configuration.
        patches: how image tokens are taken apart into patches, where they are not squares of them.
    """

    name: str
    model_types: tuple[str, ...]
    vision: dict[str, Tower]
    grid: Geometry
    language: str = "model.language_model"
    text: Tower = Tower("model.language_model.layers")
    final_norm: str = "model.language_model.norm"
    unembed: str = "lm_head"
    wrapped_image: str = "{}"
    written: Callable[[str, Any], str] | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    texts: dict[str, Tower] = field(default_factory=dict)
    merged: Callable[[Any], int] = one_patch
    patches: PatchRule | None = None


_MODULES = ("llava", "qwen", "glm4v", "idefics3", "internvl", "gemma", "mistral3", "anyres")
"""Modules of this package, each with `FAMILIES`, its rows of data."""


def all_families() -> tuple[Family, ...]:
    """Every family that we know."""
    return tuple(family for module in _MODULES for family in import_module(f"interp.families.{module}").FAMILIES)


def family_of(model: PreTrainedModel) -> Family:
    """The family of a loaded model.

    Raises:
        ModelError: the model belongs to no family that we know.
    """
    known = all_families()
    if not hasattr(model, "config"):
        held = [name for name, part in model.named_children() if hasattr(part, "config")] or ["model"]
        raise ModelError(f"{type(model).__name__} is no model of transformers: give what is its attribute {held[0]!r}")
    model_type = getattr(model.config, "model_type", None)
    for family in known:
        if model_type in family.model_types:
            if model.get_output_embeddings() is not None:
                return family
            raise ModelError(
                f"{type(model).__name__} has no language-model head: "
                "load it with AutoModelForImageTextToText.from_pretrained"
            )
    names = ", ".join(f"{family.name} (model_type {', '.join(family.model_types)})" for family in known)
    raise ModelError(
        f"model of type {model_type!r} ({type(model).__name__}) is of no family that is supported: use {names}"
    )
