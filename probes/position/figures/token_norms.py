"""Violins of the norms of image tokens and of words, over each other on a log axis, with their quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.cbook import violin_stats
from matplotlib.mlab import GaussianKDE
from matplotlib.ticker import LogLocator, NullFormatter

from interp.errors import InputError
from interp.plots.style import INK, PALETTE, TICK, legend_below, new_axes, new_grid, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {"image": PALETTE[4], "text": PALETTE[2]}  # orange and green, as in the paper
NAMES = {
    "received": "L2 norm of the token, as the first block receives it",
    "paper": "L2 norm of the projector's output, or of the word's row in the embedding table",
}
TITLES = {
    "received": "Norms of image tokens and of words",
    "paper": "Norms of image tokens and of words, by the paper's definition",
}
QUARTILES = (0.25, 0.5, 0.75)


@as_written
def plot_token_norms(
    norms: Mapping[str, Float[np.ndarray, " token"]],
    ax: Axes | None = None,
    *,
    definition: str = "received",
    counts: Mapping[str, int] | None = None,
) -> Axes:
    """Draw the norms of `image` and `text` as two violins at one place; their widths are scaled to one.

    The density is that of the norm's logarithm. Dashed lines are quartiles. Other groups are not drawn, and a norm of
    zero, which has no logarithm, is left out of its violin and counted in the legend.

    Args:
        norms: the norms by group, as `probes.position.token_norms.token_norms_by_group` gives them.
        ax: where to draw; made if None.
        definition: which norms they are, for the axis: one of `probes.position.token_norms.DEFINITIONS`.
        counts: how many tokens each group has, where its norms stand for more of them, each for as many.

    Example:
        >>> plot_token_norms(token_norms_by_group(found))

    Raises:
        InputError: neither group has a norm above zero, a norm is negative or not finite, or an unknown definition.
    """
    if definition not in NAMES:
        raise InputError(f"definition {definition!r} is not known: use one of {', '.join(NAMES)}")
    drawn = {group: np.asarray(norms[group], dtype=np.float64) for group in COLOURS if group in norms}
    if any(not np.isfinite(values).all() or values.min(initial=0) < 0 for values in drawn.values()):
        raise InputError("norms are negative, infinite or NaN: give those of token_norms")
    if not any(values.any() for values in drawn.values()):
        raise InputError(f"no token of groups {', '.join(COLOURS)} has a norm above zero: there is nothing to draw")
    ax = new_axes(ax, (6.4, 3.4))
    ax.set_xscale("log")
    for group, values in drawn.items():
        if values.any():
            _draw_violin(ax, group, values, len(values) if counts is None else counts[group])
    tidy(ax, title=TITLES[definition], x=NAMES[definition])
    _plain_ticks(ax)
    ax.tick_params(which="both", labelsize=TICK, labelcolor=INK)
    ax.yaxis.grid(False)
    ax.set_yticks([])
    ax.set_ylim(-1.1, 1.1)
    legend_below(ax)
    return ax


@as_written
def plot_definitions(
    norms: Mapping[str, Mapping[str, Float[np.ndarray, " token"]]],
    axes: Sequence[Axes] | None = None,
    *,
    counts: Mapping[str, int] | None = None,
) -> np.ndarray:
    """Draw the violins by each definition side by side; see `plot_token_norms`.

    Args:
        norms: by definition, the norms by group.
        axes: where to draw, one for each definition; made if None.
        counts: as in `plot_token_norms`.

    Returns:
        The axes, one for each definition.

    Example:
        >>> plot_definitions({"received": found.by_group(), "paper": found.by_group("paper")})

    Raises:
        InputError: not one axes for each.
    """
    panels = list(new_grid(len(norms), columns=2, cell=(5.2, 3.4)) if axes is None else np.array(axes).ravel())
    if len(panels) != len(norms):
        raise InputError(f"{len(panels)} axes were given for {len(norms)} definitions: give one for each, or none")
    for ax, (definition, own) in zip(panels, norms.items(), strict=True):
        plot_token_norms(own, ax, definition=definition, counts=counts)
    return np.array(panels, dtype=object)


def _plain_ticks(ax: Axes) -> None:
    """Plain numbers along a log axis: powers of ten, and where there are few of them, twice and five times each."""
    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 1000 * low else (1.0,)))
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter(NullFormatter())


def _draw_violin(ax: Axes, group: str, values: Float[np.ndarray, " token"], count: int) -> None:
    """One violin around the middle of the axes, and lines where its quartiles are."""
    logs, colour = np.log10(values[values > 0]), COLOURS[group]
    zeros = round(count * (1 - len(logs) / len(values)))
    label = f"{group}, n = {count - zeros}" + (f", {zeros} of norm zero left out" if zeros else "")
    (shape,) = violin_stats(logs, _density, points=200)
    width = shape["vals"] / shape["vals"].max()
    ax.fill_between(10 ** shape["coords"], -width, width, color=colour, alpha=0.55, linewidth=0, label=label)
    for quartile in np.quantile(logs, QUARTILES):
        half = float(np.interp(quartile, shape["coords"], width))
        ax.plot([10**quartile] * 2, [-half, half], color=colour, linestyle="--", linewidth=1.4)


def _density(logs: Float[np.ndarray, " token"], at: Float[np.ndarray, " place"]) -> Float[np.ndarray, " place"]:
    """The density of the logarithms at some places; one everywhere where all are the same."""
    return np.ones_like(at) if np.ptp(logs) < 1e-9 else GaussianKDE(logs).evaluate(at)
