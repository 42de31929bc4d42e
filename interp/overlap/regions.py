"""Regions: boxes of a photo as its image tokens see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.image.lattice import with_neighbours
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.image.boxes import Box, Boxes
    from interp.image.grid import ImageGrid

UNION = "union"
"""The region of all boxes together: what the paper's cosine is taken with."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Region:
    """Some boxes as the image tokens see them, from `region_of`.

    Attributes:
        name: what tables call it.
        mask: share of each token's own area that lies in the boxes, float64 [token]; NaN where no box was seen.
        target: 1 for a token that hits them, else 0, float64 [token]: some box covers at least half as much of it as
            of the token that this box covers most. NaN where no box was seen.
        near: the same for tokens that hit, or have among their 8 neighbours in the same view one that does.
        centre: (x, y) of the middle of the area that was seen of the boxes, in pixels of the photo.
        area_share: share of the seen photo that they cover; 0 where none was seen, NaN without boxes.
        coverage: share of the boxes' own areas that was seen; NaN without boxes.
        objects: how many boxes there are.
        objects_seen: how many of them the model saw any part of.
    """

    name: str
    mask: Float[np.ndarray, " token"]
    target: Float[np.ndarray, " token"]
    near: Float[np.ndarray, " token"]
    centre: tuple[float, float]
    area_share: float
    coverage: float
    objects: int
    objects_seen: int


def region_of(boxes: Boxes | Sequence[Box], grid: ImageGrid, *, name: str = UNION) -> Region:
    """What the tokens of a grid see of some boxes together.

    Example:
        >>> region_of([Box("mug", (10, 20, 50, 80))], grid, name="first").mask.shape
        (576,)
    """
    areas = np.array([box.area for box in boxes])
    shares = np.array([grid.seen_share(box) for box in boxes])
    coverage = float(areas @ shares / areas.sum()) if len(boxes) else np.nan
    masks = [grid.membership(box).astype(np.float64) for box in boxes]
    seen = [(box, mask) for box, mask in zip(boxes, masks, strict=True) if mask.max() > 0]
    if not seen:
        nothing = np.full(len(grid), np.nan)
        share = 0.0 if len(boxes) else np.nan
        return Region(name, nothing, nothing, nothing, (np.nan, np.nan), share, coverage, len(boxes), 0)
    seen_boxes = [box for box, _ in seen]
    mask = grid.union_membership(seen_boxes).astype(np.float64)
    target = np.any([own >= own.max() / 2 for _, own in seen], axis=0).astype(np.float64)
    near, centre = with_neighbours(target, grid), _centre(seen_boxes, grid.seen)
    return Region(name, mask, target, near, centre, grid.area_share(seen_boxes), coverage, len(boxes), len(seen))


def regions_of(
    boxes: Boxes | Sequence[Box],
    roles: Mapping[str, Boxes | Sequence[Box]] | None,
    contrast: tuple[str, str] | None,
    grid: ImageGrid,
) -> list[Region]:
    """Each box under its label, or each role under its name; their union; and the place of a contrast, if any.

    The contrast is of two regions, and is itself seen by no token: its measures are differences of theirs.

    Raises:
        InputError: both boxes and roles, two regions of one name, or a contrast of what is not there.
    """
    if roles is None:
        every = list(boxes)
        named = [(_numbered(place, every), [box]) for place, box in enumerate(every)]
    elif len(boxes):
        raise InputError("boxes and regions were both given, and either names the regions: give one of them")
    else:
        named = [(name, list(own)) for name, own in roles.items()]
        each = [box for _, own in named for box in own]
        every = [box for place, box in enumerate(each) if box not in each[:place]]
    found = [region_of(own, grid, name=name) for name, own in (*named, (UNION, every))]
    found += [_difference(found, contrast)] if contrast else []
    names = [region.name for region in found]
    if len(set(names)) < len(names):
        raise InputError(f"of the regions {names} two have one name: rename the boxes or regions")
    return found


def _centre(boxes: list[Box], seen: tuple[float, float, float, float]) -> tuple[float, float]:
    """The middle of the area that boxes cover together inside what was seen: of the cells between all their edges."""
    corners = np.clip([box.xyxy for box in boxes], np.tile(seen[:2], 2), np.tile(seen[2:], 2))
    xs, ys = np.unique(corners[:, 0::2]), np.unique(corners[:, 1::2])
    along_x = (corners[:, 0, None] <= xs[:-1]) & (xs[1:] <= corners[:, 2, None])  # [box cell]
    along_y = (corners[:, 1, None] <= ys[:-1]) & (ys[1:] <= corners[:, 3, None])
    area = np.outer(np.diff(xs), np.diff(ys)) * np.any(along_x[:, :, None] & along_y[:, None], axis=0)
    x, y = area.sum(axis=1) @ (xs[1:] + xs[:-1]) / 2, area.sum(axis=0) @ (ys[1:] + ys[:-1]) / 2
    return float(x / area.sum()), float(y / area.sum())


def _numbered(place: int, boxes: list[Box]) -> str:
    """A box's label, with a number if it is not the first of this label."""
    label = boxes[place].label
    before = sum(other.label == label for other in boxes[:place])
    return f"{label} {before + 1}" if before else label


def _difference(regions: list[Region], contrast: tuple[str, str]) -> Region:
    """The place of one region minus another, which no token sees."""
    named = {region.name: region for region in regions}
    if len(set(contrast)) != 2 or not set(contrast) <= set(named):
        raise InputError(f"contrast {contrast} can not be taken: give two different ones of {', '.join(named)}")
    one, other = (named[name] for name in contrast)
    nothing = dict.fromkeys(("mask", "target", "near"), np.full(len(one.mask), np.nan))
    return Region(
        name=" minus ".join(contrast),
        **nothing,
        centre=(np.nan, np.nan),
        area_share=one.area_share - other.area_share,
        coverage=float(np.minimum(one.coverage, other.coverage)),
        objects=one.objects + other.objects,
        objects_seen=one.objects_seen + other.objects_seen,
    )
