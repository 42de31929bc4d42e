"""Training data of the embedded VLM: one picture, one caption and five questions about it, as token ids.

All segments stand behind the same image tokens: each sees the image and itself, never another segment, and its
positions start again after the image. The image is then paid for once, and the model learns what it would have learned
from one prompt per question.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from einops import reduce

from interp.datasets.synthetic.quartets import WORDS, place_relation
from interp.datasets.synthetic.shapes import (
    COLORS,
    SHAPES,
    Question,
    SceneObject,
    covered,
    place,
    questions,
    render,
    scene_rng,
)
from interp.planted.build import GRID, IMAGE_TOKENS, PATCH, build_tokenizer
from interp.prompt.templates import paper_prompt, where_in_relation

PREFIX = 1 + IMAGE_TOKENS  # the first token of the prompt and the image
SEGMENT = 28  # tokens of a padded segment; the longest caption, of three objects, has 26
SEGMENTS = 6  # one caption and five questions
IGNORE = -100  # label of a position that is not supervised
UNFAMILIAR = ("above", "below")
_INVERSE = {"left": "right", "right": "left", "on": "under", "under": "on", "front": "behind", "behind": "front"}
_LATE_FAMILY = 4  # of streams; see `scene_rng`
_Scene = tuple[Sequence[SceneObject], np.ndarray, Sequence[Question]]  # its objects, picture and questions


@dataclass(frozen=True)
class Mentions:
    """Where the questions of a batch name an object, and where that object lies; one row per mention.

    Attributes:
        at: int64 [mention 3], the batch row, segment and token of the last word of the name.
        answer: int64 [mention], the last token of the question's prompt.
        order: int64 [mention], 0 for the first object of a question, 1 for the second.
        place: int64 [mention 2], half-patch column and row (0..15) of the object's centre.
        patches: bool [mention patch], the patches that the object covers by at least a tenth.
    """

    at: np.ndarray
    answer: np.ndarray
    order: np.ndarray
    place: np.ndarray
    patches: np.ndarray


@dataclass(frozen=True)
class Pack:
    """A batch of packs.

    Attributes:
        pixels: uint8 [batch height width rgb].
        ids: int64 [batch segment token].
        labels: int64 [batch segment token], the next token where it is supervised, else `IGNORE`.
        mentions: what the questions name, and where it lies.
    """

    pixels: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    mentions: Mentions


@dataclass(frozen=True)
class PatchLabels:
    """What every patch of a batch of pictures shows; int64 [batch patch], `IGNORE` where a label has no meaning.

    Attributes:
        pixels: uint8 [batch height width rgb].
        color: index of the colour word, 0 where nothing lies, else 1 + index.
        shape: the same for the shape.
        across: half-patch column (0..15) of the centre of the object that the patch shows.
        down: half-patch row of that centre.
    """

    pixels: np.ndarray
    color: np.ndarray
    shape: np.ndarray
    across: np.ndarray
    down: np.ndarray


def draw_packs(
    first: int, batch: int, *, seed: int, n_objects: Sequence[int], unfamiliar_share: float, split: str = "train"
) -> Pack:
    """Draw the packs of scenes `first` to `first + batch - 1`.

    Args:
        first: index of the first scene of the stream.
        batch: number of packs.
        seed: seed of the stream.
        n_objects: how many objects a scene may have.
        unfamiliar_share: which share of the relation questions is about above and below.
        split: the split whose stream it is.
    """
    streams = (scene_rng(split, seed, index) for index in range(first, first + batch))
    return _pack([_scene(rng, n_objects, unfamiliar_share) for rng in streams])


def draw_late_packs(first: int, batch: int, *, seed: int, unfamiliar_share: float) -> Pack:
    """Draw packs of which every other scene is a pair of objects of a set of four, asked about in the late words.

    Args:
        first: index of the first scene of the stream.
        batch: number of packs.
        seed: seed of the stream.
        unfamiliar_share: which share of the other scenes' relation questions is about above and below.
    """
    scenes = []
    for index in range(first, first + batch):
        rng = scene_rng("train", seed, index, family=(_LATE_FAMILY,))
        if index % 2:
            scenes.append(_late_scene(rng, "ab"[index // 2 % 2]))
        else:
            scenes.append(_scene(rng, (2, 3), unfamiliar_share))
    return _pack(scenes)


def draw_patch_labels(first: int, batch: int, *, seed: int, split: str = "train") -> PatchLabels:
    """Draw scenes of one to four objects and say what each of their 64 patches shows."""
    rows = []
    for index in range(first, first + batch):
        rng = scene_rng(split, seed, index)
        objects = place(rng, int(rng.integers(1, 5)))
        rows.append((render(objects, rng), *_patch_labels(objects)))
    return PatchLabels(*(np.stack(column) for column in zip(*rows, strict=True)))


def caption_text(objects: Sequence[SceneObject]) -> str:
    """List the objects from left to right with the column and row (1 to 8) of their centres.

    Example:
        >>> caption_text(draw_scene(7, n_objects=2).objects)
        'blue circle at 2 5, red cross at 6 7.'
    """
    ordered = sorted(objects, key=lambda item: item.box.centre[0])
    places = [[min(int(value // PATCH), GRID - 1) + 1 for value in item.box.centre] for item in ordered]
    return ", ".join(f"{item.name} at {x} {y}" for item, (x, y) in zip(ordered, places, strict=True)) + "."


def _pack(scenes: Sequence[_Scene]) -> Pack:
    """Write the captions, questions and answers of scenes as token ids."""
    ids, labels, mentions = [], [], []
    for place_in_batch, (objects, _, chosen) in enumerate(scenes):
        segments = [_caption(objects), *(_answered(question) for question in chosen)]
        ids.append([segment[0] for segment in segments])
        labels.append([segment[1] for segment in segments])
        for number, question in enumerate(chosen, start=1):
            mentions += [((place_in_batch, number, token), *rest) for token, *rest in _mentions(question)]
    columns = Mentions(*(np.array(column) for column in zip(*mentions, strict=True)))
    pixels = np.stack([drawn for _, drawn, _ in scenes])
    return Pack(pixels, np.array(ids, dtype=np.int64), np.array(labels, dtype=np.int64), columns)


def _scene(rng: np.random.Generator, n_objects: Sequence[int], share: float) -> _Scene:
    """So many objects anywhere, asked about five times; see `_choose` for the share."""
    objects = place(rng, int(rng.choice(np.asarray(n_objects))))
    return objects, render(objects, rng), _choose(objects, rng, share)


def _late_scene(rng: np.random.Generator, words: str) -> _Scene:
    """Two objects in a relation of a set of four: asked about both ways, and each for something else."""
    relation = WORDS[words][int(rng.integers(len(WORDS[words])))]
    placed = place_relation(rng, words, relation)
    pairs = {relation: (placed.subject, placed.reference), _INVERSE[relation]: (placed.reference, placed.subject)}
    chosen = [
        Question("relation", where_in_relation(one.name, other.name, WORDS[words]), WORDS[words], answer, (one, other))
        for answer, (one, other) in pairs.items()
    ]
    rest = questions(placed.order, ("photo", "color", "shape"))
    picked = rng.permutation(len(rest))[: SEGMENTS - 1 - len(chosen)]
    return placed.order, render(placed.order, rng), [*chosen, *(rest[number] for number in picked)]


def _choose(objects: Sequence[SceneObject], rng: np.random.Generator, share: float) -> list[Question]:
    """Choose five different questions about a scene; above and below come up in `share` of the relation questions."""
    pools: dict[str, list[Question]] = {"familiar": [], "unfamiliar": [], "photo": [], "color": [], "shape": []}
    for question in questions(objects):
        familiarity = "unfamiliar" if question.answer in UNFAMILIAR else "familiar"
        pools[familiarity if question.kind == "relation" else question.kind].append(question)
    for pool in pools.values():
        rng.shuffle(pool)  # type: ignore[arg-type]
    chosen: list[Question] = []
    for kind in rng.choice(["relation", "photo", "color", "shape"], size=SEGMENTS - 1, p=[0.5, 0.26, 0.12, 0.12]):
        rare = rng.random() < share
        wanted = ("unfamiliar" if rare else "familiar") if kind == "relation" else str(kind)
        # A scene can have run out of a kind; one object alone has three or fewer questions, which then repeat.
        pool = next((pools[name] for name in (wanted, "photo", "color", "shape") if pools[name]), [])
        chosen.append(pool.pop() if pool else chosen[int(rng.integers(len(chosen)))])
    return chosen


def _caption(objects: Sequence[SceneObject]) -> tuple[list[int], list[int]]:
    return _segment(tuple(_encode(_after_image("Describe the photo."))), tuple(_encode(caption_text(objects))))


def _answered(question: Question) -> tuple[list[int], list[int]]:
    return _segment(_encode(_after_image(question.text)), _encode(question.answer))


def _mentions(question: Question) -> list[tuple[int, int, int, tuple[int, int], np.ndarray]]:
    """List token, last prompt token, order, place and patches of each object that a question names."""
    prompt = _encode(_after_image(question.text))
    names = _name_tokens()
    # The options may name colours and shapes too: they come last, and `zip` leaves them out.
    ends = [n for n, token in enumerate(prompt) if token in names and prompt[n + 1] not in names]
    return [
        (end, len(prompt) - 1, order, _half_patch(item), _patch_shares(item) >= 0.1)
        for order, (end, item) in enumerate(zip(ends, question.objects, strict=False))
    ]


@lru_cache(maxsize=1)
def _name_tokens() -> frozenset[int]:
    return frozenset(_tokenizer().convert_tokens_to_ids([*COLORS, *SHAPES]))


def _after_image(question: str) -> str:
    return paper_prompt(question).removeprefix("<image>")


@lru_cache(maxsize=20_000)
def _encode(text: str) -> tuple[int, ...]:
    return tuple(_tokenizer()(text, add_special_tokens=False)["input_ids"])


@lru_cache(maxsize=1)
def _tokenizer():  # noqa: ANN202 - a private cache
    return build_tokenizer()


@lru_cache(maxsize=20_000)
def _segment(prompt: tuple[int, ...], answer: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Join a prompt and its answer, pad them to `SEGMENT`, and supervise the answer and the end after it."""
    ids = [*prompt, *answer]
    labels = [IGNORE] * (len(prompt) - 1) + [*answer, _tokenizer().eos_token_id]
    rest = SEGMENT - len(ids)
    return ids + [_tokenizer().pad_token_id] * rest, labels + [IGNORE] * rest


def _patch_labels(objects: Sequence[SceneObject]) -> tuple[np.ndarray, ...]:
    """Label each patch with the object that covers most of it, if that is at least a tenth of the patch."""
    shares = np.stack([_patch_shares(item) for item in objects])
    owner, shown = shares.argmax(axis=0), shares.max(axis=0) >= 0.1

    def label(values: Sequence[int], elsewhere: int) -> np.ndarray:
        return np.where(shown, np.array(values)[owner], elsewhere).astype(np.int64)

    return (
        label([1 + list(COLORS).index(item.color) for item in objects], 0),
        label([1 + SHAPES.index(item.shape) for item in objects], 0),
        label([_half_patch(item)[0] for item in objects], IGNORE),
        label([_half_patch(item)[1] for item in objects], IGNORE),
    )


def _half_patch(item: SceneObject) -> tuple[int, int]:
    """Column and row, in half patches (0..15), of the centre of an object."""
    x, y = item.box.centre
    return int(x * 2 // PATCH), int(y * 2 // PATCH)


def _patch_shares(item: SceneObject) -> np.ndarray:
    """Share of each patch that an object covers; [patch]."""
    cells = covered(item).astype(np.float64)
    return reduce(cells, "(row down) (col across) -> (row col)", "mean", row=GRID, col=GRID)
