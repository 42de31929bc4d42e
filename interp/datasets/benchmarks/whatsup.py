"""Readers of What'sUp: Controlled Images A and B, and the questions about COCO and Visual Genome photos."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from interp.datasets.benchmarks.files import Draft, bad_row, read_list
from interp.errors import InputError
from interp.objects.refusals import each_row
from interp.objects.sample import Object, Sample
from interp.prompt.templates import where_in_photo, where_in_relation

PHRASES = {
    "left": ("to the left of", "left of", "on the left of", "to the left side of", "on the left side of"),
    "right": ("to the right of", "right of", "on the right of", "to the right side of", "on the right side of"),
    "front": ("in front of", "in the front of"),
    "behind": ("behind",),
    "on": ("on", "on top of"),
    "under": ("under", "below", "beneath"),
    "above": ("above", "on top of", "over"),
    "below": ("below", "under", "beneath"),
}
"""How captions about two objects say each answer."""

_IN_FILE_NAMES = {
    "left": r"left[-_]of",
    "right": r"right[-_]of",
    "front": r"in[-_]front[-_]of",
    "behind": "behind",
    "on": "on",
    "under": "under",
}
_PHOTO_OF = r"(?:(?:an?|the) photo of )?"
_SUFFIXES = (".jpg", ".jpeg", ".png")


def read_controlled(path: Path, dataset: str, options: tuple[str, ...], *, subset: str, folder: str) -> Iterator[Draft]:
    """Read `controlled_images_dataset.json` (A) or `controlled_clevr_dataset.json` (B).

    Rows are objects with `image_path` and `caption_options`, whose first caption is the true one. Objects and relation
    come from the name of the image, such as `beer-bottle_on_armchair.jpeg`, and the caption must agree with it.

    Args:
        path: the JSON file.
        dataset: name for ids and messages.
        options: the four answers.
        subset: `A` or `B`; rows whose own `subset` is another are left out.
        folder: the usual name of the folder of images.

    Raises:
        InputError: a row that is not as described.
    """

    def draft(numbered: tuple[int, Any]) -> Draft | None:
        row, item = numbered
        image, captions = _controlled_fields(path, row, item)
        if item.get("subset", subset) != subset:
            return None
        first, relation, second = _of_file_name(path, row, image, options)
        stated = _relation_told(captions[0], options)
        if stated != relation:
            raise bad_row(
                path,
                row,
                f"has the image {image!r} ({relation}) but says first {captions[0]!r} ({stated or 'no relation'})",
            )
        sample = _sample(dataset, row, (first, second), options, relation, f"{first}|{second}")
        base = PurePosixPath(image).name
        return Draft(_with(sample, captions=captions, image_path=image), (image, f"{folder}/{base}", base))

    yield from filter(None, each_row(enumerate(read_list(path)), draft))


def read_captioned(
    path: Path, dataset: str, options: tuple[str, ...], *, n_objects: int, folder: str, digits: int = 0
) -> Iterator[Draft]:
    """Read a COCO or Visual Genome file, such as `coco_qa_two_obj.json`.

    Rows are lists of three: image id, true caption, false caption.

    Args:
        path: the JSON file.
        dataset: name for ids and messages.
        options: the answers that the question lists.
        n_objects: objects in a caption, 1 or 2.
        folder: the usual name of the folder of images.
        digits: length of image names, filled with zeros (12 in COCO).

    Raises:
        InputError: a row that is not as described, or a caption that can not be parsed.
    """

    def draft(numbered: tuple[int, Any]) -> Draft:
        row, item = numbered
        image, captions = _captioned_fields(path, row, item)
        parsed = parse_caption(captions[0], options, n_objects=n_objects)
        if parsed is None:
            raise bad_row(
                path, row, f"says {captions[0]!r}, which places no {_counted(n_objects)} ({'/'.join(options)})"
            )
        names, relation = parsed
        sample = _sample(dataset, row, names, options, relation, image)
        files = tuple(f"{base}{image.zfill(digits)}{end}" for base in (f"{folder}/", "") for end in _SUFFIXES)
        return Draft(_with(sample, captions=captions, image_id=image), files)

    yield from each_row(enumerate(read_list(path)), draft)


def parse_caption(caption: str, options: Sequence[str], *, n_objects: int) -> tuple[tuple[str, ...], str] | None:
    """Take a caption apart into the names of its objects and the option that it states; None where it can not be.

    Example:
        >>> parse_caption("A photo of a dog to the left of a cat", ("left", "right"), n_objects=2)
        (('dog', 'cat'), 'left')
        >>> parse_caption("A photo of an oven on the left", ("left", "right"), n_objects=1)
        (('oven',), 'left')
    """
    pattern = _two_objects(tuple(options)) if n_objects == 2 else _one_object(tuple(options))
    match = pattern.fullmatch(" ".join(caption.split()))
    if match is None:
        return None
    names = (match["first"], match["second"]) if n_objects == 2 else (match["first"],)
    return tuple(_bare(name) for name in names), _options_by_phrase(tuple(options), n_objects)[
        match["relation"].lower()
    ]


def file_name(first: str, relation: str, second: str) -> str:
    """The stem that Controlled Images give a photo.

    Example:
        >>> file_name("beer bottle", "left", "armchair")
        'beer-bottle_left_of_armchair'
    """
    between = {"left": "left_of", "right": "right_of", "front": "in-front_of"}.get(relation, relation)
    return f"{first.replace(' ', '-')}_{between}_{second.replace(' ', '-')}"


def _controlled_fields(path: Path, row: int, item: Any) -> tuple[str, tuple[str, ...]]:
    if not isinstance(item, Mapping) or not {"image_path", "caption_options"} <= item.keys():
        raise bad_row(path, row, f"has {_shape(item)} where image_path and caption_options belong")
    image, captions = item["image_path"], item["caption_options"]
    if not isinstance(image, str) or not image or not _texts(captions, 2):
        raise bad_row(path, row, f"has image_path {image!r} and caption_options {captions!r}, not a path and captions")
    return image, tuple(captions)


def _captioned_fields(path: Path, row: int, item: Any) -> tuple[str, tuple[str, ...]]:
    if not isinstance(item, Sequence) or isinstance(item, str) or len(item) != 3:
        raise bad_row(path, row, f"has {_shape(item)} where [image id, true caption, false caption] belongs")
    image, captions = item[0], item[1:]
    if isinstance(image, bool) or not isinstance(image, (int, str)) or not str(image) or not _texts(captions, 2):
        raise bad_row(path, row, f"holds {item!r}, not [image id, true caption, false caption]")
    if captions[0] == captions[1]:
        raise bad_row(path, row, f"has the same caption {captions[0]!r} as true and as false")
    return str(image), tuple(captions)


def _of_file_name(path: Path, row: int, image: str, options: Sequence[str]) -> tuple[str, str, str]:
    """Objects and relation that the name of an image states."""
    stem = PurePosixPath(image).stem
    for relation, pattern in _IN_FILE_NAMES.items():
        match = re.fullmatch(rf"([^_]+)_{pattern}_([^_]+)", stem)
        if match:
            if relation not in options:
                raise bad_row(
                    path, row, f"has the image {image!r} ({relation}), no answer of this set ({'/'.join(options)})"
                )
            return match[1].replace("-", " "), relation, match[2].replace("-", " ")
    raise bad_row(path, row, f"has the image {image!r}, whose name is not OBJECT_RELATION_OBJECT")


def _relation_told(caption: str, options: Sequence[str]) -> str | None:
    parsed = parse_caption(caption, options, n_objects=2)
    return None if parsed is None else parsed[1]


def _sample(
    dataset: str, row: int, names: tuple[str, ...], options: tuple[str, ...], relation: str, group: str
) -> Sample:
    two = len(names) == 2
    ask = where_in_relation(names[0], names[1], options) if two else where_in_photo(names[0], options)
    return Sample(
        id=f"{dataset}-{row:05d}",
        image=Path(),
        question=ask,
        options=options,
        answer=relation,
        objects=tuple(Object(name) for name in names),
        relation=relation,
        group=group,
        meta={"dataset": dataset, "row": row},
    )


@cache
def _two_objects(options: tuple[str, ...]) -> re.Pattern[str]:
    phrases = "|".join(sorted(map(re.escape, _options_by_phrase(options, 2)), key=len, reverse=True))
    return re.compile(rf"{_PHOTO_OF}(?P<first>.+?)(?: is| are)? (?P<relation>{phrases}) (?P<second>.+?)\.*", re.I)


@cache
def _one_object(options: tuple[str, ...]) -> re.Pattern[str]:
    words = "|".join(_options_by_phrase(options, 1))
    where = r"(?:(?:on|in|at|to)(?: the)? )?"
    return re.compile(rf"{_PHOTO_OF}(?P<first>.+?)(?: is| are)? {where}(?P<relation>{words})(?: side)?\.*", re.I)


@cache
def _options_by_phrase(options: tuple[str, ...], n_objects: int) -> Mapping[str, str]:
    if n_objects == 1:
        return {option: option for option in options}
    unknown = [option for option in options if option not in PHRASES]
    if unknown:
        raise InputError(f"no caption states {unknown[0]!r}: use {', '.join(PHRASES)}")
    return {phrase: option for option in options for phrase in PHRASES[option]}


def _with(sample: Sample, **meta: object) -> Sample:
    return replace(sample, meta={**sample.meta, **meta})


def _bare(name: str) -> str:
    return re.sub(r"^(?:an?|the|some) ", "", name, flags=re.I)


def _texts(values: Any, at_least: int) -> bool:
    return (
        isinstance(values, list) and len(values) >= at_least and all(isinstance(text, str) and text for text in values)
    )


def _shape(item: Any) -> str:
    if isinstance(item, Mapping):
        return f"the fields {', '.join(map(str, item)) or 'none'}"
    return f"{type(item).__name__} of {len(item)}" if isinstance(item, (list, str)) else repr(item)


def _counted(n_objects: int) -> str:
    return "object in the photo" if n_objects == 1 else "object in relation to another"
