"""Parts: a LLaVA model that does nothing, and heads that are set by hand one look and one write at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from interp.datasets.synthetic.shapes import SIDE
from interp.planted.build import IMAGE_TOKENS, PATCH, build_tokenizer, token_ids
from interp.zoo.seeded import seeded

Head = tuple[int, int]
"""(layer, head), 0-based."""

N_HEADS, D_HEAD, D_MODEL = 4, 16, 64
STRENGTH = 60.0
"""Logit by which what a head looks for stands above the rest: enough for all of its weight in fp32."""
SCALE = 256.0
"""Size of the constant place, beside which all others are small: norms divide by the same everywhere."""
COLORS = {"red": (1, -1, -1), "green": (-1, 1, -1), "blue": (-1, -1, 1), "yellow": (1, 1, -1), "purple": (1, -1, 1)}
"""Colours of planted scenes: full (1) or no (-1) red, green and blue."""
STILL: Mapping[str, Any] = {"rope_type": "default", "rope_theta": 1e30}
"""Rotary positions that turn the first pair of a head's width alone."""

_SLOTS = (*range(2, 8), *range(10, 16))  # of a head's width, where rotary positions turn by nothing


@dataclass(frozen=True)
class Turn:
    """A look that hangs on how far a key lies behind: strength x cos(pair's frequency x distance + phase).

    Attributes:
        query: the place of the query row.
        key: the place of the key.
        strength: of the logit.
        pair: which pair of rotary dimensions.
        phase: radians.
    """

    query: str
    key: str
    strength: float
    pair: int
    phase: float


@dataclass(frozen=True)
class Part:
    """What one head does: score keys by pairs of (query place, key place, strength), write (from, to, gain)."""

    head: Head
    looks: tuple[tuple[str, str, float], ...]
    writes: tuple[tuple[str, str, float], ...] = ()
    turns: tuple[Turn, ...] = ()


def look_at_bos(share: float, strength: float = STRENGTH) -> tuple[tuple[str, str, float], ...]:
    """A look at BOS from every row, with a share of the full strength."""
    return (("one", "bos", share * strength / SCALE),)


def blank_model(layers: int, rope: Mapping[str, Any] = STILL) -> LlavaForConditionalGeneration:
    """A model that does nothing: every weight that could mix or add is zero."""
    words = build_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=SIDE,
        patch_size=PATCH,
    )  # fmt: skip
    text = LlamaConfig(
        vocab_size=len(words),
        hidden_size=D_MODEL,
        intermediate_size=D_MODEL,
        num_hidden_layers=layers,
        num_attention_heads=N_HEADS,
        num_key_value_heads=N_HEADS,
        head_dim=D_HEAD,
        max_position_embeddings=512,
        rope_parameters=dict(rope),
        tie_word_embeddings=False,
        **token_ids(words),
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_id=words.convert_tokens_to_ids(words.image_token),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        projector_hidden_act="linear",
        tie_word_embeddings=False,
        **token_ids(words),
    )
    with seeded(0):  # of which nothing is left below
        model = LlavaForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" not in name:
                weight.zero_()
            elif "language_model" in name:  # gives back what dividing by the constant place takes away
                weight.fill_(SCALE / D_MODEL**0.5)
    return model


def set_head(model: LlavaForConditionalGeneration, part: Part, places: Mapping[str, int]) -> None:
    """Give one head its part: a slot of its width for each look, and for each thing that it writes."""
    layer, head = part.head
    attention: Any = model.model.language_model.layers[layer].self_attn
    rows = head * D_HEAD + torch.arange(D_HEAD)
    for slot, (query, key, strength) in zip(_SLOTS, part.looks, strict=False):
        attention.q_proj.weight[rows[slot], places[query]] = strength * D_HEAD**0.5
        attention.k_proj.weight[rows[slot], places[key]] = 1.0
    for turn in part.turns:
        angle, strength = torch.tensor(turn.phase, dtype=torch.float64), turn.strength * D_HEAD**0.5
        both = rows[[turn.pair, turn.pair + D_HEAD // 2]]
        attention.q_proj.weight[both, places[turn.query]] = (strength * torch.stack([angle.cos(), angle.sin()])).float()
        attention.k_proj.weight[both[0], places[turn.key]] = 1.0
    for slot, (source, target, gain) in enumerate(part.writes):
        attention.v_proj.weight[rows[slot], places[source]] = 1.0
        attention.o_proj.weight[places[target], rows[slot]] = gain
