"""Figure of the dual mechanisms: what each swap does beyond its control, slot by slot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, integer_ticks, legend_below, new_axes, tidy
from interp.plots.written import as_written
from probes.mechanisms.interchange.shown import lowered, raised

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

NAMES = {
    "strip": "strips swapped",
    "object": "objects swapped",
    "background": "background of strips swapped",
    "last": "last position patched",
    "backup": "objects swapped, order removed from both",
}
"""What each sweep is called."""


@as_written
def plot_sweeps(
    sweeps: Mapping[str, pd.DataFrame],
    slots: str,
    ax: Axes | None = None,
    *,
    of: str = "",
    level: float | None = None,
) -> Axes:
    """Draw P(place) minus the control over slots, a line per token set; full dots where a change is shown.

    Args:
        sweeps: by token set, a row per slot: slot, value, low, high, p_any.
        slots: what the slots are called.
        ax: where to draw; made if None.
        of: which pairs, if not all.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: nothing to draw.
    """
    if not sweeps:
        raise InputError("there is no difference to a control to draw: see left_out of each sweep")
    ax = new_axes(ax, (7.2, 4.2))
    last = 0
    for name, table in sweeps.items():
        own, colour = table.sort_values("slot"), PALETTE[[*NAMES].index(name) % len(PALETTE)]
        sure = raised(own) | lowered(own)
        dashed = "--" if name == "backup" else "-"
        ax.fill_between(own["slot"], own["low"], own["high"], color=colour, alpha=0.15, linewidth=0)
        ax.plot(own["slot"], own["value"], color=colour, linewidth=1.6, linestyle=dashed, label=NAMES[name])
        for which, face in ((sure, colour), (~sure, "white")):
            ax.scatter(own["slot"][which], own["value"][which], facecolors=face, edgecolors=colour, s=20, zorder=3)
        last = max(last, int(own["slot"].max()))
    ax.axhline(0, color=INK, linewidth=1, linestyle=":")
    ax.set_xlim(-0.5, last + 0.5)
    integer_ticks(ax.xaxis, last + 1)
    title = f"Which swaps exchange places{of and ', '}{of}, beyond random image tokens"
    tidy(ax, title=title, x=slots, y="P(place), patched − control")
    ends = [table["low"] for table in sweeps.values()]
    legend_below(ax, *named_intervals(*ends, level=level, over="groups"), columns=2)
    return ax
