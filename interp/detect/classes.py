"""Detectors of fixed classes: what they share, so that each only has to say what it sees in some photos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from interp.detect.common import Asked, clipped, keep_words
from interp.image.boxes import Boxes
from interp.image.photos import ImageSource, load_image

if TYPE_CHECKING:
    from PIL import Image


class Seen(NamedTuple):
    """What a model sees in one photo, in any order: corners in its pixels, confidences from 0 to 1, and labels."""

    xyxy: Float[np.ndarray, "box 4"]
    confidences: Float[np.ndarray, " box"]
    labels: Sequence[str]


class ClassDetector(ABC):
    """A detector that knows some classes: a subclass sets `name` and `labels`, and writes `look`.

    With `settings` too, a mapping of all that its boxes depend on, these can be kept on disk.

    Attributes:
        name: the name that goes into results.
        labels: the classes that it can find.
    """

    name: str
    labels: tuple[str, ...]

    @abstractmethod
    def look(self, photos: Sequence[Image.Image]) -> list[Seen]:
        """What is seen in each photo, whatever was asked for.

        Raises:
            DetectorError: the model failed, or gives a class that has no name.
        """

    def detect(self, image: ImageSource, words: Sequence[str] | None = None) -> Boxes:
        """Find objects in an image.

        Args:
            image: a photo, whatever `load_image` takes.
            words: what to look for, matched to `labels`; None for everything.

        Returns:
            Boxes in pixels of the photo as `load_image` reads it, the surest first.

        Raises:
            InputError: a photo that can not be read.
            DetectorError: the model failed on this image.
        """
        return self.detect_batch([image], [words])[0]

    def detect_batch(self, images: Sequence[ImageSource], words: Sequence[Asked] | None = None) -> list[Boxes]:
        """Find objects in several images, together where the model takes batches.

        Args:
            images: photos, as in `detect`.
            words: what to look for in each photo; None for everything in all of them.

        Returns:
            Boxes for each image, as `detect` gives them.

        Raises:
            InputError: a photo that can not be read.
            DetectorError: the model failed, or gives a class that has no name.
        """
        photos = [load_image(image) for image in images]
        asked = [None] * len(photos) if words is None else words
        every = zip(photos, self.look(photos), asked, strict=True)
        return [self._boxes_of(photo, seen, sought) for photo, seen, sought in every]

    def _boxes_of(self, photo: Image.Image, seen: Seen, sought: Asked) -> Boxes:
        """Boxes cut at the photo's edge, the surest first, of them those that were sought."""
        boxes = Boxes(clipped(seen.xyxy, seen.confidences, seen.labels, photo.size), source=self.name)
        return keep_words(boxes, sought, self.labels)
