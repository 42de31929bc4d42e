"""Planted models of lines: three squares in a row or column, whose order the tower writes, or the language model.

Both answer "The color of the square to the left of the middle square is". In `planted-encoder` the tower writes into
every image token, background too, which third of the photo it lies in, and the language model reads that at the last
row alone. In `planted-language` the tower writes content only: tokens that show the same are the same, wherever they
lie. A middle layer of its language model tells from rotary positions which third a square lies in, and writes that
into the tokens of squares alone. `planted-blind` sees nothing and answers by the side alone: the null.

What they share: one head names each square's colour in its own tokens, so that the unembedding says its word there;
the last row learns from the question which side is asked, and in the next layer reads the colour of the square there.
Grey tones are no colour to these models. The order is that of places in the photo, in thirds, and not of squares among
each other. Prompts have to begin with the photo, as all of this tokenizer's do without a system prompt: places are
counted from BOS.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from PIL import Image
from transformers import LlavaForConditionalGeneration

from interp.datasets.synthetic.shapes import SIDE
from interp.errors import InputError, ModelError
from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from interp.planted.build import GRID, IMAGE_TOKENS, PATCH, build_processor, build_tokenizer
from interp.planted.parts import (
    COLORS,
    D_MODEL,
    N_HEADS,
    SCALE,
    STRENGTH,
    Head,
    Part,
    Turn,
    blank_model,
    look_at_bos,
    set_head,
)

N_LAYERS = 6
NAME_HEAD: Head = (1, 0)
"""Tokens of a square look at tokens of their colour, and learn its word."""
ORDER_HEADS: tuple[Head, ...] = ((2, 0), (2, 1), (2, 2), (2, 3))
"""Of the language model that builds the order: left, right, upper and lower third, each by its own head."""
ASK_HEAD: Head = (3, 0)
"""The last row looks at the word left, right, above or below, and learns which third is asked about."""
READ_HEAD: Head = (4, 0)
"""The last row looks at the square in that third, and learns its colour."""

GAIN = 3.0
"""Logit of a colour word for one unit in which the colour learned agrees with it."""
SIDES = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
"""What can be asked about, as (across, down)."""
ITEM, GAP = 2, 1
"""Image tokens along the side of a square, and between two."""


@dataclass(frozen=True)
class BuiltIn:
    """What is true of a planted model of lines, by slot: 0 is what enters block 0, l what leaves block l - 1.

    What a slot says of tokens can be changed there, up to the slot before the one that reads it: exchanging the tokens
    of the outer squares flips the answer from `order_from` to `answered_from` - 1, and at no other slot.

    Attributes:
        order_from: the first slot at which tokens of squares carry their order.
        in_background: whether all other image tokens carry theirs too, so that there are strips.
        named_from: the first slot at which tokens of squares say their colour's word under the unembedding.
        asked_from: the first slot at which the last row knows the side; its patch moves the order.
        answered_from: the first slot at which the last row knows the colour; its patch moves the answer.
    """

    order_from: int
    in_background: bool
    named_from: int = NAME_HEAD[0] + 1
    asked_from: int = ASK_HEAD[0] + 1
    answered_from: int = READ_HEAD[0] + 1


BUILT_IN = {
    "planted-encoder": BuiltIn(order_from=0, in_background=True),
    "planted-language": BuiltIn(order_from=ORDER_HEADS[0][0] + 1, in_background=False),
}
"""Facts of the two models that can do it, by name."""

LINES = (*BUILT_IN, "planted-blind")
"""Planted models of lines."""

_CHANNELS = ("red", "green", "blue")
_PLACES = {
    name: place
    for place, name in enumerate(
        "one red green blue thing across down bos last direction word_across word_down asked_across asked_down "
        "said_red said_green said_blue answered".split()
    )
}
_ROPE = {"rope_type": "linear", "rope_theta": 1e30, "factor": GRID / (2 * math.pi)}  # the first pair turns once a row
_SLOW = 1e30 ** (-2 / 16) / _ROPE["factor"]  # type: ignore[operator]  # radians by which the second turns a position


def build_line_model(name: str, *, seed: int = 0) -> tuple[Any, Any]:
    """Make a planted model of lines and its processor.

    Args:
        name: one of `LINES`.
        seed: of the numbers that the blind model has in place of what it sees.

    Raises:
        ModelError: there is none of that name.

    Example:
        >>> vlm = HookedVLM.wrap(*build_line_model("planted-encoder"), self_check=False)
        >>> vlm.cfg.n_layers, vlm.cfg.n_heads
        (6, 4)
    """
    if name not in LINES:
        raise ModelError(f"no planted model of lines is called {name!r}: use one of {', '.join(LINES)}")
    rng = np.random.default_rng(seed)
    model = blank_model(N_LAYERS, _ROPE)
    parts = {"planted-encoder": _shared, "planted-language": lambda: [*_order(), *_shared()]}
    with torch.no_grad():
        _set_tower(model, name, rng)
        _set_words(model)
        for part in _blind(rng) if name == "planted-blind" else parts[name]():
            set_head(model, part, _PLACES)
    return model.eval().requires_grad_(False), build_processor()


def line_scenes(count: int, *, side: str | None = None, seed: int = 0) -> list[Sample]:
    """Draw lines of three squares on white, exactly on the token grid, each asked for the one beside the middle.

    Their objects are named from left to right, or from top to bottom, and have boxes.

    Args:
        count: how many.
        side: which square is asked for: one of `SIDES`; all four in turn by default.
        seed: the seed of the colours.

    Raises:
        InputError: there is no such side.
    """
    if side is not None and side not in SIDES:
        raise InputError(f"side={side!r} is not known: use one of {', '.join(SIDES)}")
    rng, turns = np.random.default_rng(seed), [side] if side else list(SIDES)
    drawn = [[str(word) for word in rng.choice(list(COLORS), size=3, replace=False)] for _ in range(count)]
    return [line_scene(words, turns[number % len(turns)], id=f"line-{number}") for number, words in enumerate(drawn)]


def line_scene(words: Sequence[str], side: str, *, id: str) -> Sample:
    """One line of squares of these colours, asked for the one at this side of the middle."""
    along = SIDES[side]
    boxes = [_box(word, number, across=along[0] != 0) for number, word in enumerate(words)]
    pixels = np.full((SIDE, SIDE, 3), 255, dtype=np.uint8)
    for word, box in zip(words, boxes, strict=True):
        x0, y0, x1, y1 = map(int, box.xyxy)
        pixels[y0:y1, x0:x1] = [255 if channel > 0 else 0 for channel in COLORS[word]]
    where = f"to the {side} of" if along[0] else side
    return Sample(
        id=id,
        image=Image.fromarray(pixels),
        question=f"The color of the square {where} the middle square is",
        options=tuple(sorted(words)),
        answer=words[1 + sum(along)],
        objects=tuple(Object(box.label, box) for box in boxes),
        relation=side,
        group="-".join(words),
    )


def reversed_line(sample: Sample) -> Sample:
    """The same squares in reverse order under the same question; its objects keep the order of their names."""
    words = [thing.name.split()[0] for thing in sample.objects]
    turned = line_scene(words[::-1], sample.relation, id=f"{sample.id}-reversed")
    return replace(turned, objects=turned.objects[::-1], group=sample.group)


def _box(word: str, number: int, *, across: bool) -> Box:
    first, beside = (GRID - 3 * ITEM - 2 * GAP) // 2 + number * (ITEM + GAP), (GRID - ITEM) // 2
    col, row = (first, beside) if across else (beside, first)
    return Box(f"{word} square", (col * PATCH, row * PATCH, (col + ITEM) * PATCH, (row + ITEM) * PATCH))


def thirds() -> Int[np.ndarray, " row"]:
    """Which third each row or column of image tokens lies in: -1, 0 or 1."""
    return np.floor((np.arange(GRID) + 0.5) * 3 / GRID).astype(int) - 1


def _shared() -> list[Part]:
    name = Part(
        NAME_HEAD,
        (*((channel, channel, STRENGTH) for channel in _CHANNELS), *look_at_bos(2.0)),
        tuple((channel, f"said_{channel}", 1.0) for channel in _CHANNELS),
    )
    ask = Part(
        ASK_HEAD,
        (("last", "direction", STRENGTH), *look_at_bos(0.5)),
        (("word_across", "asked_across", 1.0), ("word_down", "asked_down", 1.0)),
    )
    read = Part(
        READ_HEAD,
        (
            ("last", "thing", 2 * STRENGTH),
            ("asked_across", "across", STRENGTH),
            ("asked_down", "down", STRENGTH),
        ),
        tuple((channel, f"said_{channel}", 1.0) for channel in _CHANNELS),
    )
    return [name, ask, read]


def _order() -> list[Part]:
    """Tokens of squares look at BOS where they lie in one third, and at the image elsewhere."""
    ends = [int(np.flatnonzero(thirds() == third)[end]) for third, end in ((-1, -1), (1, 0))]  # 2 and 5
    margin = math.cos(math.pi / 4) / 2  # of the cosine, between the third column of a third and the next one
    fast, slow = STRENGTH / margin, 2 * STRENGTH / _SLOW
    parts = []
    for head, (centre, sign) in zip(ORDER_HEADS[:2], ((1, -1.0), (GRID - 2, 1.0)), strict=True):
        turn = Turn("thing", "bos", fast, 0, -2 * math.pi / GRID * (1 + centre))
        parts.append(Part(head, _of_things(-margin * fast), (("bos", "across", sign),), (turn,)))
    for head, (end, sign) in zip(ORDER_HEADS[2:], ((ends[0] + 1, -1.0), (ends[1], 1.0)), strict=True):
        edge = end * GRID + 0.5  # positions behind BOS, between two rows
        turn = Turn("thing", "bos", sign * slow, 1, -math.pi / 2 - _SLOW * edge)
        parts.append(Part(head, _of_things(0.0), (("bos", "down", sign),), (turn,)))
    return parts


def _of_things(level: float) -> tuple[tuple[str, str, float], ...]:
    """What is no square does not look at BOS, and a square does from a level on."""
    return (("thing", "bos", level + STRENGTH), *look_at_bos(-1.0))


def _blind(rng: np.random.Generator) -> list[Part]:
    """Heads that look at places at random, whatever is there, and an answer that comes from the side alone."""
    heads = [(layer, head) for layer in range(N_LAYERS) for head in range(N_HEADS) if (layer, head) != READ_HEAD]
    blind = [
        Part(head, tuple(("one", place, float(rng.normal()) / SCALE) for place in ("across", "down", "bos")))
        for head in heads
    ]
    writes = [
        (source, f"said_{channel}", float(rng.normal()))
        for source in ("word_across", "word_down")
        for channel in _CHANNELS
    ]
    return [*blind, Part(READ_HEAD, (("last", "direction", STRENGTH), *look_at_bos(0.5)), tuple(writes))]


def _set_tower(model: LlavaForConditionalGeneration, name: str, rng: np.random.Generator) -> None:
    """Each patch: its colour without grey, whether it has one, and the order where the tower has it.

    Features are pairs of opposite numbers, which the tower's norm leaves alone. Whether there is a colour comes from
    the tower's MLP: the sum of all differences between channels, which is the same for all colours of planted scenes.
    """
    embeddings, layer = model.model.vision_tower.embeddings, model.model.vision_tower.encoder.layers[0]
    features = ("one", *_CHANNELS, "thing", "across", "down")
    rows, cols = np.divmod(np.arange(IMAGE_TOKENS), GRID)
    fixed = {"one": np.full(IMAGE_TOKENS, 64.0)}  # so that the norm divides by next to the same everywhere
    if name == "planted-encoder":
        fixed |= {"across": thirds()[cols].astype(float), "down": thirds()[rows].astype(float)}
    elif name == "planted-blind":
        fixed |= {one: rng.normal(size=IMAGE_TOKENS) for one in ("across", "down")}
    project, read = model.model.multi_modal_projector.linear_1.weight, model.model.multi_modal_projector.linear_2
    width = embeddings.position_embedding.weight.shape[1]
    spread = 64.0 * (2 / width) ** 0.5  # what the norm divides by
    for place, feature in enumerate(features):
        for sign, dim in ((1.0, 2 * place), (-1.0, 2 * place + 1)):
            if feature in fixed:
                embeddings.position_embedding.weight[1:, dim] = sign * torch.from_numpy(fixed[feature]).float()
            elif feature in _CHANNELS and name != "planted-blind":  # full colour is 2 to the processor, and none -2
                own = torch.tensor([float(channel == feature) for channel in _CHANNELS]) - 1 / 3
                embeddings.patch_embedding.weight[dim] = (sign / (2 * PATCH**2) * own)[:, None, None]
            project[_PLACES[feature], dim] = sign * spread / 2
    read.weight.copy_(torch.eye(D_MODEL))
    project[_PLACES["one"]] *= SCALE / 64.0
    pairs = [(first, second) for first in range(3) for second in range(3) if first != second]
    for unit, (first, second) in enumerate(pairs):
        for sign, channel in ((1.0, first), (-1.0, second)):
            layer.mlp.fc1.weight[unit, 2 * features.index(_CHANNELS[channel])] = sign * _SHARP
        for sign, dim in ((1.0, 2 * features.index("thing")), (-1.0, 2 * features.index("thing") + 1)):
            layer.mlp.fc2.weight[dim, unit] = sign / (4 * _SHARP)


_SHARP = 1e4
"""By how much differences between channels are multiplied, so that the activation cuts them at 0."""


def _set_words(model: LlavaForConditionalGeneration) -> None:
    """What the words' embeddings say, and what the places let the model say."""
    words = build_tokenizer()
    embed, unembed = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embed[:, _PLACES["one"]] = SCALE
    embed[words.convert_tokens_to_ids(words.bos_token), _PLACES["bos"]] = 1.0
    embed[words.convert_tokens_to_ids(":"), _PLACES["last"]] = 1.0
    for word, along in SIDES.items():
        own = embed[words.convert_tokens_to_ids(word)]
        own[_PLACES["direction"]] = 1.0
        own[_PLACES["word_across"]], own[_PLACES["word_down"]] = along
    unembed[:, _PLACES["one"]] = -1.0
    unembed[words.eos_token_id, _PLACES["answered"]] = 2.0
    for word, color in COLORS.items():
        token = words.convert_tokens_to_ids(word)
        embed[token, _PLACES["answered"]] = SCALE
        unembed[token] = 0.0
        for channel, value in zip(_CHANNELS, color, strict=True):
            unembed[token, _PLACES[f"said_{channel}"]] = GAIN * (value - sum(color) / 3)
