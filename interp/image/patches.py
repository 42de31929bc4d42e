"""Patches: which patches of the vision tower each image token is made of, and where they lie in the photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from interp.errors import InputError, ModelError
from interp.image.grid import ImageGrid, View, grid_of_views
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from jaxtyping import Float64, Int


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class Patches:
    """The patches of one photo, and the image tokens that are made of them.

    Attributes:
        grid: the geometry of the patches, view after view as the tower takes them, each view row after row. A patch
            that shows nothing but padding has a box without area.
        sources: numbers of the patches that each image token is made of, int64 [token part].
        shares: what each of them counts in its token, float64 [token part]; they sum to one over the parts.
        specials: names of the tokens that stand before the patches in each view's sequence and show no part of it.
        places: where each patch stands in the sequence of its view, special tokens counted, int64 [patch]; row after
            row behind the special tokens by default.

    Example:
        >>> found = patches_of(vlm, vlm.prepare("photo.jpg", "Where is the mug?").grids[0])  # Qwen2-VL
        >>> len(found.grid), found.sources.shape
        (140, (35, 4))
    """

    grid: ImageGrid
    sources: Int[np.ndarray, "token part"]
    shares: Float64[np.ndarray, "token part"]
    specials: tuple[str, ...] = ()
    places: Any = None

    def __post_init__(self) -> None:
        """Number the places where none are given, and refuse views that differ in size."""
        counts = {int((self.grid.view == view).sum()) for view in self.views}
        if len(counts) > 1:
            raise ModelError(f"the views of a photo have {sorted(counts)} patches: only views of one size are known")
        if self.places is None:
            object.__setattr__(self, "places", len(self.specials) + np.arange(len(self.grid)) % counts.pop())

    @property
    def views(self) -> tuple[int, ...]:
        """The numbers of the views, as in `grid.view`, in the order in which the tower takes them."""
        return tuple(dict.fromkeys(self.grid.view.tolist()))

    @property
    def per_view(self) -> int:
        """How many patches each view has."""
        return len(self.grid) // len(self.views)

    @property
    def length(self) -> int:
        """How many tokens the sequence of each view has: patches and special tokens."""
        return len(self.specials) + self.per_view

    def view_place(self, view: int | None = None) -> int:
        """Which of the views one is, by its number; it has to be named where there are several.

        Raises:
            InputError: there is no such view, or there are several and none is named.
        """
        if view is None and len(self.views) == 1:
            return 0
        if view not in self.views:
            raise InputError(f"view={view!r}: name one of the photo's views, {', '.join(map(str, self.views))}")
        return self.views.index(view)


def squares_of_patches(grid: ImageGrid, side: int) -> Patches:
    """The patches of image tokens that are squares of `side` x `side` patches each, which count alike.

    Where the model joins patches by a layer of weights, what each counts is not known from attention: alike is what is
    assumed of it. For average pooling it is exact.

    Args:
        grid: the grid of the image tokens, view after view.
        side: patches along each side of a token.

    Raises:
        ModelError: a token was cut off at the photo's edge, so that where its patches begin is not known.

    Example:
        >>> squares_of_patches(grid, 2).grid.boxes[0]  # a quarter of the first token's box
        array([ 0.,  0., 15., 15.])
    """
    views: list[View] = []
    sources = np.empty((len(grid), side * side), dtype=np.int64)
    down, right = rearrange(np.indices((side, side)), "index row col -> index (row col)")
    start = 0
    for number in dict.fromkeys(grid.view.tolist()):
        own = np.flatnonzero(grid.view == number)
        xs, ys = (_cut(_edges(grid, own, axis), side) for axis in (0, 1))
        reach = grid.reach[own[0]].tolist()
        views.append(View(xs, ys, number, (reach[0], reach[1])))
        rows, cols = (side * lines[own, None] + step for lines, step in ((grid.rows, down), (grid.cols, right)))
        sources[own] = start + rows * (len(xs) - 1) + cols
        start += (len(xs) - 1) * (len(ys) - 1)
    return Patches(grid_of_views(grid.image_size, views), sources, np.full(sources.shape, side**-2.0))


def _edges(grid: ImageGrid, own: np.ndarray, axis: int) -> Float64[np.ndarray, " edge"]:
    """Where the columns (axis 0) or rows (axis 1) of one view's tokens begin, and the last of them ends."""
    lines, boxes = (grid.cols, grid.rows)[axis][own], grid.boxes[own]
    edges = np.empty(lines.max() + 2)
    edges[lines] = boxes[:, axis]
    edges[-1] = boxes[:, axis + 2].max()
    return edges


def _cut(edges: np.ndarray, side: int) -> Float64[np.ndarray, " edge"]:
    """The edges of patches, `side` of them between two edges of tokens."""
    if side == 1:
        return edges
    lengths = np.diff(edges)
    if np.ptp(lengths) > 1e-6 * lengths.max():
        raise ModelError(
            f"image tokens of {side} x {side} patches were cut off at the photo's edge, so where their patches begin "
            "is not known: use an image processor that does not pad"
        )
    places = np.arange(side * len(lengths) + 1) / side
    return np.interp(places, np.arange(len(edges)), edges)
