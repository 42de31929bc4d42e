"""Boxes of a whole data set: instances files of COCO, folders of YOLO labels, and COCO's class names."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import upright_size
from interp.numeric import agree, counted
from interp.objects.given import boxes_within, read_yolo_labels
from interp.objects.nouns import COCO_NAMES
from interp.objects.refusals import each_row
from interp.store.names import file_of, given_path, is_text, stays_inside
from interp.store.parsing import parse_json
from interp.store.progress import patient_bar

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"})

CLASSES = "classes.txt"
"""The file with the class names, which may lie among the label files."""


def read_coco_boxes(path: str | Path, *, images: str | Path | None = None, progress: bool = True) -> dict[str, Boxes]:
    """Read the boxes of a COCO instances file (`instances_val2017.json` and the like).

    Crowds (`iscrowd`) are left out, and so are boxes of no width or height, of which COCO has a few.

    Args:
        path: the JSON file with `images`, `annotations` (boxes as x, y, width, height in pixels) and `categories`.
        images: the folder of the photos: with it, only photos that lie there are read, and the size of each must be
            that of the file.
        progress: show a progress bar where looking at the photos takes more than a moment.

    Returns:
        For each photo, by its `file_name` (with `images`, by its path in that folder, as it is spelled there), its
        boxes in pixels, cut at its edge; photos without objects have none.

    Raises:
        InputError: the file can not be read or is of another form, a category has no name, an annotation is none (the
            message names it), a box lies outside its photo, none of the photos lies in the folder, or one has another
            size there.

    Example:
        >>> boxes = read_coco_boxes("annotations/instances_val2017.json")  # doctest: +SKIP
        >>> boxes["000000000139.jpg"].labels[:2]  # doctest: +SKIP
        ['potted plant', 'tv']
    """
    content = _read_json(given_path(path))
    try:
        _refuse_twice(path, "category", "id", content["categories"])
        names = {item["id"]: _category_name(path, item) for item in content["categories"]}
        for key in ("id", "file_name"):
            _refuse_twice(path, "image", key, content["images"])
        photos = {item["id"]: (str(item["file_name"]), (item["width"], item["height"])) for item in content["images"]}
        boxes: dict[Any, list[Box]] = {number: [] for number in photos}
        for place, item in enumerate(content["annotations"]):
            if not item.get("iscrowd"):
                where = f"annotation {item.get('id', f'number {place}, counted from 0,')!s} of {str(path)!r}"
                found_in = _known(where, "image", item, photos)
                label = _known(where, "category", item, names)
                boxes[item["image_id"]] += _boxes_of(where, item.get("bbox"), label, found_in)
    except (TypeError, AttributeError, ValueError, KeyError, OverflowError) as error:
        raise InputError(
            f"{str(path)!r} is no COCO instances file ({type(error).__name__}: {error}): give a JSON file with images, "
            "annotations with boxes, and categories, whose ids belong together"
        ) from error
    if every := [box for some in boxes.values() for box in some]:
        _refuse_all_fractions(path, every)
    found = {name: Boxes(tuple(boxes[number]), source="data set") for number, (name, _) in photos.items()}
    if images is None:
        return found
    folder = given_path(images)
    there = _present(folder, dict(photos.values()), progress=progress)
    return {path.relative_to(folder).as_posix(): found[name] for name, path in there.items()}


def read_yolo_folder(
    images: str | Path,
    labels: str | Path,
    names: Sequence[str] | Mapping[int, str] = COCO_NAMES,
    *,
    progress: bool = True,
) -> dict[str, Boxes]:
    """Read a folder of photos with YOLO's label files, one beside each photo's name with the ending `.txt`.

    A photo without a label file has no objects, as is YOLO's custom. A warning counts the label files of no photo.

    Args:
        images: the folder of the photos, with what lies below it.
        labels: the folder of the label files, laid out alike.
        names: the class names by number; those of COCO by default.
        progress: show a progress bar where reading takes more than a moment.

    Returns:
        For each photo, by its path inside `images`, its boxes in pixels.

    Raises:
        InputError: a folder can not be read, no photo has a label file, one can not be read, or one bears the name of a
            photo without one, but in other letters or in another folder.

    Example:
        >>> boxes = read_yolo_folder("coco128/images", "coco128/labels")  # doctest: +SKIP
        >>> boxes["000000000009.jpg"].labels[0]  # doctest: +SKIP
        'bowl'
    """
    photos, texts = given_path(images), given_path(labels)
    inside = [path.relative_to(photos) for path in sorted(photos.rglob("*")) if path.suffix.lower() in PHOTO_SUFFIXES]
    labels_of = {path: file_of(texts, path.with_suffix(".txt").as_posix()) for path in inside}
    labelled = {path: text for path, text in labels_of.items() if text is not None}
    if not labelled:
        raise InputError(
            f"none of the {len(inside)} photos in {str(images)!r} has a label file in {str(labels)!r}: "
            "give both folders of one data set"
        )
    _tell_strays(texts, set(labelled.values()), [path for path in inside if path not in labelled])

    def read(path: Path) -> tuple[str, Boxes]:
        if path not in labelled:
            return path.as_posix(), Boxes(source="data set")
        return path.as_posix(), read_yolo_labels(labelled[path], upright_size(photos / path), names)

    return dict(each_row(patient_bar(inside, "reading label files", "photo", show=progress), read, together=False))


def _tell_strays(texts: Path, used: set[Path], unlabelled: Sequence[Path]) -> None:
    """Warn of label files of no photo; refuse one that bears the name of a photo that has none."""
    strays = sorted(path for path in texts.rglob("*.txt") if path not in used and path.name != CLASSES)
    lost = {path.stem.casefold(): path for path in unlabelled}
    for stray in strays:
        photo = lost.get(stray.stem.casefold())
        if photo is not None:
            raise InputError(
                f"label file {str(stray)!r} belongs to no photo, and the photo {photo.as_posix()!r} has none: give "
                "both the same name in the same letters, and the same place in their folders"
            )
    if strays:
        warnings.warn(
            f"{len(strays)} label files in {str(texts)!r} were not read, as they belong to no photo, such as "
            f"{strays[0].name!r}",
            stacklevel=3,
        )


def _refuse_twice(path: str | Path, what: str, key: str, items: Sequence[Mapping[str, Any]]) -> None:
    """Refuse two rows of one id or name, as one would stand for the other without a word."""
    times = Counter(item[key] for item in items)
    if twice := [value for value, count in times.items() if count > 1]:
        raise InputError(f"{str(path)!r} has the {what} {key} {twice[0]!r} twice: give each {what} one of its own")


def _category_name(path: str | Path, item: Mapping[str, Any]) -> str:
    name = item["name"]
    if not isinstance(name, str) or not name.strip() or not is_text(name):
        raise InputError(
            f"category {item['id']!r} of {str(path)!r} has the name {name!r}: give it a name in words, as questions "
            "are asked with it"
        )
    return name


def _known(where: str, what: str, item: Mapping[str, Any], known: Mapping[Any, Any]) -> Any:
    """What an annotation refers to by `image_id` or `category_id`."""
    if f"{what}_id" not in item:
        raise InputError(f"{where} has no {what}_id: give it the id of its {what}")
    number = item[f"{what}_id"]
    if number not in known:
        raise InputError(f"{where} has the {what}_id {number!r}, and no {what} has this id: correct it, or add it")
    return known[number]


def _boxes_of(where: str, bbox: Any, label: str, photo: tuple[str, tuple[int, int]]) -> list[Box]:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(type(value) in (int, float) for value in bbox):
        raise InputError(f"{where} has the bbox {bbox!r:.80}: give four numbers, x, y, width and height in pixels")
    x, y, width, height = bbox
    name, size = photo
    return boxes_within(label, (x, y, x + width, y + height), size, f"{where}, {name}")


def _refuse_all_fractions(path: str | Path, boxes: Sequence[Box]) -> None:
    """Refuse a file whose boxes all lie in the first pixel; of many, one alone may really be so small."""
    if all(max(box.xyxy) <= 1 for box in boxes):
        raise InputError(
            f"the boxes of {str(path)!r} all lie in the first pixel of their photos, so they are fractions: give x, y, "
            "width and height in pixels"
        )


def _read_json(path: Path) -> Any:
    try:
        return parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} can not be read as JSON ({error}): give a COCO instances file") from error


def _present(folder: Path, sizes: Mapping[str, tuple[int, int]], *, progress: bool) -> dict[str, Path]:
    """The photos that lie in a folder, by the names that they have in the file.

    One that has another size than its boxes were drawn in is refused.
    A name that leads out of the folder is refused, whether anything lies there or not.
    """
    outside = [name for name in sizes if not stays_inside(name)]
    if outside:
        raise InputError(
            f"{len(outside)} of {counted(len(sizes), 'photo')} of the file {agree(len(outside), 'lies', 'lie')} "
            f"outside {str(folder)!r}, such as {outside[0]!r}: write their names from that folder on"
        )
    there = {name: path for name in sizes if (path := file_of(folder, name)) is not None}
    if not there:
        raise InputError(
            f"none of the {counted(len(sizes), 'photo')} of the file lies in {str(folder)!r}: give their folder"
        )
    if len(set(there.values())) < len(there):
        path, _ = Counter(there.values()).most_common(1)[0]
        raise InputError(f"two images of the file are the photo {str(path)!r}: give it once, with all of its boxes")
    for name, path in patient_bar(there.items(), "looking at photos", "photo", show=progress):
        size = upright_size(path)
        if size != tuple(sizes[name]):
            raise InputError(
                f"{str(path)!r} is {size[0]} x {size[1]} pixels upright and its boxes were drawn in "
                f"{sizes[name][0]} x {sizes[name][1]}: give the photos that belong to the boxes"
            )
    return there
