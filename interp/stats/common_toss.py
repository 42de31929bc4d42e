"""Common tosses: right answers that go together in groups, each as often as its stated probability says."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from interp.numeric import ratio

_FITTED = 2  # numbers of the straight line over the stated probability


def common_share(
    right: Bool[np.ndarray, " sample"], sure: Float[np.ndarray, " sample"], groups: Shaped[np.ndarray, " sample"]
) -> float:
    """How often two answers of a group hang on one toss, by how the answers of groups go together.

    Two answers that hang on one toss u, each right where u is below its stated probability p or q, have residuals of
    the covariance min(p, q) - pq; others have none. The share is what the products of residuals are of this, over all
    pairs inside groups (the method of moments). Residuals are those of a straight line over the stated probability, so
    that answers that are all surer than right do not pass for alike. One standard error, of sums over groups, is added,
    as too small a share would promise too much. Where all are right, or none is, nothing is known of it: it is 1.

    Args:
        right: bool [sample].
        sure: the stated probabilities, 0 to 1.
        groups: which group each sample belongs to; three or more.

    Returns:
        The share, 0 to 1.

    Example:
        >>> common_share(np.array([True, True, False, False, True, True]), np.full(6, 0.7), np.array(list("aabbcc")))
        1.0
    """
    if right.all() or not right.any():
        return 1.0
    codes = np.unique(groups.astype(str), return_inverse=True)[1]
    size = np.bincount(codes)
    line = np.stack([np.ones(len(sure)), sure], axis=1)
    off = right - line @ np.linalg.lstsq(line, right.astype(np.float64), rcond=None)[0]
    sums, squares = (np.bincount(codes, weights=own) for own in (off, off**2))
    of_groups, of_samples = (count / (count - _FITTED) for count in (len(size), len(sure)))
    of_pairs = (sums**2 * of_groups - squares * of_samples) / 2
    order = np.lexsort((sure, codes))
    above = (np.cumsum(size)[codes] - 1)[order] - np.arange(len(sure))  # how many of a group are surer
    one_toss = sure[order] @ above - ((np.bincount(codes, weights=sure) ** 2).sum() - (sure**2).sum()) / 2
    error = math.sqrt(len(size) * of_pairs.var(ddof=1))
    return float(np.clip(np.nan_to_num(ratio(of_pairs.sum() + error, max(one_toss, 0.0))), 0.0, 1.0))


def tossed_together(
    sure: Float[np.ndarray, " sample"],
    codes: Int[np.ndarray, " sample"],
    share: float,
    rng: np.random.Generator,
) -> Bool[np.ndarray, " sample"]:
    """Answers that are right with just the stated probability, pairs of a group by one toss with that probability.

    Args:
        sure: the stated probabilities, [sample].
        codes: the number of each sample's group, from 0.
        share: how often a pair of a group hangs on one toss, 0 to 1, see `common_share`.
        rng: what is drawn from.

    Returns:
        bool [sample].
    """
    alone = rng.random(len(sure))
    if share == 0:
        return alone < sure
    shared = rng.random(codes.max() + 1)[codes]
    return np.where(rng.random(len(sure)) < math.sqrt(share), shared, alone) < sure
