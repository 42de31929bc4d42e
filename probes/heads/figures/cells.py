"""Heads as cells: layers down, heads across, one map for each function, and the selected heads marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.colors import Normalize, TwoSlopeNorm
from matplotlib.patches import Rectangle

from interp.errors import InputError
from interp.plots.style import DIVERGING, INK, LABEL, PALETTE, SEQUENTIAL, TICK, TITLE, heads_map, integer_ticks
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARK = PALETTE[1]
"""The colour of the frame of a selected head."""

INSIDE = 0.8
"""How large the frame of a cell is, in cells."""

LETTERS = 9.5
"""Letters of a title that fit into an inch; longer titles are broken."""


@as_written
def plot_cells(
    values: Float[np.ndarray, "layer head"],
    ax: Axes | None = None,
    *,
    title: str = "",
    label: str = "score",
    marked: Bool[np.ndarray, "layer head"] | None = None,
) -> Axes:
    """Draw one value for each head: layers down, heads across, those marked in a frame.

    Colours run from the least to the largest value; where there are values on both sides of zero, white is zero.

    Args:
        values: the values; NaN is left white.
        ax: the axes to draw on; made if None.
        title: the title of the axes.
        label: the label of the colour bar.
        marked: the heads in a frame.

    Example:
        >>> plot_cells(scores.of("spatial"), title="spatial", marked=selected.mask())

    Raises:
        InputError: values or marks of another shape, or no value at all.
    """
    own = _checked(values, marked)
    ax = heads_map(own, ax, title=title, label=label, **_colours(own))
    _frame(ax, marked)
    return ax


@as_written
def plot_functions(
    values: Float[np.ndarray, "function layer head"],
    functions: Sequence[str],
    *,
    marked: Bool[np.ndarray, "function layer head"] | None = None,
    titles: Mapping[str, str] | None = None,
    label: str = "score",
    columns: int = 4,
) -> np.ndarray:
    """Draw the heads of every function as cells, one map a function in one scale of colours, selected heads framed.

    Beside each map stands how many heads are framed, of how many.

    Args:
        values: the scores, such as those of `HeadScores`.
        functions: their names.
        marked: the selected heads, such as the masks of head sets.
        titles: what to call the functions; their names by default.
        label: the label of the colour bar.
        columns: maps in one row.

    Returns:
        The axes, [function].

    Example:
        >>> axes = plot_functions(scores.values, scores.functions, marked=np.stack([one.mask() for one in selected]))
        >>> axes[0].figure.savefig("functions.png")

    Raises:
        InputError: values, names or marks that do not fit.
    """
    every = np.asarray(values, dtype=np.float64)
    if every.ndim != 3 or len(every) != len(functions) or (marked is not None and marked.shape != every.shape):
        marks = None if marked is None else marked.shape
        raise InputError(
            f"values have shape {every.shape}, marks {marks}, for {len(functions)} functions: give one map for each"
        )
    for own in every:
        _checked(own, None)
    axes = _grid(every.shape, columns)
    drawn = None
    for place, (ax, name) in enumerate(zip(axes, functions, strict=True)):
        drawn = ax.imshow(every[place], origin="upper", aspect="auto", interpolation="nearest", **_colours(every))
        _frame(ax, None if marked is None else marked[place])
        called = fill(name if titles is None else titles.get(name, name), int(_across(every.shape[2]) * LETTERS))
        many = "" if marked is None else f"\n{int(marked[place].sum())} of {marked[place].size} heads"
        ax.set_title(f"{called}{many}", fontsize=TITLE - 1, loc="left", color=INK)
        integer_ticks(ax.xaxis, every.shape[2])
        integer_ticks(ax.yaxis, every.shape[1])
        ax.tick_params(labelsize=TICK, colors=INK)
    _name_outer(axes, min(columns, len(axes)))
    bar = axes[0].figure.colorbar(drawn, ax=list(axes), fraction=0.03, pad=0.02)
    bar.set_label(label, fontsize=LABEL, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=INK)
    return axes


def _grid(shape: tuple[int, ...], columns: int) -> np.ndarray:
    """Axes for so many maps, each as large as its cells need."""
    import matplotlib.pyplot as plt

    functions, layers, heads = shape
    across = min(columns, functions)
    rows = -(-functions // across)
    size = (1.2 + across * _across(heads), 0.4 + rows * min(1.5 + 0.09 * layers, 4.0))
    axes = plt.subplots(rows, across, figsize=size, layout="compressed", squeeze=False)[1].ravel()
    for ax in axes[functions:]:
        ax.remove()
    return axes[:functions]


def _across(heads: int) -> float:
    """How wide the map of a function is, in inches."""
    return min(max(0.9 + 0.09 * heads, 1.6), 3.2)


def _name_outer(axes: np.ndarray, across: int) -> None:
    """Name the axes of the outer maps alone: all share theirs."""
    for place, ax in enumerate(axes):
        if place % across == 0:
            ax.set_ylabel("layer (0-based)", fontsize=LABEL, color=INK)
        else:
            ax.tick_params(labelleft=False)
        if place + across >= len(axes):
            ax.set_xlabel("head (0-based)", fontsize=LABEL, color=INK)
        else:
            ax.tick_params(labelbottom=False)


def _frame(ax: Axes, marked: Bool[np.ndarray, "layer head"] | None) -> None:
    """Frame the marked cells, each inside itself: frames on edges would seem to frame what lies between them."""
    for layer, head in np.argwhere(marked) if marked is not None else ():
        corner = (head - INSIDE / 2, layer - INSIDE / 2)
        ax.add_patch(Rectangle(corner, INSIDE, INSIDE, fill=False, edgecolor=MARK, linewidth=1.2))


def _colours(values: np.ndarray) -> dict[str, Any]:
    """One scale for all values: in both directions from zero where they lie on both sides of it."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low < 0 < high:
        most = max(-low, high)
        return {"cmap": DIVERGING, "norm": TwoSlopeNorm(0, -most, most)}
    return {"cmap": SEQUENTIAL, "norm": Normalize(low, high if high > low else low + 1)}


def _checked(values: Any, marked: Any) -> Float[np.ndarray, "layer head"]:
    """Values as numbers; refuses what is no map of heads."""
    own = np.asarray(values, dtype=np.float64)
    if own.ndim != 2 or own.size == 0 or not np.isfinite(own).any() or np.isinf(own).any():
        raise InputError(f"values have shape {own.shape} and {int(np.isfinite(own).sum())} numbers: give [layer head]")
    if marked is not None and np.shape(marked) != own.shape:
        raise InputError(f"marks have shape {np.shape(marked)} for values of shape {own.shape}: give one for each head")
    return own
