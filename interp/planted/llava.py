"""Planted models: LLaVA models whose weights are set by hand, so that what each head does is known.

Every tool has to find what was planted, in the right layer and head and with the right sign, and to find nothing in
the null model. They run through the same processor, tower and hooks as any model; only their weights are peculiar:
the tower passes on each patch's colour and place, every MLP is silent, and a head that has no part looks evenly at all
that it sees and adds nothing. So they are wrapped with `self_check=False`: that check wants every head to matter.

The residual stream of the language model is a row of named places (`_PLACES`). A head with a part in the mechanism
looks at BOS until its trigger is there, and then, with all of its weight, at what it is meant to find.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import LlavaForConditionalGeneration

from interp.datasets.synthetic.shapes import SIDE
from interp.errors import ModelError
from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from interp.planted.build import GRID, IMAGE_TOKENS, PATCH, build_processor, build_tokenizer
from interp.planted.lines import LINES, build_line_model, line_scenes
from interp.planted.parts import (
    COLORS,
    D_MODEL,
    N_HEADS,
    SCALE,
    STRENGTH,
    Head,
    Part,
    blank_model,
    look_at_bos,
    set_head,
)
from interp.prompt.templates import where_in_photo, where_in_relation

MARK_HEAD: Head = (0, 0)
"""Marks the second object that a question names: its colour word looks at the word "to"."""
BOS_HEAD: Head = (0, 1)
"""Every row looks at BOS."""
CUE_HEAD: Head = (0, 2)
"""Of the distractor model: the last row reads the cue in the top left corner of the photo."""
FETCH_HEAD: Head = (1, 0)
"""The last row looks at the colour word of the object asked about, and learns the colour."""
SINK_HEAD: Head = (1, 3)
"""Every row looks at one token on the border of the image, whatever is there."""
OBJECT_HEAD: Head = (2, 2)
"""The last row looks at the image tokens of that colour, and learns how far right they lie."""
WORD_HEAD: Head = (1, 1)
"""Of the relation model: colour words look at the image tokens of their colour."""
ASKED_HEAD: Head = (2, 0)
"""Of the relation model: the last row reads the colour word of the object asked about."""
OTHER_HEAD: Head = (2, 1)
"""Of the relation model: the last row reads the other colour word, and subtracts."""

SINK, CUE = (0, GRID - 1), (0, 0)
"""(row, column) of the image token that is the sink, and of the one whose brightness is the cue."""

N_LAYERS = 4
GAIN = 2.0
"""Logits of the word "right" for one unit of the place learned, from -1 to 1; "left" has as much less."""

_PLACES = {
    name: place
    for place, name in enumerate(
        "one red green blue across down image sink cue bos word word_red word_green word_blue last to answered "
        "marked asked_red asked_green asked_blue right seen_across cue_read hash".split()
    )
}
_COLOR, _WORD, _ASKED = (
    tuple(f"{prefix}{channel}" for channel in ("red", "green", "blue")) for prefix in ("", "word_", "asked_")
)


def build_planted(name: str, *, strength: float = STRENGTH) -> tuple[Any, Any]:
    """Make a planted model and its processor.

    Args:
        name: one of `PLANTED`, or of `interp.planted.lines.LINES`.
        strength: the strength of the logits in the head that looks at the object; a small one leaves weight elsewhere.
            Models of lines have their own.

    Raises:
        ModelError: there is none of that name.

    Example:
        >>> vlm = HookedVLM.wrap(*build_planted("planted-object"), self_check=False)
        >>> vlm.cfg.n_layers, vlm.cfg.n_heads
        (4, 4)
    """
    if name in LINES:
        return build_line_model(name)
    if name not in PLANTED:
        raise ModelError(f"no planted model is called {name!r}: use one of {', '.join((*PLANTED, *LINES))}")
    model = blank_model(N_LAYERS)
    with torch.no_grad():
        _set_tower(model, blind=name == "planted-null")
        _set_words(model)
        for part in PLANTED[name](strength):
            set_head(model, part, _PLACES)
    return model.eval().requires_grad_(False), build_processor()


def planted_scenes(name: str, count: int, *, seed: int = 0) -> list[Sample]:
    """Draw scenes for a planted model: squares of two by two image tokens, exactly on the token grid.

    Args:
        name: of the model. The relation model is asked about two objects, and so is the distractor model, which
            reads the object asked about where the top left corner is white (`meta["reads_asked"]`) and the other one
            where it is black; the other models are asked where one of the two lies. Models of lines get lines of
            three, see `line_scenes`.
        count: how many.
        seed: the seed of the scenes.
    """
    if name in LINES:
        return line_scenes(count, seed=seed)
    rng = np.random.default_rng(seed)
    return [_scene(name, number, rng) for number in range(count)]


def _scene(name: str, number: int, rng: np.random.Generator) -> Sample:
    words = [str(word) for word in rng.choice(list(COLORS), size=2, replace=False)]
    left = int(rng.integers(2))  # which of the two objects lies in the left half
    corners = [(int(rng.integers(0, 3)) + (0 if place == left else 4), int(rng.integers(1, 6))) for place in range(2)]
    reads_asked = bool(rng.integers(2))
    pixels = np.full((SIDE, SIDE, 3), 128, dtype=np.uint8)
    pixels[:PATCH, :PATCH] = 255 if reads_asked else 0
    boxes = []
    for word, (col, row) in zip(words, corners, strict=True):
        x, y = col * PATCH, row * PATCH
        pixels[y : y + 2 * PATCH, x : x + 2 * PATCH] = [255 if channel > 0 else 0 for channel in COLORS[word]]
        boxes.append(Box(f"{word} square", (x, y, x + 2 * PATCH, y + 2 * PATCH)))
    options = ("left", "right")
    names = [box.label for box in boxes]
    both = name in ("planted-relation", "planted-distractor")
    asked = where_in_relation(names[0], names[1], options) if both else where_in_photo(names[0], options)
    return Sample(
        id=f"{name}-{number}",
        image=Image.fromarray(pixels),
        question=asked,
        options=options,
        answer="left" if left == 0 else "right",
        objects=tuple(Object(box.label, box) for box in (boxes if both else boxes[:1])),
        relation="left" if left == 0 else "right",
        meta={"reads_asked": reads_asked, "other": boxes[1]},
    )


def _object(strength: float) -> list[Part]:
    return [*_common(), _fetch("last"), _look(strength)]


def _distractor(strength: float) -> list[Part]:
    cue = Part(CUE_HEAD, (("last", "cue", STRENGTH), *look_at_bos(0.5)), (("green", "cue_read", 1.0),))
    return [*_common(), cue, _fetch("cue_read"), _look(strength)]


def _relation(strength: float) -> list[Part]:
    words = Part(
        WORD_HEAD,
        (*((word, color, strength) for word, color in zip(_WORD, _COLOR, strict=True)), *look_at_bos(2.0, strength)),
        (("across", "seen_across", 1.0),),
    )
    asked = Part(
        ASKED_HEAD,
        (("last", "word", STRENGTH), ("last", "marked", -2 * STRENGTH), *look_at_bos(0.5)),
        (("seen_across", "right", 1.0),),
    )
    other = Part(OTHER_HEAD, (("last", "marked", STRENGTH), *look_at_bos(0.5)), (("seen_across", "right", -1.0),))
    return [*_common(), words, asked, other]


def _null(strength: float) -> list[Part]:
    """Heads that look at places at random, whatever is there, and an answer that comes from the colour word alone."""
    rng = np.random.default_rng(0)
    heads = [(layer, head) for layer in range(N_LAYERS) for head in range(N_HEADS) if (layer, head) != FETCH_HEAD]
    blind = [
        Part(head, tuple(("one", place, float(rng.normal()) / SCALE) for place in ("across", "down", "image", "bos")))
        for head in heads
    ]
    answer = Part(FETCH_HEAD, (("last", "word", STRENGTH), *look_at_bos(0.5)), (("hash", "right", 1.0),))
    return [*blind, answer]


PLANTED: dict[str, Callable[[float], list[Part]]] = {
    "planted-object": _object,
    "planted-relation": _relation,
    "planted-distractor": _distractor,
    "planted-null": _null,
}
"""Planted models of one or two objects, by name, with the parts of their heads."""


def _common() -> list[Part]:
    return [
        Part(MARK_HEAD, (("word", "to", STRENGTH), *look_at_bos(0.5)), (("to", "marked", 1.0),)),
        Part(BOS_HEAD, look_at_bos(1.0)),
        Part(SINK_HEAD, (("one", "sink", STRENGTH / SCALE),)),
    ]


def _fetch(trigger: str) -> Part:
    """The last row learns a colour: of the unmarked word where the trigger is 1, of the marked one where it is -1."""
    looks = ((trigger, "word", STRENGTH), (trigger, "marked", -2 * STRENGTH), *look_at_bos(0.5))
    return Part(FETCH_HEAD, looks, tuple((word, asked, 1.0) for word, asked in zip(_WORD, _ASKED, strict=True)))


def _look(strength: float) -> Part:
    """The last row looks at the colour it has learned: three channels that agree beat BOS, two do not."""
    looks = tuple((asked, color, strength) for asked, color in zip(_ASKED, _COLOR, strict=True))
    return Part(OBJECT_HEAD, (*looks, *look_at_bos(2.0, strength)), (("across", "right", 1.0),))


def _set_tower(model: LlavaForConditionalGeneration, *, blind: bool) -> None:
    """Each patch: its mean colour, and its place; as pairs of opposite numbers, which the tower's norm leaves alone.

    Of a blind model the patches have no colour, and their places are numbers drawn at random.
    """
    embeddings = model.model.vision_tower.embeddings
    features = ("one", *_COLOR, "across", "down", "image", "sink", "cue")
    rows, cols = np.divmod(np.arange(IMAGE_TOKENS), GRID)
    middle = (GRID - 1) / 2
    fixed = {
        "one": np.full(IMAGE_TOKENS, 64.0),  # so that the norm divides by next to the same everywhere
        "across": (cols - middle) / middle,
        "down": (rows - middle) / middle,
        "image": np.ones(IMAGE_TOKENS),
        "sink": ((rows == SINK[0]) & (cols == SINK[1])).astype(float),
        "cue": ((rows == CUE[0]) & (cols == CUE[1])).astype(float),
    }
    if blind:
        rng = np.random.default_rng(0)
        fixed |= {name: rng.normal(size=IMAGE_TOKENS) for name in ("across", "down")}
        fixed |= {name: np.zeros(IMAGE_TOKENS) for name in (*_COLOR, "sink", "cue")}
    project, read = model.model.multi_modal_projector.linear_1.weight, model.model.multi_modal_projector.linear_2
    spread = 64.0 * (2 / embeddings.position_embedding.weight.shape[1]) ** 0.5  # what the norm divides by
    for place, name in enumerate(features):
        for sign, dim in ((1.0, 2 * place), (-1.0, 2 * place + 1)):
            if name in fixed:
                embeddings.position_embedding.weight[1:, dim] = sign * torch.from_numpy(fixed[name]).float()
            else:  # the mean over the patch; the processor makes full colour 2 and none -2
                embeddings.patch_embedding.weight[dim, _COLOR.index(name)] = sign / (2 * PATCH**2)
            project[_PLACES[name], dim] = sign * spread / 2
    read.weight.copy_(torch.eye(D_MODEL))
    project[_PLACES["one"]] *= SCALE / 64.0


def _set_words(model: LlavaForConditionalGeneration) -> None:
    """What the words' embeddings say, and what the places let the model say."""
    words = build_tokenizer()
    embed, unembed = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    embed[:, _PLACES["one"]] = SCALE
    marks = {"bos": words.bos_token, "last": ":", "to": "to"}
    for place, word in marks.items():
        embed[words.convert_tokens_to_ids(word), _PLACES[place]] = 1.0
    for number, (word, color) in enumerate(COLORS.items()):
        own = embed[words.convert_tokens_to_ids(word)]
        own[_PLACES["word"]] = 1.0
        own[_PLACES["hash"]] = (-1.0) ** number
        for name, channel in zip(_WORD, color, strict=True):
            own[_PLACES[name]] = channel
    unembed[:, _PLACES["one"]] = -1.0
    unembed[words.eos_token_id, _PLACES["answered"]] = 2.0
    for word, sign in (("left", -1.0), ("right", 1.0)):
        token = words.convert_tokens_to_ids(word)
        embed[token, _PLACES["answered"]] = SCALE
        unembed[token] = 0.0
        unembed[token, _PLACES["right"]] = sign * GAIN
