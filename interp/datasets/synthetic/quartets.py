"""Sets of four pictures of one pair of shapes, each with another relation between them, after the What'sUp photos.

Geometry, streams and drawing are those of `interp.datasets.synthetic.shapes`.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from interp.datasets.synthetic.outlines import FULL
from interp.datasets.synthetic.shapes import (
    COLORS,
    GAP,
    SHAPES,
    SIDE,
    SceneObject,
    coverage,
    covered,
    draw_radius,
    draw_rgb,
    render,
    scene_rng,
    shape_at,
)
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_CONTROLLED_A, OPTIONS_CONTROLLED_B, where_in_relation

WORDS = {"a": OPTIONS_CONTROLLED_A, "b": OPTIONS_CONTROLLED_B}

MAX_LEAN = 2  # pixels between the centres, across, where one lies on, under, before or behind the other
MAX_TILT = 2  # pixels between the centres, downwards, where one lies beside the other
MIN_APART, MAX_APART = 8, 24  # pixels between the boxes of two that lie side by side
MIN_HIDDEN, MAX_HIDDEN = 0.25, 0.60  # share of the pixels of the one behind
MIN_DROP, MAX_DROP = 4, 14  # pixels by which the one in front stands lower: its lowest pixel, and its centre
_FAMILY = 3  # of streams; the numbers below it are the splits of `shapes`


class Arrangement(NamedTuple):
    """Two objects in a relation, with their boxes before one hides a part of the other.

    Attributes:
        subject: what the question asks about.
        reference: what it is set in relation to.
        order: both, in the order in which they are drawn, as `render` takes them.
    """

    subject: SceneObject
    reference: SceneObject
    order: tuple[SceneObject, SceneObject]

    @property
    def hidden_share(self) -> float:
        """Share of the pixels of the object drawn first that the other one hides."""
        return 1.0 - float(self.visible(self.order[0]).sum() / covered(self.order[0]).sum())

    def visible(self, item: SceneObject) -> np.ndarray:
        """Mark the pixels of which one of the two objects takes more than half; bool [height width]."""
        back, front = self.order
        if item != back or not (covered(back) & covered(front)).any():
            return covered(item)  # two that touch share the pixels of an edge, and neither hides the other
        return _shown(coverage(back), coverage(front))

    def visible_box(self, item: SceneObject) -> Box:
        """Bound the pixels where one of the two objects can be seen."""
        rows, columns = np.nonzero(self.visible(item))
        corners = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        return Box(item.name, (float(corners[0]), float(corners[1]), float(corners[2]), float(corners[3])))


@dataclass(frozen=True)
class Pair:
    """Two objects before they are arranged: both in the middle of the canvas.

    Attributes:
        words: `a` or `b`, the key of `WORDS`.
        subject: what the question asks about.
        reference: what it is set in relation to.
        lean: pixels by which the subject moves to the right where its relation is neither left nor right; the same
            for all relations of a set, so that it tells nothing of them.
    """

    words: str
    subject: SceneObject
    reference: SceneObject
    lean: int


def quartets(n_sets: int, *, words: str = "a", split: str = "test", seed: int = 0) -> list[Sample]:
    """Make sets of four pictures: one pair of objects on one background, in each of the four relations.

    The two objects keep their colours, shapes and sizes, the background its level, slope and grain; what differs
    between the four pictures of a set is where the objects lie and which one is drawn over the other.

    Args:
        n_sets: number of sets; there are four times as many samples.
        words: `a` for left, right, on and under; `b` for left, right, front and behind.
        split: `train`, `val` or `test`; no picture of one is in another, and none is one of `shapes`.
        seed: the seed of all sets.

    Returns:
        Samples, set by set, in the order of `WORDS`. `objects` are subject and reference with the boxes of what can
        be seen of them, in pixels; `group` names the set. `meta` holds `dataset`, `row`, `kind`, `n_objects`, `set`
        (its number), `pair` (such as `on-under`: this relation and its opposite), `boxes` (as in
        `objects`), `full_boxes` (before one hides a part of the other) and `occluded` (the hidden share of the object
        that is partly hidden, 0 where none is).

    Raises:
        InputError: fewer than one set, or words or a split that do not exist.

    Example:
        >>> [sample.answer for sample in quartets(1, words="b")]
        ['left', 'right', 'front', 'behind']
    """
    if n_sets < 1:
        raise InputError(f"{n_sets} sets of four pictures were asked for: give 1 or more")
    _check(words)
    return [sample for number in range(n_sets) for sample in _one_set(number, words, split, seed)]


def place_relation(rng: np.random.Generator, words: str, relation: str) -> Arrangement:
    """Choose a pair of objects and arrange them in one relation, without drawing them.

    Args:
        rng: where every choice comes from.
        words: `a` or `b`.
        relation: one of `WORDS[words]`.

    Returns:
        Subject, reference and drawing order.

    Raises:
        InputError: words that do not exist, or a relation that is not one of them.

    Example:
        >>> rng = scene_rng("train", 0, 7, family=(4,))
        >>> subject, reference, order = place_relation(rng, "b", "front")
        >>> order == (reference, subject), render(order, rng).shape
        (True, (112, 112, 3))
    """
    return arrange(rng, choose_pair(rng, words), relation)


def choose_pair(rng: np.random.Generator, words: str) -> Pair:
    """Choose two objects that can be arranged in all relations of `words`.

    Raises:
        InputError: words that do not exist.
    """
    _check(words)
    colors, shapes_ = ([names[i] for i in rng.permutation(len(names))[:2]] for names in (tuple(COLORS), SHAPES))
    tints = [draw_rgb(rng, color) for color in colors]
    lean = int(rng.integers(-MAX_LEAN, MAX_LEAN + 1))
    while True:  # a small object can not hide enough of a large one, nor be hidden by one without vanishing
        subject, reference = (
            shape_at(_middle(rng), color=color, shape=shape, rgb=rgb, radius=draw_radius(rng))
            for color, shape, rgb in zip(colors, shapes_, tints, strict=True)
        )
        if words == "a" or (_drops(subject, reference, lean) and _drops(reference, subject, -lean)):
            return Pair(words, subject, reference, lean)


def arrange(rng: np.random.Generator, pair: Pair, relation: str) -> Arrangement:
    """Move the objects of a pair, by whole pixels, into one relation somewhere on the canvas.

    Raises:
        InputError: the relation is not one of the pair's words.
    """
    if relation not in WORDS[pair.words]:
        raise InputError(
            f"there is no relation {relation!r} among the words {pair.words!r}: use {', '.join(WORDS[pair.words])}"
        )
    across, down = _offset(rng, pair, relation)
    items = _moved(pair.subject, across, down), pair.reference
    (left, right), (top, bottom) = (_room(items, axis) for axis in (0, 1))
    right_by, down_by = int(rng.integers(left, right + 1)), int(rng.integers(top, bottom + 1))
    subject, reference = (_moved(item, right_by, down_by) for item in items)
    return Arrangement(subject, reference, (subject, reference) if relation == "behind" else (reference, subject))


def _check(words: str) -> None:
    """Refuse words that do not exist."""
    if words not in WORDS:
        raise InputError(f"there are no words {words!r} of sets of four: use {' or '.join(WORDS)}")


def _one_set(number: int, words: str, split: str, seed: int) -> list[Sample]:
    """The four samples of one set."""
    rng = scene_rng(split, seed, number, family=(_FAMILY, list(WORDS).index(words)))
    pair = choose_pair(rng, words)
    placed = {relation: arrange(rng, pair, relation) for relation in WORDS[words]}
    return [
        # The same state of the generator each time: the same background.
        _as_sample(arrangement, render(arrangement.order, deepcopy(rng)), relation, (words, split, seed, number))
        for relation, arrangement in placed.items()
    ]


def _as_sample(placed: Arrangement, pixels: np.ndarray, relation: str, key: tuple[str, str, int, int]) -> Sample:
    words, split, seed, number = key
    options, group = WORDS[words], f"shapes-{words}-{split}-{seed}-{number:05d}"
    items, turn = (placed.subject, placed.reference), options.index(relation)
    boxes = tuple(placed.visible_box(item) for item in items)
    return Sample(
        id=f"{group}-{relation}",
        image=Image.fromarray(pixels),
        question=where_in_relation(placed.subject.name, placed.reference.name, options),
        options=options,
        answer=relation,
        objects=tuple(Object(box.label, box) for box in boxes),
        relation=relation,
        group=group,
        meta={
            "dataset": f"shapes-{words}",
            "row": len(options) * number + turn,
            "kind": "relation",
            "n_objects": len(items),
            "set": number,
            "pair": "-".join(options[:2] if turn < 2 else options[2:]),
            "boxes": Boxes(boxes, source="shapes"),
            "full_boxes": Boxes(tuple(item.box for item in items), source="shapes"),
            "occluded": placed.hidden_share,
        },
    )


def _offset(rng: np.random.Generator, pair: Pair, relation: str) -> tuple[int, int]:
    """Choose by how many pixels the subject moves right and down from the middle, where the reference stays."""
    subject, reference = pair.subject, pair.reference
    if relation == "on":
        return pair.lean, _fall(subject, reference, pair.lean)
    if relation == "under":
        return pair.lean, -_fall(reference, subject, -pair.lean)
    if relation == "front":
        return pair.lean, int(rng.choice(_drops(subject, reference, pair.lean)))
    if relation == "behind":
        return pair.lean, -int(rng.choice(_drops(reference, subject, -pair.lean)))
    apart, tilt = int(rng.integers(MIN_APART, MAX_APART + 1)), int(rng.integers(-MAX_TILT, MAX_TILT + 1))
    (x0, _, x1, _), (x0_ref, _, x1_ref, _) = subject.box.xyxy, reference.box.xyxy
    level = int(reference.box.centre[1] - subject.box.centre[1])
    return int(x0_ref - x1) - apart if relation == "left" else int(x1_ref - x0) + apart, level + tilt


def _fall(upper: SceneObject, lower: SceneObject, across: int) -> int:
    """Count the pixels that `upper` moves down, once moved `across`, until it rests on `lower`; often below 0."""
    above, below = covered(_moved(upper, across, 0)), covered(lower)
    bottoms, tops = SIDE - above[::-1].argmax(axis=0), below.argmax(axis=0)
    return int((tops - bottoms)[above.any(axis=0) & below.any(axis=0)].min())


def _drops(front: SceneObject, back: SceneObject, across: int) -> list[int]:
    """List the pixels that `front` may move down, once moved `across`, to stand before `back` as it should."""
    x0, y0, x1, y1 = (int(edge) for edge in back.box.xyxy)
    area, shadow = coverage(back)[y0:y1, x0:x1], coverage(_moved(front, across, 0))[:, x0:x1]
    feet = back.box.xyxy[3] - front.box.xyxy[3]
    middles = back.box.centre[1] - front.box.centre[1]
    first, last = int(np.ceil(max(feet, middles))) + MIN_DROP, int(min(feet, middles)) + MAX_DROP
    whole = (2 * area > FULL).sum()
    shares = {down: 1 - _shown(area, shadow[y0 - down : y1 - down]).sum() / whole for down in range(first, last + 1)}
    return [down for down, share in shares.items() if MIN_HIDDEN <= share <= MAX_HIDDEN]


def _shown(back: np.ndarray, front: np.ndarray) -> np.ndarray:
    """Mark the pixels of which more than half shows the object behind, as `render` blends the two; from coverages."""
    return 2 * back * (FULL - front) > FULL * FULL


def _room(items: tuple[SceneObject, SceneObject], axis: int) -> tuple[int, int]:
    """Least and largest number of pixels by which both objects can move along an axis and stay on the canvas."""
    reach = [int(item.radius) + 1 + GAP for item in items]
    least = max(margin - item.centre[axis] for item, margin in zip(items, reach, strict=True))
    most = min(SIDE - margin - item.centre[axis] for item, margin in zip(items, reach, strict=True))
    return int(np.ceil(least)), int(np.floor(most))


def _middle(rng: np.random.Generator) -> tuple[float, float]:
    """Choose a centre in the middle of the canvas, on a pixel's edge or half a pixel from it."""
    x, y = (SIDE / 2 + int(half) / 2 for half in rng.integers(0, 2, size=2))
    return x, y


def _moved(item: SceneObject, right: int, down: int) -> SceneObject:
    """The same shape, so many whole pixels further: its pixels stay the same."""
    (x, y), (x0, y0, x1, y1) = item.centre, item.box.xyxy
    box = Box(item.name, (x0 + right, y0 + down, x1 + right, y1 + down))
    return replace(item, centre=(x + right, y + down), box=box)
