"""The image tokens over the photo: what each of them saw."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import reduce
from matplotlib import patheffects
from matplotlib.collections import PolyCollection

from interp.errors import InputError
from interp.plots.canvas import canvas, panel_size
from interp.plots.style import INK, TICK, line_colours, new_axes
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.grid import ImageGrid


@as_written
def plot_token_grid(
    image: Image.Image, grid: ImageGrid, ax: Axes | None = None, *, views: Sequence[int] | None = None
) -> Axes:
    """Draw what each image token saw: its outline on the photo, first and last numbered, tiles named and coloured.

    Args:
        image: the photo.
        grid: the geometry of its image tokens.
        ax: where to draw; a new figure by default.
        views: the views that are shown; all by default. Views of the same pixels hide each other.

    Example:
        >>> plot_token_grid(photo, grid).figure.savefig("grid.png")

    Raises:
        InputError: the photo is not the one that the grid was made for, or a view is not there.
    """
    there = np.unique(grid.view).tolist()
    chosen = there if views is None else sorted(set(views))
    if not chosen or set(chosen) - set(there):
        raise InputError(f"views {list(views or [])} were asked for, and the grid has {there}: choose from these")
    ax = new_axes(ax, panel_size(grid, width=6.0))
    canvas(image, grid).draw(ax, plain=True)
    for view, colour in zip(chosen, ["white", *line_colours(len(chosen) - 1)], strict=True):
        corners = grid.boxes[grid.view == view]
        outlines = PolyCollection(
            corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]], facecolor="none", edgecolor=colour, linewidth=0.9
        )
        outlines.set_path_effects([patheffects.withStroke(linewidth=2.0, foreground="black", alpha=0.5)])
        ax.add_collection(outlines, autolim=False)
        if view and len(chosen) > 1:
            middle = (corners[:, :2].min(0) + corners[:, 2:].max(0)) / 2
            _name(ax, middle, f"tile {view}")
    own = np.flatnonzero(np.isin(grid.view, chosen))
    for token in sorted({own[0], own[-1]}):
        _name(ax, reduce(grid.boxes[token], "(corner xy) -> xy", "mean", xy=2), str(token))
    if views is None:
        said = grid.describe()
    else:
        said = f"{'the photo as a whole' if chosen == [0] else 'its tiles'}: {len(own)} tokens"
    ax.set_title(textwrap.fill(said, 60), fontsize=TICK, loc="left", color=INK)
    return ax


def _name(ax: Axes, at: np.ndarray, words: str) -> None:
    """Words on a light ground, centred on a point (x, y) of the photo."""
    paper: dict[str, Any] = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
    ax.text(at[0], at[1], words, bbox=paper, ha="center", va="center", fontsize=TICK - 2, color=INK)
