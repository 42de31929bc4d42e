"""Boxes given by hand or by a data set, in the form of a detector."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.boxes import Box, Boxes
from interp.datasets.sample import Sample
from interp.detect.words import labels_for
from interp.errors import InputError

if TYPE_CHECKING:
    from PIL import Image


class GivenBoxes:
    """A detector that answers with the boxes that it was given.

    Attributes:
        boxes: the boxes, in original-image pixels.
        name: who gave them; goes into results.
        labels: the distinct labels of the boxes.

    Example:
        >>> from PIL import Image
        >>> given = GivenBoxes.parse("mug=10,20,50,80; table=0,60,90,90")
        >>> given.detect(Image.new("RGB", (90, 90)), ["table"]).xyxy.tolist()
        [[0.0, 60.0, 90.0, 90.0]]
    """

    def __init__(self, boxes: Boxes | Iterable[Box], *, name: str | None = None) -> None:
        """Keep the boxes.

        Raises:
            InputError: there are none.
        """
        items = tuple(boxes)
        if not items:
            raise InputError("no boxes were given: give at least one, such as 'mug=10,20,50,80'")
        self.name = name or (boxes.source if isinstance(boxes, Boxes) else "given")
        self.boxes = Boxes(items, source=self.name)
        self.labels = tuple(dict.fromkeys(self.boxes.labels))

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> GivenBoxes:
        """Read boxes written as `label=x0,y0,x1,y1` in pixels, with `;` or a new line between them.

        Args:
            text: the boxes in one string, or a string for each.

        Raises:
            InputError: a part that does not read so, or corners out of order.
        """
        parts = [part for line in ([text] if isinstance(text, str) else text) for part in re.split(r"[;\n]", line)]
        return cls([_parse_box(part) for part in parts if part.strip()], name="by hand")

    @classmethod
    def from_sample(cls, sample: Sample) -> GivenBoxes:
        """Take the boxes of a sample's objects.

        Raises:
            InputError: none of its objects has a box.
        """
        boxes = [Box(item.name, item.box.xyxy, item.box.confidence) for item in sample.objects if item.box is not None]
        if not boxes:
            raise InputError(f"sample {sample.id!r} carries no boxes: give them by hand, or use a detector")
        return cls(boxes, name="data set")

    def detect(self, image: Image.Image, words: Sequence[str] | None = None) -> Boxes:
        """Give the boxes, cut at the edge of the image; with `words`, those whose labels match.

        Raises:
            InputError: a box lies outside the image.
        """
        wanted = set(self.labels) if words is None else labels_for(words, self.labels)
        boxes = [clip_box(box, image.size) for box in self.boxes if box.label in wanted]
        return Boxes(tuple(boxes), source=self.name)


def read_yolo_labels(path: str | Path, image_size: tuple[int, int], names: Sequence[str] | Mapping[int, str]) -> Boxes:
    """Read a label file in YOLO's format: a line per box with class number, centre x, centre y, width, height.

    Args:
        path: the text file; an empty one means that the image has no boxes.
        image_size: (width, height) of the image in pixels; the file holds fractions of it.
        names: the class names by number.

    Returns:
        The boxes in pixels of the image, cut at its edge, in the file's order.

    Raises:
        InputError: the file can not be read, or a line does not read so (the message names the line).
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"label file {path} can not be read ({error}): give a text file of YOLO labels") from error
    table = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    boxes = [
        _box_of_fractions(line.split(), image_size, table, f"{path}, line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    return Boxes(tuple(boxes), source="data set")


def clip_box(box: Box, image_size: tuple[int, int]) -> Box:
    """Cut a box at the edge of an image of (width, height) pixels.

    Raises:
        InputError: no part of it lies inside.
    """
    width, height = image_size
    x0, y0, x1, y1 = box.xyxy
    corners = (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
    if corners[0] >= corners[2] or corners[1] >= corners[3]:
        raise InputError(
            f"box of {box.label!r} with corners {box.xyxy} lies outside the image of {width} x {height} pixels"
        )
    return Box(box.label, corners, box.confidence)


def _parse_box(text: str) -> Box:
    label, equals, corners = text.rpartition("=")
    try:
        x0, y0, x1, y1 = (float(number) for number in corners.split(","))
    except ValueError:
        equals = ""
    if not equals or not label.strip():
        raise InputError(f"{text.strip()!r} is no box: write label=x0,y0,x1,y1 in pixels, such as mug=10,20,50,80")
    return Box(label.strip(), (x0, y0, x1, y1))


def _box_of_fractions(parts: Sequence[str], size: tuple[int, int], names: Mapping[int, str], where: str) -> Box:
    try:
        number, (x, y, width, height) = int(parts[0]), (float(part) for part in parts[1:])
    except ValueError as error:
        raise InputError(f"{where}: {' '.join(parts)[:60]!r} is not 'class x y width height'") from error
    if number not in names:
        raise InputError(f"{where}: class {number} has no name; {len(names)} names were given")
    if not all(math.isfinite(value) and 0 <= value <= 1 for value in (x, y, width, height)):
        raise InputError(f"{where}: {' '.join(parts)!r} must be fractions of the image between 0 and 1")
    across, down = size
    corners = (x - width / 2) * across, (y - height / 2) * down, (x + width / 2) * across, (y + height / 2) * down
    return clip_box(Box(names[number], corners), size)
