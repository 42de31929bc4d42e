"""Division where there may be nothing to divide by, and means where values may be missing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """Division, with broadcasting, that gives NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def mean_of_known(values: Float[np.ndarray, " sample *axes"]) -> Float[np.ndarray, "*axes"]:
    """The mean over the samples that have a value, [...] of [sample ...], place by place; NaN where none has.

    Example:
        >>> mean_of_known(np.array([[1.0, 2.0], [3.0, np.nan]]))
        array([2., 2.])
    """
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))
