"""Attention laid over the photo, covering more of it the more there is, and the colour bar that says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.patches import Rectangle

from interp.plots.canvas import muted
from interp.plots.style import DIVERGING, INK, SEQUENTIAL, TICK

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colorbar import Colorbar
    from matplotlib.image import AxesImage

    from interp.plots.canvas import Canvas

MOST = 0.8  # of the photo that a colour covers
STEEP = 1.6  # how much faster than the value the cover grows, until it is full
MEAN_OF_VIEWS = "each pixel: mean over the views that show it"
ON_DARK_AND_LIGHT = "bar: over dark, over light"


@cache
def over_photo(name: str) -> ListedColormap:
    """A colour map to lay over a photo: clear where there is nothing to see, and covering more the more there is."""
    values = np.linspace(-1 if name == DIVERGING else 0, 1, 257 if name == DIVERGING else 256)
    colours = colormaps[name](np.linspace(0, 1, len(values)))
    colours[:, 3] = MOST * np.minimum(1, STEEP * np.abs(values))
    return ListedColormap(colours, f"{name}, over a photo")


def lay_over(
    ax: Axes, photo: Canvas, values: Float[np.ndarray, " token"], norm: Normalize, colours: str = SEQUENTIAL
) -> AxesImage:
    """Draw the photo and one map over it, each token in its own pixels.

    Args:
        ax: where to draw.
        photo: what `canvas` gave.
        values: one per image token.
        norm: the norm from values to colours: from zero on, or for `DIVERGING` colours as far below zero as above.
        colours: `SEQUENTIAL` or `DIVERGING`.

    Example:
        >>> lay_over(ax, canvas(photo, grid), measured.image_map(layer=17), Normalize(0, 0.1))
    """
    photo.draw(ax)
    if len(np.unique(photo.original.view)) > 1:
        ax.set_xlabel(f"{ax.get_xlabel()}\n{MEAN_OF_VIEWS}".strip(), fontsize=TICK - 1, color=INK)
    style: dict[str, Any] = {"cmap": over_photo(colours), "norm": norm, "interpolation": "nearest"}
    return ax.imshow(photo.paint(values), extent=photo.extent, **style)


def colour_bar(
    drawn: AxesImage, axes: Sequence[Axes], label: str, *, scale: str = "", even: float | None = None, **style: Any
) -> Colorbar:
    """A colour bar that names its numbers and shows the colours as they lie over dark and over light of the photo.

    Args:
        drawn: what `lay_over` gave.
        axes: that it stands beside.
        label: what the numbers are.
        scale: which maps share it.
        even: what evenly spread attention has, marked if it is on the scale.
        style: goes to matplotlib's `colorbar`.
    """
    bar = axes[0].figure.colorbar(drawn, ax=list(axes), **{"fraction": 0.05, "pad": 0.02, **style})
    for left, shade in ((0.0, 0), (0.5, 255)):
        behind = {"facecolor": muted(np.full((1, 1, 3), shade, np.uint8))[0, 0] / 255, "linewidth": 0, "zorder": 0}
        bar.ax.add_patch(Rectangle((left, 0), 0.5, 1, transform=bar.ax.transAxes, **behind))
    even = even if even is not None and even < drawn.get_clim()[1] else None
    lines = [label, scale, "" if even is None else "(dashed: spread evenly)", ON_DARK_AND_LIGHT]
    bar.set_label("\n".join(filter(None, lines)), fontsize=TICK, color=INK)
    bar.ax.tick_params(labelsize=TICK - 1, colors=INK)
    if even is not None:
        bar.ax.axhline(even, color="white", linewidth=1.6)
        bar.ax.axhline(even, color=INK, linewidth=0.8, linestyle="--")
    return bar
