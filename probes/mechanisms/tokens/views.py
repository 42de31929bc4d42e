"""Views: the tokens of a photo that is seen whole and in tiles, in one order, by third, and by kind of view."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import RefusedError

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

KINDS = ("whole photo", "tiles")
"""The view of the whole photo (view 0), and all others together."""


def whole_photo(grid: ImageGrid) -> Bool[np.ndarray, " token"]:
    """Which tokens are of the view of the whole photo.

    Raises:
        RefusedError: there is no such view.
    """
    found: np.ndarray = grid.view == 0
    if not found.any():
        raise RefusedError("this model sees the photo in tiles alone, without a view of the whole: use 'all_image'")
    return found


def in_order(grid: ImageGrid, tokens: Int[np.ndarray, " token"]) -> Int[np.ndarray, " token"]:
    """Tokens in the order of what they show: those of the whole photo row after row, then those of all tiles.

    Two regions of one shape are then in one order, wherever the edges between tiles fall.
    """
    x, y = middles(grid)
    order = np.lexsort((x[tokens].round(3), y[tokens].round(3), grid.view[tokens] > 0))
    return tokens[order]


def thirds(grid: ImageGrid, axis: str) -> Int[np.ndarray, " token"]:
    """Which third of the photo along an axis each token is in, 0, 1 or 2.

    Thirds are cut between rows or columns of the view of the whole photo; a token of a tile is in the one that its
    middle lies in.

    Raises:
        RefusedError: a photo without such a view.

    Example:
        >>> thirds(grid, "horizontal")[:8]  # of 8 columns
        array([0, 0, 0, 1, 1, 2, 2, 2])
    """
    base, lines = whole_photo(grid), grid.cols if axis == "horizontal" else grid.rows
    many = int(lines[base].max()) + 1
    width = round(many / 3)
    found = (lines >= width).astype(int) + (lines >= many - width)
    if not base.all():
        place = 0 if axis == "horizontal" else 1
        edges = [grid.boxes[base & (lines == first), place].min() for first in (width, many - width)]
        found[~base] = (middles(grid)[place][~base, None] >= np.array(edges) - 1e-6).sum(axis=1)
    return found


def by_kind(
    grid: ImageGrid, name: str, here: Int[np.ndarray, " token"], there: Int[np.ndarray, " other"]
) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """A part of a token set, cut into tokens of the whole photo and of tiles: its name, and tokens of both prompts."""
    cut = [(grid.view > 0) == tiles for tiles in (False, True)]
    parts = [(here[own[here]], there[own[there]]) for own in cut]
    named = (name, f"{name} in tiles")
    return [(called, *own) for called, own in zip(named, parts, strict=True) if len(own[0]) or len(own[1])]


def middles(grid: ImageGrid) -> tuple[np.ndarray, np.ndarray]:
    """The middle of what each token saw, across and down, in pixels of the photo."""
    return (grid.boxes[:, 0] + grid.boxes[:, 2]) / 2, (grid.boxes[:, 1] + grid.boxes[:, 3]) / 2
