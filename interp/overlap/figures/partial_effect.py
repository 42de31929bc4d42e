"""A figure of whether overlap goes with right answers with other things held fixed, by layer."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.overlap.figures.association import name_score, of_head_mean
from interp.plots.intervals import named_intervals
from interp.plots.style import (
    INK,
    PALETTE,
    layer_axis,
    legend_below,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from interp.stats.partial import Effect, PartialEffect


@as_written
def plot_partial_effect(
    found: PartialEffect,
    ax: Axes | None = None,
    *,
    title: str = "Overlap and right answers, other things equal",
    score: str = "",
) -> Axes:
    """Draw the log odds ratio of a right answer by layer with its interval: of the score alone, and beside covariates.

    Zero is no effect. Hollow marks are layers in which only the penalty keeps the slope finite, so that its size says
    nothing and its sign does.

    Args:
        found: an effect of arrays [layer], or [layer head+1], of which the head mean is drawn.
        ax: the axes to draw on; made if None.
        title: the title of the axes.
        score: the name of what predicts, for the axis; by default overlap, and of [layer head+1] of the head mean.

    Example:
        >>> plot_partial_effect(partial_effect(cosine, right, {"relation": relation}))  # cosine [412 32]

    Raises:
        InputError: the arrays are empty or of another shape.
    """
    beside = textwrap.shorten(", ".join(found.beside), 60, placeholder=" ...") or "nothing"
    names = {"alone": found.unadjusted, f"beside {beside}": found.adjusted}
    tables = {name: _effect_by_layer(one) for name, one in names.items()}
    n_layers = len(tables["alone"]["log_odds"])
    ax = new_axes(ax, (6.6, 4.4), n_layers=n_layers)
    ax.axhline(0, color=INK, linewidth=1, linestyle="--", label="no effect")
    for shift, colour, (name, table) in zip((-0.12, 0.12), PALETTE, tables.items(), strict=False):
        middle, x = table["log_odds"], np.arange(n_layers) + shift
        ax.plot(x, middle, color=colour, marker="o", markersize=4, linewidth=1, label=name)
        ax.vlines(x, table["low"], table["high"], color=colour, linewidth=1.3)  # which need not hold the middle
        held = table["separated"] > 0
        hollow: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 4, "markerfacecolor": "white"}
        told = f"{name}: size held by the penalty" if held.any() else None
        ax.plot(x[held], middle[held], color=colour, zorder=4, label=told, **hollow)
    shade = layer_axis(ax, n_layers)
    said = score or name_score(found.adjusted.log_odds)
    bars = named_intervals(*(table["low"] for table in tables.values()), level=found.level, bars=True)
    y = f"log odds ratio of a right answer,\nfor one standard deviation of\n{said}"
    tidy(ax, title=title, x=f"layer (0-based, of {n_layers})", y=y)
    for text in legend_below(ax, *bars, shade, columns=1).get_texts():
        text.set_parse_math(False)
    return ax


def _effect_by_layer(effect: Effect) -> dict[str, np.ndarray]:
    """The arrays of an effect for the head mean, [layer] each."""
    names = ("log_odds", "low", "high", "separated")
    arrays = {name: np.asarray(getattr(effect, name), dtype=np.float64) for name in names}
    return of_head_mean(arrays, "the effect")
