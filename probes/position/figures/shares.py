"""Bars of attention shares, and of the entropy behind each generated token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.numeric import percentage
from interp.plots.style import INK, LABEL, PALETTE, TICK, TITLE, in_percent, legend_below, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"system": "#8a8a8a", "image": PALETTE[1], "text": PALETTE[2]}


@as_written
def plot_shares(
    groups: Sequence[str], kept: Float[np.ndarray, " group"], masked: float, ax: Axes | None = None
) -> Axes:
    """Draw shares with the system prompt kept and masked, each as one bar from 0 to 1; one bar where there is none."""
    without = {"image": masked, "text": 1 - masked}
    bars = {"no system\nprompt": without}
    if "system" in groups:
        whole = dict(zip(groups, map(float, kept), strict=True))
        bars = {"system prompt\nkept": whole, "system prompt\nmasked": without}
    return plot_divisions(bars, ax)


@as_written
def plot_divisions(bars: Mapping[str, Mapping[str, float]], ax: Axes | None = None) -> Axes:
    """Draw divisions of the attention, each as one bar from 0 to 1.

    Args:
        bars: by the bar's name, the share of each of its groups.
        ax: where to draw; made if None.
    """
    ax = new_axes(ax, (5.6, 1.2 + 0.5 * len(bars)))
    named: set[str] = set()
    for place, parts in enumerate(bars.values()):
        start = 0.0
        for name, share in parts.items():
            ax.barh(place, share, left=start, color=COLOURS[name], label=None if name in named else name)
            named.add(name)
            if share > 0.06:
                ax.text(
                    start + share / 2,
                    place,
                    f"{percentage(share, 0)}%",
                    ha="center",
                    va="center",
                    fontsize=TICK,
                    color="white",
                )
            start += share
    ax.set_yticks(range(len(bars)), list(bars))
    ax.set_ylim(len(bars) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    in_percent(ax.xaxis)
    tidy(ax, title="Attention shares", x="of the attention on these groups (BOS and markers left out)")
    ax.yaxis.grid(False)
    legend_below(ax, columns=3)
    return ax


@as_written
def plot_entropy(tokens: Sequence[str], values: Float[np.ndarray, " token"], ax: Axes | None = None) -> Axes:
    """Draw the normalised entropy behind each token, from 0 to 1."""
    ax = new_axes(ax, (min(2.4 + 0.4 * len(tokens), 9), 2.6))
    ax.bar(range(len(tokens)), values, color=COLOURS["image"])
    ax.set_xticks(range(len(tokens)), [token.strip() or repr(token) for token in tokens], rotation=60, ha="right")
    ax.set_ylim(0, 1)
    ax.set_title("Attention entropy over the image", fontsize=TITLE, loc="left", color=INK)
    ax.set_ylabel("entropy / log2(image tokens)", fontsize=LABEL, color=INK)
    ax.tick_params(labelsize=TICK, colors=INK)
    return ax
