"""What detectors share: checks of their settings, words by label, and boxes within the photo."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
from jaxtyping import Float

from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes
from interp.objects.words import labels_for
from interp.store.names import is_text

Asked = Sequence[str] | None


def keep_words(boxes: Boxes, words: Asked, labels: Sequence[str]) -> Boxes:
    """Keep the boxes whose labels, out of a detector's `labels`, match the words; all of them for None."""
    return boxes if words is None else boxes.named(sorted(labels_for(words, labels)))


def places_by(keys: Iterable[Hashable]) -> list[list[int]]:
    """Give the places of equal keys, each group in order.

    Example:
        >>> places_by(["wide", "tall", "wide"])
        [[0, 2], [1]]
    """
    places: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        places.setdefault(key, []).append(place)
    return list(places.values())


def checked_share(confidence: float, what: str = "confidence") -> float:
    """Refuse a confidence, or another share of a detector, that is not between 0 and 1."""
    if not 0 <= confidence <= 1:
        raise InputError(f"{what} {confidence} of the detector must lie between 0 and 1")
    return float(confidence)


LONGEST_NAME = 1000
"""Letters that the name of a class may have."""


def read_class_names(names: Iterable[object]) -> tuple[str, ...]:
    """The names of a detector's classes, as a file of weights has them: short texts that can be written down.

    Raises:
        DetectorError: one is none; the message shows its beginning.
    """
    found = tuple(str(name) if isinstance(name, (str, int)) else "" for name in names)
    for given, name in zip(names, found, strict=True):
        if not name or len(name) > LONGEST_NAME or not is_text(name):
            raise DetectorError(f"{given!r:.60} is no name of a class: give names of up to {LONGEST_NAME} letters")
    return found


def versions(*packages: str) -> dict[str, str]:
    """The installed version of each package that a detector computes with, for its `settings`."""
    from importlib.metadata import version

    return {package: version(package) for package in packages}


def checked_device(device: str) -> str:
    """Refuse a torch device that is not there."""
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DetectorError(
            f"device {device!r} can not be used for the detector: give cpu or one that is there"
        ) from error
    return device


def clipped(
    xyxy: Float[np.ndarray, "box 4"],
    confidences: Float[np.ndarray, " box"],
    labels: Sequence[str],
    size: tuple[int, int],
) -> tuple[Box, ...]:
    """Cut boxes at the edge of the image of (width, height) pixels; the surest first, without those left no area."""
    corners = np.clip(xyxy.astype(np.float64), 0, np.array([*size, *size], dtype=np.float64))
    rows = zip(corners.tolist(), confidences.tolist(), labels, strict=True)
    boxes = [(tuple(row), sure, label) for row, sure, label in rows if row[0] < row[2] and row[1] < row[3]]
    boxes.sort(key=lambda item: -item[1])
    return tuple(Box(label, (row[0], row[1], row[2], row[3]), sure) for row, sure, label in boxes)


LONGEST_REASON = 160  # characters of a library's message that fit into one line of ours


def one_line(error: Exception, hide: str = "") -> str:
    """Shorten another library's message to one line of plain text, without the name of a temporary file."""
    text = str(error).replace(hide, "it") if hide else str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    plain = (lines[0] if lines else type(error).__name__).encode("ascii", "ignore").decode()
    plain = plain.removeprefix("ERROR ").strip()
    return plain if len(plain) <= LONGEST_REASON else plain[: LONGEST_REASON - 3] + "..."
