"""Figures of whether overlap goes with right answers, by layer: over all pairs, and over pairs of one relation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.numeric import bounded, named_level
from interp.plots.style import (
    INK,
    PALETTE,
    TICK,
    draw_band,
    layer_axis,
    legend_below,
    new_axes,
    new_grid,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from interp.stats.association import Association

SIGNIFICANT = 0.05
"""Corrected p-values below it are drawn as filled marks and called a difference."""

_BAND = "#c9c9c9"


@as_written
def plot_auroc_by_layer(
    found: Association,
    ax: Axes | None = None,
    *,
    title: str = "Does overlap go with right answers?",
    score: str = "",
    significant: float = SIGNIFICANT,
) -> Axes:
    """Draw the AUROC of right against wrong answers by layer with its interval and what shuffled answers give.

    Marks are filled where p, corrected for all that were tested together (family-wise, by the maximum), lies below
    `significant`. The star is the layer farthest from 0.5. It was picked on the same samples, so its bar is the
    interval that holds for all that were tested together, where the band is that of each layer alone.

    Args:
        found: an association of arrays [layer], or [layer head+1], of which the head mean is drawn.
        ax: the axes to draw on; made if None.
        title: the title of the axes.
        score: the name of what predicts, for the axis; by default overlap, and of [layer head+1] of the head mean.
        significant: the corrected p below which a mark is filled.

    Example:
        >>> plot_auroc_by_layer(association(study.values("cosine")[:, :, -1], right, seed=0))

    Raises:
        InputError: the arrays are empty or of another shape.
    """
    lines = by_layer(found)
    n_layers, layers = len(lines["auroc"]), np.arange(len(lines["auroc"]))
    ax = new_axes(ax, (6.6, 4.4), n_layers=n_layers)
    ax.axhline(0.5, color=INK, linewidth=1, linestyle="--", label="chance")
    if np.isfinite(lines["auroc"]).any():
        shuffled = f"{named_level(found.level)} of shuffled answers"
        null = (lines["null_low"], lines["null_high"])
        draw_band(ax, layers, null, _BAND, alpha=0.75, width=7.0, label=shuffled)
        draw_band(ax, layers, (lines["low"], lines["high"]), PALETTE[0])
        with_it = f"with its {named_level(found.level)} interval"
        name = f"AUROC {with_it if bounded(lines['low']) else '(no interval)'}"
        ax.plot(layers, lines["auroc"], color=PALETTE[0], linewidth=1.8, label=name)
        below = lines["p_max"] < significant
        for kept, face, name in ((below, PALETTE[0], ""), (~below, "white", "not")):
            if not kept.any():
                continue
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
        bar: dict[str, Any] = {"color": PALETTE[1], "linewidth": 1.5, "marker": "_", "zorder": 3}
        ends = [lines[name][best] for name in ("low_all", "high_all")]
        if np.isfinite(ends).all():
            ax.plot([best, best], ends, label=f"its {named_level(found.level)} interval for all together", **bar)
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
    said = score or name_score(found.auroc)
    title = f"{title} ({_how_many(found)})"
    tidy(ax, title=title, x=f"layer (0-based, of {n_layers})", y=f"AUROC, right against wrong\n({said})")
    legend_below(ax, shade)
    return ax


@as_written
def plot_auroc_pooled_and_within(
    pooled: Association,
    within: Association,
    axes: Sequence[Axes] | None = None,
    *,
    score: str = "",
    significant: float = SIGNIFICANT,
) -> np.ndarray:
    """Draw the AUROC over all pairs of samples, and beside it over pairs of one relation only, on one scale.

    Where relations differ in how often they are answered rightly and in how their boxes lie, the pooled AUROC can be a
    detector of the relation; the one within relations can not.

    Args:
        pooled: the association over all pairs.
        within: the association over pairs inside one relation.
        axes: two axes to draw on; made if None.
        score: the name of what predicts, for the axis; by default overlap, and of [layer head+1] of the head mean.
        significant: the corrected p below which a mark is filled.

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


def name_score(values: Any) -> str:
    """How a score without a name of its own is called: arrays [layer] can be of any heads."""
    return "overlap, head mean" if np.ndim(values) > 1 else "overlap"


def by_layer(found: Association) -> dict[str, np.ndarray]:
    """The arrays of an association for the head mean, [layer] each.

    Raises:
        InputError: they are empty or of another shape.
    """
    names = ("auroc", "low", "high", "low_all", "high_all", "null_low", "null_high", "p", "p_max", "p_bh")
    arrays = {name: np.asarray(getattr(found, name), dtype=np.float64) for name in names}
    return of_head_mean(arrays, "the association")


def _how_many(found: Association) -> str:
    """How many answers enter the head mean, of how many: layers can differ."""
    n = np.asarray(found.n)
    own = (n[:, -1] if n.ndim > 1 else n)[np.isfinite(by_layer(found)["auroc"])]
    if not own.size:
        return f"{found.n_right} right, {found.n_wrong} wrong"
    fewest, most = int(own.min()), int(own.max())
    return f"{most if fewest == most else f'{fewest} to {most}'} of {found.n_right + found.n_wrong} answers"


def strongest(auroc: Float[np.ndarray, " layer"]) -> int:
    """The layer whose AUROC is farthest from 0.5; the first of equals."""
    return int(np.nanargmax(np.abs(auroc - 0.5)))


def of_head_mean(arrays: dict[str, np.ndarray], what: str) -> dict[str, np.ndarray]:
    """Arrays [layer] as they are, and of those [layer head+1] the head mean; refuses any other shape."""
    shapes = {array.shape for array in arrays.values()}
    shape = next(iter(shapes))
    if len(shapes) != 1 or len(shape) not in (1, 2) or 0 in shape:
        raise InputError(f"{what} has shapes {sorted(shapes)}: give one of [layer], or of [layer head+1]")
    return {name: array if len(shape) == 1 else array[:, -1] for name, array in arrays.items()}
