"""Questions made of boxes: where an object lies from another, or in its photo, where no question is written."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

from interp.datasets.own.labels import located
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import upright_size
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_PHOTO, OPTIONS_IN_RELATION, where_in_photo, where_in_relation
from interp.store.names import given_path
from interp.store.progress import patient_bar

CLEAR = 1.5
"""How much larger the larger offset of two centres has to be than the smaller one, for a relation to be clear."""

OFF_CENTRE = 0.1
"""How far from the photo's centre, in sides of the photo, an object has to be for its place to be clear."""


def questions_from_boxes(
    photos: Mapping[Path, Boxes],
    *,
    name: str = "photos",
    folder: str | Path | None = None,
    progress: bool = True,
) -> list[Sample]:
    """Ask of photos with boxes where an object lies from another, or in the photo: at most one question a photo.

    Classes with exactly one box in the photo can be asked about. Of each two of them, in alphabetical order, the answer
    is where the first box's centre lies from the second's: left, right, above or below, if the larger offset is `CLEAR`
    times the smaller or more, and the boxes lie apart in that direction. Of the pairs that are clear, the photo's
    question is about the one whose smaller box is the largest. Without such a pair, it asks where in the photo the
    largest of these classes lies: left, right, top or bottom, if its centre is clearly off the photo's, by `OFF_CENTRE`
    of the side or more.

    Args:
        photos: the boxes in each photo, by its path.
        name: what ids begin with.
        folder: where the paths start that tell photos apart in `id` and `group`; by default the innermost folder that
            holds all of them.
        progress: show a progress bar where this takes more than a moment.

    Returns:
        The samples, in the order of the photos; those where nothing is clear have none. `relation` is the answer.

    Example:
        >>> boxes = Boxes((Box("dog", (0, 0, 30, 30)), Box("cat", (60, 0, 90, 30))))
        >>> [sample.answer for sample in questions_from_boxes({Path("a.jpg"): boxes})]  # the cat, from the dog
        ['right']

    Raises:
        InputError: a photo is given twice, or one without a clear pair can not be opened to learn its size.
    """
    start = given_path(folder) if folder is not None else _common_folder(list(photos))
    given: dict[str, Path] = {}
    for photo in photos:
        if (other := given.setdefault(path_inside(photo, start), photo)) is not photo:
            raise InputError(f"{str(other)!r} and {str(photo)!r} are one photo: give it once, with all of its boxes")
    every = patient_bar(given.items(), "making questions", "photo", show=progress)
    asked = (_made_question(name, inside, photo, photos[photo]) for inside, photo in every)
    return [sample for sample in asked if sample is not None]


def relation_of(first: Box, second: Box) -> str | None:
    """Where the first box lies from the second: left, right, above or below; None where that is not clear."""
    (x, y), (x_ref, y_ref) = first.centre, second.centre
    across, down = x - x_ref, y - y_ref
    if max(abs(across), abs(down)) < CLEAR * min(abs(across), abs(down)):
        return None
    axis, answers = (0, ("left", "right")) if abs(across) > abs(down) else (1, ("above", "below"))
    near, far = (first, second) if (across, down)[axis] < 0 else (second, first)
    return None if near.xyxy[axis + 2] > far.xyxy[axis] else answers[near is second]


def place_of(box: Box, size: tuple[int, int]) -> str | None:
    """Where a box lies in a photo of that width and height: left, right, top or bottom; None where it is not clear."""
    offsets = [centre / side - 0.5 for centre, side in zip(box.centre, size, strict=True)]
    axis = int(abs(offsets[1]) > abs(offsets[0]))
    if abs(offsets[axis]) < max(OFF_CENTRE, CLEAR * abs(offsets[1 - axis])):
        return None
    return OPTIONS_IN_PHOTO[2 * axis + (offsets[axis] > 0)]


def path_inside(photo: Path, folder: Path) -> str:
    """The path of a photo from a folder on, the same by whichever path the photo is named."""
    return Path(os.path.relpath(located(photo), folder.resolve())).as_posix()


def _common_folder(photos: list[Path]) -> Path:
    return Path(os.path.commonpath([located(photo).parent for photo in photos])) if photos else Path()


def _made_question(name: str, inside: str, photo: Path, boxes: Boxes) -> Sample | None:
    """A question about the clear pair whose smaller box is the largest, else about the largest box off the centre."""
    times = Counter(boxes.labels)
    alone = sorted((box for box in boxes if times[box.label] == 1), key=lambda box: box.label)
    pairs = [pair for pair in combinations(alone, 2) if relation_of(*pair) is not None]
    if pairs:
        first, second = max(pairs, key=lambda pair: min(box.area for box in pair))
        asked, options = where_in_relation(first.label, second.label), OPTIONS_IN_RELATION
        return _sample_of(name, inside, photo, (first, second), asked, options, relation_of(first, second) or "")
    size = upright_size(photo) if alone else (1, 1)
    placed = [box for box in alone if place_of(box, size) is not None]
    if not placed:
        return None
    box = max(placed, key=lambda box: box.area)
    asked, options = where_in_photo(box.label), OPTIONS_IN_PHOTO
    return _sample_of(name, inside, photo, (box,), asked, options, place_of(box, size) or "")


def _sample_of(
    name: str,
    inside: str,
    photo: Path,
    boxes: tuple[Box, ...],
    question: str,
    options: tuple[str, ...],
    answer: str,
) -> Sample:
    return Sample(
        id=f"{name}-{inside}",
        image=photo,
        question=question,
        options=options,
        answer=answer,
        objects=tuple(Object(box.label, box) for box in boxes),
        relation=answer,
        group=inside,
        meta={"dataset": name, "made_from": "boxes"},
    )
