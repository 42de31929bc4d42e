"""Shown: where a change of a probability counts as one, by its interval and by a test of all slots together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

if TYPE_CHECKING:
    import pandas as pd

SURE = 0.05
"""Level of what is said of all slots together."""

LEAST = 0.01
"""Changes of a probability up to this are taken for none: sign flips find any that has one sign, however small."""


def raised(table: pd.DataFrame) -> Bool[np.ndarray, " slot"]:
    """At which slots a probability is shown to be raised: its interval lies above `LEAST`, and its test holds.

    Args:
        table: the columns low, high and p_any, a row per slot.
    """
    return np.asarray((table["p_any"] <= SURE) & (table["low"] > LEAST))


def lowered(table: pd.DataFrame) -> Bool[np.ndarray, " slot"]:
    """At which slots a probability is shown to be lowered, likewise."""
    return np.asarray((table["p_any"] <= SURE) & (table["high"] < -LEAST))
