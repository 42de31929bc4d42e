"""Where objects are, photo by photo: the boxes that the samples carry, or those that a detector finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from interp.detect.batching import find_many
from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.photos import upright_size
from interp.numeric import counted
from interp.objects.refusals import all_of
from interp.stats.draws import own_draws
from interp.study.keys import photo_keys
from probes.heads.sha.arms import ARMS, ELSEWHERE, ORIGINAL
from probes.heads.sha.transform import ShaView, boxes_elsewhere

if TYPE_CHECKING:
    from interp.objects.detector import Detector
    from interp.objects.sample import Sample

Given = Mapping[str, Sequence[Box]]
"""By the id of an item, the boxes of its photo."""


def known_boxes(items: Sequence[Sample]) -> dict[str, tuple[Box, ...]]:
    """By id, all boxes that items of the same photo carry, each once; none where no item of it carries one.

    All questions about a photo are shown the same boxes. Were each shown the objects of its own question alone, the
    boxes would tell the questions apart, and so the functions that heads are looked for by.

    Example:
        >>> items = step_samples(synthetic_steps(1))
        >>> len(set(known_boxes(items).values()))  # eight steps, one photo
        1
    """
    return _by_photo(items, [[thing.box for thing in item.objects if thing.box is not None] for item in items])


def detected_boxes(
    items: Sequence[Sample], detector: Detector, *, batch: int = 8, progress: bool = True
) -> dict[str, tuple[Box, ...]]:
    """By id, the boxes in its photo of all that the items of the same photo ask for, found by a detector.

    Raises:
        InputError: what `interp.detect.find_many` refuses.
        DetectorError: the detector failed, or has a class for nothing that was asked.
    """
    found = find_many(items, detector, batch=batch, progress=progress)
    return _by_photo(items, [list(one.boxes) for one in found])


def moved_by_item(items: Sequence[Sample], boxes: Given, *, seed: int) -> dict[str, tuple[Box, ...]]:
    """By id, boxes of the same sizes elsewhere in the photo; see `boxes_elsewhere`.

    They are the same for all items of a photo that have the same boxes.
    """
    made: dict[tuple[str, tuple[Box, ...]], tuple[Box, ...]] = {}
    out = {}
    for item, key in zip(items, photo_keys(items), strict=True):
        own = key, tuple(boxes[item.id])
        if own not in made:
            made[own] = boxes_elsewhere(own[1], upright_size(item.image), own_draws(seed, f"elsewhere\0{key}"))
        out[item.id] = made[own]
    return out


def refuse_unshown(
    items: Sequence[Sample], boxes: Given, view: ShaView, arms: Sequence[str] = (*ARMS, ELSEWHERE)
) -> None:
    """Refuse items that an arm can not show, all of them in one message.

    Raises:
        InputError: an item without boxes, with one outside its photo, with boxes that cover all of it, or with a name
            that there is no room for; it names the first and tells how many there are.
    """
    strangers = sorted({*boxes} - {item.id for item in items})
    if strangers:
        raise InputError(
            f"boxes are given for {counted(len(strangers), 'id')} that no item has, such as {strangers[0]!r}"
        )
    errors = []
    for item in items:
        try:
            for arm in arms:
                if arm not in (ORIGINAL, ELSEWHERE):
                    view.check(upright_size(item.image), boxes.get(item.id, ()), arm)
        except InputError as error:
            errors.append(InputError(f"item {item.id!r}: {error}"))
    if errors:
        raise all_of(errors, f"of {len(items)} items can not be shown with boxes; nothing was asked yet")


def _by_photo(items: Sequence[Sample], each: Sequence[Sequence[Box]]) -> dict[str, tuple[Box, ...]]:
    """What is known of a photo from all of its items, each box once, in order of first appearance."""
    keys = photo_keys(items)
    known: dict[str, dict[Box, None]] = {}
    for key, own in zip(keys, each, strict=True):
        known.setdefault(key, {}).update(dict.fromkeys(own))
    return {item.id: tuple(known[key]) for item, key in zip(items, keys, strict=True)}
