"""What a figure says of its intervals, where it draws some: in the name of an axis, or in the legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from interp.numeric import bounded, named_level
from interp.plots.style import BAND, INK

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from numpy.typing import ArrayLike


def with_interval(name: str, ends: ArrayLike, *, level: float, kind: str = "interval") -> str:
    """The name of an axis, which tells of intervals where one is drawn: where an end of one is known.

    Args:
        name: what is drawn.
        ends: the lower ends, NaN where there is none.
        level: nominal coverage.
        kind: what the intervals are called.

    Example:
        >>> with_interval("accuracy", [0.2, np.nan], level=0.975), with_interval("accuracy", [np.nan], level=0.975)
        ('accuracy, 97.5 % interval', 'accuracy')
    """
    return f"{name}, {named_level(level)} {kind}" if bounded(ends) else name


def interval_name(level: float | None, over: str = "") -> str:
    """What a legend calls an interval.

    Args:
        level: nominal coverage; not said where it is None.
        over: what was drawn.

    Example:
        >>> interval_name(0.95, "groups"), interval_name(None)
        ('95 % interval over groups', 'interval')
    """
    return f"{'' if level is None else f'{named_level(level)} '}interval{over and f' over {over}'}"


def named_intervals(
    *ends: ArrayLike, level: float | None, over: str = "", bars: bool = False, colour: str = INK
) -> list[Artist]:
    """The handle that says in a legend what bands or bars are; none where no number has an interval.

    Args:
        ends: the lower ends, NaN where there is none.
        level: nominal coverage; not said where it is None.
        over: what was drawn.
        bars: whether intervals are bars, not bands.
        colour: the colour of the handle, another than grey where a grey one names something else.

    Example:
        >>> [one.get_label() for one in named_intervals([0.1, np.nan], level=0.95, over="groups")]
        ['95 % interval over groups']
    """
    if not bounded(*ends):
        return []
    label = interval_name(level, over)
    if bars:
        return [Line2D([], [], color=colour, linestyle="none", marker="|", markersize=10, label=label)]
    return [Patch(facecolor=colour, alpha=BAND, linewidth=0, label=label)]
