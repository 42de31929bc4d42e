"""Object tokens: which image tokens lie in which object's box, and the object's place along an axis; nothing is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.numeric import real
from probes.mechanisms.scenes.pairs import AXES

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.objects.sample import Sample

LABELS = ("slot", "line")
"""What the class of an object is: its place in the order along the axis, each object one; or its row or column, which
several objects may share."""


@dataclass(frozen=True, eq=False)
class ObjectTokens:
    """The image tokens of one photo, by the object that they lie in.

    Attributes:
        grid: the tokens of the view of the whole photo, row after row.
        places: where each of them stands among all image tokens of the photo, [token].
        units: the number of the object that each lies in, in the order of the boxes; -1 in none, [token].
        labels: the class of that object; -1 in none, [token].
        background: tokens that no box touches, [token].
        lines: the column of each token, or by the axis `vertical` the row, [token].
        boxes: of the objects.
        n_classes: how many classes the objects have.

    Example:
        >>> found = object_tokens(sample, grid, axis="horizontal")  # three squares of 2 x 2 tokens in a row
        >>> np.bincount(found.labels[found.labels >= 0])
        array([4, 4, 4])
    """

    grid: ImageGrid
    places: Int[np.ndarray, " token"]
    units: Int[np.ndarray, " token"]
    labels: Int[np.ndarray, " token"]
    background: Bool[np.ndarray, " token"]
    lines: Int[np.ndarray, " token"]
    boxes: tuple[Box, ...]
    n_classes: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the tokens."""
        return int(self.grid.rows.max()) + 1, int(self.grid.cols.max()) + 1

    @property
    def inside(self) -> Int[np.ndarray, " object_token"]:
        """The tokens that lie in an object."""
        return np.flatnonzero(self.labels >= 0)

    @property
    def strips(self) -> Bool[np.ndarray, "class line"]:
        """The lines in which tokens of each class lie, background and all."""
        found = np.zeros((self.n_classes, int(self.lines.max()) + 1), dtype=bool)
        found[self.labels[self.inside], self.lines[self.inside]] = True
        return found


def object_tokens(
    sample: Sample, grid: ImageGrid, *, axis: str, labels: str = "slot", at_least: float = 0.5
) -> ObjectTokens:
    """Find the tokens of a sample's objects, and the objects' classes from the order of their boxes.

    Boxes are those of `meta["boxes"]`, which say all that is in the photo, or else those of the sample's objects.

    Args:
        sample: with boxes.
        grid: the geometry of its photo's tokens; of several views, that of the whole photo is used.
        axis: `horizontal`, from left to right; or `vertical`, from top to bottom.
        labels: one of `LABELS`.
        at_least: share of a token's own area that has to lie in a box; of several boxes, the one that covers most.

    Raises:
        InputError: an axis, labels or share that are not known, too few boxes, two objects at one place along the axis,
            an object that holds no token, or a photo without a view of its whole.
    """
    check_labels(axis, labels, at_least)
    boxes = boxes_of(sample)
    whole, places = whole_view(grid, sample.id)
    classes = _classes(boxes, axis, labels, sample.id)
    shares = np.stack([whole.membership(box) for box in boxes])
    units = np.where(shares.max(axis=0) >= at_least - 1e-6, shares.argmax(axis=0), -1)
    for number, box in enumerate(boxes):
        if not (units == number).any():
            raise InputError(
                f"sample {sample.id!r}: no image token has {at_least:.0%} or more of its area in the box of "
                f"{box.label!r}, which is too small or covered by another: leave the sample out, or give a wider box"
            )
    return ObjectTokens(
        grid=whole,
        places=places,
        units=units,
        labels=np.where(units >= 0, classes[units], -1),
        background=whole.union_membership(list(boxes)) == 0,
        lines=whole.cols if axis == "horizontal" else whole.rows,
        boxes=boxes,
        n_classes=int(classes.max()) + 1,
    )


def check_labels(axis: str, labels: str, at_least: float) -> None:
    """Refuse what names no classes.

    Raises:
        InputError: it does not.
    """
    if axis not in AXES:
        raise InputError(f"axis={axis!r} is not known: use one of {', '.join(AXES)}")
    if labels not in LABELS:
        raise InputError(f"labels={labels!r} is not known: use one of {', '.join(LABELS)}")
    if not 0 < real(at_least) <= 1:
        raise InputError(f"at_least={at_least!r}: give a share of a token's area, above 0 and up to 1")


def boxes_of(sample: Sample) -> tuple[Box, ...]:
    """The boxes of a sample: of all that is in its photo where it says so, or else of its objects.

    Raises:
        InputError: there are fewer than two.
    """
    known = sample.meta.get("boxes")
    boxes = tuple(known) if isinstance(known, Boxes) else tuple(thing.box for thing in sample.objects if thing.box)
    if len(boxes) < 2:
        raise InputError(
            f"sample {sample.id!r} has {len(boxes)} boxes, and what has no order has no place in it: give objects with "
            "boxes, two or more"
        )
    return boxes


def whole_view(grid: ImageGrid, name: str) -> tuple[ImageGrid, Int[np.ndarray, " token"]]:
    """The tokens of the view of the whole photo as a grid of their own, and where they stand among all tokens.

    Raises:
        InputError: there is none.
    """
    places = np.flatnonzero(grid.view == 0)
    if not len(places):
        raise InputError(f"sample {name!r}: its photo is seen in tiles alone, and a strip goes through the whole photo")
    if len(places) == len(grid):
        return grid, places
    parts = {part: getattr(grid, part)[places] for part in ("boxes", "rows", "cols", "view", "reach")}
    corners = parts["boxes"]
    seen = (*corners[:, :2].min(axis=0).tolist(), *corners[:, 2:].max(axis=0).tolist())
    return replace(grid, **parts, seen=seen, slots=None, n_slots=0), places


def strip_weights(tokens: ObjectTokens) -> Float[np.ndarray, "token class"] | None:
    """What the probability of each class counts at each token in the strip score; None where a strip can not be told.

        score = mean over classes k of [mean of p_k over B in strip k - mean of p_k over B outside strip k]

    B are the tokens that no box touches; strip k are all columns (by the axis `vertical`, rows) in which a token of an
    object of class k lies. A probe that says the same everywhere scores 0, one whose strips are perfect 1.
    """
    inside = tokens.strips[:, tokens.lines].T & tokens.background[:, None]
    outside = ~tokens.strips[:, tokens.lines].T & tokens.background[:, None]
    counts = inside.sum(axis=0), outside.sum(axis=0)
    if (counts[0] == 0).any() or (counts[1] == 0).any():
        return None
    return (inside / counts[0] - outside / counts[1]) / tokens.n_classes


def _classes(boxes: tuple[Box, ...], axis: str, labels: str, name: str) -> Int[np.ndarray, " object"]:
    """The class of each object."""
    along = 0 if axis == "horizontal" else 1
    centres = np.array([box.centre[along] for box in boxes])
    order = np.argsort(centres, kind="stable")
    steps = np.diff(centres[order])
    sizes = np.array([box.xyxy[along + 2] - box.xyxy[along] for box in boxes])
    apart = steps > (1e-6 if labels == "slot" else sizes.mean() / 2)
    if labels == "slot" and not apart.all():
        first, second = (boxes[order[int(np.flatnonzero(~apart)[0]) + more]].label for more in (0, 1))
        raise InputError(
            f"sample {name!r}: {first!r} and {second!r} lie at one place along the {axis} axis, so that neither comes "
            "first: use labels='line', or the other axis"
        )
    classes = np.empty(len(boxes), dtype=np.int64)
    classes[order] = np.concatenate([[0], np.cumsum(apart)])
    if classes.max() == 0:
        raise InputError(f"sample {name!r}: all objects lie in one line along the {axis} axis: use the other axis")
    return classes
