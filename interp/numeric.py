"""Division where there may be nothing to divide by."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """Division, with broadcasting, that gives NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
