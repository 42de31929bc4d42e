"""AUROC: the chance that a right answer scores above a wrong one."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Float64
from numpy.typing import ArrayLike

from interp.errors import InputError


def auroc(scores: ArrayLike, labels: ArrayLike, *, groups: ArrayLike | None = None) -> float:
    """Area under the ROC curve: how often a true sample scores above a false one, ties counting half.

    Args:
        scores: [sample], finite.
        labels: bool [sample].
        groups: if given, only pairs of one group are compared: the within-relation AUROC, for one.

    Returns:
        0 to 1; NaN when no true sample can be compared with a false one.

    Example:
        >>> auroc([0.1, 0.4, 0.4, 0.8], [False, False, True, True])
        0.875

    Raises:
        InputError: shapes differ or a score is not finite (leave such samples out, and count them).
    """
    scores, truth = _as_scores(scores), as_bool(labels, "labels")
    of = np.zeros(len(scores), dtype=int) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    if not len(scores) == len(truth) == len(of):
        raise InputError(f"{len(scores)} scores, {len(truth)} labels, {len(of)} groups: give one of each per sample")
    wins = pairs = 0.0
    for group in range(of.max(initial=-1) + 1):
        won, compared = _wins(scores[of == group], truth[of == group])
        wins, pairs = wins + won, pairs + compared
    return wins / pairs if pairs else math.nan


def _wins(scores: Float[np.ndarray, " sample"], truth: Bool[np.ndarray, " sample"]) -> tuple[float, int]:
    """Pairs won by a true sample over a false one, ties half, by midranks; and how many pairs there are."""
    n_true, n_false = int(truth.sum()), int((~truth).sum())
    _, of, counts = np.unique(scores, return_inverse=True, return_counts=True)
    midranks = (np.cumsum(counts) - (counts - 1) / 2)[of]
    return float(midranks[truth].sum() - n_true * (n_true + 1) / 2), n_true * n_false


def _as_scores(scores: ArrayLike) -> Float64[np.ndarray, " sample"]:
    """Scores as float64 [sample]; refuses any that is not finite."""
    out = np.asarray(scores, dtype=np.float64)
    if out.ndim != 1 or not np.isfinite(out).all():
        raise InputError(
            f"{int((~np.isfinite(out)).sum())} of {out.size} scores are not finite (shape {out.shape}): "
            "give one number per sample, leave the undefined samples out and report how many"
        )
    return out


def as_bool(values: ArrayLike, name: str) -> Bool[np.ndarray, " sample"]:
    """Truth values [sample]; refuses what is neither bool nor 0 or 1."""
    out = np.asarray(values)
    if out.ndim != 1 or not np.isin(out, (0, 1)).all():
        raise InputError(f"{name} has shape {out.shape} and values other than true and false: give one bool per sample")
    return out.astype(bool)
