"""Synthetic scenes: coloured shapes on a grey canvas, with their boxes and the questions whose answers are clear.

All geometry is integer arithmetic and every scene has a random stream of its own, so a seed gives the same bytes on
any machine. Needs numpy and Pillow only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from PIL import Image

from interp.datasets.synthetic.outlines import FULL, cover_at, extent_at
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object, Sample
from interp.prompt.templates import (
    OPTIONS_IN_PHOTO,
    OPTIONS_IN_RELATION,
    list_options,
    where_in_photo,
    where_in_relation,
)
from interp.reprs import fits_a_cell

SIDE = 112  # pixels; 8 x 8 patches of 14 pixels
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (215, 45, 45),
    "green": (45, 165, 60),
    "blue": (50, 85, 215),
    "yellow": (220, 205, 45),
    "purple": (150, 50, 190),
    "orange": (225, 125, 35),
}
SHAPES = ("circle", "square", "triangle", "cross")
NAMES = tuple(f"{color} {shape}" for shape in SHAPES for color in COLORS)
KINDS = ("relation", "photo", "color", "shape")
SPLITS = {"train": 0, "val": 1, "test": 2}

MIN_RATIO = 1.5  # two objects: larger offset of the centres over the smaller
MIN_OFF_CENTRE = 0.15  # one object: distance from the middle on its main axis, as a share of the side
MIN_RADIUS, MAX_RADIUS = 12, 19  # pixels
GAP = 2  # pixels between the boxes of two objects, and between a box and the edge
MAX_OBJECTS = 4


@dataclass(frozen=True)
class SceneObject:
    """One coloured shape: its words, its exact colour, and its box in pixels.

    The box is the extent of the pixels that the shape covers by more than half.
    """

    color: str
    shape: str
    rgb: tuple[int, int, int]
    centre: tuple[float, float]
    radius: float
    box: Box

    @property
    def name(self) -> str:
        """What questions call it, such as `red circle`."""
        return f"{self.color} {self.shape}"


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Scene:
    """One picture and what is in it.

    Attributes:
        pixels: uint8 [height width rgb].
        objects: the shapes, in the order in which they were placed; no two share a colour or a shape.

    Example:
        >>> scene = draw_scene(7, n_objects=2)
        >>> scene.pixels.shape, len(scene.objects)
        ((112, 112, 3), 2)
    """

    pixels: np.ndarray
    objects: tuple[SceneObject, ...]

    @property
    def image(self) -> Image.Image:
        """The picture as an RGB image."""
        return Image.fromarray(self.pixels)

    @property
    def boxes(self) -> Boxes:
        """The boxes of the objects, labelled by name."""
        return Boxes(tuple(item.box for item in self.objects), source="shapes")


def scene_rng(split: str, seed: int, index: int, *, family: tuple[int, ...] = ()) -> np.random.Generator:
    """Give one scene its own random stream; streams of different splits never meet, whatever their seeds.

    Args:
        split: `train`, `val` or `test`.
        seed: the seed of the whole set, 0 or more.
        index: which scene of the set, 0 or more.
        family: which kind of scenes, for those that `shapes` does not draw; its first number is 3 or more, so that no
            stream is one of `shapes`.

    Raises:
        InputError: the split is not one of the three, or a number is negative.
    """
    if split not in SPLITS:
        raise InputError(f"there is no split {split!r} of the synthetic scenes: use one of {', '.join(SPLITS)}")
    if seed < 0 or index < 0:
        raise InputError(f"seed {seed} and index {index} of a synthetic scene must be 0 or more")
    stream = np.random.SeedSequence(seed, spawn_key=(*family, SPLITS[split], index))
    return np.random.Generator(np.random.PCG64(stream))


def draw_scene(rng: np.random.Generator | int, *, n_objects: int = 2) -> Scene:
    """Place and draw `n_objects` shapes that do not overlap.

    Args:
        rng: a numpy generator, or the seed of a test scene.
        n_objects: 1 to 4.

    Raises:
        InputError: another number of objects.

    Example:
        >>> draw_scene(scene_rng("train", 0, 12), n_objects=3).boxes.xyxy.shape
        (3, 4)
    """
    if isinstance(rng, int):
        rng = scene_rng("test", rng, 0)
    objects = place(rng, n_objects)
    return Scene(render(objects, rng), objects)


def place(rng: np.random.Generator, n_objects: int) -> tuple[SceneObject, ...]:
    """Choose words, colours, sizes and places of `n_objects` shapes, without drawing them.

    Raises:
        InputError: `n_objects` is not 1 to 4.
    """
    if not 1 <= n_objects <= MAX_OBJECTS:
        raise InputError(f"a scene of {n_objects} objects was asked for: give 1 to {MAX_OBJECTS}")
    colors = [list(COLORS)[i] for i in rng.permutation(len(COLORS))[:n_objects]]
    shapes_ = [SHAPES[i] for i in rng.permutation(len(SHAPES))[:n_objects]]
    return place_named(rng, colors, shapes_)


def place_named(rng: np.random.Generator, colors: Sequence[str], shapes_: Sequence[str]) -> tuple[SceneObject, ...]:
    """Choose sizes and places of shapes whose colours and forms are given, without drawing them."""
    while True:  # a crowded start can leave no room for the last object: begin again
        objects: list[SceneObject] = []
        for color, shape in zip(colors, shapes_, strict=True):
            found = _find_room(rng, color, shape, objects)
            if found is None:
                break
            objects.append(found)
        if len(objects) == len(colors):
            return tuple(objects)


def draw_rgb(rng: np.random.Generator, color: str) -> tuple[int, int, int]:
    """Choose the exact colour of one object: near the one that its word stands for."""
    red, green, blue = (int(value) for value in np.array(COLORS[color]) + rng.integers(-10, 11, size=3))
    return red, green, blue


def draw_radius(rng: np.random.Generator) -> float:
    """Choose the radius of one object, in pixels, a multiple of 0.5."""
    return int(rng.integers(2 * MIN_RADIUS, 2 * MAX_RADIUS + 1)) / 2


def shape_at(
    centre: tuple[float, float], *, color: str, shape: str, rgb: tuple[int, int, int], radius: float
) -> SceneObject:
    """Put one shape at a centre (x, y) in pixels, multiples of 0.5, and bound it."""
    x0, y0, x1, y1 = extent_at(shape, radius, centre)
    box = Box(f"{color} {shape}", (float(x0), float(y0), float(x1), float(y1)))
    return SceneObject(color, shape, rgb, centre, radius, box)


def render(objects: Sequence[SceneObject], rng: np.random.Generator) -> np.ndarray:
    """Draw the objects over a grey background with a slope and some grain; uint8 [height width rgb]."""
    level, slope_x, slope_y = rng.integers(90, 200), *rng.integers(-20, 21, size=2)
    ramp = np.arange(SIDE, dtype=np.int16) - SIDE // 2
    canvas = np.empty((3, SIDE, SIDE), dtype=np.int16)  # one plane per colour: adding grain is then contiguous
    canvas[:] = level + (slope_x * ramp[None, :] + slope_y * ramp[:, None]) // SIDE
    paint(canvas, objects)
    canvas += rng.integers(-6, 7, size=(SIDE, SIDE), dtype=np.int16)
    return np.ascontiguousarray(rearrange(canvas.astype(np.uint8), "rgb height width -> height width rgb"))


def paint(canvas: np.ndarray, objects: Sequence[SceneObject]) -> None:
    """Draw objects over a canvas, one after the other; int16 [rgb height width], changed in place."""
    for item in objects:
        cover, left, top = cover_at(item.shape, item.radius, item.centre)
        window = canvas[:, top : top + cover.shape[0], left : left + cover.shape[1]]
        rgb = np.array(item.rgb, dtype=np.int16)[:, None, None]
        window += ((rgb - window) * cover + FULL // 2) // (FULL)


def covered(item: SceneObject) -> np.ndarray:
    """Mark the pixels that an object covers by more than half; bool [height width]."""
    return 2 * coverage(item) > FULL


def coverage(item: SceneObject) -> np.ndarray:
    """Count the subsamples of every pixel that an object covers, 0 to `FULL`; int16 [height width]."""
    canvas = np.zeros((SIDE, SIDE), dtype=np.int16)
    cover, left, top = cover_at(item.shape, item.radius, item.centre)
    canvas[top : top + cover.shape[0], left : left + cover.shape[1]] = cover
    return canvas


def relation_between(subject: SceneObject, reference: SceneObject) -> str | None:
    """Say where `subject` lies in relation to `reference`, or None where the placement is not clear."""
    (x, y), (x_ref, y_ref) = subject.box.centre, reference.box.centre
    across, down = x - x_ref, y - y_ref
    if max(abs(across), abs(down)) < MIN_RATIO * min(abs(across), abs(down)):
        return None
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "above" if down < 0 else "below"


def place_in_photo(item: SceneObject) -> str | None:
    """Say on which side of the photo `item` lies, or None where it is too near to the middle or on a diagonal."""
    across, down = item.box.centre[0] - SIDE / 2, item.box.centre[1] - SIDE / 2
    if max(abs(across), abs(down)) < MIN_OFF_CENTRE * SIDE or abs(across) == abs(down):
        return None
    if abs(across) > abs(down):
        return "left" if across < 0 else "right"
    return "top" if down < 0 else "bottom"


@dataclass(frozen=True)
class Question:
    """A question about a scene, before it is tied to a picture: its kind, words, options, answer and objects."""

    kind: str
    text: str
    options: tuple[str, ...]
    answer: str
    objects: tuple[SceneObject, ...]


def questions(objects: Sequence[SceneObject], kinds: Sequence[str] = KINDS) -> list[Question]:
    """List every question of these kinds whose answer is clear in a scene with these objects.

    Args:
        objects: the objects of the scene.
        kinds: some of `relation` (two objects), `photo` (one object), `color`, `shape`.

    Raises:
        InputError: a kind that does not exist.

    Example:
        >>> scene = draw_scene(7, n_objects=2)
        >>> {question.kind for question in questions(scene.objects, ("color",))}
        {'color'}
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise InputError(f"there is no kind of question {unknown[0]!r}: use {', '.join(KINDS)}")
    return [question for kind in kinds for question in _ASK[kind](objects)]


def shapes(
    n: int,
    *,
    split: str = "test",
    seed: int = 0,
    n_objects: Sequence[int] = (2, 3),
    kinds: Sequence[str] = ("relation", "photo"),
) -> list[Sample]:
    """Make `n` questions, each about a scene of its own; kinds take turns, and the answers of a kind are balanced.

    Args:
        n: number of samples.
        split: `train`, `val` or `test`; no scene of one is in another.
        seed: the seed of the set.
        n_objects: how many objects a scene may have.
        kinds: kinds of questions, see `questions`.

    Returns:
        Samples whose `relation` is the answer, whose `objects` carry boxes in pixels (in the question's order), and
        whose `meta` holds `kind`, `n_objects` and `boxes` (the `Boxes` of everything in the scene).

    Raises:
        InputError: a split or kind that does not exist, or relations asked of scenes with one object.

    Example:
        >>> [sample.answer for sample in shapes(4, kinds=("relation",))]
        ['left', 'right', 'above', 'below']
    """
    return list(iterate_shapes(n, split=split, seed=seed, n_objects=n_objects, kinds=kinds))


def iterate_shapes(
    n: int, *, split: str, seed: int, n_objects: Sequence[int], kinds: Sequence[str]
) -> Iterator[Sample]:
    """Yield the samples of `shapes` one by one."""
    if not kinds or not n_objects or ("relation" in kinds and min(n_objects) < 2):
        raise InputError(
            f"kinds {tuple(kinds)} of scenes with {tuple(n_objects)} objects: name a kind; a relation needs two objects"
        )
    for index in range(n):
        kind = kinds[index % len(kinds)]
        rng = scene_rng(split, seed, index)
        objects, question = _scene_with_answer(rng, kind, index // len(kinds), n_objects)
        scene = Scene(render(objects, rng), objects)
        yield _as_sample(scene, question, f"shapes-{split}-{seed}-{index:05d}")


def _scene_with_answer(
    rng: np.random.Generator, kind: str, turn: int, n_objects: Sequence[int]
) -> tuple[tuple[SceneObject, ...], Question]:
    """Place scenes until one has a question whose answer is the one whose turn it is."""
    wanted = _OPTIONS[kind][turn % len(_OPTIONS[kind])] if kind in _OPTIONS else None
    count = int(rng.choice(np.asarray(n_objects)))
    while True:
        objects = place(rng, count)
        fitting = [question for question in questions(objects, (kind,)) if question.answer == wanted]
        if fitting:
            return objects, fitting[int(rng.integers(len(fitting)))]


def _as_sample(scene: Scene, question: Question, name: str) -> Sample:
    return Sample(
        id=name,
        image=scene.image,
        question=question.text,
        options=question.options,
        answer=question.answer,
        objects=tuple(Object(item.name, item.box) for item in question.objects),
        relation=question.answer,
        group=name,
        meta={"kind": question.kind, "n_objects": len(scene.objects), "boxes": scene.boxes},
    )


def _ask_relation(objects: Sequence[SceneObject]) -> Iterator[Question]:
    for subject in objects:
        for reference in objects:
            answer = None if subject is reference else relation_between(subject, reference)
            if answer is not None:
                text = where_in_relation(subject.name, reference.name)
                yield Question("relation", text, OPTIONS_IN_RELATION, answer, (subject, reference))


def _ask_photo(objects: Sequence[SceneObject]) -> Iterator[Question]:
    for item in objects:
        answer = place_in_photo(item)
        if answer is not None:
            yield Question("photo", where_in_photo(item.name), OPTIONS_IN_PHOTO, answer, (item,))


def _ask_color(objects: Sequence[SceneObject]) -> Iterator[Question]:
    for item in objects:
        text = f"What color is the {item.shape}? Answer with {list_options(tuple(COLORS))}."
        yield Question("color", text, tuple(COLORS), item.color, (item,))


def _ask_shape(objects: Sequence[SceneObject]) -> Iterator[Question]:
    for item in objects:
        text = f"What shape is the {item.color} object? Answer with {list_options(SHAPES)}."
        yield Question("shape", text, SHAPES, item.shape, (item,))


_ASK = {"relation": _ask_relation, "photo": _ask_photo, "color": _ask_color, "shape": _ask_shape}
_OPTIONS = {"relation": OPTIONS_IN_RELATION, "photo": OPTIONS_IN_PHOTO, "color": tuple(COLORS), "shape": SHAPES}


def _find_room(rng: np.random.Generator, color: str, shape: str, placed: Sequence[SceneObject]) -> SceneObject | None:
    """Try places for one shape that keep it apart from those already placed; None after many misses."""
    rgb, radius = draw_rgb(rng, color), draw_radius(rng)
    reach = int(radius) + 1 + GAP
    for _ in range(30):
        x, y = (int(value) / 2 for value in rng.integers(2 * reach, 2 * (SIDE - reach) + 1, size=2))
        x0, y0, x1, y1 = extent_at(shape, radius, (x, y))
        if all(_apart((x0, y0, x1, y1), other.box.xyxy) for other in placed):
            return shape_at((x, y), color=color, shape=shape, rgb=rgb, radius=radius)
    return None


def _apart(first: Sequence[float], second: Sequence[float]) -> bool:
    return (
        first[2] + GAP <= second[0]
        or second[2] + GAP <= first[0]
        or first[3] + GAP <= second[1]
        or second[3] + GAP <= first[1]
    )
