"""Figures of order: accuracy in order and permuted, the index by relation, accuracy by number of image tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.legend import legend_beside
from interp.plots.style import INK, PALETTE, TICK, cut_short, in_percent, legend_below, line_colours, new_axes, tidy
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

INDICES = {"psi": "PSI (paper)", "psi_corrected": "against chance:\ndrop / (accuracy - chance)"}
"""What the two indices are called."""

SHARES = ("accuracy", "permuted")
"""The measures of how often answers are right."""

SHIFTS = (-0.12, 0.12)
"""Where two things of one relation stand beside its place."""

BESIDE = 2.1
"""Inches beside the axes, for a legend."""

DASHES = ("-", (0, (4, 3)), (0, (1, 2)), "-.")
"""Lines that lie on each other are all seen: the first is whole, those above it have gaps."""


@as_written
def plot_accuracy_in_order(
    measures: pd.DataFrame,
    ax: Axes | None = None,
    *,
    chance: Mapping[str, float] | None = None,
    level: float | None = None,
) -> Axes:
    """Draw accuracy in order and permuted, with intervals, by relation.

    Args:
        measures: the columns relation, measure, value, low, high, with the measures `accuracy` and `permuted`.
        ax: where to draw; made if None.
        chance: share of right answers of a blind guess, by relation.
        level: nominal coverage of the intervals, for the legend.

    Example:
        >>> plot_accuracy_in_order(found.measures, chance=found.chance)

    Raises:
        InputError: there is neither measure.
    """
    names = _relations(measures, SHARES)
    ax = _new(ax, names)
    for shift, measure, label, colour in (
        (SHIFTS[0], "accuracy", "in order", INK),
        (SHIFTS[1], "permuted", "permuted, mean over seeds", PALETTE[1]),
    ):
        _dots(ax, measures, measure, names, shift, label, colour)
    for place, name in enumerate(names):
        if name in (chance or {}):
            value = [(chance or {})[name]] * 2
            label = "chance" if place == 0 else "_"
            ax.plot([place - 0.35, place + 0.35], value, color=INK, linestyle="--", linewidth=1, label=label)
    _percent_axis(ax)
    _by_relation(ax, names, "Accuracy in order and permuted", "accuracy", _intervals(measures, SHARES, level))
    return ax


@as_written
def plot_answers(
    orders: Sequence[str], texts: Sequence[str], confidence: Float[np.ndarray, " order"], ax: Axes | None = None
) -> Axes:
    """Draw the confidence in one sample's answer in each order, the answers beside: untouched, permuted, pooled.

    Args:
        orders: their names.
        texts: the answer in each.
        confidence: largest probability of each answer's first token.
        ax: where to draw; made if None.
    """
    ax = new_axes(ax, (5.6, 1.2 + 0.3 * len(orders)))
    kinds = {"original": INK, "seed": PALETTE[1], "side": PALETTE[0]}
    places = np.arange(len(orders))
    ax.barh(places, confidence, color=[kinds[order.split()[0]] for order in orders], height=0.62)
    for place, text, sure in zip(places, texts, confidence, strict=True):
        ax.annotate(cut_short(text or "(nothing)", 24), (sure, place), xytext=(4, 0), textcoords="offset points",
                    va="center", fontsize=TICK, color=INK)  # fmt: skip
    ax.set_yticks(places, [order.replace("seed", "permuted, seed").replace("side", "pooled, side") for order in orders])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.3)
    ax.set_xticks(np.linspace(0, 1, 5))
    tidy(ax, title="Answers by order of the image tokens", x="confidence in the first token")
    return ax


@as_written
def plot_psi(
    measures: pd.DataFrame,
    ax: Axes | None = None,
    *,
    references: pd.DataFrame | None = None,
    level: float | None = None,
) -> Axes:
    """Draw the position sensitivity index, and the chance-corrected one where it is told, with intervals, by relation.

    Args:
        measures: the columns relation, measure, value, low, high.
        ax: where to draw; made if None.
        references: what the indices would be of other models, drawn as dashes at the places of the indices, with bands
            for intervals: the columns relation, reference, measure, value, low, high.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: there is neither index.
    """
    names = _relations(measures, tuple(INDICES))
    ax = _new(ax, names)
    for (measure, label), shift, colour in zip(INDICES.items(), SHIFTS, (INK, PALETTE[0]), strict=True):
        _dots(ax, measures, measure, names, shift, label, colour)
    ax.axhline(0, color=INK, linewidth=1, linestyle=":")
    if references is not None:
        for (name, own), colour in zip(references.groupby("reference"), PALETTE[1:], strict=False):
            _dashes(ax, own, names, name, colour)
    told = _intervals(measures, tuple(INDICES), level)
    _by_relation(ax, names, "Position sensitivity index", "share of accuracy lost", told)
    return ax


def _dashes(ax: Axes, own: pd.DataFrame, names: list[str], label: str, colour: str) -> None:
    """One reference: a dash where each index would be, and a band for its interval."""
    shifts = dict(zip(INDICES, SHIFTS, strict=True))
    for number, row in enumerate(own.itertuples()):
        middle = names.index(row.relation) + shifts[row.measure]
        ends = [middle - 0.1, middle + 0.1]
        ax.plot(ends, [row.value] * 2, color=colour, linewidth=1.6, label="_" if number else label)
        ax.fill_between(ends, row.low, row.high, color=colour, alpha=0.15, linewidth=0)


@as_written
def plot_compression(
    curve: pd.DataFrame, ax: Axes | None = None, *, chance: float | None = None, level: float | None = None
) -> Axes:
    """Draw accuracy against the number of image tokens: all samples with a band, and each relation if several.

    Args:
        curve: the columns relation, image_tokens, accuracy, low, high, samples.
        ax: where to draw; made if None.
        chance: share of right answers of a blind guess.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: there is one number of image tokens only.
    """
    if curve["image_tokens"].nunique() < 2:
        raise InputError("accuracy is known with one number of image tokens: pool to some, as with sides=(4, 2, 1)")
    ax = new_axes(ax, (5.6, 4.0))
    names = list(dict.fromkeys(curve["relation"]))
    for place, (name, colour) in enumerate(zip(names, [INK, *line_colours(len(names) - 1)], strict=True)):
        own = curve[curve["relation"] == name].sort_values("image_tokens")
        style: dict[str, Any] = {"linewidth": 1.5, "linestyle": DASHES[(place - 1) % len(DASHES)], "ms": 3.5}
        if place == 0:
            style = {"linewidth": 2.4, "ms": 5}
            ax.fill_between(own["image_tokens"], own["low"], own["high"], color=colour, alpha=0.13, linewidth=0)
        label = f"{name} (n = {own['samples'].iloc[0]})"
        ax.plot(own["image_tokens"], own["accuracy"], color=colour, marker="o", label=label, **style)
    if chance is not None:
        ax.axhline(chance, color=INK, linewidth=1, linestyle="--", label="chance")
    ticks = sorted(set(curve["image_tokens"]))
    ax.set_xscale("log", base=2)
    ax.set_xticks(ticks, [f"{tokens:g}" for tokens in ticks])
    _percent_axis(ax)
    tidy(ax, title="Accuracy by number of image tokens", x="image tokens, pooled without training", y="accuracy")
    first = curve[curve["relation"] == names[0]]
    legend_below(ax, *named_intervals(first["low"], level=level, over="groups"), columns=2)
    return ax


def _percent_axis(ax: Axes) -> None:
    """From 0 to 100 %, with room for a dot at either end."""
    ax.set_ylim(-0.04, 1.04)
    ax.set_yticks(np.linspace(0, 1, 6))
    in_percent(ax.yaxis)


def _relations(measures: pd.DataFrame, wanted: tuple[str, ...]) -> list[str]:
    own = measures[measures["measure"].isin(wanted)]
    if own.empty:
        raise InputError(f"there is no measure of {', '.join(wanted)} to draw: `left_out` says why")
    return list(dict.fromkeys(own["relation"]))


def _dots(
    ax: Axes, measures: pd.DataFrame, measure: str, names: list[str], shift: float, label: str, colour: Any
) -> None:
    """One measure as dots with intervals beside the places of its relations."""
    own = measures[measures["measure"] == measure]
    if own.empty:
        return
    places = np.array([names.index(name) for name in own["relation"]]) + shift
    ends = [own["value"] - own["low"], own["high"] - own["value"]]
    around = np.maximum(np.stack([end.to_numpy() for end in ends]), 0)  # an estimate may lie beyond its draws
    ax.errorbar(places, own["value"], yerr=around, fmt="o", ms=5, color=colour, capsize=3, lw=1.4, label=label)


def _new(ax: Axes | None, names: list[str]) -> Axes:
    """Axes as wide as the relations need, with room for a legend beside them."""
    return new_axes(ax, (max(3.6, 1.4 + 0.9 * len(names)) + BESIDE, 3.8))


def _by_relation(ax: Axes, names: list[str], title: str, y: str, told: list[Artist]) -> None:
    """Name the relations, aslant where they are many or long, and put the legend beside, where it hides none."""
    tidy(ax, title=title, y=y)
    ax.set_xticks(range(len(names)), names)
    if len(names) > 5 or max(map(len, names)) > 10:
        for label in ax.get_xticklabels():
            label.set(rotation=30, ha="right")
    ax.set_xlim(-0.6, len(names) - 0.4)
    legend_beside(ax, TICK, INK, *told)


def _intervals(measures: pd.DataFrame, drawn: tuple[str, ...], level: float | None) -> list[Artist]:
    """What the bars are, where there are any."""
    own = measures[measures["measure"].isin(drawn)]
    return named_intervals(own["low"], level=level, over="groups\nand permutations", bars=True)
