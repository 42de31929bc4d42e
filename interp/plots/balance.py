"""Heat map of cross-modality balance, layers down and heads across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.style import INK, LABEL, SEQUENTIAL, TICK, TITLE, integer_ticks, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_balance(values: Float[np.ndarray, "layer head"], ax: Axes | None = None) -> Axes:
    """Draw balance per layer and head on the fixed scale from 0 (words) to 1 (image); NaN stays white.

    Example:
        >>> plot_balance(balance.values)  # [12 8]

    Raises:
        InputError: the values are not [layer head], or lie outside 0 to 1.
    """
    values = np.asarray(values, dtype=np.float32)
    known = values[np.isfinite(values)]
    if values.ndim != 2 or 0 in values.shape or known.min(initial=0) < -1e-6 or known.max(initial=0) > 1 + 1e-6:
        raise InputError(f"balance has shape {values.shape} or values outside 0 to 1: give [layer head] of ratios")
    n_layers, n_heads = values.shape
    ax = new_axes(ax, (min(2.6 + 0.22 * n_heads, 9), min(1.6 + 0.2 * n_layers, 8)))
    drawn = ax.imshow(values, cmap=SEQUENTIAL, vmin=0, vmax=1, origin="upper", aspect="auto", interpolation="nearest")
    ax.set_title("Cross-modality balance", fontsize=TITLE, loc="left", color=INK)
    ax.set_xlabel("head (0-based)", fontsize=LABEL, color=INK)
    ax.set_ylabel("layer (0-based)", fontsize=LABEL, color=INK)
    integer_ticks(ax.xaxis, n_heads)
    integer_ticks(ax.yaxis, n_layers)
    ax.tick_params(labelsize=TICK, colors=INK)
    bar = ax.figure.colorbar(drawn, ax=ax)
    bar.set_label("image / (image + prompt text)\nBOS, system, generated left out", fontsize=TICK, color=INK)
    bar.ax.tick_params(labelsize=TICK, colors=INK)
    return ax
