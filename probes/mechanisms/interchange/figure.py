"""Figures of interchange: probability of each outcome over slots, and what a patch does beyond its control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, integer_ticks, legend_below, line_colours, new_axes, tidy
from interp.plots.written import as_written
from probes.mechanisms.interchange.shown import LEAST, SURE, lowered, raised

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@as_written
def plot_outcomes(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    outcomes: Sequence[str] = (),
    named: str = "",
    asked: str = "",
    slots: str = "slot",
    band: str = "std",
    title: str = "",
    level: float | None = None,
) -> Axes:
    """Draw the probability of each outcome over slots: a line per outcome with its band, and dashes for a control.

    Args:
        table: the columns set (`patched`, `control`), slot, outcome, value, low, high, std; of one direction.
        ax: where to draw; made if None.
        outcomes: which, in order; all by default.
        named: what was patched.
        asked: the one direction that was asked about; all where it is empty.
        slots: what the slots are called.
        band: `std`, one standard deviation over pairs to each side as in the paper, or `interval`.
        title: the title; a usual one by default.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: nothing to draw, or no such band.
    """
    if band not in ("std", "interval"):
        raise InputError(f"band={band!r} is not known: use 'std' or 'interval'")
    names = tuple(outcomes) or tuple(dict.fromkeys(table["outcome"] if len(table) else ()))
    if not names:
        raise InputError("there is nothing to draw: no pair was kept, see left_out")
    ax = new_axes(ax, (6.4, 4.0))
    for name, colour in zip(names, line_colours(len(names)), strict=True):
        own = table[(table["outcome"] == name) & (table["set"] == "patched")].sort_values("slot")
        low, high = (own["low"], own["high"]) if band == "interval" else _around(own)
        ax.plot(own["slot"], own["value"], color=colour, linewidth=1.8, marker="o", markersize=3, label=name)
        ax.fill_between(own["slot"], low, high, color=colour, alpha=0.15, linewidth=0)
        beside = table[(table["outcome"] == name) & (table["set"] == "control")].sort_values("slot")
        if len(beside):
            ax.plot(beside["slot"], beside["value"], color=colour, linewidth=1.2, linestyle="--", label="_")
    if "control" in set(table["set"]):
        ax.plot([], [], color=INK, linewidth=1.2, linestyle="--", label="control, same outcome")
    ax.set_ylim(-0.03, 1.03)
    _by_slot(ax, table)
    which = f", asked: {asked}" if asked else ""
    usual = f"Patched at {named or 'tokens'}{which}{' (bands: 1 std over pairs)' if band == 'std' else ''}"
    tidy(ax, title=title or usual, x=slots, y="probability at the last position")
    ends = table.loc[table["set"] == "patched", "low"] if band == "interval" else ()
    legend_below(ax, *named_intervals(ends, level=level, over="groups"), columns=3)
    return ax


@as_written
def plot_beyond_control(
    table: pd.DataFrame,
    ax: Axes | None = None,
    *,
    outcome: str = "place",
    slots: str = "slot",
    level: float | None = None,
) -> Axes:
    """Draw patched minus control over slots with intervals; full dots where a change is shown.

    Args:
        table: the columns slot, outcome, value, low, high, p_any; of one direction.
        ax: where to draw; made if None.
        outcome: which.
        slots: what the slots are called.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: nothing to draw.
    """
    own = table[table["outcome"] == outcome].sort_values("slot") if len(table) else table
    if not len(own):
        raise InputError(f"there is no difference of {outcome!r} to draw: see left_out")
    ax = new_axes(ax, (6.4, 3.4))
    colour, sure = PALETTE[0], raised(own) | lowered(own)
    ax.fill_between(own["slot"], own["low"], own["high"], color=colour, alpha=0.2, linewidth=0)
    ax.plot(own["slot"], own["value"], color=colour, linewidth=1.6)
    dots: dict[str, Any] = {"edgecolors": colour, "s": 22, "zorder": 3}
    for which, face, label in (
        (sure, colour, f"differs by more than {LEAST:g}, p ≤ {SURE:g} over all together"),
        (~sure, "white", "not shown to differ"),
    ):
        ax.scatter(own["slot"][which], own["value"][which], facecolors=face, label=label, **dots)
    ax.axhline(0, color=INK, linewidth=1, linestyle=":")
    _by_slot(ax, own)
    tidy(ax, title=f"Beyond the control: probability of {outcome!r}", x=slots, y="patched minus control")
    legend_below(ax, *named_intervals(own["low"], level=level, over="groups"), columns=2)
    return ax


def _around(own: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """One standard deviation to each side, as far as there are probabilities."""
    value, std = own["value"].to_numpy(), own["std"].to_numpy()
    return (value - std).clip(0, 1), (value + std).clip(0, 1)


def _by_slot(ax: Axes, table: pd.DataFrame) -> None:
    last = int(table["slot"].max())
    ax.set_xlim(-0.5, last + 0.5)
    integer_ticks(ax.xaxis, last + 1)
