"""Figures of position probes: accuracy and strips by site with their controls, and the strips over a photo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.colors import Normalize

from interp.errors import InputError
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.intervals import named_intervals
from interp.plots.overlay import colour_bar, lay_over
from interp.plots.style import INK, PALETTE, TICK, TITLE, draw_band, legend_below, new_axes, new_grid, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid
    from probes.mechanisms.probe.sites import Site

LINES = {
    "accuracy": (("accuracy", "probe"), ("position", "photo of nothing"), ("control", "shuffled labels")),
    "strip": (("strip", "probe"), ("strip_position", "photo of nothing"), ("strip_control", "shuffled labels")),
}
"""By what is drawn, the measures and what they are called."""

STYLES = ((3.0, 1.6), (6.5, 3.4), (3.4, 1.6))
"""Size of the marks and width of the line of each, so that lines in one place both show."""

NAMES = {"vision": "vision tower, after block", "projector": "proj.", "language": "language model, after block"}
ENDS = {"horizontal": ("leftmost", "rightmost"), "vertical": ("topmost", "bottommost")}


@as_written
def plot_sites(
    measures: pd.DataFrame,
    sites: Sequence[Site],
    measure: str,
    chance: float,
    ax: Axes | None = None,
    *,
    level: float | None = None,
) -> Axes:
    """Draw a measure by site, beside its two controls, intervals as bands, whose level the legend names.

    Raises:
        InputError: it is none that is drawn.
    """
    if measure not in LINES:
        raise InputError(f"measure={measure!r} is not drawn by site: use one of {', '.join(LINES)}")
    ax = new_axes(ax, (min(max(6.4, 3.2 + 0.32 * len(sites)), 11), 4.0))
    drawn = [(*line, colour, style) for line, colour, style in zip(LINES[measure], PALETTE, STYLES, strict=False)]
    seen = set()
    for name, called, colour, (size, width) in reversed(drawn):  # so that the probe's own line lies on top
        rows = measures[measures["measure"] == name].set_index("site")
        for part in NAMES:
            own = [place for place, site in enumerate(sites) if site.part == part and site.name in rows.index]
            if own:
                told, at = rows.loc[[sites[place].name for place in own]], np.array(own, dtype=float)
                ends = told["low"].to_numpy(float), told["high"].to_numpy(float)
                seen |= {called} if told["value"].notna().any() else set()
                draw_band(ax, at, ends, colour)
                ax.plot(at, told["value"], color=colour, linewidth=width, marker="o", markersize=size)
    for called, colour, (size, width) in [line[1:] for line in drawn if line[1] in seen]:
        ax.plot([], [], color=colour, linewidth=width, marker="o", markersize=size, label=called)
    ax.axhline(chance if measure == "accuracy" else 0.0, color=INK, linewidth=1.0, linestyle="--", label="chance")
    _name_sites(ax, sites)
    what = "accuracy on object tokens" if measure == "accuracy" else "strip score over background"
    tidy(ax, y=what)
    ax.set_title(f"Position probe: {what}", fontsize=TITLE, loc="left", color=INK, pad=22)
    if measure == "accuracy":
        ax.set_ylim(0, 1.03)
    ends = measures.loc[measures["measure"].isin([name for name, _ in LINES[measure]]), "low"]
    legend_below(ax, *named_intervals(ends, level=level, over="groups"), columns=4)
    return ax


@as_written
def plot_strip_maps(
    image: Image.Image,
    grid: ImageGrid,
    boxes: Sequence[Box],
    maps: Float[np.ndarray, "class row col"],
    site: str,
    axis: str,
    n_photos: int,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw the mean softmax of each class over a photo, with its boxes, all on one scale from 0 to 1."""
    panels = (
        new_grid(len(maps), columns=min(len(maps), 4), cell=panel_size(grid, width=3.0))
        if axes is None
        else np.array(axes, dtype=object).ravel()
    )
    if len(panels) != len(maps):
        raise InputError(f"{len(panels)} axes were given for {len(maps)} maps: give one per class, or none")
    ready = canvas(image, grid)
    drawn = [
        lay_over(ax, ready, own[grid.rows, grid.cols], Normalize(0, 1)) for ax, own in zip(panels, maps, strict=True)
    ]
    for place, ax in enumerate(panels):
        draw_boxes(ax, ready, boxes)
        ends = {0: ENDS[axis][0], len(maps) - 1: ENDS[axis][1]}
        said = f"place {place + 1}" + (f", {ends[place]}" if place in ends else "")
        ax.set_title(said, fontsize=TITLE - 1, loc="left", color=INK)
    colour_bar(drawn[-1], list(panels), f"softmax of the probe at {site},\nmean over {n_photos} held-out photos")
    return panels


def _name_sites(ax: Axes, sites: Sequence[Site]) -> None:
    """Number the blocks of each part, and name the parts between lines."""
    step = max(1, len(sites) // 24)
    ticks = [place for place, site in enumerate(sites) if site.part != "projector" and site.layer % step == 0]
    ax.set_xticks(ticks, [str(sites[place].layer) for place in ticks])
    ax.tick_params(labelsize=TICK)
    for part, name in NAMES.items():
        own = [place for place, site in enumerate(sites) if site.part == part]
        if own:
            ax.text(
                (own[0] + own[-1]) / 2, 1.01, name if len(own) > 2 or part == "projector" else part,
                transform=ax.get_xaxis_transform(), ha="center", va="bottom", fontsize=TICK, color=INK,
            )  # fmt: skip
            if own[0] > 0:
                ax.axvline(own[0] - 0.5, color="#bbbbbb", linewidth=0.8)
    ax.set_xlim(-0.6, len(sites) - 0.4)
