"""Logistic regression with a light penalty, for many weightings of samples at once, by Newton's method."""

from __future__ import annotations

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Real

_STEPS = 100
_STILL = 1e-5  # a step after which there is none to be seen: Newton's steps square what is left
_FLOATS = 2**21  # samples times draws fitted at a time


def fit_logistic(
    design: Float[np.ndarray, "sample column"],
    right: Bool[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
    ridge: float,
    *,
    start: Float[np.ndarray, " column"] | None = None,
    offset: Float[np.ndarray, "draw sample"] | None = None,
) -> Float[np.ndarray, "draw column"]:
    """Slopes [draw column] of penalised logistic regressions, one for each row of counts.

    Args:
        design: [sample column]; column 0 is the intercept, which is not penalised.
        right: bool [sample].
        counts: how often each sample is there, [draw sample]; each draw holds both classes.
        ridge: the penalty, above 0.
        start: slopes to begin from [column]; zeros by default.
        offset: log odds that are known beside those of the columns, [draw sample]; none by default.
    """
    begin = np.zeros(design.shape[1]) if start is None else start
    known = np.zeros((len(counts), 1)) if offset is None else offset
    at_once = max(1, _FLOATS // len(design))
    fitted = []
    for part in (slice(place, place + at_once) for place in range(0, len(counts), at_once)):
        own = counts[part].astype(np.float64)
        fitted.append(_newton(design, right, own, ridge, np.tile(begin, (len(own), 1)), known[part]))
    return np.concatenate(fitted) if fitted else np.empty((0, design.shape[1]))


def _newton(
    design: Float[np.ndarray, "sample column"],
    right: Bool[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
    ridge: float,
    slopes: Float[np.ndarray, "draw column"],
    offset: Float[np.ndarray, "draw other"],
) -> Float[np.ndarray, "draw column"]:
    """Newton's steps from the given slopes [draw column], each draw until it moves no more."""
    width, penalty = design.shape[1], penalty_of(design.shape[1], ridge)
    products = rearrange(design[:, :, None] * design[:, None, :], "sample row column -> sample (row column)")
    moving = np.arange(len(slopes))
    for _ in range(_STEPS):
        there, now, known = counts[moving], slopes[moving], offset[moving]
        chance = chance_of(now @ design.T + known)
        gradient = (there * (right - chance)) @ design - penalty * now
        curvature = (there * chance * (1 - chance)) @ products
        curvature = rearrange(curvature, "draw (row column) -> draw row column", row=width)
        step = np.linalg.solve(curvature + np.diag(penalty + 1e-9), gradient[:, :, None])[:, :, 0]
        far = np.abs(step).max(axis=1) > 0.5
        step[far] = _shortened(step[far], design, right, there[far], now[far], ridge, known[far])
        slopes[moving] += step
        moving = moving[np.abs(step).max(axis=1) > _STILL]
        if not len(moving):
            break
    return slopes


def _shortened(
    step: Float[np.ndarray, "draw column"],
    design: Float[np.ndarray, "sample column"],
    right: Bool[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
    slopes: Float[np.ndarray, "draw column"],
    ridge: float,
    offset: Float[np.ndarray, "draw other"],
) -> Float[np.ndarray, "draw column"]:
    """Steps [draw column], halved until they climb: far from the top Newton's method can leap past it."""
    before = merit_of(design, right, counts, slopes, ridge, offset)
    for _ in range(40):
        worse = ~(merit_of(design, right, counts, slopes + step, ridge, offset) >= before)
        if not worse.any():
            break
        step = np.where(worse[:, None], step / 2, step)
    return step


def merit_of(
    design: Float[np.ndarray, "sample column"],
    right: Bool[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
    slopes: Float[np.ndarray, "draw column"],
    ridge: float,
    offset: Float[np.ndarray, "draw other"] | float = 0.0,
) -> Float[np.ndarray, " draw"]:
    """What the fit makes largest, [draw]: log likelihood less the penalty."""
    odds = slopes @ design.T + offset
    likelihood = (counts * (right * odds - np.logaddexp(0, odds))).sum(axis=1)
    return likelihood - (penalty_of(design.shape[1], ridge) * slopes**2).sum(axis=1) / 2


def chance_of(odds: Float[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """The logistic function, which as a hyperbolic tangent never overflows."""
    return (1 + np.tanh(odds / 2)) / 2


def penalty_of(width: int, ridge: float) -> Float[np.ndarray, " column"]:
    """The penalty of each column, none for the intercept."""
    return np.concatenate([[0.0], np.full(width - 1, ridge)])
