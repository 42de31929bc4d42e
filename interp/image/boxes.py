"""Boxes: where objects are, in pixels of the original image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from interp.errors import InputError
from interp.reprs import fits_a_cell


@dataclass(frozen=True)
class Box:
    """One object: its label, its corners in original-image pixels, and how sure its source was.

    Example:
        >>> Box("mug", (10.0, 20.0, 50.0, 80.0)).area
        2400.0
    """

    label: str
    xyxy: tuple[float, float, float, float]
    confidence: float = 1.0

    def __post_init__(self) -> None:
        """Refuse corners that are not finite or not in order."""
        x0, y0, x1, y1 = self.xyxy
        if not all(map(math.isfinite, self.xyxy)) or x1 <= x0 or y1 <= y0:
            raise InputError(
                f"box of {self.label!r} has corners {self.xyxy}: give x0 < x1 and y0 < y1 in pixels of the image"
            )

    @property
    def area(self) -> float:
        """Area in square pixels."""
        x0, y0, x1, y1 = self.xyxy
        return (x1 - x0) * (y1 - y0)

    @property
    def centre(self) -> tuple[float, float]:
        """Centre (x, y) in pixels."""
        x0, y0, x1, y1 = self.xyxy
        return (x0 + x1) / 2, (y0 + y1) / 2


@fits_a_cell("labels source")
@dataclass(frozen=True)
class Boxes:
    """The objects found in one image, with who found them.

    Example:
        >>> boxes = Boxes((Box("mug", (10, 20, 50, 80)),), source="by hand")
        >>> boxes.xyxy.shape
        (1, 4)
    """

    items: tuple[Box, ...] = field(default=())
    source: str = "given"

    def __iter__(self) -> Iterator[Box]:
        """Iterate over the boxes."""
        return iter(self.items)

    def __len__(self) -> int:
        """Count the boxes."""
        return len(self.items)

    @property
    def xyxy(self) -> Float64[np.ndarray, "box 4"]:
        """Corners, float64 [box 4], in original-image pixels."""
        return np.array([box.xyxy for box in self.items], dtype=np.float64).reshape(-1, 4)

    @property
    def labels(self) -> list[str]:
        """The label of each box."""
        return [box.label for box in self.items]

    def named(self, labels: Sequence[str]) -> Boxes:
        """Keep the boxes whose label is one of `labels`."""
        return Boxes(tuple(box for box in self.items if box.label in labels), self.source)


def refuse_outside(boxes: Iterable[Box], size: tuple[int, int]) -> None:
    """Refuse boxes that reach beyond a photo of that width and height by more than a pixel.

    Raises:
        InputError: one does; the message names it.
    """
    width, height = size
    for box in boxes:
        x0, y0, x1, y1 = box.xyxy
        if min(x0, y0) < -1 or x1 > width + 1 or y1 > height + 1:
            raise InputError(
                f"box {box.label!r} has corners {tuple(round(corner) for corner in box.xyxy)}, and the photo has "
                f"{width} x {height} pixels: give x0, y0, x1, y1 inside it"
            )


def refuse_fractions(boxes: Iterable[Box]) -> None:
    """Refuse boxes that lie in the first pixel of the photo, as they are fractions of its sides.

    Raises:
        InputError: one does; the message names it.
    """
    for box in boxes:
        if 0 <= min(box.xyxy) and max(box.xyxy) <= 1:
            raise InputError(
                f"box {box.label!r} has corners {', '.join(f'{corner:g}' for corner in box.xyxy)}, which are fractions "
                "of the photo or lie in its first pixel: give pixels, so multiply x by its width and y by its height"
            )
