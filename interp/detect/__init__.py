"""Where the objects of a question are: detectors, boxes by hand, and the matching of words to labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interp.boxes import Boxes
from interp.detect.given import GivenBoxes, read_yolo_labels
from interp.detect.words import Found, Match, find_objects, match_words, objects_asked
from interp.detect.yolo import YoloDetector

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "Detector",
    "Found",
    "GivenBoxes",
    "Match",
    "YoloDetector",
    "find_objects",
    "match_words",
    "objects_asked",
    "read_yolo_labels",
]


@runtime_checkable
class Detector(Protocol):
    """Anything that finds objects in an image.

    Attributes:
        name: goes into results.
        labels: the classes that it can find; empty for one that takes any words.
    """

    name: str
    labels: tuple[str, ...]

    def detect(self, image: Image.Image, words: Sequence[str] | None = None) -> Boxes:
        """Find objects.

        Args:
            image: the photo.
            words: what to look for; None for everything.

        Returns:
            Boxes in pixels of `image`, with labels out of `labels` (out of `words` where `labels` is empty).
        """
        ...
