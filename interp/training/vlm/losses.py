"""Losses of the two training stages of the embedded VLM, and the attention that keeps the segments of a pack apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from transformers import LlavaForConditionalGeneration, LlavaProcessor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interp.datasets.synthetic.shapes import COLORS, SHAPES
from interp.planted.build import GRID
from interp.training.vlm.packs import IGNORE, PREFIX, SEGMENT, SEGMENTS, Mentions, Pack, PatchLabels


def normalised(pixels: np.ndarray) -> Tensor:
    """Turn uint8 [batch height width rgb] into the processor's float32 [batch rgb height width]."""
    planes = rearrange(torch.from_numpy(pixels), "batch height width rgb -> batch rgb height width")
    return (planes / 255 - 0.5) / 0.25


def image_tokens(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> Tensor:
    """What the language model receives of uint8 [batch height width rgb]; [batch patch width]."""
    return torch.stack(tuple(model.get_image_features(normalised(pixels)).pooler_output))


def pack_attention(model: LlavaForConditionalGeneration) -> AbstractContextManager[None]:
    """Let the language model attend inside packs: each segment sees the image and what came before in itself."""
    ALL_ATTENTION_FUNCTIONS.register("shapes_pack", _attend_in_pack)
    return _attention(model, "shapes_pack")


def plain_attention(model: LlavaForConditionalGeneration) -> AbstractContextManager[None]:
    """Let the language model attend as usual, inside `pack_attention`."""
    return _attention(model, "sdpa")


@contextmanager
def _attention(model: LlavaForConditionalGeneration, name: str) -> Iterator[None]:
    """Use a registered attention function in the language model for a while."""
    config = model.model.language_model.config
    before, config._attn_implementation = config._attn_implementation, name
    try:
        yield
    finally:
        config._attn_implementation = before


def _attend_in_pack(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **settings: Any
) -> tuple[Tensor, None]:
    """Attention of packs [batch head token d_head]: the image to itself, each segment to the image and to itself."""
    image = F.scaled_dot_product_attention(
        query[:, :, :PREFIX], key[:, :, :PREFIX], value[:, :, :PREFIX], is_causal=True
    )

    def segments(x: Tensor) -> Tensor:
        own = x[:, :, PREFIX:]
        return rearrange(own, "batch head (segment token) d_head -> batch segment head token d_head", segment=SEGMENTS)

    def one_by_one(x: Tensor) -> Tensor:
        return rearrange(x, "batch segment head token d_head -> (batch segment) head token d_head")

    def behind_image(x: Tensor) -> Tensor:
        image = x[:, :, :PREFIX]
        shared = repeat(image, "batch head token d_head -> batch segment head token d_head", segment=SEGMENTS)
        return one_by_one(torch.cat([shared, segments(x)], dim=3))

    words = F.scaled_dot_product_attention(
        one_by_one(segments(query)), behind_image(key), behind_image(value), attn_mask=settings["segment_mask"]
    )
    words = rearrange(words, "(batch segment) head token d_head -> batch head (segment token) d_head", segment=SEGMENTS)
    return rearrange(torch.cat([image, words], dim=2), "batch head token d_head -> batch token head d_head"), None


def _segment_mask(labels: Tensor, *, blind: bool) -> Tensor:
    """What each row of each segment sees, bool [batch*segment 1 row key]; blind words of questions see no image."""
    batch = len(labels)
    words = torch.ones(SEGMENT, SEGMENT, dtype=torch.bool).tril()
    words = repeat(words, "row key -> batch segment row key", batch=batch, segment=SEGMENTS)
    first_answer = (labels != IGNORE).long().argmax(-1, keepdim=True)
    sees = torch.arange(SEGMENT) >= first_answer  # batch segment row
    sees[:, 0] = True  # the caption
    if not blind:
        sees = torch.ones_like(sees)
    start = torch.ones(batch, SEGMENTS, SEGMENT, 1, dtype=torch.bool)
    image = repeat(sees, "batch segment row -> batch segment row key", key=PREFIX - 1)
    return rearrange(torch.cat([start, image, words], dim=-1), "batch segment row key -> (batch segment) 1 row key")


def _positions() -> Tensor:
    """Positions [1 token] of a pack: they start again after the image for every segment."""
    behind = repeat(PREFIX + torch.arange(SEGMENT), "token -> (segment token)", segment=SEGMENTS)
    return torch.cat([torch.arange(PREFIX), behind])[None]


class PackReader(nn.Module):
    """Reads a batch of packs: captions and answers word by word, and whether the model knows what a question is about.

    Answers alone leave a model at chance for thousands of steps. So at the name of an object, early layers must tell
    its patches from all others (grounding as in MDETR, arXiv:2104.12763, equation 2, without the projections) and
    later ones must know its place; so must the answer's row, for both objects. The readers are thrown away at the end.
    """

    def __init__(self, model: LlavaForConditionalGeneration, *, trains_projector: bool = False) -> None:
        """Read from `model`, at a sixth, five twelfths and two thirds of the depth of its language model.

        Args:
            model: what is trained.
            trains_projector: let gradients reach what makes the image tokens. Without, the eyes have learned before.
        """
        super().__init__()
        self.model, self.trains_projector = model, trains_projector
        width, depth = model.config.text_config.hidden_size, model.config.text_config.num_hidden_layers
        self.patches_after, self.name_after, self.answer_after = depth // 6, 5 * depth // 12, 2 * depth // 3
        self.places = nn.ModuleDict({name: nn.Linear(width, 4 * GRID) for name in ("name", "first", "second")})

    def forward(self, pack: Pack, *, blind: bool = False) -> dict[str, Tensor]:
        """Mean cross-entropy in nats of each thing that is read.

        Args:
            pack: what to read.
            blind: let the words of the questions see no image, so that the answer's row must look for itself.
        """
        labels = torch.from_numpy(pack.labels)
        states = self._states(pack, _segment_mask(labels, blind=blind))
        hidden = states[-1][:, PREFIX:]
        hidden = rearrange(hidden, "batch (segment token) d_model -> batch segment token d_model", segment=SEGMENTS)
        caption, answer = (
            F.cross_entropy(self.model.lm_head(hidden[:, part][chosen]), labels[:, part][chosen])
            for part in (slice(0, 1), slice(1, None))
            for chosen in [labels[:, part] != IGNORE]
        )
        losses = {"caption": caption, "answer": answer} | self._grounding(states, pack.mentions)
        if blind:
            del losses["name"]
        return losses

    def _states(self, pack: Pack, mask: Tensor) -> tuple[Tensor, ...]:
        """Run the language model on the image and all segments; the residual stream before each layer, and the last."""
        embed = self.model.get_input_embeddings()
        ids = rearrange(torch.from_numpy(pack.ids), "batch segment token -> batch (segment token)")
        with torch.set_grad_enabled(self.trains_projector):
            image = image_tokens(self.model, pack.pixels)
        start = embed(torch.full((len(ids), 1), self.model.config.text_config.bos_token_id))
        return self.model.model.language_model(
            inputs_embeds=torch.cat([start, image, embed(ids)], dim=1),
            position_ids=_positions(),
            use_cache=False,
            output_hidden_states=True,
            segment_mask=mask,
        ).hidden_states

    def _grounding(self, states: Sequence[Tensor], mentions: Mentions) -> dict[str, Tensor]:
        row, segment, token = torch.from_numpy(mentions.at).unbind(1)
        order, place = torch.from_numpy(mentions.order), torch.from_numpy(mentions.place)
        before = PREFIX + segment * SEGMENT

        def read(after: int, at: Tensor) -> Tensor:
            return _unit_rms(states[after][row, at])

        def place_loss(name: str, state: Tensor, chosen: Tensor) -> Tensor:
            logits = rearrange(self.places[name](state[chosen]), "mention (xy cell) -> (mention xy) cell", xy=2)
            return F.cross_entropy(logits, rearrange(place[chosen], "mention xy -> (mention xy)"))

        answers = read(self.answer_after, before + torch.from_numpy(mentions.answer))
        image = _unit_rms(states[self.patches_after][:, 1:PREFIX])[row]
        names = read(self.patches_after, before + token)
        scale = 4 / names.shape[1] ** 0.5
        match = einsum(image, names, "mention patch d_model, mention d_model -> mention patch") * scale
        outside = ~torch.from_numpy(mentions.patches)
        return {
            "patches": -match.log_softmax(-1).masked_fill(outside, -torch.inf).logsumexp(-1).mean(),
            "name": place_loss("name", read(self.name_after, before + token), order >= 0),
            "first": place_loss("first", answers, order == 0),
            "second": place_loss("second", answers, order == 1),
        }


def _unit_rms(state: Tensor) -> Tensor:
    return F.rms_norm(state, state.shape[-1:])


class PatchReader(nn.Module):
    """Reads off each image token what its patch shows: colour and shape by the embeddings of their words."""

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
        image = image_tokens(self.model, batch.pixels)
        embedding = self.model.get_input_embeddings().weight
        nothing = image.new_zeros(image.shape[:-1] + (1,))
        logits = {
            name: torch.cat([nothing, image @ embedding[words].T], dim=-1) for name, words in self.words.items()
        } | {name: head(image) for name, head in self.places.items()}
        cells = repeat(torch.arange(GRID * GRID), "patch -> picture patch", picture=len(image))
        labels = {name: torch.from_numpy(getattr(batch, name)) for name in ("color", "shape", "across", "down")}
        labels |= {"column": cells % GRID, "row": cells // GRID}
        return {
            name: F.cross_entropy(
                rearrange(value, "picture patch label -> (picture patch) label"),
                rearrange(labels[name], "picture patch -> (picture patch)"),
                ignore_index=IGNORE,
            )
            for name, value in logits.items()
        }
