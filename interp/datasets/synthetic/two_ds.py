"""2DS-style scenes: two to six coloured shapes on white, and six questions about each, of as many categories.

They are made after what is told of the benchmark 2DS in "Beyond Semantics: Rediscovering Spatial Awareness in
Vision-Language Models": 500 scenes of two to six coloured shapes at random places, and six categories of questions. Its
generator, canvas, colours, shapes and templates are not public. So this is another set in its style: scores on it are
no scores on 2DS. Geometry, streams and drawing are those of `interp.datasets.synthetic.shapes`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product

import numpy as np
from einops import rearrange
from PIL import Image

from interp.datasets.synthetic.shapes import (
    COLORS,
    SHAPES,
    Question,
    SceneObject,
    paint,
    relation_between,
    scene_rng,
    shape_at,
)
from interp.errors import InputError
from interp.image.boxes import Boxes
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_RELATION, list_options, where_in_relation

NAME = "2ds-style"
N_SCENES = 500
ATTRIBUTES = ("color", "shape", "shape-color")
FRAMES = ("absolute", "relative")
CATEGORIES = tuple(f"{attribute}-{frame}" for attribute in ATTRIBUTES for frame in FRAMES)
"""What is asked for, and where: at a side of the picture (absolute), or in relation to another shape."""

WORDS: dict[str, tuple[dict[str, tuple[int, int, int]], tuple[str, ...]]] = {
    "shapes": (COLORS, SHAPES),
    "all": ({**COLORS, "black": (20, 20, 20)}, (*SHAPES, "star")),
}
"""Colours and shapes. The embedded model `shapes-vlm` knows all words of the questions of `shapes`; of those of `all`,
it has no word for black and star, so that it is refused there."""

CANVAS = 336  # pixels of a side by default; all lengths below are for that canvas and shrink with it
MIN_CANVAS = 84  # where the smallest shape is 10 pixels across
MIN_RADIUS, MAX_RADIUS = 20, 32
MARGIN = 24  # from the shape at a side to the next one, along the axis of that side, between the centres of their boxes
GAP = 6  # between two shapes
EDGE = 12  # between a shape and the edge
CELLS = 6  # of a side of the grid over which centres are strewn, one to a cell, anywhere in it
MIN_OBJECTS, MAX_OBJECTS = 2, 6

SIDES = ("top", "right", "bottom", "left")  # once round, so that sides k and k + 1 lie on different axes
_AXIS = {"top": (1, -1), "right": (0, 1), "bottom": (1, 1), "left": (0, -1)}
_FAMILY = 5  # of streams; see `scene_rng`
_DRESSINGS = 8


@dataclass(frozen=True)
class _Plan:
    """What a scene has to answer, so that the answers of a whole set are balanced.

    Attributes:
        n_objects: how many shapes it has.
        sides: the side that each of the three absolute questions asks about, in the order of `ATTRIBUTES`.
        color: the answer of the first.
        shape: the answer of the second.
        both: the answer of the third: a colour and a shape.
        directions: the answers of the three relative questions.
    """

    n_objects: int
    sides: tuple[str, str, str]
    color: str
    shape: str
    both: tuple[str, str]
    directions: tuple[str, str, str]


def two_ds(
    n: int = N_SCENES * len(CATEGORIES),
    *,
    split: str = "test",
    seed: int = 0,
    side: int = CANVAS,
    words: str = "shapes",
) -> list[Sample]:
    """Make `n` questions, six about each scene, one of each category.

    In 500 scenes, each number of shapes from two to six occurs 100 times, each direction is the answer of a relative
    question 125 times, each side is asked about 125 times in a category, and each colour, shape or both is the answer
    as often as any other, to one, at each side and in all (both to two, with the words `all`). In a shorter set,
    answers are as even as its length allows, to a few. The first scenes are the same whatever `n` is, and lie alike on
    canvases of every size.

    An absolute question asks what is at a side: the box of that shape is the outermost there by 24 pixels, between
    centres, on a canvas of 336. A relative question asks where one shape lies in relation to another: both can be told
    from all others by what the question says of them, and the larger offset of the centres is at least 1.5 times the
    smaller.

    Args:
        n: number of samples; scene by scene, in the order of `CATEGORIES`.
        split: `train`, `val` or `test`; no scene of one is in another, or in another synthetic set.
        seed: the seed of the set.
        side: width and height of the canvas in pixels, 84 or more.
        words: `shapes` (six colours, four shapes: what the embedded model knows) or `all` (black and star as well).

    Returns:
        Samples whose `relation` is the category, whose `group` is the scene, and whose `objects` are what the question
        is about, with boxes in pixels: the shape at the side, or the two that are related. They are named by colour and
        shape, also where the question says one of the two. `meta` holds `dataset`, `row`, `category`, `scene` (its
        number), `n_objects` and `boxes` (all shapes of the scene).

    Raises:
        InputError: less than one sample, or a split, words or a canvas that can not be.

    Example:
        >>> [sample.meta["category"] for sample in two_ds(3)]
        ['color-absolute', 'color-relative', 'shape-absolute']
        >>> two_ds(6)[5].question
        'Where is the purple square in relation to the red cross? Answer with left, right, above or below.'
    """
    if n < 1:
        raise InputError(f"n={n} samples of {NAME} were asked for: give 1 or more")
    if words not in WORDS:
        raise InputError(f"there are no words {words!r} of {NAME}: use {' or '.join(WORDS)}")
    if isinstance(side, bool) or not isinstance(side, int) or side < MIN_CANVAS:
        raise InputError(
            f"a canvas of {side!r} pixels a side was asked for: give a whole number of {MIN_CANVAS} or more"
        )
    n_scenes = -(-n // len(CATEGORIES))
    return [sample for number in range(n_scenes) for sample in _samples(number, split, seed, side, words)][:n]


def plan(number: int, *, split: str = "test", seed: int = 0, words: str = "shapes") -> _Plan:
    """What scene `number` of a set has to answer.

    Example:
        >>> Counter(plan(number).n_objects for number in range(20)) == {2: 4, 3: 4, 4: 4, 5: 4, 6: 4}
        True
    """
    key = (split, seed, words)
    block, place = divmod(number, len(SIDES))  # four scenes have as many shapes, and each side and direction once
    counts = np.arange(MIN_OBJECTS, MAX_OBJECTS + 1)
    n_objects = int(_rng("count", block // len(counts), key).permutation(counts)[block % len(counts)])
    color, shape, both = _answers(number, key)
    first, second, third = (SIDES[(place + k) % len(SIDES)] for k in range(3))
    return _Plan(
        n_objects,
        (first, second, third),
        color,
        shape,
        both,
        _directions(_rng("direction", block, key), place, n_objects),
    )


def _answers(number: int, key: tuple[str, int, str]) -> tuple[str, str, tuple[str, str]]:
    """The answers of the absolute questions: a colour, a shape, and both, whose colour is another than the first.

    At each side, every colour once in as many blocks as there are colours, and likewise shapes; sides begin one apart.
    With each colour, every shape once in as many such rounds as there are shapes; there, too, sides begin apart.
    """
    colors, shapes = (tuple(names) for names in WORDS[key[2]])
    block, place = divmod(number, len(SIDES))
    (turn, step), (shape_turn, shape_step) = divmod(block, len(colors)), divmod(block, len(shapes))
    cycle, part = divmod(turn, len(shapes))
    rng = _rng("color", turn, key)
    of_both = order = rng.permutation(len(colors))
    while (order == of_both).any():  # two shapes at two sides could not both be the only one of a colour
        order = rng.permutation(len(colors))
    slot = (step + place) % len(colors)
    of_cycle = _rng("both", cycle, key)
    tables = [of_cycle.permutation(len(shapes)) for _ in colors]
    shape = _rng("shape", shape_turn, key).permutation(len(shapes))[(shape_step + place) % len(shapes)]
    shape_of_both = tables[of_both[slot]][(part + place) % len(shapes)]
    return colors[order[slot]], shapes[shape], (colors[of_both[slot]], shapes[shape_of_both])


def _rng(what: str, index: int, key: tuple[str, int, str]) -> np.random.Generator:
    """The stream of one choice of plans."""
    split, seed, words = key
    kind = ("color", "shape", "both", "count", "direction").index(what)
    return scene_rng(split, seed, index, family=(_FAMILY, list(WORDS).index(words), kind))


def _directions(rng: np.random.Generator, place: int, n_objects: int) -> tuple[str, str, str]:
    """The answers of the relative questions; two shapes lie along one axis, whoever asks."""
    orders = [rng.permutation(len(OPTIONS_IN_RELATION)) for _ in range(3)]
    if n_objects == 2:  # options 2k and 2k + 1 are opposite
        orders = [orders[0] ^ int(rng.integers(2)) for _ in range(3)]
    first, second, third = (OPTIONS_IN_RELATION[order[place]] for order in orders)
    return first, second, third


def _samples(number: int, split: str, seed: int, side: int, words: str) -> Iterator[Sample]:
    """The six samples of one scene, which share its picture."""
    rng = scene_rng(split, seed, number, family=(_FAMILY, list(WORDS).index(words)))
    objects, asked = _scene(plan(number, split=split, seed=seed, words=words), rng, words)
    drawn = {item: _resized(item, side) for item in objects}
    image, boxes = _picture(tuple(drawn.values()), side), Boxes(tuple(item.box for item in drawn.values()), source=NAME)
    group = f"{NAME}-{split}-{seed}-{number:05d}"
    for place, question in enumerate(asked):
        yield Sample(
            id=f"{group}-{question.kind}",
            image=image,
            question=question.text,
            options=question.options,
            answer=question.answer,
            objects=tuple(Object(item.name, drawn[item].box) for item in question.objects),
            relation=question.kind,
            group=group,
            meta={
                "dataset": NAME,
                "row": len(CATEGORIES) * number + place,
                "category": question.kind,
                "scene": number,
                "n_objects": len(objects),
                "boxes": boxes,
            },
        )


def _scene(wanted: _Plan, rng: np.random.Generator, words: str) -> tuple[tuple[SceneObject, ...], list[Question]]:
    """Place shapes, on the default canvas, until all six questions have the answers that they should have."""
    while True:
        centres, radii = _places(rng, wanted.n_objects)
        at = [outermost(centres, side) for side in wanted.sides]
        if not _apart(centres, radii) or None in at:
            continue
        for _ in range(_DRESSINGS):
            looks = _looks(rng, wanted, [int(one) for one in at if one is not None], words)
            if looks is None:
                continue
            objects = tuple(
                shape_at(
                    (float(x), float(y)), color=color, shape=shape, rgb=WORDS[words][0][color], radius=float(radius)
                )
                for (x, y), radius, (color, shape) in zip(centres, radii, looks, strict=True)
            )
            asked = _questions(rng, wanted, objects, at, words)
            if asked is not None:
                return objects, asked


def _places(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Centres [object xy] and radii [object], multiples of 0.5: in different cells of the grid, anywhere in a cell."""
    radii = rng.integers(2 * MIN_RADIUS, 2 * MAX_RADIUS + 1, size=n) / 2
    cells = np.stack(np.divmod(rng.permutation(CELLS * CELLS)[:n], CELLS), axis=1)
    room = CANVAS - 2 * (MAX_RADIUS + EDGE)
    return np.round(2 * (MAX_RADIUS + EDGE + (cells + rng.random((n, 2))) * room / CELLS)) / 2, radii


def _apart(centres: np.ndarray, radii: np.ndarray) -> bool:
    """Whether the squares around all shapes lie apart."""
    one, other = np.triu_indices(len(radii), 1)
    return bool((np.abs(centres[one] - centres[other]).max(axis=1) >= radii[one] + radii[other] + GAP).all())


def outermost(centres: np.ndarray, side: str, margin: float = MARGIN) -> int | None:
    """Which of some centres [object xy] is at a side of the picture; None where no one is by the margin, in pixels.

    Example:
        >>> outermost(np.array([[50, 200], [60, 20], [300, 100]]), "top")
        1
    """
    axis, sign = _AXIS[side]
    outward = sign * centres[:, axis]
    order = np.argsort(outward)
    return int(order[-1]) if outward[order[-1]] - outward[order[-2]] >= margin else None


def _looks(rng: np.random.Generator, wanted: _Plan, at: Sequence[int], words: str) -> list[tuple[str, str]] | None:
    """Choose colours and shapes, with the answers at their sides; None where they can not be, or two look alike."""
    colors, shapes = (
        [names[i] for i in rng.integers(len(names), size=wanted.n_objects)] for names in map(tuple, WORDS[words])
    )
    colors[at[0]], shapes[at[1]] = wanted.color, wanted.shape
    if (at[0] == at[2] and wanted.color != wanted.both[0]) or (at[1] == at[2] and wanted.shape != wanted.both[1]):
        return None
    colors[at[2]], shapes[at[2]] = wanted.both
    looks = list(zip(colors, shapes, strict=True))
    return looks if len(set(looks)) == len(looks) else None


def _questions(
    rng: np.random.Generator,
    wanted: _Plan,
    objects: tuple[SceneObject, ...],
    at: Sequence[int | None],
    words: str,
) -> list[Question] | None:
    """The six questions; None where boxes (some lie a little beside the centres of shapes) or relations do not fit."""
    centres = np.array([item.box.centre for item in objects])
    if [outermost(centres, side) for side in wanted.sides] != list(at):
        return None
    found: list[Question] = []
    for attribute, side, place, direction in zip(ATTRIBUTES, wanted.sides, at, wanted.directions, strict=True):
        names = _names(objects, attribute)
        fitting = [
            (first, second)
            for first, second in permutations(objects, 2)
            if names[first] and names[second] and relation_between(first, second) == direction
        ]
        if not fitting or place is None:
            return None
        pair = fitting[int(rng.integers(len(fitting)))]
        found.append(_ask_absolute(attribute, side, objects[place], words))
        text = where_in_relation(names[pair[0]], names[pair[1]])
        found.append(Question(f"{attribute}-relative", text, OPTIONS_IN_RELATION, direction, pair))
    return found


def _names(objects: Sequence[SceneObject], attribute: str) -> dict[SceneObject, str]:
    """What a question calls each shape by an attribute; empty where that would be said of another as well."""
    said = {
        item: {"color": f"{item.color} object", "shape": item.shape, "shape-color": item.name}[attribute]
        for item in objects
    }
    times = Counter(said.values())
    return {item: name if times[name] == 1 else "" for item, name in said.items()}


def _ask_absolute(attribute: str, side: str, item: SceneObject, words: str) -> Question:
    """Ask for the colour, the shape or both of what is at a side."""
    colors, shapes = (tuple(names) for names in WORDS[words])
    what, listed, options, answer = {
        "color": ("color", list_options(colors), colors, item.color),
        "shape": ("shape", list_options(shapes), shapes, item.shape),
        "shape-color": (
            "color and shape",
            f"{list_options(colors)} and with {list_options(shapes)}",
            tuple(f"{color} {shape}" for color, shape in product(colors, shapes)),
            item.name,
        ),
    }[attribute]
    text = f"What {what} is the object at the {side}? Answer with {listed}."
    return Question(f"{attribute}-absolute", text, options, answer, (item,))


def _resized(item: SceneObject, side: int) -> SceneObject:
    """The same shape on a canvas of `side` pixels."""
    x, y, radius = (round(2 * length * side / CANVAS) / 2 for length in (*item.centre, item.radius))
    return shape_at((x, y), color=item.color, shape=item.shape, rgb=item.rgb, radius=radius)


def _picture(objects: Sequence[SceneObject], side: int) -> Image.Image:
    """Draw the shapes on white."""
    canvas = np.full((3, side, side), 255, dtype=np.int16)
    paint(canvas, objects)
    return Image.fromarray(rearrange(canvas.astype(np.uint8), "rgb height width -> height width rgb"))
