"""Selection: the settings of ScalingVis and AdaptVis that do best on a validation part."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import confidence_of, rows_under
from interp.errors import InputError
from interp.intervene.indices import spell

if TYPE_CHECKING:
    import pandas as pd

Where = tuple[int, ...] | None

THRESHOLDS = 20
"""How many thresholds of AdaptVis are tried, besides those that give all samples one strength."""


def choose_scaling(table: pd.DataFrame, *, mode: str = "mul", layers: Where = None, heads: Where = None) -> ScalingVis:
    """The alpha of one mode with the most right answers; of equals the one nearest to no change.

    Raises:
        InputError: the sweep has no rows of that mode, layers and heads.
    """
    rows = _swept(table, mode, layers, heads)
    right = rows.groupby("alpha")["correct"].sum()
    neutral = 0.0 if mode == "add" else 1.0
    best = max(right.index, key=lambda alpha: (right[alpha], -abs(alpha - neutral), alpha))
    return ScalingVis(float(best), mode=mode, layers=layers, heads=heads)


def choose_adaptvis(
    table: pd.DataFrame,
    *,
    thresholds: int = THRESHOLDS,
    confidence: str = "probability",
    layers: Where = None,
    heads: Where = None,
) -> AdaptVis:
    """The pair of alphas (one at most 1, one at least 1) and the threshold with the most right answers.

    Thresholds are tried at the middle between neighbouring confidences, `thresholds` of them by quantile, and at 0 and
    1; of equals the alphas nearest to 1 win, then the lower threshold.

    Raises:
        InputError: the sweep has no rows that multiply in these layers and heads, or no such confidence.
    """
    wide = _swept(table, "mul", layers, heads).pivot(index="id", columns="alpha", values="correct").astype(bool)
    base = table[table["setting"] == UNTOUCHED].set_index("id")
    sure = confidence_of(base, confidence).reindex(wide.index).to_numpy(np.float64)
    below = [alpha for alpha in wide.columns if alpha <= 1.0]
    above = [alpha for alpha in wide.columns if alpha >= 1.0]

    def merit(setting: tuple[float, float, float]) -> tuple[float, float, float]:
        low, high, threshold = setting
        right = np.where(sure < threshold, wide[low], wide[high]).sum()
        return right, -abs(low - 1.0) - abs(high - 1.0), -threshold

    low, high, threshold = max(product(below, above, thresholds_of(sure, thresholds).tolist()), key=merit)
    return AdaptVis(float(low), float(high), float(threshold), layers=layers, heads=heads, confidence=confidence)


def thresholds_of(confidences: Float[np.ndarray, " sample"], n: int) -> Float[np.ndarray, " threshold"]:
    """Thresholds worth trying: `n` quantiles of the middles between neighbouring confidences, and 0 and 1."""
    levels = np.unique(confidences)
    middles = (levels[1:] + levels[:-1]) / 2
    tried = [0.0, 1.0, *(np.quantile(middles, np.linspace(0, 1, n), method="nearest") if len(middles) else ())]
    return np.unique(np.round(tried, 6))  # as many digits as results show


def _swept(table: pd.DataFrame, mode: str, layers: Where, heads: Where) -> pd.DataFrame:
    """The rows of one mode and window; refuses a sweep without any."""
    rows = rows_under(table, mode=mode, layers=spell(layers), heads=spell(heads))
    if (rows["setting"] == UNTOUCHED).all():
        raise InputError(
            f"the sweep has no rows of mode {mode!r} in layers {spell(layers)} and heads {spell(heads)}: "
            "add them to its plan"
        )
    return rows
