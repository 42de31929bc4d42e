"""Extremes: what is said of a largest or smallest number that others have as well."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

NEAR = 1e-6
"""Numbers that differ by no more of their size are the same: they are kept in single precision."""


def shared(values: ArrayLike, extreme: float, *, sizes: bool = False) -> str:
    """How many of some numbers have an extreme that a sentence names; nothing where one alone has it.

    Args:
        values: all that it was picked from, NaN where there is none.
        extreme: the number that is named.
        sizes: whether it is extreme by its size, whatever its sign is.

    Example:
        >>> shared([0.5, 0.2, 0.5], 0.5), shared([0.5, 0.2], 0.5), shared([0.5, 0.5], 0.5)
        (', shared by 2 of 3', '', ', shared by all 2')
    """
    own = np.asarray(values, dtype=np.float64)
    own = np.abs(own) if sizes else own
    known, same = int(np.isfinite(own).sum()), sharing(own, abs(extreme) if sizes else extreme)
    if same < 2:
        return ""
    return f", {'a size ' if sizes else ''}shared by {f'all {same}' if same == known else f'{same} of {known}'}"


def sharing(values: ArrayLike, extreme: float) -> int:
    """How many of some numbers are the same as one of them, NaN left out."""
    return int(np.isclose(np.asarray(values, dtype=np.float64), extreme, rtol=NEAR, atol=0).sum())
