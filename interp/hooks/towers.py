"""Towers: where the blocks of the language model and of the vision encoder are in a Hugging Face model."""

from __future__ import annotations

from functools import reduce
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from interp.errors import ModelError
from interp.families import Family, Tower


def submodule(root: nn.Module, path: str) -> Any:
    """The module at a dotted attribute path.

    Raises:
        ModelError: there is none.
    """
    try:
        return reduce(getattr, path.split("."), root)
    except AttributeError:
        raise ModelError(
            f"{type(root).__name__} has no {path!r}, where its family keeps a part of the model: it is not supported"
        ) from None


def text_tower(model: PreTrainedModel, family: Family) -> Tower:
    """Where the language model's blocks live, by the kind of decoder.

    Raises:
        ModelError: a decoder that changes what attention and MLP add, in a family that knows of no such thing.
    """
    kind = model.config.get_text_config().model_type
    tower = family.texts.get(kind, family.text)
    block = submodule(model, tower.blocks)[0]
    named = {tower.mlp_norm, tower.attention_out, tower.mlp_out, *(tower.gains or ())}
    changed = [name for name in CHANGES_WHAT_IS_ADDED if hasattr(block, name) and name not in named]
    if changed:
        raise ModelError(
            f"decoder {kind!r} is not supported in the {family.name} family: its blocks change what they add to the "
            f"residual stream by {', '.join(changed)}"
        )
    return tower


CHANGES_WHAT_IS_ADDED = (
    "post_feedforward_layernorm",
    "post_self_attn_layernorm",
    "post_mlp_layernorm",
    "residual_multiplier",
)
"""Parts of a decoder block, in families of transformers, that stand between attention or MLP and the stream."""


def vision_tower(model: PreTrainedModel, family: Family) -> Tower:
    """Where the vision tower's blocks live, by the kind of tower.

    Raises:
        ModelError: the family does not know this kind of tower.
    """
    kind = model.config.vision_config.model_type
    if kind not in family.vision:
        raise ModelError(
            f"vision tower {kind!r} is not supported in the {family.name} family: it knows {', '.join(family.vision)}"
        )
    return family.vision[kind]
