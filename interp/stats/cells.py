"""Cells: the AUROC of each column of a table of scores, such as one layer and head, among draws and shuffles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from interp.stats.pairs import ranks_inside, weighted_wins
from interp.stats.shuffles import share_beyond, shuffled_labels
from interp.stats.tests import benjamini_hochberg_where_defined

_CELLS = 1024  # measured at a time
NUMBERS = ("auroc", "low", "high", "null_mean", "null_low", "null_high", "p", "p_max", "p_bh")
"""What is measured of every cell, float; see `interp.stats.association.Association`."""

COUNTS = ("pairs", "n", "undefined", "draws")
"""What is counted of every cell, int."""


def measured_cells(
    table: Float[np.ndarray, "sample cell"], whole: CellSamples, level: float
) -> tuple[dict[str, np.ndarray], int]:
    """All of `NUMBERS` and `COUNTS` for table [sample cell], and how many samples a shuffle can change."""
    missing, movable = np.isnan(table), np.zeros(len(table), dtype=bool)
    found = {name: np.full(table.shape[1], np.nan) for name in NUMBERS}
    found |= {name: np.zeros(table.shape[1], dtype=int) for name in COUNTS}
    distance, farthest = np.full(table.shape[1], np.nan), np.zeros(1 + len(whole.keys))
    for samples, cells in _alike(missing):
        part = whole.only(samples)
        labels = shuffled_labels(part.right, part.strata, part.units, part.keys)
        movable[samples] |= (labels[-1] > 0) & (labels[-1] < 1)
        for here in np.split(cells, range(_CELLS, len(cells), _CELLS)):
            measured, far = _measure(table[np.ix_(samples, here)], part, labels, level)
            for name, values in measured.items():
                found[name][here] = values
            if far is not None:
                distance[here], farthest = far[0], np.maximum(farthest, far.max(axis=1))
    found |= {
        "p_max": share_beyond(distance, farthest),
        "p_bh": benjamini_hochberg_where_defined(found["p"]),
        "undefined": missing.sum(axis=0),
    }
    return found, int(movable.sum())


@dataclass(frozen=True, eq=False)
class CellSamples:
    """The samples that some cells have scores for.

    Attributes:
        right: whether each answer is right, [sample].
        strata: the code of each sample's stratum, [sample].
        units: the code of each sample's group, [sample]; each sample is its own where there are no groups.
        counts: how often each draw holds each sample, [draw sample].
        keys: random numbers from 0 to 1, [shuffle sample]. They alone decide a shuffle, so that cells with different
            gaps are shuffled alike where they share samples.
    """

    right: Bool[np.ndarray, " sample"]
    strata: Int[np.ndarray, " sample"]
    units: Int[np.ndarray, " sample"]
    counts: Real[np.ndarray, "draw sample"]
    keys: Float[np.ndarray, "shuffle sample"]

    def only(self, own: np.ndarray) -> CellSamples:
        """Some of the samples."""
        return CellSamples(self.right[own], self.strata[own], self.units[own], self.counts[:, own], self.keys[:, own])


def _alike(missing: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples and cells of missing [sample cell] that go together: all these cells miss the same samples, not all."""
    together: dict[bytes, list[int]] = {}
    for cell, pattern in enumerate(np.packbits(missing, axis=0).T):
        together.setdefault(pattern.tobytes(), []).append(cell)
    for cells in together.values():
        if not missing[:, cells[0]].all():
            yield np.flatnonzero(~missing[:, cells[0]]), np.array(cells)


def _measure(
    scores: np.ndarray, part: CellSamples, labels: np.ndarray, level: float
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Measures of cells [cell], and how far the data and each shuffle lie from the shuffles' mean [1+shuffle cell].

    Without a pair to compare there are none.
    """
    ranks, least, pairs = ranks_inside(scores, part.right, part.strata)
    if not pairs:
        return {}, None
    ends = [(1 - level) / 2, (1 + level) / 2]
    shuffled = (labels @ ranks - least) / pairs
    shuffled, mean = shuffled[:-1], shuffled[-1]
    # The data count among the shuffles here too: only then is the test exact for few shuffles.
    spread = np.sqrt(((shuffled - mean) ** 2).mean(axis=0))
    far = np.divide(np.abs(shuffled - mean), spread, out=np.zeros_like(shuffled), where=spread > 1e-9)
    null_low, null_high = np.quantile(shuffled[1:], ends, axis=0)
    wins, compared = weighted_wins(scores, part.right, part.strata, part.counts)
    some = compared > 0
    low, high = np.quantile(wins[some] / compared[some, None], ends, axis=0) if some.any() else (np.nan, np.nan)
    measured = dict(auroc=shuffled[0], low=low, high=high, null_mean=mean, null_low=null_low, null_high=null_high)
    p = (far >= far[0] - 1e-9).mean(axis=0)
    return measured | dict(p=p, draws=some.sum(), pairs=pairs, n=_paired(part)), far


def _paired(part: CellSamples) -> int:
    """The samples that enter a pair: those of strata with right and wrong ones."""
    sizes, right = np.bincount(part.strata), np.bincount(part.strata, weights=part.right)
    return int(sizes[(right > 0) & (right < sizes)].sum())
