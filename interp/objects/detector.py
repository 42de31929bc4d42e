"""Detector: what anything that finds objects in a photo has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interp.image.boxes import Boxes

if TYPE_CHECKING:
    from PIL import Image

GROUND_TRUTH = "ground-truth"
"""The name under which `load_detector` gives the boxes that the samples themselves carry."""


@runtime_checkable
class Detector(Protocol):
    """Anything that finds objects in an image.

    A detector may also have `detect_batch(images, words)`, which gives the same boxes for several images (`words` a
    list for each, or None), and `settings`, a mapping of all that its boxes depend on besides image and words; then
    `detect_many` can detect in batches and keep what it found.

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
