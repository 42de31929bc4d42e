"""Figures of the lens: shares and probabilities by slot, and the most probable word of each patch over the photo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float32
from matplotlib.colors import Normalize

from interp.errors import InputError
from interp.image.photos import load_image
from interp.plots.canvas import canvas, draw_boxes, panel_size
from interp.plots.intervals import named_intervals
from interp.plots.overlay import colour_bar, lay_over
from interp.plots.style import (
    INK,
    PALETTE,
    TICK,
    TITLE,
    cut_short,
    draw_band,
    integer_ticks,
    legend_below,
    line_colours,
    new_axes,
    tidy,
)
from interp.plots.written import as_written

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

SLOT = "slot (0: what enters block 0; l: what leaves block l - 1)"
WHERE = {
    "object": ("the object's tokens", PALETTE[0], "-"),
    "other": ("control: another object's tokens", PALETTE[1], "--"),
    "outside": ("control: outside all boxes", INK, ":"),
}
CHARACTERS = 7
"""Of a word, as it stands on a patch."""


@as_written
def plot_lens(
    measures: pd.DataFrame, measure: str, top: int, ax: Axes | None = None, *, level: float | None = None
) -> Axes:
    """Draw a measure of the objects' words by slot, with intervals over groups, beside its controls.

    Args:
        measures: the columns where, measure, slot, value, low, high.
        measure: `share`, `probability` or `reciprocal_rank`.
        top: how many words count as said.
        ax: where to draw; made if None.
        level: nominal coverage of the intervals, for the legend.

    Raises:
        InputError: the measure is not known, or not told.
    """
    named = {
        "share": f"tokens with the word in their first {top}",
        "probability": "mean probability of the word",
        "reciprocal_rank": "mean of 1 / rank of the word",
    }
    own = measures[(measures["measure"] == measure) & measures["where"].isin(list(WHERE))]
    if measure not in named or own.empty:
        raise InputError(f"measure={measure!r} is not told: use one of {', '.join(named)}; `left_out` says why not")
    ax = new_axes(ax, (6.4, 4.0))
    for where, (label, colour, style) in WHERE.items():
        rows = own[own["where"] == where].sort_values("slot")
        if rows.empty:
            continue
        slots = rows["slot"].to_numpy()
        draw_band(ax, slots, (rows["low"].to_numpy(), rows["high"].to_numpy()), colour)
        ax.plot(slots, rows["value"], color=colour, linestyle=style, linewidth=1.8, marker="o", ms=3, label=label)
    integer_ticks(ax.xaxis, int(own["slot"].max()) + 1)
    ax.set_ylim(bottom=0)
    tidy(ax, title=f"Under the unembedding: {named[measure]}", x=SLOT, y=named[measure])
    legend_below(ax, *named_intervals(own["low"], level=level, over="groups"), columns=1)
    return ax


@as_written
def plot_word_curves(
    words: Sequence[str], probability: Float32[np.ndarray, "slot token word"], ax: Axes | None = None
) -> Axes:
    """Draw the largest probability of each word at any image token of one photo, by slot.

    Raises:
        InputError: there is no word.
    """
    if not words:
        raise InputError("no word was looked for: name some, as with words=('red', 'left')")
    ax = new_axes(ax, (6.4, 4.0))
    for place, (word, colour) in enumerate(zip(words, line_colours(len(words)), strict=True)):
        ax.plot(probability[:, :, place].max(1), color=colour, linewidth=1.8, marker="o", ms=3, label=word)
    integer_ticks(ax.xaxis, len(probability))
    tidy(ax, title="Largest probability of a word at any image token", x=SLOT, y="probability")
    legend_below(ax, columns=4)
    return ax


@as_written
def plot_top_words(
    image: Any,
    grid: ImageGrid,
    words: np.ndarray,
    probability: Float32[np.ndarray, " token"],
    slot: int,
    ax: Axes | None = None,
    *,
    boxes: Iterable[Box] = (),
) -> Axes:
    """Draw the most probable word of each image token over the photo, on a map of its probability.

    Args:
        image: the photo.
        grid: the geometry of its tokens; where views overlap, the words of the first are written.
        words: one for each token.
        probability: of these.
        slot: which one, for the title.
        ax: where to draw; made if None.
        boxes: objects to outline.
    """
    photo = canvas(load_image(image), grid)
    ax = new_axes(ax, panel_size(grid, width=max(5.0, 0.55 * (int(grid.cols.max()) + 1))))
    drawn = lay_over(ax, photo, probability, Normalize(0, 1))
    plate = {"facecolor": INK, "alpha": 0.45, "pad": 0.6, "linewidth": 0}
    style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": TICK - 3, "color": "white", "bbox": plate}
    for token in np.flatnonzero(grid.view == grid.view[0]):
        x0, y0, x1, y1 = grid.boxes[token]
        text = cut_short(str(words[token]).strip() or "·", CHARACTERS)
        ax.text((x0 + x1) / 2, (y0 + y1) / 2, text, parse_math=False, **style)
    colour_bar(drawn, [ax], "probability of the word")
    ax.set_title(f"most probable word of each image token, slot {slot}", fontsize=TITLE - 1, loc="left", color=INK)
    draw_boxes(ax, photo, boxes)
    return ax
