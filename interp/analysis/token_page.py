"""The page of an answer's tokens: where the row that gave each of them looked, one small map a token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.layers import paper_layers
from interp.plots.canvas import panel_size
from interp.plots.maps import plot_heatmaps
from interp.plots.style import INK, TITLE, figure_of, name_token, new_grid
from interp.plots.written import as_written

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.figure import Figure
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid
    from interp.maps.trajectory import Trajectory

MOST = 64
"""How many tokens a page shows."""

NAME = 17  # characters of a token in the title of a small map


@as_written
def draw_tokens(image: Image.Image, grid: ImageGrid, looked: Trajectory, *, boxes: Iterable[Box] = ()) -> Figure:
    """One map per answer token, head mean of the first of the paper's layers; of a long answer some, evenly chosen.

    Args:
        image: the photo.
        grid: the geometry of its tokens.
        looked: where the rows of the answer looked.
        boxes: objects to outline.

    Example:
        >>> draw_tokens(analysis.image, analysis.grid, analysis.trajectory).savefig("tokens.png")
    """
    n, layer = looked.n_steps, paper_layers(looked.n_layers)[0]
    steps = np.unique(np.linspace(0, n - 1, min(n, MOST)).round().astype(int)).tolist()
    columns, width = (min(len(steps), 4), 3.0) if len(steps) <= 8 else (8, 1.8)
    panels = new_grid(len(steps), columns=columns, cell=panel_size(grid, width=width))
    maps = [looked.image_map(layer=layer, step=step) for step in steps]
    titles = [f"{step}{_said(looked, step)}" for step in steps]
    shown: dict[str, Any] = {"boxes": list(boxes), "titles": titles, "axes": list(panels)}
    plot_heatmaps(image, grid, maps, **shown)
    figure, below = figure_of(panels[0]), panels[0].get_xlabel()
    for ax in panels:
        ax.set_xlabel("")
    some = f", {len(steps)} of them" if len(steps) < n else ""
    title = f"Layer {layer}, head mean: the row that gave each token of the answer, 0 to {n - 1}{some}"
    figure.suptitle("\n".join(filter(None, [title, " ".join(below.split())])), fontsize=TITLE, color=INK)
    return figure


def _said(looked: Trajectory, step: int) -> str:
    """What a step said, where that is known."""
    return "" if looked.tokens is None else f": {name_token(looked.tokens[step], NAME)}"
