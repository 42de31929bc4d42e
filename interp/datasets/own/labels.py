"""Boxes that lie beside one's own photos: label files in YOLO's format, or a JSON file in COCO's."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.image.boxes import Boxes

COCO80 = "coco80"
"""What `classes.txt` says where the classes are the 80 of COCO, in the order of `interp.detect.COCO_NAMES`."""


@dataclass(frozen=True)
class PhotoBoxes:
    """The boxes that lie beside the photos of a folder.

    Attributes:
        source: where they were read, for messages: the folder of label files, or the JSON file.
        photos: the boxes of each photo, by its path.
    """

    source: str
    photos: Mapping[Path, Boxes]

    def of(self, photo: Path) -> Boxes | None:
        """The boxes of a photo, by whichever path it is named; None if they are not known."""
        return self._by_place.get(located(photo))

    @cached_property
    def _by_place(self) -> dict[Path, Boxes]:
        return {located(path): boxes for path, boxes in self.photos.items()}


def located(photo: Path) -> Path:
    """The one path of a file that may be named in several ways; a file that is a link itself keeps its name."""
    return photo.parent.resolve() / photo.name


def photo_folder(folder: Path) -> Path:
    """Where the photos of a folder lie: in its `images/` if it has one, else in the folder itself."""
    return folder / "images" if (folder / "images").is_dir() else folder


def read_photo_boxes(folder: Path, *, progress: bool = True) -> PhotoBoxes | None:
    """The boxes of each photo of a folder; None where no boxes lie beside the photos.

    Label files are `labels/NAME.txt` for the photo `NAME.jpg`, with the class names in `classes.txt`, one a line, or
    `coco80` alone for the 80 classes of COCO; a photo without such a file has no boxes. Else the one JSON file of the
    folder that holds `annotations` is read as a COCO instances file; a warning names other JSON files.

    Example:
        >>> read_photo_boxes(Path("holiday")).of(Path("holiday/images/beach.jpg")).labels
        ['person', 'kite']

    Raises:
        InputError: both are there, there are several JSON files with annotations, class names are missing, or a file
            does not read so.
    """
    from interp.objects.label_files import (  # here, as they import samples from this package
        read_coco_boxes,
        read_yolo_folder,
    )

    photos, labels, files = photo_folder(folder), folder / "labels", _annotation_files(folder)
    if len(files) + labels.is_dir() > 1:
        names = [path.name for path in files] + ["labels/"] * labels.is_dir()
        raise InputError(f"{str(folder)!r} has boxes in {' and '.join(names)}: take all but one of them away")
    if labels.is_dir():
        found = read_yolo_folder(photos, labels, _class_names(folder), progress=progress)
    elif files:
        found = read_coco_boxes(files[0], images=photos, progress=progress)
    else:
        return None
    source = str(labels if labels.is_dir() else files[0])
    return PhotoBoxes(source, {photos / path: boxes for path, boxes in found.items()})


def _annotation_files(folder: Path) -> list[Path]:
    """The JSON files of a folder that hold annotations, also broken ones; it warns of each other one."""
    found = []
    for path in sorted(path for path in folder.glob("*.json") if path.is_file()):
        if b'"annotations"' in _bytes(path):
            found.append(path)
        else:
            warnings.warn(
                f"{str(path)!r} was not read, as it holds no annotations: boxes are read from COCO instances files",
                stacklevel=4,
            )
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} can not be read ({error}): check its permissions, or take it away") from error


def _class_names(folder: Path) -> list[str]:
    """The names of the classes of label files, by number."""
    from interp.objects.label_files import CLASSES
    from interp.objects.nouns import COCO_NAMES

    path = next((path for path in (folder / CLASSES, folder / "labels" / CLASSES) if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{str(folder)!r} has labels/ and no {CLASSES}: write the names of the classes into it, one a line, in the "
            f"order of their numbers, or {COCO80!r} for the 80 of COCO"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{str(path)!r} can not be read ({error}): save it as plain text in UTF-8") from error
    names = [line.strip() for line in text.rstrip().split("\n")]
    if names == [COCO80]:
        return list(COCO_NAMES)
    if "" in names:
        number = names.index("")
        raise InputError(
            f"line {number + 1} of {str(path)!r} is empty, so class {number} has no name: write one there, as the "
            "place of a line, counted from 0, is the number of its class"
        )
    return names
