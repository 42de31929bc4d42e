"""Figures of whether overlap goes with right answers: by layer, by layer and head, and with other things held fixed."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from interp.errors import InputError
from interp.layers import paper_layers
from interp.plots.style import (
    DIVERGING,
    INK,
    PALETTE,
    SEQUENTIAL,
    SHADE,
    TICK,
    draw_band,
    integer_ticks,
    layer_axis,
    legend_below,
    name_paper_layers,
    new_axes,
    new_grid,
    tidy,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from interp.stats.association import Association
    from interp.stats.partial import Effect, PartialEffect

SIGNIFICANT = 0.05
"""Corrected p-values below it are drawn as filled marks and called a difference."""

_BAND = "#c9c9c9"


def plot_auroc_by_layer(
    found: Association,
    ax: Axes | None = None,
    *,
    title: str = "Does overlap go with right answers?",
    score: str = "overlap, head mean",
    significant: float = SIGNIFICANT,
) -> Axes:
    """Draw the AUROC of right against wrong answers by layer with its interval and what shuffled answers give.

    Marks are filled where p, corrected for all that were tested together (family-wise, by the maximum), lies below
    `significant`; the star is the layer farthest from 0.5, which was picked on the same samples.

    Args:
        found: arrays [layer], or [layer head+1], of which the head mean is drawn.
        ax: where to draw; made if None.
        title: of the axes.
        score: what predicts, for the axis' name.
        significant: below which corrected p a mark is filled.

    Example:
        >>> plot_auroc_by_layer(association(study.values("cosine")[:, :, -1], right, seed=0))

    Raises:
        InputError: the arrays are empty or of another shape.
    """
    lines = by_layer(found)
    n_layers, layers = len(lines["auroc"]), np.arange(len(lines["auroc"]))
    ax = new_axes(ax, (6.6, 4.4))
    ax.axhline(0.5, color=INK, linewidth=1, linestyle="--", label="chance")
    if np.isfinite(lines["auroc"]).any():
        shuffled: dict[str, Any] = {"alpha": 0.75, "width": 7.0, "label": f"{found.level:.0%} of shuffled answers"}
        draw_band(ax, layers, (lines["null_low"], lines["null_high"]), _BAND, **shuffled)
        draw_band(ax, layers, (lines["low"], lines["high"]), PALETTE[0])
        ax.plot(layers, lines["auroc"], color=PALETTE[0], linewidth=1.8, label="AUROC with its interval")
        below = lines["p_max"] < significant
        for kept, face, name in ((below, PALETTE[0], ""), (~below, "white", "not")):
            label = f"corrected p {f'{name} ' if name else ''}below {significant:g}"
            ax.plot(
                layers[kept],
                lines["auroc"][kept],
                linestyle="none",
                marker="o",
                markersize=5,
                markerfacecolor=face,
                markeredgecolor=PALETTE[0],
                label=label,
            )
        best = strongest(lines["auroc"])
        ax.plot(
            [best],
            [lines["auroc"][best]],
            linestyle="none",
            marker="*",
            markersize=15,
            color=PALETTE[1],
            markeredgecolor="white",
            zorder=4,
            label=f"farthest from chance: layer {best}",
        )
    else:
        why = f"not defined: {int(found.n_right)} right and {int(found.n_wrong)} wrong answers can not be compared"
        ax.text(0.5, 0.75, why, transform=ax.transAxes, ha="center", fontsize=TICK, color=INK)
        ax.set_ylim(0, 1)
    shade = layer_axis(ax, n_layers)
    title = f"{title} ({int(found.n_right)} right, {int(found.n_wrong)} wrong)"
    tidy(ax, title=title, x=f"layer (0-based, of {n_layers})", y=f"AUROC, right against wrong\n({score})")
    legend_below(ax, shade)
    return ax


def plot_auroc_pooled_and_within(
    pooled: Association,
    within: Association,
    axes: Sequence[Axes] | None = None,
    *,
    score: str = "overlap, head mean",
    significant: float = SIGNIFICANT,
) -> np.ndarray:
    """Draw the AUROC over all pairs of samples, and beside it over pairs of one relation only, on one scale.

    Where relations differ in how often they are answered rightly and in how their boxes lie, the pooled AUROC can be a
    detector of the relation; the one within relations can not.

    Args:
        pooled: over all pairs.
        within: over pairs inside one relation.
        axes: where to draw, two; made if None.
        score: what predicts, for the axis' name.
        significant: see `plot_auroc_by_layer`.

    Returns:
        The axes, [2].

    Example:
        >>> plot_auroc_pooled_and_within(pooled, within)[0].figure.savefig("auroc.png")

    Raises:
        InputError: the arrays are empty, of another shape or of different depth, or the axes are not two.
    """
    panels = new_grid(2, columns=2, cell=(6.0, 4.6)) if axes is None else np.array(axes, dtype=object).ravel()
    if len(panels) != 2 or len(by_layer(pooled)["auroc"]) != len(by_layer(within)["auroc"]):
        raise InputError(f"{len(panels)} axes, or results of two depths: give two axes, and results of one model")
    for ax, found, name in zip(panels, (pooled, within), ("Pooled", "Within relations"), strict=True):
        plot_auroc_by_layer(found, ax, title=name, score=score, significant=significant)
    ends = np.array([ax.get_ylim() for ax in panels])
    for ax in panels:
        ax.set_ylim(max(0.0, ends[:, 0].min()), min(1.0, ends[:, 1].max()))
    return panels


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
        values: [layer head+1], the head mean last.
        ax: where to draw; made if None.
        label: of the colour bar: the measure and its normalisation.
        null: what the measure is where nothing is the case, such as 0.5 for an AUROC.
        marked: cells that get a dot, such as those that survive a correction.
        mark: what a dot means.
        title: of the axes.

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
        extra.append(_mark(ax, np.asarray(marked, dtype=bool), left + width / 2, mark))
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


def plot_partial_effect(
    found: PartialEffect,
    ax: Axes | None = None,
    *,
    title: str = "Overlap and right answers, other things equal",
    score: str = "overlap, head mean",
) -> Axes:
    """Draw the log odds ratio of a right answer by layer with its interval: of the score alone, and beside covariates.

    Zero is no effect. Hollow marks are layers in which only the penalty keeps the slope finite, so that its size says
    nothing and its sign does.

    Args:
        found: arrays [layer], or [layer head+1], of which the head mean is drawn.
        ax: where to draw; made if None.
        title: of the axes.
        score: what predicts, for the axis' name.

    Example:
        >>> plot_partial_effect(partial_effect(cosine, right, {"relation": relation}, seed=0))  # cosine [412 32]

    Raises:
        InputError: the arrays are empty or of another shape.
    """
    beside = textwrap.shorten(", ".join(found.beside), 60, placeholder=" ...") or "nothing"
    names = {"alone": found.unadjusted, f"beside {beside}": found.adjusted}
    tables = {name: _effect_by_layer(one) for name, one in names.items()}
    n_layers = len(tables["alone"]["log_odds"])
    ax = new_axes(ax, (6.6, 4.4))
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
    y = f"log odds ratio of a right answer,\nfor one standard deviation of\n{score}"
    tidy(ax, title=title, x=f"layer (0-based, of {n_layers})", y=y)
    for text in legend_below(ax, shade, columns=1).get_texts():
        text.set_parse_math(False)
    return ax


def by_layer(found: Association) -> dict[str, Float[np.ndarray, " layer"]]:
    """The arrays of an association for the head mean, [layer] each.

    Raises:
        InputError: they are empty or of another shape.
    """
    names = ("auroc", "low", "high", "null_low", "null_high", "p", "p_max", "p_bh")
    arrays = {name: np.asarray(getattr(found, name), dtype=np.float64) for name in names}
    return _of_head_mean(arrays, "the association")


def strongest(auroc: Float[np.ndarray, " layer"]) -> int:
    """The layer whose AUROC is farthest from 0.5; the first of equals."""
    return int(np.nanargmax(np.abs(auroc - 0.5)))


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


def _mark(ax: Axes, marked: np.ndarray, mean_at: float, name: str) -> Line2D:
    """Dots in the marked cells, and what names them in the legend."""
    layers, heads = np.nonzero(marked)
    x = np.where(heads == marked.shape[1] - 1, mean_at, heads)
    size = float(np.clip(110 / max(marked.shape), 2.5, 7))
    dots: dict[str, Any] = {
        "linestyle": "none",
        "marker": "o",
        "markersize": size,
        "color": INK,
        "markeredgecolor": "white",
        "markeredgewidth": 0.8,
    }
    ax.plot(x, layers, **dots)
    return Line2D([], [], label=f"{name}: {int(marked.sum())} of {marked.size} cells", **dots)


def _effect_by_layer(effect: Effect) -> dict[str, np.ndarray]:
    """The arrays of an effect for the head mean, [layer] each."""
    names = ("log_odds", "low", "high", "separated")
    arrays = {name: np.asarray(getattr(effect, name), dtype=np.float64) for name in names}
    return _of_head_mean(arrays, "the effect")


def _of_head_mean(arrays: dict[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """Arrays [layer] as they are, and of those [layer head+1] the head mean; refuses any other shape."""
    shapes = {array.shape for array in arrays.values()}
    shape = next(iter(shapes))
    if len(shapes) != 1 or len(shape) not in (1, 2) or 0 in shape:
        raise InputError(f"{what} has shapes {sorted(shapes)}: give one of [layer], or of [layer head+1]")
    return {name: array if len(shape) == 1 else array[:, -1] for name, array in arrays.items()}
