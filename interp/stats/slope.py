"""The slope of one column of a logistic regression: its interval, its p, and whether only the penalty holds it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from interp.stats.intervals import spread_ends
from interp.stats.logistic import chance_of, fit_logistic, merit_of, penalty_of

_LOOSE = 1e-3  # of the penalty: where a slope grows under it, the penalty holds the slope and not the data


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers that a cell's fits share.

    Attributes:
        right: whether each is right, bool [sample].
        counts: how often each draw holds each sample, [draw sample].
        units: the code of each sample's group, [sample], or None.
        ridge: the penalty.
        level: nominal coverage.
    """

    right: np.ndarray
    counts: np.ndarray
    units: np.ndarray | None
    ridge: float
    level: float


def slope_of(design: np.ndarray, data: Answers) -> dict[str, Any]:
    """The slope of column 1 of a design [sample column] whose column 0 is the intercept.

    Returns:
        `log_odds`, `low` and `high` (bootstrap over the draws with answers of both kinds, see `spread_ends`), `p`
        (likelihood ratio, or the score test over groups) and `separated`.
    """
    once, without = np.ones((1, len(design))), np.delete(design, 1, axis=1)
    slopes = fit_logistic(design, data.right, once, data.ridge)
    null = fit_logistic(without, data.right, once, data.ridge)
    both = ((data.counts @ data.right) > 0) & ((data.counts @ ~data.right) > 0)
    draws = fit_logistic(design, data.right, data.counts[both], data.ridge, start=slopes[0])[:, 1]
    units = len(design) if data.units is None else len(np.unique(data.units))
    low, high = spread_ends(slopes[0, 1], draws, data.level, units=units) if len(draws) else (np.nan, np.nan)
    if data.units is None:
        fits = ((design, slopes), (without, null))
        with_it, alone = (merit_of(columns, data.right, once, fit, data.ridge)[0] for columns, fit in fits)
        statistic = 2 * max(0.0, float(with_it - alone))
    else:
        statistic = _score_statistic(design[:, 1], without, data.right, null[0], data.units, data.ridge)
    held = bool(held_by_penalty(design, data.right, slopes[0], data.ridge)[1])
    p = math.erfc(math.sqrt(statistic / 2))
    return dict(log_odds=slopes[0, 1], low=low, high=high, p=p, separated=held)


def held_by_penalty(design: np.ndarray, right: np.ndarray, slopes: np.ndarray, ridge: float) -> np.ndarray:
    """Of which slopes [column] a lighter penalty would make something else, bool [column]."""
    loose = fit_logistic(design, right, np.ones((1, len(design))), ridge * _LOOSE, start=slopes)[0]
    return np.abs(loose - slopes) > 0.1 * np.abs(slopes) + 0.01


def _score_statistic(
    own: np.ndarray, others: np.ndarray, right: np.ndarray, null: np.ndarray, units: np.ndarray, ridge: float
) -> float:
    """The score test of adding a column, squared sum over groups against the sum of squares; chi squared under none."""
    chance = chance_of(others @ null)
    weighted = others * (chance * (1 - chance))[:, None]
    gram = weighted.T @ others + np.diag(penalty_of(others.shape[1], ridge) + 1e-9)
    rest = own - others @ np.linalg.solve(gram, weighted.T @ own)
    sums = np.bincount(units, weights=rest * (right - chance))
    spread = float((sums**2).sum())
    return float(sums.sum() ** 2) / spread if spread > 0 else 0.0
