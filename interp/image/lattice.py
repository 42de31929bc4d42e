"""The lattice of image tokens: which lie at a border, which touch, and maps laid out on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Float64, Int, Real

from interp.errors import InputError
from interp.numeric import ratio

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

ROUNDING = 1e-12
"""Weights that differ by less than this share of their mean are the same but for the order of adding."""


def border_mass(weights: Float[np.ndarray, "*maps token"], grid: ImageGrid) -> Float[np.ndarray, "*maps"]:
    """Share of the attention on the image that lies on the outermost ring of tokens, of every view.

    Sinks tend to lie there. Compare with `border_tokens(grid).mean()`, what evenly spread attention would put there.

    Example:
        >>> border_mass(measured.image_attention, grid).shape  # [layer head step]
        (32, 32, 1)

    Raises:
        InputError: the weights have another number of tokens than the grid.
    """
    flat, _ = flat_maps(weights, grid, None)
    return ratio(flat @ border_tokens(grid), flat.sum(axis=1)).reshape(np.shape(weights)[:-1])


def border_tokens(grid: ImageGrid) -> Bool[np.ndarray, " token"]:
    """Which tokens lie in the first or last row or column of their view."""
    border = np.zeros(len(grid), dtype=bool)
    for view in np.unique(grid.view):
        own = grid.view == view
        for lines in (grid.rows, grid.cols):
            border |= own & ((lines == lines[own].min()) | (lines == lines[own].max()))
    return border


def with_neighbours(chosen: Float[np.ndarray, " token"], grid: ImageGrid) -> Float[np.ndarray, " token"]:
    """Chosen tokens (1, others 0) and their 8 neighbours in the same view."""
    lattice = Lattice.of(grid)
    canvas = np.zeros((1, lattice.size))
    canvas[0, lattice.cells] = chosen
    return lattice.spread(canvas, np.maximum)[0, lattice.cells]


def flat_maps(
    maps: Real[np.ndarray, "*maps token"], grid: ImageGrid, kept: Bool[np.ndarray, "... token"] | None
) -> tuple[Float64[np.ndarray, "map token"], Bool[np.ndarray, "#map token"]]:
    """Maps as float64 [map token], 0 where a token does not take part; and who does, bool [map token] or [1 token].

    Raises:
        InputError: the maps have another number of tokens than the grid.
    """
    shape = np.shape(maps)
    if not shape or shape[-1] != len(grid):
        raise InputError(f"maps have shape {shape} but the grid has {len(grid)} tokens: give [... token] of one image")
    weights = rearrange(np.asarray(maps, dtype=np.float64), "... token -> (...) token")
    if kept is None:
        return weights, np.ones((1, len(grid)), dtype=bool)
    playing = rearrange(np.broadcast_to(kept, shape), "... token -> (...) token")
    return np.where(playing, weights, 0.0), playing


@dataclass(frozen=True, eq=False)
class Lattice:
    """Views laid out under one another, with blank cells between, so that cell numbers 1 or `width` apart touch."""

    cells: Int[np.ndarray, " token"]
    width: int
    size: int

    @classmethod
    def of(cls, grid: ImageGrid) -> Lattice:
        """One blank column to the right, and one blank row above, between and below."""
        width, top = int(grid.cols.max()) + 2, 1
        lines = np.zeros(len(grid), dtype=np.int64)
        for view in np.unique(grid.view):
            own = grid.view == view
            lines[own] = top + grid.rows[own]
            top += int(grid.rows[own].max()) + 2
        return cls(lines * width + grid.cols, width, top * width)

    def components(
        self, chosen: Bool[np.ndarray, "map token"], amounts: Float[np.ndarray, "map token"]
    ) -> tuple[Int[np.ndarray, " component"], Float[np.ndarray, " component"]]:
        """Of every component of the chosen tokens [map token], its map and its share of their amounts there.

        Every token begins as a component of its own, named by its cell, and takes the lowest name around it, and the
        name that the token of that name has taken, until nothing changes in its map.
        """
        blank = self.size - 1
        names = np.full((len(chosen), self.size), blank, dtype=np.int16 if self.size < 2**15 else np.int32)
        names[:, self.cells] = np.where(chosen, self.cells.astype(names.dtype), names.dtype.type(blank))
        barred, left = np.where(names == blank, names, 0), np.arange(len(names))
        while len(left):
            before = lower = names[left]
            for _ in range(4):  # a step costs a quarter of looking names up
                lower = np.maximum(self.spread(lower, np.minimum), barred[left])
            lower = np.minimum(lower, lower.ravel()[lower + self.size * np.arange(len(left))[:, None]])
            names[left], left = lower, left[(lower != before).any(axis=1)]
        which, token = np.nonzero(chosen)
        sums = np.bincount(which * self.size + names[which, self.cells[token]], amounts[which, token])
        found = np.flatnonzero(sums)
        which, sums = found // self.size, sums[found]
        return which, sums / np.bincount(which, sums)[which]

    def spread(
        self, canvas: Real[np.ndarray, "map cell"], choose: Callable[..., np.ndarray]
    ) -> Real[np.ndarray, "map cell"]:
        """The lowest or highest of each cell and its 8 neighbours, [map cell]."""
        for step in (1, self.width):
            wider = canvas.copy()
            choose(wider[:, step:], canvas[:, :-step], out=wider[:, step:])
            choose(wider[:, :-step], canvas[:, step:], out=wider[:, :-step])
            canvas = wider
        return canvas
