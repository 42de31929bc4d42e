"""The slope of one column of a logistic regression: its test, the interval that goes with it, and separation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.stats.intervals import FEWEST
from interp.stats.logistic import chance_of, fit_logistic, merit_of, penalty_of
from interp.stats.student import t_beyond, t_quantile

_LOOSE = 1e-3  # of the penalty: where a slope grows under it, the penalty holds the slope and not the data
_STEPS, _STILL = 60, 1e-7  # towards an end, and a step, to its size, after which none is taken
_ROUNDING = 1e-9  # a standard error below this share of the slope is none


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers that a cell's fits share.

    Attributes:
        right: whether each is right, bool [sample].
        units: the code of each sample's group, [sample], or None.
        ridge: the penalty.
        level: nominal coverage.
    """

    right: Bool[np.ndarray, " sample"]
    units: Int[np.ndarray, " sample"] | None
    ridge: float
    level: float


def slope_of(design: Float[np.ndarray, "sample column"], data: Answers) -> dict[str, Any]:
    """The slope of column 1 of a design [sample column] whose column 0 is the intercept.

    Test and interval are one: the interval holds all slopes that the test does not refuse, so that it leaves out 0
    just where p is below 1 - level. Of independent samples it is the likelihood ratio (Venzon and Moolgavkar 1988), of
    groups Student's t, the standard error by leaving out one group after the other (the jackknife; MacKinnon, Nielsen
    and Webb 2023).

    Args:
        design: [sample column], finite.
        data: the answers, their groups if any, the penalty and the level.

    Returns:
        `log_odds`, `low`, `high`, `p` and `separated`. The ends are NaN of fewer than `FEWEST` samples. Of groups the
        ends and p are NaN where there are fewer, where one holds all right answers, or all wrong ones, and where
        leaving one out changes nothing.
    """
    once = np.ones((1, len(design)))
    slopes = fit_logistic(design, data.right, once, data.ridge)[0]
    told = _by_likelihood(design, slopes, data) if data.units is None else _by_groups(design, slopes, data, data.units)
    held = bool(held_by_penalty(design, data.right, slopes, data.ridge)[1])
    return dict(log_odds=slopes[1], **dict(zip(("low", "high", "p"), told, strict=True)), separated=held)


def held_by_penalty(design: np.ndarray, right: np.ndarray, slopes: np.ndarray, ridge: float) -> np.ndarray:
    """Of which slopes [column] a lighter penalty would make something else, bool [column].

    Args:
        design: [sample column].
        right: right answers, bool [sample].
        slopes: those of the penalty, [column].
        ridge: the penalty.
    """
    loose = fit_logistic(design, right, np.ones((1, len(design))), ridge * _LOOSE, start=slopes)[0]
    return np.abs(loose - slopes) > 0.1 * np.abs(slopes) + 0.01


def _by_likelihood(design: np.ndarray, slopes: np.ndarray, data: Answers) -> tuple[float, float, float]:
    """Both ends of the profile likelihood interval, and the p of the likelihood ratio; one degree of freedom."""
    own, others = design[:, 1], np.delete(design, 1, axis=1)
    top = float(merit_of(design, data.right, np.ones((1, len(design))), slopes[None], data.ridge)[0])

    def fallen(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """How far twice the merit falls at so large slopes, the others free; and how fast."""
        once, offset = np.ones((len(values), len(design))), values[:, None] * own
        free = fit_logistic(others, data.right, once, data.ridge, start=np.delete(slopes, 1), offset=offset)
        merit = merit_of(others, data.right, once, free, data.ridge, offset) - data.ridge * values**2 / 2
        steep = (data.right - chance_of(free @ others.T + offset)) @ own - data.ridge * values
        return np.maximum(2 * (top - merit), 0.0), -2 * steep

    p = math.erfc(math.sqrt(float(fallen(np.zeros(1))[0][0]) / 2))
    if len(design) < FEWEST:
        return math.nan, math.nan, p
    reach = NormalDist().inv_cdf(0.5 + data.level / 2)
    sides = np.array([-1.0, 1.0])
    # No likelihood is above 1, so that beyond this size the penalty alone refuses a slope.
    near, far = np.full(2, slopes[1]), sides * math.sqrt((reach**2 - 2 * top) / data.ridge)
    at = slopes[1] + sides * reach * _error(design, slopes, data.ridge)
    for _ in range(_STEPS):
        fall, steep = fallen(at)
        held = fall <= reach**2
        near, far = np.where(held, at, near), np.where(held, far, at)
        # Newton's step of the root, which is nearly straight; halfway where it leads out.
        step = at - 2 * (fall - reach * np.sqrt(fall)) / np.where(steep == 0, np.nan, steep)
        inside = (np.minimum(near, far) < step) & (step < np.maximum(near, far))
        before, at = at, np.where(inside, step, (near + far) / 2)
        if (np.abs(at - before) <= _STILL * (1 + np.abs(at))).all():
            break
    return float(at[0]), float(at[1]), p


def _error(design: np.ndarray, slopes: np.ndarray, ridge: float) -> float:
    """The standard error of slope 1 by the curvature of the likelihood at its top."""
    chance = chance_of(design @ slopes)
    bent = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(penalty_of(len(slopes), ridge) + 1e-9)
    return math.sqrt(float(np.linalg.inv(bent)[1, 1]))


def _by_groups(design: np.ndarray, slopes: np.ndarray, data: Answers, units: np.ndarray) -> tuple[float, float, float]:
    """Both ends of Student's interval over groups, and its p."""
    codes = np.unique(units, return_inverse=True)[1]
    count = int(codes.max()) + 1
    others = codes != np.arange(count)[:, None]  # [group sample]: all samples but its own
    if count < FEWEST or not ((others @ data.right) & (others @ ~data.right)).all():
        return math.nan, math.nan, math.nan
    left = fit_logistic(design, data.right, others.astype(float), data.ridge, start=slopes)[:, 1]
    error = math.sqrt((count - 1) / count * float(((left - slopes[1]) ** 2).sum()))
    if error <= _ROUNDING * abs(slopes[1]):
        return math.nan, math.nan, math.nan
    half = t_quantile(data.level, count - 1) * error
    return slopes[1] - half, slopes[1] + half, t_beyond(slopes[1] / error, count - 1)
