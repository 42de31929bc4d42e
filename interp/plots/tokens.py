"""The image tokens over the photo: what each of them saw."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import patheffects
from matplotlib.collections import PolyCollection

from interp.plots.canvas import canvas, panel_size
from interp.plots.style import INK, TICK, line_colours, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.grid import ImageGrid


def plot_token_grid(image: Image.Image, grid: ImageGrid, ax: Axes | None = None) -> Axes:
    """Draw what each image token saw: its outline on the photo, one colour per view, first and last token numbered.

    Example:
        >>> plot_token_grid(photo, grid).figure.savefig("grid.png")

    Raises:
        InputError: the photo is not the one that the grid was made for.
    """
    ax = new_axes(ax, panel_size(grid, width=6.0))
    canvas(image, grid).draw(ax, grey=False)
    views = np.unique(grid.view)
    for view, colour in zip(views, ["white", *line_colours(len(views) - 1)], strict=True):
        corners = grid.boxes[grid.view == view]
        outlines = PolyCollection(
            corners[:, [[0, 1], [2, 1], [2, 3], [0, 3]]], facecolor="none", edgecolor=colour, linewidth=0.7
        )
        outlines.set_path_effects([patheffects.withStroke(linewidth=1.5, foreground="black", alpha=0.5)])
        ax.add_collection(outlines, autolim=False)
    for token in sorted({0, len(grid) - 1}):
        x0, y0, x1, y1 = grid.boxes[token]
        paper: dict[str, Any] = {"facecolor": "white", "alpha": 0.85, "linewidth": 0, "pad": 1}
        at: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TICK - 2, "color": INK}
        ax.text((x0 + x1) / 2, (y0 + y1) / 2, str(token), bbox=paper, **at)
    ax.set_title(textwrap.fill(grid.describe(), 60), fontsize=TICK, loc="left", color=INK)
    return ax
