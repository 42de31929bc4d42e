"""Heat map of cross-modality balance, layers down and heads across."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.plots.style import SEQUENTIAL, heads_map
from interp.plots.written import as_written

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@as_written
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
    label = "image / (image + prompt text)\nBOS, system, generated left out"
    return heads_map(values, ax, title="Cross-modality balance", label=label, cmap=SEQUENTIAL, vmin=0, vmax=1)
