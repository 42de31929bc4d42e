"""Families: one row of data per kind of vision-language model, saying where its parts live."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Tower:
    """Where a stack of blocks lives, as attribute paths: the first from the model, the others from one block."""

    blocks: str
    attention: str = "self_attn"
    mlp: str = "mlp"
    mlp_norm: str = "post_attention_layernorm"
    query: str = "q_proj"
    key: str = "k_proj"
    value: str = "v_proj"


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        name: the family's name, in results and messages.
        model_types: the `config.model_type` values that belong to it.
        language: where the language model is; its forward is one pass.
        text: the language model's blocks.
        vision: the vision tower's blocks, by the `model_type` of the vision configuration.
        projector: the module whose output the language model receives in place of image tokens.
        final_norm: the norm before the unembedding.
        unembed: the unembedding.
        grid: `(image_size, processor, config, n_tokens) -> ImageGrid`, which pixels each image token saw.
    """

    name: str
    model_types: tuple[str, ...]
    language: str
    text: Tower
    vision: dict[str, Tower]
    projector: str
    final_norm: str
    unembed: str
    grid: Callable[..., Any]
    refusals: dict[str, str] = field(default_factory=dict)


def family_of(model: PreTrainedModel) -> Family:
    """The family of a loaded model.

    Raises:
        ModelError: the model belongs to no family that we know.
    """
    from interp.families.llava import LLAVA

    known = (LLAVA,)
    model_type = getattr(model.config, "model_type", None)
    for family in known:
        if model_type in family.model_types:
            if type(model).__name__.endswith("ForConditionalGeneration"):
                return family
            raise ModelError(
                f"{type(model).__name__} has no language-model head: "
                "load it with AutoModelForImageTextToText.from_pretrained"
            )
    names = ", ".join(f"{family.name} (model_type {', '.join(family.model_types)})" for family in known)
    raise ModelError(
        f"model of type {model_type!r} ({type(model).__name__}) is of no family that is supported: use {names}"
    )
