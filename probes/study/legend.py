"""Legends of the probes' figures: what bands and bars around numbers are, where any number has one."""

from __future__ import annotations

import numpy as np
from matplotlib.artist import Artist
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike

from interp.plots.style import INK

SHADE = 0.2
"""How dark a band in a legend is."""


def bounded(*ends: ArrayLike) -> bool:
    """Whether any number has an interval, by the lower ends, NaN where it has none."""
    return any(bool(np.isfinite(np.asarray(own, dtype=np.float64)).any()) for own in ends)


def interval_name(level: float | None, over: str = "") -> str:
    """What a legend calls an interval.

    Example:
        >>> interval_name(0.95, "groups"), interval_name(None)
        ('95 % interval over groups', 'interval')
    """
    return f"{'' if level is None else f'{100 * level:g} % '}interval{over and f' over {over}'}"


def named_intervals(*ends: ArrayLike, level: float | None, over: str = "", bars: bool = False) -> list[Artist]:
    """The handle that says in a legend what bands or bars are; none where no number has an interval.

    Args:
        ends: the lower ends, NaN where there is none.
        level: nominal coverage; not said where it is None.
        over: what was drawn.
        bars: whether intervals are bars, not bands.

    Example:
        >>> [one.get_label() for one in named_intervals([0.1, np.nan], level=0.95, over="groups")]
        ['95 % interval over groups']
    """
    if not bounded(*ends):
        return []
    label = interval_name(level, over)
    if bars:
        return [Line2D([], [], color=INK, linestyle="none", marker="|", markersize=10, label=label)]
    return [Patch(facecolor=INK, alpha=SHADE, linewidth=0, label=label)]
