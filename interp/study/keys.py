"""Keys: by what a sample, its photo and its content are known again."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from interp.errors import InputError
from interp.image.digests import file_digest, picture_digest
from interp.image.photos import photo_path
from interp.objects.sample import Sample


def photo_keys(samples: Iterable[Sample]) -> list[str]:
    """The SHA-256 of each sample's photo, by its file's bytes or its pixels: which samples show the same photo.

    Raises:
        InputError: a photo can not be read.
    """
    known: dict[Path, str] = {}
    return [_picture(sample, known) for sample in samples]


def content_key(sample: Sample, known: dict[Path, str] | None = None) -> str:
    """The SHA-256 of all that a sample asks: texts, objects, plain meta, and the photo's bytes or pixels.

    Args:
        sample: what is asked.
        known: the digests of photos that were read before, by path; those that are read now are added.
    """
    content = [
        [sample.id, sample.question, list(sample.options), sample.answer, sample.relation, sample.group],
        [[thing.name, thing.box and [thing.box.label, thing.box.xyxy]] for thing in sample.objects],
        {str(name): value for name, value in sample.meta.items() if _is_plain(value)},
        _picture(sample, {} if known is None else known),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=lambda item: item.item()).encode()).hexdigest()


def check_ids(samples: Sequence[Sample]) -> None:
    """Refuse what is no list, what is no `Sample`, an id that is no text, and an id that occurs twice.

    A class whose objects can be made samples says how in its `AS_SAMPLES`.

    Raises:
        InputError: there are some.
    """
    if not isinstance(samples, Sequence):
        raise InputError(
            f"the samples are a {type(samples).__name__}, which can be read but once: give list(...) of it"
        )
    for place, sample in enumerate(samples):
        if not isinstance(sample, Sample):
            how = getattr(type(sample), "AS_SAMPLES", "a Sample")
            raise InputError(f"sample {place + 1} of {len(samples)} is a {type(sample).__name__}: give {how}")
        if not isinstance(sample.id, str):
            raise InputError(f"a sample has the id {sample.id!r}, which is no text: give each an id of its own")
    double = [name for name, count in Counter(sample.id for sample in samples).items() if count > 1]
    if double:
        raise InputError(
            f"two samples have the id {double[0]!r}: give each an id of its own"
            + (f"; {len(double)} ids occur more than once" if len(double) > 1 else "")
        )


def _picture(sample: Sample, known: dict[Path, str]) -> str:
    """The digest of a photo; `known` holds those of files, which samples share."""
    image: Any = sample.image
    try:
        if isinstance(image, (str, Path)):
            path = photo_path(image)
            if path not in known:
                known[path] = file_digest(path)
            return known[path]
        if hasattr(image, "getpalette"):
            return picture_digest(image)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"the photo {str(image)!r} of {sample.id!r} can not be read ({why}): give another") from error
    raise InputError(f"the photo of {sample.id!r} is a {type(image).__name__}: give a PIL image or a path")


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool, np.integer, np.floating, np.bool_))
