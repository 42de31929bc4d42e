"""How much a detector found of what was asked, and how well its boxes agree with those that people drew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import ROLES
from interp.objects.synonyms import meanings, singular
from interp.objects.words import KINDS, Found, Match
from interp.stats.clusters import clustered_share, drawn_together

if TYPE_CHECKING:
    import pandas as pd

ALL = "all labels"
"""The row of `agreement` that takes every label together."""


def coverage(
    found: Sequence[Found],
    *,
    by: str = "sample",
    groups: Sequence[str] | None = None,
    together: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Count what was found of what was asked.

    Args:
        found: what was found for each sample, see `interp.detect.batching.find_many`.
        by: `sample` counts samples by `Found.kind`: `all`, `some` and `none` of those whose objects were looked for,
            `absent` and `unread` of all; `object` counts the first and the second objects of the questions that were
            found; `word` counts for each word how often it was. Both leave out what is rightly said not to be there.
        groups: a group for each sample, such as its relation or data set, whose rows are counted apart.
        together: what each sample shares with others, such as the name of its photo, so that they are found or missed
            together; by default nothing.

    Returns:
        A row for each name (inside each group), with the columns `group` (if groups were given), `name`, `k` of `n`,
        their `share` with the 95 % interval of `clustered_share` (`low`, `high`), and `unknown`: for how many of the n
        the detector had no class for a word that was asked. Words come in order of n.

    Raises:
        InputError: no sample, another `by`, or groups or what is together are not one for each sample.

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
    shared = drawn_together(len(found), together)
    rows = []
    for group in dict.fromkeys(of):
        own = [place for place, name in enumerate(of) if name == group]
        rows += [{"group": group, **row} for row in counts[by]([found[place] for place in own], shared[own])]
    table = _frame(rows, ("group", "name", "k", "n", "share", "low", "high", "unknown"))
    return table.drop(columns="group") if groups is None else table


def agreement(
    boxes: Sequence[Boxes],
    truth: Sequence[Boxes],
    *,
    iou: float = 0.5,
    labels: Sequence[str] | None = None,
    together: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Compare a detector's boxes with true ones, photo by photo and label by label.

    Boxes of one label are matched greedily, the surest first, each to the free true box that it overlaps most, if its
    intersection over union (IoU) is at least `iou`: the matching of COCO's evaluation. A label of the detector that is
    another name of a true one (sofa, couch) counts as it. Intervals are those of `clustered_share` at 95 %: boxes of
    one photo, or group of photos, may be found and missed together.

    Args:
        boxes: what was found in each photo.
        truth: what is there, in the same photos.
        iou: least overlap of a match, above 0 and at most 1.
        labels: the true labels to compare; by default all, and those that only the detector gave as well. Leave out by
            it what nobody marked.
        together: which photos belong together, such as the copies of one that several questions are about; by default
            each is by itself.

    Returns:
        A row for all labels together, then one for each, the most frequent first: `label`, `n_truth`, `n_found`,
        `n_matched`, `recall` and `precision` (NaN where there is nothing to divide by; each with `_low` and `_high`,
        which are NaN where boxes share fewer than three groups), and `mean_iou` of the matched pairs.

    Raises:
        InputError: lists of different length or without a photo, an iou out of range, or not one group for each photo.

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
    pairs = [match_boxes(seen, true, iou=iou) for seen, true in zip(found, truth, strict=True)]
    shared = drawn_together(len(truth), together)
    counts = {label: _Counted.of(label, found, truth, pairs) for label in wanted}
    order = sorted(wanted, key=lambda label: -counts[label].truth.sum())
    rows = [_agreement_row(label, counts[label], shared) for label in order]
    rows = [_agreement_row(ALL, _Counted.total(list(counts.values()), len(truth)), shared), *rows]
    return _frame(rows, tuple(rows[0]))


@dataclass(frozen=True, eq=False)
class _Counted:
    """Boxes of a label.

    Attributes:
        truth: how many there are in each photo.
        found: how many were found in it.
        matched: how many of both are the same.
        overlaps: the intersection over union of each matched pair.
    """

    truth: Int[np.ndarray, " photo"]
    found: Int[np.ndarray, " photo"]
    matched: Int[np.ndarray, " photo"]
    overlaps: tuple[float, ...]

    @classmethod
    def of(
        cls,
        label: str,
        found: Sequence[Boxes],
        truth: Sequence[Boxes],
        pairs: Sequence[Sequence[tuple[int, int, float]]],
    ) -> _Counted:
        own = [
            [overlap for place, _, overlap in some if seen.items[place].label == label]
            for seen, some in zip(found, pairs, strict=True)
        ]
        there, seen, matched = (
            np.array(counts, dtype=int)
            for counts in (
                [one.labels.count(label) for one in truth],
                [one.labels.count(label) for one in found],
                [len(overlaps) for overlaps in own],
            )
        )
        return cls(there, seen, matched, tuple(overlap for overlaps in own for overlap in overlaps))

    @classmethod
    def total(cls, every: Sequence[_Counted], photos: int) -> _Counted:
        sums = [
            np.sum([getattr(one, name) for one in every], axis=0) if every else np.zeros(photos, dtype=int)
            for name in ("truth", "found", "matched")
        ]
        there, seen, matched = sums
        return cls(there, seen, matched, tuple(overlap for one in every for overlap in one.overlaps))


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


def _by_sample(found: Sequence[Found], shared: Shaped[np.ndarray, " sample"]) -> list[dict[str, Any]]:
    kinds = np.array([one.kind for one in found], dtype=object)
    unknown = np.array([bool(one.unknown) for one in found])
    every = np.ones(len(found), dtype=bool)
    looked_for = ~np.isin(kinds, ("absent", "unread"))
    of = {kind: every if kind in ("absent", "unread") else looked_for for kind in KINDS}
    return [_share(kind, (kinds == kind)[some], unknown[some], shared[some]) for kind, some in of.items()]


def _by_object(found: Sequence[Found], shared: Shaped[np.ndarray, " sample"]) -> list[dict[str, Any]]:
    asked: dict[str, list[tuple[Match, Any]]] = {role: [] for role in ROLES}
    for one, name in zip(found, shared, strict=True):
        for role, match in () if one.absent else zip(ROLES, one.matches, strict=False):
            asked[role].append((match, name))
    return [_matched(role, some) for role, some in asked.items()]


def _by_word(found: Sequence[Found], shared: Shaped[np.ndarray, " sample"]) -> list[dict[str, Any]]:
    asked: dict[str, list[tuple[Match, Any]]] = {}
    for one, name in zip(found, shared, strict=True):
        for match in () if one.absent else one.matches:
            asked.setdefault(match.word.strip().lower(), []).append((match, name))
    return sorted((_matched(word, some) for word, some in asked.items()), key=lambda row: -row["n"])


def _matched(name: str, some: Sequence[tuple[Match, Any]]) -> dict[str, Any]:
    """What was found of matches, each with what it shares with others."""
    hits, unknown = (
        np.array(own, dtype=bool)
        for own in ([len(match.boxes) > 0 for match, _ in some], [not match.labels for match, _ in some])
    )
    return _share(name, hits, unknown, np.array([shared for _, shared in some], dtype=object))


def _share(
    name: str,
    hits: Bool[np.ndarray, " sample"],
    unknown: Bool[np.ndarray, " sample"],
    shared: Shaped[np.ndarray, " sample"],
) -> dict[str, Any]:
    share = clustered_share(hits, shared)
    return dict(name=name, k=int(hits.sum()), n=len(hits), **share.cells("share"), unknown=int(unknown.sum()))


def _agreement_row(label: str, own: _Counted, shared: Shaped[np.ndarray, " photo"]) -> dict[str, Any]:
    sums = [int(counts.sum()) for counts in (own.truth, own.found, own.matched)]
    row: dict[str, Any] = dict(zip(("label", "n_truth", "n_found", "n_matched"), (label, *sums), strict=True))
    for name, counts in (("recall", own.truth), ("precision", own.found)):
        hits = np.concatenate([np.arange(n) < k for n, k in zip(counts, own.matched, strict=True)])
        share = clustered_share(hits, np.repeat(shared, counts))
        row.update({name: share.estimate, f"{name}_low": share.low, f"{name}_high": share.high})
    return {**row, "mean_iou": float(np.mean(own.overlaps)) if own.overlaps else math.nan}


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


def _frame(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=list(columns))
