"""Figures of spatial IDs: how regular they are by slot, beside the null, and the cells in the plane of their axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float32

from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, TICK, draw_band, integer_ticks, legend_below, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMED = {"r2": "R² of the rank-3 fit to the universal ID", "agreement": "cosine to the ID of the other objects"}

SLOT = "slot (0: what enters block 0; l: what leaves block l - 1)"

SWAPPED = {
    "text": "all text behind the photo",
    "image": "all image tokens",
    "words": "names of the objects",
    "other_words": "control: as many other tokens",
}
"""What is swapped, in words."""


@as_written
def plot_ids(
    curve: pd.DataFrame, measure: str, slots: int, ax: Axes | None = None, *, level: float | None = None
) -> Axes:
    """Draw a measure by slot with its interval over objects, and the mean and upper end of its null.

    Args:
        curve: the columns slot, value, low, high, null, null_high.
        measure: `r2` or `agreement`.
        slots: how many there are.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.
    """
    ax = new_axes(ax, (6.4, 4.0))
    at = curve["slot"].to_numpy()
    draw_band(ax, at, (curve["low"].to_numpy(), curve["high"].to_numpy()), PALETTE[0])
    ax.plot(at, curve["value"], color=PALETTE[0], linewidth=1.8, marker="o", ms=3, label="words of objects")
    ax.plot(at, curve["null"], color=INK, linestyle=":", label="each object's cells shuffled: mean")
    ax.plot(at, curve["null_high"], color=INK, linestyle="--", linewidth=1, label="and its upper end, slot by slot")
    integer_ticks(ax.xaxis, slots)
    ax.set_xlim(-0.5, slots - 0.5)
    tidy(ax, title="Spatial IDs at words of objects", y=NAMED[measure], x=SLOT)
    legend_below(ax, *named_intervals(curve["low"], level=level, over="objects"), columns=1)
    return ax


@as_written
def plot_shifts(measures: pd.DataFrame, slots: int, ax: Axes | None = None, *, level: float | None = None) -> Axes:
    """Draw the belief shift of each set of tokens by slot, with intervals over groups.

    Args:
        measures: the columns tokens, slot, value, low, high.
        slots: how many there are.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.
    """
    ax = new_axes(ax, (6.4, 4.2))
    for (name, label), colour in zip(SWAPPED.items(), (PALETTE[2], PALETTE[0], PALETTE[1], INK), strict=True):
        own = measures[measures["tokens"] == name].sort_values("slot")
        if own.empty:
            continue
        at = own["slot"].to_numpy()
        draw_band(ax, at, (own["low"].to_numpy(), own["high"].to_numpy()), colour)
        ax.plot(at, own["value"], color=colour, linewidth=1.8, marker="o", ms=3, label=label,
                linestyle=":" if name == "other_words" else "-")  # fmt: skip
    integer_ticks(ax.xaxis, slots)
    tidy(ax, title="Tokens as in the mirrored photo's run", y="belief shift (1: as if mirrored)", x=SLOT)
    drawn = measures[measures["tokens"].isin(list(SWAPPED))]
    legend_below(ax, *named_intervals(drawn["low"], level=level, over="groups"), columns=2)
    return ax


@as_written
def plot_steering(measures: pd.DataFrame, slots: int, ax: Axes | None = None, *, level: float | None = None) -> Axes:
    """Draw the share of answers that turned by slot, steered by IDs and at random, with intervals over groups.

    Args:
        measures: the columns arm, measure, slot, value, low, high.
        slots: how many there are.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.
    """
    ax = new_axes(ax, (6.4, 4.0))
    for arm, label, colour, style in (
        ("ids", "told the other side by IDs", PALETTE[0], "-"),
        ("random", "control: random directions of the same length", INK, ":"),
    ):
        own = measures[(measures["arm"] == arm) & (measures["measure"] == "flipped")].sort_values("slot")
        at = own["slot"].to_numpy()
        draw_band(ax, at, (own["low"].to_numpy(), own["high"].to_numpy()), colour)
        ax.plot(at, own["value"], color=colour, linestyle=style, linewidth=1.8, marker="o", ms=3, label=label)
    integer_ticks(ax.xaxis, slots)
    ax.set_xlim(-0.5, slots - 0.5)
    ax.set_ylim(-0.04, 1.04)
    tidy(ax, title="Words of both objects steered", y="share of right answers that turned", x=SLOT)
    drawn = measures[measures["measure"] == "flipped"]
    legend_below(ax, *named_intervals(drawn["low"], level=level, over="groups"), columns=1)
    return ax


@as_written
def plot_plane(plane: Float32[np.ndarray, "cell 2"], cells: int, slot: int, ax: Axes | None = None) -> Axes:
    """Draw the cells in the plane of the two axes, rows and columns joined by lines.

    Args:
        plane: coordinates of the cells, row by row.
        cells: cells along a side.
        slot: which one, for the title.
        ax: where to draw; made if None.
    """
    ax = new_axes(ax, (4.6, 4.6))
    table = plane.reshape(cells, cells, 2)
    for number in range(cells):
        ax.plot(*table[number].T, color=PALETTE[0], linewidth=1.2, label="_" if number else "rows")
        ax.plot(
            *table[:, number].T, color=PALETTE[1], linewidth=1.2, linestyle="--", label="_" if number else "columns"
        )
    for cell, (x, y) in enumerate(plane):
        row, col = divmod(cell, cells)
        ax.annotate(f"{col},{row}", (x, y), fontsize=TICK - 2, color=INK, ha="center", va="center",
                    bbox={"facecolor": "white", "edgecolor": INK, "pad": 1.2, "linewidth": 0.6})  # fmt: skip
    ax.invert_yaxis()
    tidy(
        ax,
        title=f"Cells (column,row) in the plane of the axes, slot {slot}",
        x="along the horizontal axis",
        y="along the vertical one, at a right angle",
    )
    legend_below(ax, columns=2)
    return ax
