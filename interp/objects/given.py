"""Boxes given by hand or by a data set, in the form of a detector."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes, refuse_fractions
from interp.image.digests import photo_digest
from interp.image.photos import ImageSource, load_image, upright_size
from interp.objects.words import labels_for
from interp.store.names import given_path, spelled, stays_inside

if TYPE_CHECKING:
    from interp.objects.sample import Sample


class GivenBoxes:
    """A detector that answers with the boxes that it was given.

    Attributes:
        boxes: the boxes, in original-image pixels.
        name: who gave them; goes into results.
        labels: the distinct labels of the boxes, or those that were given.

    Example:
        >>> from PIL import Image
        >>> given = GivenBoxes.parse("mug=10,20,50,80; table=0,60,90,90")
        >>> given.detect(Image.new("RGB", (90, 90)), ["table"]).xyxy.tolist()
        [[0.0, 60.0, 90.0, 90.0]]
    """

    def __init__(
        self, boxes: Boxes | Iterable[Box], *, name: str | None = None, labels: Sequence[str] | None = None
    ) -> None:
        """Keep the boxes.

        Args:
            boxes: the boxes; there must be one unless `labels` are given.
            name: who gave them.
            labels: the classes that were looked for, so that one without a box counts as looked for and not there;
                by default those of the boxes.

        Raises:
            InputError: there are no boxes, they are fractions, or the label of one is not among `labels`.
        """
        items = tuple(boxes)
        if not items and labels is None:
            raise InputError("no boxes were given: give at least one, such as 'mug=10,20,50,80'")
        if labels is None:
            refuse_fractions(items)
        self.name = name or (boxes.source if isinstance(boxes, Boxes) else "given")
        self.boxes = Boxes(items, source=self.name)
        self.labels = tuple(dict.fromkeys(self.boxes.labels if labels is None else labels))
        strange = sorted(set(self.boxes.labels) - set(self.labels))
        if strange:
            raise InputError(f"boxes of {', '.join(strange)} are none of the labels given: add these to the labels")

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> GivenBoxes:
        """Read boxes written as `label=x0,y0,x1,y1` in pixels, with `;` or a new line between them.

        Args:
            text: the boxes in one string, or a string for each.

        Raises:
            InputError: a part that does not read so, corners out of order, or fractions of the photo.
        """
        parts = [part for line in ([text] if isinstance(text, str) else text) for part in re.split(r"[;\n]", line)]
        return cls([_parse_box(part) for part in parts if part.strip()], name="by hand")

    @classmethod
    def from_sample(cls, sample: Sample) -> GivenBoxes:
        """Take the boxes of a sample's objects.

        Raises:
            InputError: none of its objects has a box.
        """
        boxes = _boxes_of(sample)
        if not boxes:
            raise InputError(f"sample {sample.id!r} carries no boxes: give them by hand, or use a detector")
        return cls(boxes, name="data set", labels=[item.name for item in sample.objects])

    def detect(self, image: ImageSource, words: Sequence[str] | None = None) -> Boxes:
        """Give the boxes, cut at the edge of the image; with `words`, those whose labels match.

        Raises:
            InputError: a box lies outside the image.
        """
        wanted = set(self.labels) if words is None else labels_for(words, self.labels)
        size = upright_size(image)
        boxes = [clip_box(box, size) for box in self.boxes if box.label in wanted]
        return Boxes(tuple(boxes), source=self.name)


class GroundTruth:
    """The boxes of a whole data set, in the form of a detector.

    The study asks it through `for_sample`, which gives the sample's own boxes; `detect` looks a photo up by its pixels.

    Attributes:
        name: goes into results.
        labels: the classes of the label files; empty where the samples carry the boxes.

    Example:
        >>> truth = GroundTruth(read_yolo_folder("coco128/images", "coco128/labels"))  # doctest: +SKIP
        >>> truth.for_sample(sample).detect(photo, ["mug"]).labels  # doctest: +SKIP
        ['cup']
    """

    def __init__(
        self,
        boxes: Mapping[str, Boxes] | None = None,
        *,
        images: str | Path | None = None,
        labels: Sequence[str] | None = None,
        name: str = "ground truth",
    ) -> None:
        """Keep the boxes.

        Args:
            boxes: the boxes of each photo, by its path inside the data set (`interp.objects.label_files` reads them);
                None takes those of the samples' objects.
            images: the folder that these paths start from; only `detect` needs it.
            labels: every class that was marked; by default those of the boxes.
            name: goes into results.

        Raises:
            InputError: labels or a folder without boxes, boxes of no photo at all, or of one outside the folder.
        """
        if boxes is None and (images is not None or labels is not None):
            raise InputError("a folder or labels were given without boxes: give the boxes of its photos too")
        if boxes is not None and not boxes:
            raise InputError("boxes of no photo were given: read them from label files, or leave them out")
        outside = [path for path in boxes or () if not stays_inside(path)] if images is not None else []
        if outside:
            raise InputError(f"{outside[0]!r} is no path below the folder of images: name photos from that folder on")
        self.name = name
        self._in_samples = boxes is None
        self._boxes = dict(boxes or {})
        marked = [label for some in self._boxes.values() for label in some.labels]
        self.labels = tuple(dict.fromkeys(marked if labels is None else labels))
        self._folder = None if images is None else given_path(images)
        self._digests: dict[Path, str] = {}
        self._by_name: dict[str, list[str]] = {}
        for path in self._boxes:
            self._by_name.setdefault(PurePosixPath(spelled(path)).name, []).append(path)

    def for_sample(self, sample: Sample) -> GivenBoxes:
        """Give the boxes of one sample's photo, or of its objects where no label files were given; there may be none.

        Raises:
            InputError: there are label files, and the photo is none of theirs, or no file.
        """
        if self._in_samples:
            return GivenBoxes(_boxes_of(sample), name=self.name, labels=[item.name for item in sample.objects])
        if not isinstance(sample.image, (str, Path)):
            raise InputError(
                f"the photo of sample {sample.id!r} is no file, and boxes are known by file: give samples with paths"
            )
        return self._of(self._path_of(Path(sample.image)))

    def detect(self, image: ImageSource, words: Sequence[str] | None = None) -> Boxes:
        """Give the boxes of a photo that is looked up by its pixels; the photos are read until one is the same.

        Raises:
            DetectorError: the photo is none of the data set, or no photos were given to look it up in.
        """
        if self._folder is None:
            raise DetectorError(
                f"{self.name} can look up a photo only in a folder of photos with boxes: give both, or use for_sample"
            )
        wanted = photo_digest(load_image(image))
        for path in self._boxes:
            if self._digest(self._folder / path) == wanted:
                return self._of(path).detect(image, words)
        raise DetectorError(
            f"{self.name} has no boxes for this photo: it is none of {len(self._boxes)} of the data set"
        )

    def _of(self, path: str) -> GivenBoxes:
        return GivenBoxes(self._boxes[path], name=self.name, labels=self.labels)

    def _path_of(self, image: Path) -> str:
        """The longest path inside the data set that a photo's path ends with."""
        shown = PurePosixPath(spelled(image.as_posix()))
        found = [path for path in self._by_name.get(shown.name, []) if _ends_with(shown, spelled(path))]
        if not found:
            raise InputError(
                f"{self.name} has no photo that {str(image)!r} ends with, only {len(self._boxes)} others: give the "
                "boxes of the data set that the samples are from"
            )
        return max(found, key=len)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = photo_digest(load_image(path))
        return self._digests[path]


def read_yolo_labels(path: str | Path, image_size: tuple[int, int], names: Sequence[str] | Mapping[int, str]) -> Boxes:
    """Read a label file in YOLO's format: a line per box with class number, centre x, centre y, width, height.

    A sixth number is the box's confidence. More are the corners of a polygon, x and y of each, which becomes the box
    around it. Boxes of no width or height are left out, as in `read_coco_boxes`.

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
        lines = given_path(path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"label file {path} can not be read ({error}): give a text file of YOLO labels") from error
    table = dict(names) if isinstance(names, Mapping) else dict(enumerate(names))
    boxes = [
        box
        for number, line in enumerate(lines, start=1)
        if line.strip()
        for box in _boxes_of_fractions(line.split(), image_size, table, f"{path}, line {number}")
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


def boxes_within(
    label: str,
    corners: tuple[float, float, float, float],
    image_size: tuple[int, int],
    where: str,
    confidence: float = 1.0,
) -> list[Box]:
    """One box of a label file as a list, cut at the edge of its image; an empty list where it has no width or height.

    Raises:
        InputError: corners that are none or not in order, or no part of the box lies inside; it begins with `where`.
    """
    x0, y0, x1, y1 = corners
    if all(map(math.isfinite, corners)) and (x0 == x1 or y0 == y1):
        return []
    try:
        return [clip_box(Box(label, corners, confidence), image_size)]
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _boxes_of(sample: Sample) -> list[Box]:
    """The boxes of a sample's objects, under the objects' names."""
    return [Box(item.name, item.box.xyxy, item.box.confidence) for item in sample.objects if item.box is not None]


def _ends_with(image: PurePosixPath, path: str) -> bool:
    parts = PurePosixPath(path).parts
    return image.parts[-len(parts) :] == parts


def _parse_box(text: str) -> Box:
    label, equals, corners = text.rpartition("=")
    try:
        x0, y0, x1, y1 = (float(number) for number in corners.split(","))
    except ValueError:
        equals = ""
    if not equals or not label.strip():
        raise InputError(f"{text.strip()!r} is no box: write label=x0,y0,x1,y1 in pixels, such as mug=10,20,50,80")
    return Box(label.strip(), (x0, y0, x1, y1))


def _boxes_of_fractions(parts: Sequence[str], size: tuple[int, int], names: Mapping[int, str], where: str) -> list[Box]:
    """The box of one line of a label file; none where it has no width or height."""
    try:
        number, *values = map(float, parts)
        if not number.is_integer():
            raise ValueError
        corners, confidence = _corners_of(values)
    except ValueError as error:
        raise InputError(
            f"{where}: {' '.join(parts)[:60]!r} is not 'class x y width height', with a confidence or without, nor "
            "'class x1 y1 x2 y2 x3 y3 ...', a polygon"
        ) from error
    if number not in names:
        raise InputError(f"{where}: class {int(number)} has no name; {len(names)} names were given")
    if not all(0 <= value <= 1 for value in values):
        raise InputError(f"{where}: {' '.join(parts)[:60]!r} must be fractions of the image between 0 and 1")
    across, down = size
    x0, y0, x1, y1 = corners
    return boxes_within(names[int(number)], (x0 * across, y0 * down, x1 * across, y1 * down), size, where, confidence)


def _corners_of(values: Sequence[float]) -> tuple[tuple[float, float, float, float], float]:
    """Corners of a box in fractions, and its confidence: of a middle, a width and a height, or around a polygon.

    Raises:
        ValueError: so many numbers are neither.
    """
    if len(values) in (4, 5):
        x, y, width, height, *confidence = values
        return (x - width / 2, y - height / 2, x + width / 2, y + height / 2), (*confidence, 1.0)[0]
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    across, down = values[::2], values[1::2]
    return (min(across), min(down), max(across), max(down)), 1.0
