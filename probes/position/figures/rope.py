"""Figures of RoPE sensitivity: layer curves with their intervals, and heat maps by layer and head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import (
    DIVERGING,
    INK,
    PALETTE,
    SEQUENTIAL,
    draw_band,
    heads_map,
    integer_ticks,
    legend_below,
    line_colours,
    name_layers,
    new_axes,
    new_grid,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from interp.stats.intervals import Interval

NAMES = {
    "alpha_v": "attention on the image",
    "alpha_product": "attention on the image x the rest",
    "delta_alpha_v": "change of attention on the image",
    "delta_g_v": "change of image logits per position",
    "abs_delta_g_v": "|change of image logits| per position",
    "residual": "what first order leaves",
}
SIGNED = ("delta_alpha_v", "delta_g_v", "residual")


@as_written
def draw_rope(
    curves: Mapping[str, Interval], heads: Mapping[str, Float[np.ndarray, "layer head"]], *, n_samples: int
) -> np.ndarray:
    """Draw layer curves side by side and below them the heat maps of the same measures, on a new figure.

    Returns:
        The axes: of all curves, then of all heat maps.

    Example:
        >>> figure_of(summary.draw()[0]).savefig("rope.png")
    """
    axes = new_grid(2 * len(curves), columns=len(curves), cell=(4.6, 3.6))
    for above, below, measure in zip(axes[: len(curves)], axes[len(curves) :], curves, strict=True):
        plot_rope_curve(curves[measure], above, measure=measure, n_samples=n_samples)
        plot_rope_heads(heads[measure], below, measure=measure)
    return axes


@as_written
def plot_rope_curve(curve: Interval, ax: Axes | None = None, *, measure: str, n_samples: int) -> Axes:
    """Draw a layer curve, with its interval as a band where there is one.

    Args:
        curve: the estimate and the ends of its interval, [layer].
        ax: the axes to draw on; made if None.
        measure: the measure that the curve is of.
        n_samples: the number of samples it is over.

    Example:
        >>> plot_rope_curve(summary.curve("delta_alpha_v"), measure="delta_alpha_v", n_samples=200)
    """
    layers = np.arange(len(curve.estimate))
    ax = new_axes(ax, (5.2, 3.4))
    colour = PALETTE[CURVE_COLOURS[measure]]
    ax.plot(layers, curve.estimate, color=colour, linewidth=1.8, marker="o", markersize=3.2, label=f"n = {n_samples}")
    if np.isfinite(curve.low).any():
        draw_band(ax, layers, (curve.low, curve.high), colour)
    _finish_curves(ax, measure, len(layers), "RoPE sensitivity, mean over heads", [curve])
    return ax


@as_written
def plot_rope_axes(curves: Mapping[str, Mapping[str, Interval]]) -> np.ndarray:
    """Draw the layer curves of several axes over each other, with their intervals, on a new figure.

    Args:
        curves: by measure and axis, the layer curve.

    Returns:
        The axes of the figure, one for each measure.

    Example:
        >>> plot_rope_axes({"delta_alpha_v": {axis: found.of(axis).curve("delta_alpha_v") for axis in found.axes}})
    """
    panels = new_grid(len(curves), columns=2, cell=(4.6, 3.6))
    for ax, (measure, own) in zip(panels, curves.items(), strict=True):
        for (name, curve), colour in zip(own.items(), line_colours(len(own)), strict=True):
            layers = np.arange(len(curve.estimate))
            ax.plot(layers, curve.estimate, color=colour, linewidth=1.8, marker="o", markersize=3.2, label=name)
            if np.isfinite(curve.low).any():
                draw_band(ax, layers, (curve.low, curve.high), colour)
        _finish_curves(ax, measure, len(layers), "RoPE sensitivity by axis, mean over heads", list(own.values()))
    return panels


def _finish_curves(ax: Axes, measure: str, n_layers: int, title: str, curves: Sequence[Interval]) -> None:
    """Name what layer curves show."""
    if measure in SIGNED:
        ax.axhline(0, color=INK, linewidth=0.8)
    ax.set_xlim(-0.5, n_layers - 0.5)
    integer_ticks(ax.xaxis, n_layers)
    tidy(ax, title=title, x=name_layers(n_layers), y=NAMES[measure])
    ends = [curve.low for curve in curves]
    legend_below(ax, *named_intervals(*ends, level=curves[0].level, over="groups"))


CURVE_COLOURS = {"abs_delta_g_v": 0, "delta_alpha_v": 1}


@as_written
def plot_rope_heads(values: Float[np.ndarray, "layer head"], ax: Axes | None = None, *, measure: str) -> Axes:
    """Draw a measure by layer and head; what has a sign in colours that diverge evenly about zero.

    Example:
        >>> plot_rope_heads(found.delta_g_v, measure="delta_g_v")  # [32 32]

    Raises:
        InputError: the values are not [layer head], or the measure is not known.
    """
    if np.ndim(values) != 2 or 0 in np.shape(values) or measure not in NAMES:
        raise InputError(
            f"{measure!r} of shape {np.shape(values)} can not be drawn: give [layer head] of {', '.join(NAMES)}"
        )
    most = float(np.abs(values).max()) or 1.0
    signed = measure in SIGNED
    colours = {"cmap": DIVERGING if signed else SEQUENTIAL, "vmin": -most if signed else 0, "vmax": most}
    return heads_map(values, ax, title="RoPE sensitivity", label=NAMES[measure], **colours)
