"""How much a detector found of what was asked, and how well its boxes agree with those that people drew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import ROLES
from interp.objects.synonyms import meanings, singular
from interp.objects.words import KINDS, Found
from interp.stats.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd

ALL = "all labels"
"""The row of `agreement` that takes every label together."""


def coverage(found: Sequence[Found], *, by: str = "sample", groups: Sequence[str] | None = None) -> pd.DataFrame:
    """Count what was found of what was asked.

    Args:
        found: what was found for each sample, see `interp.detect.batching.find_many`.
        by: `sample` counts samples by `Found.kind`: `all`, `some` and `none` of those whose objects were looked for,
            `absent` and `unread` of all; `object` counts the first and the second objects of the questions that were
            found; `word` counts for each word how often it was. Both leave out what is rightly said not to be there.
        groups: a group for each sample, such as its relation or data set, whose rows are counted apart.

    Returns:
        A row for each name (inside each group), with the columns `group` (if groups were given), `name`, `k` of `n`,
        their `share` with Wilson's 95 % interval (`low`, `high`), and `unknown`: for how many of the n the detector
        had no class for a word that was asked. Words come in order of n.

    Raises:
        InputError: no sample, another `by`, or groups that are not one for each sample.

    Example:
        >>> coverage(find_many(samples, detector), by="word")[["name", "k", "n"]]  # doctest: +SKIP
            name   k   n
        0  chair  40  41
        1  scarf   0  41
    """
    counts = {"sample": _by_sample, "object": _by_object, "word": _by_word}
    if by not in counts or not found or len(found if groups is None else groups) != len(found):
        raise InputError(
            f"coverage by {by!r} of {len(found)} samples in {len(found if groups is None else groups)} groups: use "
            f"{', '.join(counts)}, and give a group for each of at least one sample"
        )
    of = [""] * len(found) if groups is None else list(groups)
    rows = [
        {"group": group, **row}
        for group in dict.fromkeys(of)
        for row in counts[by]([one for one, own in zip(found, of, strict=True) if own == group])
    ]
    table = _frame(rows, ("group", "name", "k", "n", "share", "low", "high", "unknown"))
    return table.drop(columns="group") if groups is None else table


def agreement(
    boxes: Sequence[Boxes], truth: Sequence[Boxes], *, iou: float = 0.5, labels: Sequence[str] | None = None
) -> pd.DataFrame:
    """Compare a detector's boxes with true ones, photo by photo and label by label.

    Boxes of one label are matched greedily, the surest first, each to the free true box that it overlaps most, if its
    intersection over union (IoU) is at least `iou`: the matching of COCO's evaluation. A label of the detector that is
    another name of a true one (sofa, couch) counts as it. Intervals are Wilson's at 95 % and take boxes as independent,
    which those of one photo are not quite.

    Args:
        boxes: what was found in each photo.
        truth: what is there, in the same photos.
        iou: least overlap of a match, above 0 and at most 1.
        labels: the true labels to compare; by default all, and those that only the detector gave as well. Leave out by
            it what nobody marked.

    Returns:
        A row for all labels together, then one for each, the most frequent first: `label`, `n_truth`, `n_found`,
        `n_matched`, `recall` and `precision` (each with `_low` and `_high`; NaN where there is nothing to divide by),
        and `mean_iou` of the matched pairs.

    Raises:
        InputError: lists of different length or without a photo, or an iou out of range.

    Example:
        >>> mug = Boxes((Box("mug", (0, 0, 10, 10)),))
        >>> agreement([mug], [mug])[["label", "recall", "precision", "mean_iou"]].values.tolist()
        [['all labels', 1.0, 1.0, 1.0], ['mug', 1.0, 1.0, 1.0]]
    """
    if len(boxes) != len(truth) or not truth or not 0 < iou <= 1:
        raise InputError(
            f"boxes of {len(boxes)} photos can not be compared with those of {len(truth)} at an IoU of {iou}: give the "
            "same photos in both, at least one, and an IoU above 0 and at most 1"
        )
    found = _in_true_names(boxes, dict.fromkeys(label for one in truth for label in one.labels))
    here = dict.fromkeys(label for one in (*truth, *found) for label in one.labels)
    wanted = list(here) if labels is None else list(dict.fromkeys(labels))
    overlaps: dict[str, list[float]] = {label: [] for label in wanted}
    for seen, true in zip(found, truth, strict=True):
        for place, _, shared in match_boxes(seen, true, iou=iou):
            overlaps.get(seen.items[place].label, []).append(shared)
    counts = {label: (_count(truth, label), _count(found, label), overlaps[label]) for label in wanted}
    order = sorted(wanted, key=lambda label: -counts[label][0])
    everything = (
        sum(counts[label][0] for label in wanted),
        sum(counts[label][1] for label in wanted),
        [shared for label in wanted for shared in overlaps[label]],
    )
    rows = [_agreement_row(ALL, *everything), *(_agreement_row(label, *counts[label]) for label in order)]
    return _frame(rows, tuple(rows[0]))


def match_boxes(found: Boxes, truth: Boxes, *, iou: float = 0.5) -> list[tuple[int, int, float]]:
    """Match found to true boxes of the same label, greedily by confidence.

    Returns:
        (place in `found`, place in `truth`, IoU) for each pair, the surest first.

    Example:
        >>> mugs = Boxes((Box("mug", (0, 0, 10, 10), 0.4), Box("mug", (0, 0, 10, 9), 0.9)))
        >>> match_boxes(mugs, Boxes((Box("mug", (0, 0, 10, 10)),)))
        [(1, 0, 0.9)]
    """
    overlaps = box_iou(found.xyxy, truth.xyxy)
    own, true = (np.array(some.labels, dtype=object) for some in (found, truth))
    overlaps[own[:, None] != true[None, :]] = -1.0
    pairs = []
    for place in sorted(range(len(found)), key=lambda place: -found.items[place].confidence):
        best = int(np.argmax(overlaps[place])) if len(truth) else -1
        if best >= 0 and overlaps[place, best] >= iou:
            pairs.append((place, best, float(overlaps[place, best])))
            overlaps[:, best] = -1.0
    return pairs


def box_iou(first: Float[np.ndarray, "n 4"], second: Float[np.ndarray, "m 4"]) -> Float[np.ndarray, "n m"]:
    """Intersection over union of every box with every other, corners in pixels."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=-1)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=-1) for boxes in (first, second)]
    return common / (areas[0][:, None] + areas[1][None, :] - common)


def _by_sample(found: Sequence[Found]) -> list[dict[str, Any]]:
    kinds = [one.kind for one in found]
    looked_for = [one for one, kind in zip(found, kinds, strict=True) if kind not in ("absent", "unread")]
    of = {kind: found if kind in ("absent", "unread") else looked_for for kind in KINDS}
    return [
        _share(kind, kinds.count(kind), len(some), sum(bool(one.unknown) for one in some)) for kind, some in of.items()
    ]


def _by_object(found: Sequence[Found]) -> list[dict[str, Any]]:
    rows = []
    for place, role in enumerate(ROLES):
        asked = [one.matches[place] for one in found if len(one.matches) > place and not one.absent]
        hits, unknown = sum(len(match.boxes) > 0 for match in asked), sum(not match.labels for match in asked)
        rows.append(_share(role, hits, len(asked), unknown))
    return rows


def _by_word(found: Sequence[Found]) -> list[dict[str, Any]]:
    asked: dict[str, list[Any]] = {}
    for one in found:
        for match in () if one.absent else one.matches:
            asked.setdefault(match.word.strip().lower(), []).append(match)
    rows = [
        _share(word, sum(len(match.boxes) > 0 for match in some), len(some), sum(not match.labels for match in some))
        for word, some in asked.items()
    ]
    return sorted(rows, key=lambda row: -row["n"])


def _share(name: str, k: int, n: int, unknown: int) -> dict[str, Any]:
    share = wilson(k, n)
    return dict(name=name, k=k, n=n, share=share.estimate, low=share.low, high=share.high, unknown=unknown)


def _agreement_row(label: str, n_truth: int, n_found: int, overlaps: Sequence[float]) -> dict[str, Any]:
    row: dict[str, Any] = dict(label=label, n_truth=n_truth, n_found=n_found, n_matched=len(overlaps))
    for name, n in (("recall", n_truth), ("precision", n_found)):
        share = wilson(len(overlaps), n)
        row.update({name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high})
    return {**row, "mean_iou": float(np.mean(overlaps)) if overlaps else math.nan}


def _in_true_names(boxes: Sequence[Boxes], true_labels: Iterable[str]) -> list[Boxes]:
    """Boxes under the names that the truth uses, where it uses another name of the same thing."""
    names = list(true_labels)
    own = dict.fromkeys(label for one in boxes for label in one.labels)
    renamed = {label: label if label in names else _same_thing(label, names) for label in own}
    return [Boxes(tuple(Box(renamed[box.label], box.xyxy, box.confidence) for box in one), one.source) for one in boxes]


def _same_thing(label: str, names: Sequence[str]) -> str:
    return next((name for name in names if _meanings(name) & _meanings(label)), label)


def _meanings(label: str) -> frozenset[str]:
    return meanings(singular(label.strip().lower().replace("_", " ")))


def _count(boxes: Sequence[Boxes], label: str) -> int:
    return sum(one.labels.count(label) for one in boxes)


def _frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
