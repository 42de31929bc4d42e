"""A figure of one number per layer and head: a heat map with the head mean beside it."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from interp.errors import InputError
from interp.layers import paper_layers
from interp.overlap.figures.association import SIGNIFICANT
from interp.plots.style import (
    DIVERGING,
    INK,
    SEQUENTIAL,
    SHADE,
    TICK,
    integer_ticks,
    legend_below,
    name_paper_layers,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@as_written
def plot_layer_by_head(
    values: Float[np.ndarray, "layer head_and_mean"],
    ax: Axes | None = None,
    *,
    label: str,
    null: float | None = None,
    marked: Bool[np.ndarray, "layer head_and_mean"] | None = None,
    mark: str = f"corrected p below {SIGNIFICANT:g}",
    title: str = "",
) -> Axes:
    """Draw one number per layer and head as a heat map, the head mean as a column of its own at the right.

    With a null value the colours diverge about it, evenly to both sides; without, they start at zero. Cells that are
    not defined are grey; the paper's layers are outlined.

    Args:
        values: numbers [layer head+1], the head mean last.
        ax: the axes to draw on; made if None.
        label: the label of the colour bar: the measure and its normalisation.
        null: the measure's value where nothing is the case, such as 0.5 for an AUROC.
        marked: cells that get a dot, such as those that survive a correction.
        mark: the meaning of a dot.
        title: the title of the axes.

    Example:
        >>> plot_layer_by_head(found.auroc, label="AUROC of cosine", null=0.5, marked=found.p_max < 0.05)

    Raises:
        InputError: the values have another shape, are empty or infinite, or the marks do not fit them.
    """
    cells = _check_cells(values, marked)
    n_layers, n_heads = cells.shape[0], cells.shape[1] - 1
    gap, width = max(0.6, n_heads / 40), max(1.0, n_heads / 20)
    ax = new_axes(ax, (6.6, float(np.clip(1.9 + 0.17 * n_layers, 3.4, 7.5))))
    norm = _norm(cells, null)
    colours = colormaps[SEQUENTIAL if null is None else DIVERGING].with_extremes(bad=SHADE)
    left = n_heads - 0.5 + gap
    style: dict[str, Any] = {
        "cmap": colours,
        "norm": norm,
        "aspect": "auto",
        "origin": "lower",
        "interpolation": "nearest",
    }
    masked = np.ma.masked_invalid(cells)
    drawn = ax.imshow(masked[:, :-1], extent=(-0.5, n_heads - 0.5, -0.5, n_layers - 0.5), **style)
    ax.imshow(masked[:, -1:], extent=(left, left + width, -0.5, n_layers - 0.5), **style)
    ax.set(xlim=(-0.5, left + width), ylim=(-0.5, n_layers - 0.5))
    extra: list[Any] = [_outline_paper(ax, n_layers, left + width)]
    if marked is not None:
        extra.append(_mark(ax, np.asarray(marked, dtype=bool), left + width / 2, mark, int(np.isfinite(cells).sum())))
    if np.isnan(cells).any():
        extra.append(Patch(facecolor=SHADE, label="not defined"))
    bar = ax.figure.colorbar(drawn, ax=ax, fraction=0.05, pad=0.02)
    bar.set_label("\n".join(textwrap.fill(line, 44) for line in label.splitlines()), fontsize=TICK, color=INK)
    bar.ax.tick_params(labelsize=TICK - 1, colors=INK)
    if null is not None:
        bar.ax.axhline(null, color=INK, linewidth=1, linestyle="--")
    tidy(ax, title=title, x=f"head (0-based, of {n_heads}), and the head mean", y=f"layer (0-based, of {n_layers})")
    ax.grid(False)
    ax.spines[["left", "bottom"]].set_visible(False)
    integer_ticks(ax.yaxis, n_layers)
    step = max(1, -(-n_heads // 10))
    ticks = list(range(0, n_heads, step))
    ax.set_xticks([*ticks, left + width / 2], [*map(str, ticks), "mean"])
    legend_below(ax, *extra, columns=1)
    return ax


def _check_cells(values: Any, marked: Any) -> np.ndarray:
    """Values [layer head+1] in float64."""
    cells = np.asarray(values, dtype=np.float64)
    if cells.ndim != 2 or not len(cells) or cells.shape[1] < 2 or np.isinf(cells).any():
        raise InputError(f"cells have shape {cells.shape}, or are infinite: give [layer head+1], the head mean last")
    if marked is not None and np.shape(marked) != cells.shape:
        raise InputError(f"marks have shape {np.shape(marked)} for cells of {cells.shape}: give one for each cell")
    return cells


def _norm(cells: np.ndarray, null: float | None) -> Normalize:
    """Colours from zero up, or evenly to both sides of the null."""
    known = cells[np.isfinite(cells)]
    if null is None:
        return Normalize(min(0.0, float(known.min(initial=0))), float(known.max(initial=0)) or 1e-12)
    reach = float(np.abs(known - null).max(initial=0)) or 1e-12
    return Normalize(null - reach, null + reach)


def _outline_paper(ax: Axes, n_layers: int, right: float) -> Patch:
    """A frame around the paper's layers, and what names it in the legend."""
    here = paper_layers(n_layers)
    ax.add_patch(
        Rectangle((-0.5, here[0] - 0.5), right + 0.5, len(here), fill=False, edgecolor=INK, linewidth=1.6, zorder=3)
    )
    return Patch(facecolor="none", edgecolor=INK, label=name_paper_layers(n_layers))


def _mark(ax: Axes, marked: np.ndarray, mean_at: float, name: str, of: int) -> Line2D:
    """Dots in the marked cells, and what names them in the legend, without a dot where there is none; with counts."""
    layers, heads = np.nonzero(marked)
    x = np.where(heads == marked.shape[1] - 1, mean_at, heads)
    size = float(np.clip(110 / max(marked.shape), 2.5, 7))
    dots: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o" if len(layers) else "",
        "markersize": size,
        "color": INK,
        "markeredgecolor": "white",
        "markeredgewidth": 0.8,
    }
    ax.plot(x, layers, **dots)
    return Line2D([], [], label=f"{name}: {int(marked.sum())} of {of} cells", **dots)
