"""Pairs of a right and a wrong sample: how many the right one wins, for many cells, and for many draws or shuffles."""

from __future__ import annotations

import numpy as np
from einops import einsum, rearrange
from jaxtyping import Bool, Float, Int, Real

_MOST_FLOATS = 2**24  # in one array of `weighted_wins`, 64 MB: cells are taken so many at a time


def weighted_wins(
    scores: Real[np.ndarray, "sample cell"],
    right: Bool[np.ndarray, " sample"],
    strata: Int[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
) -> tuple[Float[np.ndarray, "draw cell"], Float[np.ndarray, " draw"]]:
    """Pairs that right samples win over wrong ones when each sample is there `counts` times; ties count half.

    Args:
        scores: the scores, [sample cell], no NaN.
        right: whether each answer is right, bool [sample].
        strata: the code of each sample's stratum, [sample]; only pairs inside one count.
        counts: how often each draw holds each sample, [draw sample].

    Returns:
        Wins [draw cell] and pairs [draw]: their ratio is the AUROC of each draw.
    """
    wins, pairs = np.zeros((len(counts), scores.shape[1])), np.zeros(len(counts))
    for stratum in np.unique(strata):
        yes, no = (np.flatnonzero((strata == stratum) & side) for side in (right, ~right))
        if not len(yes) or not len(no):
            continue
        times_yes, times_no = counts[:, yes].astype(np.float32), counts[:, no].astype(np.float32)
        pairs += times_yes.sum(axis=1, dtype=np.float64) * times_no.sum(axis=1, dtype=np.float64)
        width = max(1, _MOST_FLOATS // (len(no) * max(len(yes), len(counts), 1)))
        for start in range(0, scores.shape[1], width):
            cells = slice(start, start + width)
            wins[:, cells] += _wins(scores[yes, cells], scores[no, cells], times_yes, times_no)
    return wins, pairs


def _wins(yes: np.ndarray, no: np.ndarray, times_yes: np.ndarray, times_no: np.ndarray) -> np.ndarray:
    """Wins [draw cell] of scores [yes cell] over others [no cell], each there so many times [draw yes], [draw no]."""
    left, right = yes[:, :, None], no.T[None]
    won = (left > right).astype(np.float32)  # halves and whole numbers: exact up to 8 million pairs
    won[left == right] = 0.5
    beaten = times_yes @ rearrange(won, "yes cell no -> yes (cell no)")
    beaten = rearrange(beaten, "draw (cell no) -> draw cell no", no=len(no))
    return einsum(beaten, times_no, "draw cell no, draw no -> draw cell")


def ranks_inside(
    scores: Real[np.ndarray, "sample cell"], right: Bool[np.ndarray, " sample"], strata: Int[np.ndarray, " sample"]
) -> tuple[Float[np.ndarray, "sample cell"], float, int]:
    """Midranks inside strata [sample cell], the least sum that the right samples can have, and the pairs.

    For any labels with as many right samples in each stratum, their wins are the sum of the right samples' ranks less
    the least sum. A stratum of one kind has no pair, and its ranks are 0.

    Args:
        scores: the scores, [sample cell], no NaN.
        right: whether each answer is right, bool [sample].
        strata: the code of each sample's stratum, [sample].
    """
    ranks, least, pairs = np.zeros(scores.shape), 0.0, 0
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        n_right = int(right[own].sum())
        if 0 < n_right < len(own):
            ranks[own] = midranks(scores[own])
            least += n_right * (n_right - 1) / 2
            pairs += n_right * (len(own) - n_right)
    return ranks, least, pairs


def won_by_sample(
    scores: Real[np.ndarray, "sample cell"], right: Bool[np.ndarray, " sample"], strata: Int[np.ndarray, " sample"]
) -> tuple[Float[np.ndarray, "sample cell"], Int[np.ndarray, " sample"]]:
    """In how many of a sample's pairs the right one scores higher, ties half, [sample cell]; and its pairs, [sample].

    Args:
        scores: the scores, [sample cell], no NaN.
        right: whether each answer is right, bool [sample].
        strata: the code of each sample's stratum, [sample]; only pairs inside one count.
    """
    won, others = np.zeros(scores.shape), np.zeros(len(scores), dtype=int)
    for stratum in np.unique(strata):
        own = [np.flatnonzero((strata == stratum) & side) for side in (right, ~right)]
        if not all(map(len, own)):
            continue
        yes, no = own
        every = midranks(scores[np.concatenate(own)])
        won[yes] = every[: len(yes)] - midranks(scores[yes])
        won[no] = len(yes) - (every[len(yes) :] - midranks(scores[no]))
        others[yes], others[no] = len(no), len(yes)
    return won, others


def midranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 0 down each column, [sample cell] of [sample cell]; equal scores share the mean of theirs."""
    order = np.argsort(scores, axis=0)
    ordered, place = np.take_along_axis(scores, order, axis=0), np.arange(len(scores))[:, None]
    edge = np.ones((1, scores.shape[1]), dtype=bool)
    changes = ordered[1:] != ordered[:-1]
    first = np.maximum.accumulate(np.where(np.concatenate([edge, changes]), place, 0), axis=0)
    last = np.where(np.concatenate([changes, edge]), place, len(scores) - 1)
    last = np.minimum.accumulate(last[::-1], axis=0)[::-1]
    ranks = np.empty(scores.shape)
    np.put_along_axis(ranks, order, (first + last) / 2, axis=0)
    return ranks
