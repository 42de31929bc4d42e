"""Losses of the two training stages of the embedded VLM, and the attention that keeps the segments of a pack apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import LlavaForConditionalGeneration, LlavaProcessor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interp.datasets.shapes import COLORS, SHAPES
from interp.zoo.vlm.build import GRID
from interp.zoo.vlm.packs import IGNORE, PREFIX, SEGMENT, SEGMENTS, Pack, PatchLabels


def pack_losses(model: LlavaForConditionalGeneration, pack: Pack) -> dict[str, Tensor]:
    """Mean cross-entropy in nats of the captions' words and of the answers' words of a batch of packs."""
    ids, labels = torch.from_numpy(pack.ids), torch.from_numpy(pack.labels)
    embed = model.get_input_embeddings()
    image = torch.stack(tuple(model.get_image_features(normalised(pack.pixels)).pooler_output))
    start = embed(torch.full((len(ids), 1), model.config.text_config.bos_token_id))
    embeds = torch.cat([start, image, embed(ids.flatten(1))], dim=1)
    hidden = model.model.language_model(inputs_embeds=embeds, position_ids=_positions(), use_cache=False)[0]
    hidden = hidden[:, PREFIX:].unflatten(1, (SEGMENTS, SEGMENT))
    caption, answer = (
        F.cross_entropy(model.lm_head(hidden[:, part][chosen]), labels[:, part][chosen])
        for part in (slice(0, 1), slice(1, None))
        for chosen in [labels[:, part] != IGNORE]
    )
    return {"caption": caption, "answer": answer}


def normalised(pixels: np.ndarray) -> Tensor:
    """Turn uint8 [batch height width rgb] into the processor's float32 [batch rgb height width]."""
    return (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - 0.5) / 0.25


@contextmanager
def pack_attention(model: LlavaForConditionalGeneration) -> Iterator[None]:
    """Let the language model attend inside packs: each segment sees the image and what came before in itself."""
    ALL_ATTENTION_FUNCTIONS.register("shapes_pack", _attend_in_pack)
    config = model.model.language_model.config
    before, config._attn_implementation = config._attn_implementation, "shapes_pack"
    try:
        yield
    finally:
        config._attn_implementation = before


@contextmanager
def plain_attention(model: LlavaForConditionalGeneration) -> Iterator[None]:
    """Let the language model attend as usual, inside `pack_attention`."""
    config = model.model.language_model.config
    before, config._attn_implementation = config._attn_implementation, "sdpa"
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend_in_pack(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: object
) -> tuple[Tensor, None]:
    """Attention of packs [batch head token d_head]: the image to itself, each segment to the image and to itself."""
    batch, heads, _, width = query.shape
    image = F.scaled_dot_product_attention(
        query[:, :, :PREFIX], key[:, :, :PREFIX], value[:, :, :PREFIX], is_causal=True
    )

    def segments(x: Tensor) -> Tensor:
        return x[:, :, PREFIX:].unflatten(2, (SEGMENTS, SEGMENT)).transpose(1, 2)

    def behind_image(x: Tensor) -> Tensor:
        shared = x[:, None, :, :PREFIX].expand(-1, SEGMENTS, -1, -1, -1)
        return torch.cat([shared, segments(x)], dim=3).flatten(0, 1)

    words = F.scaled_dot_product_attention(
        segments(query).flatten(0, 1), behind_image(key), behind_image(value), attn_mask=_SEGMENT_MASK
    )
    words = words.unflatten(0, (batch, SEGMENTS)).transpose(1, 2).flatten(2, 3)
    return torch.cat([image, words], dim=2).transpose(1, 2), None


_SEGMENT_MASK = torch.cat(
    [torch.ones(SEGMENT, PREFIX, dtype=torch.bool), torch.ones(SEGMENT, SEGMENT, dtype=torch.bool).tril()], dim=1
)


def _positions() -> Tensor:
    """Positions [1 token] of a pack: they start again after the image for every segment."""
    return torch.cat([torch.arange(PREFIX), (PREFIX + torch.arange(SEGMENT)).repeat(SEGMENTS)])[None]


class PatchReader(nn.Module):
    """Reads off each image token what its patch shows: colour and shape by the embeddings of their words.

    The tokens are read unnormalised, which keeps their size near that of the words: tokens a hundred times as large
    would drown what the language model's layers write, and objects would never be bound to their names.
    """

    def __init__(self, model: LlavaForConditionalGeneration, processor: LlavaProcessor) -> None:
        """Read from `model`, whose words `processor` knows."""
        super().__init__()
        self.model = model
        tokens = processor.tokenizer.convert_tokens_to_ids
        self.words = {"color": torch.tensor(tokens(list(COLORS))), "shape": torch.tensor(tokens(list(SHAPES)))}
        width = model.config.text_config.hidden_size
        # own column and row, and the object's centre in half patches
        sizes = {"column": GRID, "row": GRID, "across": 2 * GRID, "down": 2 * GRID}
        self.places = nn.ModuleDict({name: nn.Linear(width, size) for name, size in sizes.items()})

    def forward(self, batch: PatchLabels) -> dict[str, Tensor]:
        """Mean cross-entropy in nats of each thing that a patch shows."""
        image = torch.stack(tuple(self.model.get_image_features(normalised(batch.pixels)).pooler_output))
        embedding = self.model.get_input_embeddings().weight
        nothing = image.new_zeros(image.shape[:-1] + (1,))
        logits = {
            name: torch.cat([nothing, image @ embedding[words].T], dim=-1) for name, words in self.words.items()
        } | {name: head(image) for name, head in self.places.items()}
        cells = torch.arange(GRID * GRID).expand(len(image), -1)
        labels = {name: torch.from_numpy(getattr(batch, name)) for name in ("color", "shape", "across", "down")}
        labels |= {"column": cells % GRID, "row": cells // GRID}
        return {
            name: F.cross_entropy(value.flatten(0, 1), labels[name].flatten(), ignore_index=IGNORE)
            for name, value in logits.items()
        }
