"""Three panels by depth: the norm of the words, the norm of the image, and log10 of their ratio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.intervals import named_intervals
from interp.plots.style import INK, PALETTE, draw_band, integer_ticks, legend_below, new_grid, tidy
from interp.plots.written import as_written
from probes.position.figures.token_norms import COLOURS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = {
    "text": ("Norm of the words", "mean L2 norm (log)", COLOURS["text"]),
    "image": ("Norm of the image", "mean L2 norm (log)", COLOURS["image"]),
    "image_over_text": ("Ratio of the two", "log10 of image / words", PALETTE[0]),
}


@as_written
def plot_residual_norms(
    text: Float[np.ndarray, " depth"],
    image: Float[np.ndarray, " depth"],
    ratio: Float[np.ndarray, " depth"],
    *,
    after: Mapping[str, float] | None = None,
    band: tuple[Float[np.ndarray, " depth"], Float[np.ndarray, " depth"]] | None = None,
    level: float | None = None,
    axes: Sequence[Axes] | None = None,
) -> np.ndarray:
    """Draw norms and ratio by depth: 0 is what enters the first block, the last is what leaves the last one.

    A norm or ratio of zero has no logarithm and leaves a gap.

    Args:
        text: mean norm of the words.
        image: mean norm of the image tokens.
        ratio: image over words.
        after: what the three are after the final norm, as `text`, `image` and `image_over_text`: drawn as rings. None
            where, as in the paper, the last depth is after it already.
        band: lower and upper end of the ratio's interval, if it has one.
        level: nominal coverage of the interval, for the legend.
        axes: where to draw, three; made if None.

    Returns:
        The axes of words, image and ratio, [3].

    Example:
        >>> plot_residual_norms(found.of("text"), found.of("image"), found.image_over_text())

    Raises:
        InputError: not three axes, or curves of different lengths.
    """
    curves = [np.asarray(curve, dtype=np.float64) for curve in (text, image, ratio)]
    if len({curve.shape for curve in curves}) != 1 or curves[0].ndim != 1 or not len(curves[0]):
        raise InputError(f"curves have shapes {[curve.shape for curve in curves]}: give three of [depth]")
    panels = list(new_grid(3, columns=3, cell=(3.6, 3.4)) if axes is None else np.array(axes, dtype=object).ravel())
    if len(panels) != 3:
        raise InputError(f"{len(panels)} axes were given: give three, for words, image and ratio, or none")
    for ax, curve, name in zip(panels, curves, PANELS, strict=True):
        _draw_panel(ax, name, curve, None if after is None else after[name])
    panels[2].axhline(0, color=INK, linewidth=0.9, linestyle=":")
    if band is not None:
        low, high = (_drawn(np.asarray(end), "image_over_text") for end in band)
        draw_band(panels[2], np.arange(len(text)), (low, high), PANELS["image_over_text"][2])
        if told := named_intervals(low, level=level, over="groups"):
            legend_below(panels[2], *told)
    return np.array(panels, dtype=object)


def _draw_panel(ax: Axes, name: str, curve: Float[np.ndarray, " depth"], after: float | None) -> None:
    """One curve by depth, and as a ring what it is after the final norm."""
    title, label, colour = PANELS[name]
    last = len(curve) - 1
    ax.plot(_drawn(curve, name), color=colour, linewidth=1.8, marker="o", markersize=3.2, label="stream")
    if after is not None:
        ring = _drawn(np.array([after]), name)
        ax.plot([last], ring, "o", markerfacecolor="none", color=colour, label="after the final norm")
    if name != "image_over_text":
        ax.set_yscale("log")
    ends = "after final norm" if after is None else "after last block"
    tidy(ax, title=title, x=f"depth (0: embeddings, {last}: {ends})", y=label)
    integer_ticks(ax.xaxis, len(curve))
    if after is not None:
        legend_below(ax)


def _drawn(values: Float[np.ndarray, " depth"], name: str) -> Float[np.ndarray, " depth"]:
    """What is drawn of values above zero: themselves, or of the ratio log10; else gaps."""
    known = np.where(values > 0, values, np.nan)
    return np.log10(known) if name == "image_over_text" else known
