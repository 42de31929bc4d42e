"""The shape of a model, as hooks and interventions need it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch


@dataclass(frozen=True)
class ModelShape:
    """How large a language model is: what hooks and results need to know of it.

    Attributes:
        n_layers: blocks; n_heads: query heads; n_kv_heads: key and value heads; d_model, d_head: widths.
        d_vocab: tokens it can say.
        n_deepstack: layers after which features of the photo are added at its tokens, beside what the projector gave;
            these pass `projector.deepstack.{k}.hook_out`.
        d_mlp: neurons of an MLP; n_ctx: positions that it was made for; act_fn: the MLP's activation by its name.
        device: where inputs go.
        two_way: which rows see keys behind them, too: `prompt`, all of its rows; `image`, image tokens those of their
            own run; empty where every row sees what is before it alone.
    """

    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_deepstack: int = 0
    two_way: str = ""
    d_mlp: int = 0
    n_ctx: int = 0
    act_fn: str = ""
    device: torch.device = field(default=torch.device("cpu"), compare=False)

    @cached_property
    def n_key_value_heads(self) -> int:
        """Key and value heads, as TransformerLens spells them."""
        return self.n_kv_heads

    @classmethod
    def of(cls, model: Any) -> ModelShape:
        """The shape of a Hugging Face model's language model, from its configuration."""
        text = model.config.get_text_config()
        heads = text.num_attention_heads
        return cls(
            n_layers=text.num_hidden_layers,
            n_heads=heads,
            n_kv_heads=getattr(text, "num_key_value_heads", heads),
            d_model=text.hidden_size,
            d_head=getattr(text, "head_dim", None) or text.hidden_size // heads,
            d_vocab=text.vocab_size,
            n_deepstack=len(getattr(model.config.vision_config, "deepstack_visual_indexes", None) or ()),
            two_way=_TWO_WAY.get(model.config.model_type, ""),
            d_mlp=getattr(text, "intermediate_size", 0),
            n_ctx=getattr(text, "max_position_embeddings", 0),
            act_fn=str(getattr(text, "hidden_act", None) or getattr(text, "hidden_activation", "")),
        )


_TWO_WAY = {"paligemma": "prompt", "gemma3": "image"}
"""Model types whose attention is not causal over the whole prompt."""
