"""Figure of a comparison: accuracy, the index of order, RoPE sensitivity by layer, length of the stream by depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.datasets.synthetic.shapes import KINDS
from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import PALETTE, integer_ticks, legend_below, new_axes, new_grid, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

BOOTSTRAP = ("scenes", "seeds and scenes")
"""The intervals that are drawn: over scenes where each arm has one run."""

PLACES = ("relation", "photo")
"""The kinds of questions whose answers depend on places."""


@as_written
def plot_comparison(
    measures: pd.DataFrame, arms: Sequence[str], axes: Any = None, *, level: float | None = None
) -> np.ndarray:
    """Draw four panels; bars and bands are intervals of the bootstrap, small dots are single models.

    Args:
        measures: the table of `ArmComparison`.
        arms: their names, in the order of colours.
        axes: four axes; made if None.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: other than four axes.
    """
    axes = new_grid(4, columns=2, cell=(4.6, 3.3)) if axes is None else np.asarray(axes, dtype=object).ravel()
    if len(axes) != 4:
        raise InputError(f"{len(axes)} axes were given: give four")
    colours = dict(zip(arms, PALETTE, strict=False))
    _dots(axes[0], measures, "accuracy", KINDS, colours, title="Accuracy, tokens in order", y="share right")
    axes[0].set_ylim(0, 1.02)
    _dots(axes[1], measures, "psi", PLACES, colours, title="Position sensitivity index", y="PSI")
    _lines(axes[2], measures, "abs_delta_g_v", "layer ", colours, title="RoPE sensitivity", y="mean |delta g_V|")
    _lines(axes[3], measures, "ratio", "depth ", colours, title="Residual stream", y="image over words", log=True)
    drawn = measures[(measures["what"] == "arm") & measures["interval"].isin(BOOTSTRAP)]
    over = ", ".join(dict.fromkeys(drawn["interval"]))
    legend_below(axes[2], *named_intervals(drawn["low"], level=level, over=over))
    return axes


@as_written
def plot_training(
    training: pd.DataFrame, arms: Sequence[str], ax: Axes | None = None, *, measure: str = "right_relation"
) -> Axes:
    """Draw what was written down in training by step: the mean over seeds, and single runs as thin lines.

    Args:
        training: the table of `ArmComparison`.
        arms: their names, in the order of colours.
        ax: where to draw; made if None.
        measure: what is drawn; by default the accuracy on relation questions of validation scenes.

    Raises:
        InputError: nothing of that name was written down.
    """
    own = training[training["measure"] == measure]
    if own.empty:
        known = ", ".join(sorted(set(training["measure"]))) or "nothing"
        raise InputError(f"measure={measure!r} was not written down in training: there is {known}")
    ax = new_axes(ax, (5.6, 3.4))
    for arm, colour in zip(arms, PALETTE, strict=False):
        here = own[own["arm"] == arm]
        mean = here.groupby("step")["value"].mean()
        ax.plot(mean.index, mean.to_numpy(), color=colour, label=arm)
        for _, run in here.groupby("seed"):
            ax.plot(run["step"], run["value"], color=colour, linewidth=0.6, alpha=0.6)
    tidy(ax, title="While training", x="step", y=f"{measure}, validation scenes")
    legend_below(ax, columns=3)
    return ax


def _dots(
    ax: Axes, measures: pd.DataFrame, measure: str, kinds: Sequence[str], colours: dict[str, str], *, title: str, y: str
) -> None:
    """Each arm by kind of question, single models beside."""
    own = measures[measures["measure"] == measure]
    parts = [kind for kind in kinds if kind in set(own["part"])]
    for place, (arm, colour) in enumerate(colours.items()):
        shift = 0.24 * (place - (len(colours) - 1) / 2)
        for x, part in enumerate(parts):
            here = own[(own["arm"] == arm) & (own["part"] == part)]
            (row,) = here[(here["what"] == "arm") & here["interval"].isin(BOOTSTRAP)].itertuples()
            ax.errorbar(x + shift, row.value, [[row.value - row.low], [row.high - row.value]],
                        fmt="o", color=colour, capsize=3, markersize=5)  # fmt: skip
            models = here[here["what"] == "model"]["value"]
            ax.plot(np.full(len(models), x + shift + 0.07), models, ".", color=colour, markersize=4, alpha=0.6)
    ax.set_xticks(range(len(parts)), parts)
    tidy(ax, title=title, y=y)


def _lines(
    ax: Axes, measures: pd.DataFrame, measure: str, prefix: str, colours: dict[str, str], *, title: str, y: str,
    log: bool = False,
) -> None:  # fmt: skip
    """Each arm by layer or depth, single models as thin lines."""
    own = measures[(measures["measure"] == measure) & measures["part"].str.startswith(prefix)]
    n = own["part"].nunique()
    for arm, colour in colours.items():
        here = own[own["arm"] == arm]
        mean = here[(here["what"] == "arm") & here["interval"].isin(BOOTSTRAP)]
        x = mean["part"].str.removeprefix(prefix).astype(int)
        ax.plot(x, mean["value"], color=colour, marker="o", markersize=4, label=arm)
        ax.fill_between(x, mean["low"], mean["high"], color=colour, alpha=0.2, linewidth=0)
        for _, model in here[here["what"] == "model"].groupby("seed"):
            ax.plot(x, model["value"], color=colour, linewidth=0.6, alpha=0.6)
    if log:
        ax.set_yscale("log")
    integer_ticks(ax.xaxis, n)
    tidy(ax, title=title, x=prefix.strip(), y=y)
