"""Boxes that lie beside one's own photos: label files in YOLO's format, or a JSON file in COCO's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.boxes import Boxes

CLASSES = "classes.txt"


def photo_folder(folder: Path) -> Path:
    """Where the photos of a folder lie: in its `images/` if it has one, else in the folder itself."""
    return folder / "images" if (folder / "images").is_dir() else folder


def read_photo_boxes(folder: Path) -> dict[Path, Boxes] | None:
    """The boxes of each photo of a folder, by the photo's path; None where no boxes lie beside the photos.

    Label files are `labels/NAME.txt` for the photo `NAME.jpg`, with the class names in `classes.txt`, one a line; a
    photo without such a file has no boxes. Else the one JSON file of the folder is read as a COCO instances file.

    Example:
        >>> read_photo_boxes(Path("holiday"))[Path("holiday/images/beach.jpg")].labels
        ['person', 'kite']

    Raises:
        InputError: both are there, there are several JSON files, class names are missing, or a file does not read so.
    """
    from interp.detect.coco import read_coco_boxes, read_yolo_folder  # here, as they import samples from this package

    photos, labels, files = photo_folder(folder), folder / "labels", sorted(folder.glob("*.json"))
    if len(files) + labels.is_dir() > 1:
        names = [path.name for path in files] + ["labels/"] * labels.is_dir()
        raise InputError(f"{str(folder)!r} has boxes in {' and '.join(names)}: take all but one of them away")
    if labels.is_dir():
        found = read_yolo_folder(photos, labels, _class_names(folder))
    elif files:
        found = read_coco_boxes(files[0], images=photos)
    else:
        return None
    return {photos / path: boxes for path, boxes in found.items()}


def _class_names(folder: Path) -> list[str]:
    """The names of the classes of label files, by number."""
    path = next((path for path in (folder / CLASSES, folder / "labels" / CLASSES) if path.is_file()), None)
    if path is None:
        raise InputError(
            f"{str(folder)!r} has labels/ and no {CLASSES}: write the names of the classes into it, one a line, in the "
            "order of their numbers"
        )
    return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
