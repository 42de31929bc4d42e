"""Cells: the AUROC of each column of a table of scores, such as one layer and head, its intervals and its shuffles."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.stats.auroc_intervals import AurocSpread, auroc_spread
from interp.stats.intervals import Interval, reaching
from interp.stats.pairs import ranks_inside
from interp.stats.shuffles import share_beyond, shuffled_labels
from interp.stats.tests import benjamini_hochberg_where_defined

PER_CELL = 20
"""With more cells than these a small p of one says little, and is taken from so many times more shuffles."""

_CELLS = 1024  # measured at a time
_FEW = 0.01  # of the first shuffles: a cell that fewer reach is shuffled on
NUMBERS = ("auroc", "low", "high", "low_all", "high_all", "null_mean", "null_low", "null_high", "p", "p_max", "p_bh")
"""What is measured of every cell, float; see `interp.stats.association.Association`."""

COUNTS = ("pairs", "n", "undefined")
"""What is counted of every cell, int."""


def measured_cells(
    table: Float[np.ndarray, "sample cell"], whole: CellSamples, level: float, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], int]:
    """All of `NUMBERS` and `COUNTS` for table [sample cell], and how many samples a shuffle can change."""
    missing, movable = np.isnan(table), np.zeros(len(table), dtype=bool)
    found = {name: np.full(table.shape[1], np.nan) for name in (*NUMBERS, "spread")}
    found |= {name: np.zeros(table.shape[1], dtype=int) for name in COUNTS}
    farthest, widest = np.zeros(1 + len(whole.keys)), np.zeros(len(whole.draws))
    distance, spreads = np.full(table.shape[1], np.nan), []
    for samples, cells in _alike(missing):
        part = whole.only(samples)
        labels = shuffled_labels(part.right, part.strata, part.units, part.keys)
        movable[samples] |= (labels[-1] > 0) & (labels[-1] < 1)
        for here in np.split(cells, range(_CELLS, len(cells), _CELLS)):
            scores = table[np.ix_(samples, here)]
            measured, far = _shuffled(scores, part, labels, level)
            if far is None:
                continue
            for name, values in measured.items():
                found[name][here] = values
            distance[here], farthest = far[0], np.maximum(farthest, far.max(axis=1))
            spread = auroc_spread(scores, part.right, part.strata, part.units)
            spreads.append((here, spread))
            found["low"][here], found["high"][here] = spread.ends(level)
            widest = np.maximum(widest, spread.deviations(part.draws).max(axis=1))
    found["p_max"] = share_beyond(distance, farthest)
    _shuffle_on(table, whole, found, rng)
    _widen(found, spreads, widest, level)
    found |= {"p_bh": benjamini_hochberg_where_defined(found["p"]), "undefined": missing.sum(axis=0)}
    return {name: found[name] for name in (*NUMBERS, *COUNTS)}, int(movable.sum())


@dataclass(frozen=True, eq=False)
class CellSamples:
    """The samples that some cells have scores for.

    Attributes:
        right: whether each answer is right, [sample].
        strata: the code of each sample's stratum, [sample].
        units: the code of each sample's group, [sample]; each sample is its own where there are no groups.
        keys: random numbers from 0 to 1, [shuffle sample]. They alone decide a shuffle, so that cells with different
            gaps are shuffled alike where they share samples.
        draws: normal numbers, one of each group, [draw unit].
    """

    right: Bool[np.ndarray, " sample"]
    strata: Int[np.ndarray, " sample"]
    units: Int[np.ndarray, " sample"]
    keys: Float[np.ndarray, "shuffle sample"]
    draws: Float[np.ndarray, "draw unit"]

    def only(self, own: np.ndarray) -> CellSamples:
        """Some of the samples."""
        return CellSamples(self.right[own], self.strata[own], self.units[own], self.keys[:, own], self.draws)


def _alike(missing: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples and cells of missing [sample cell] that go together: all these cells miss the same samples, not all."""
    together: dict[bytes, list[int]] = {}
    for cell, pattern in enumerate(np.packbits(missing, axis=0).T):
        together.setdefault(pattern.tobytes(), []).append(cell)
    for cells in together.values():
        if not missing[:, cells[0]].all():
            yield np.flatnonzero(~missing[:, cells[0]]), np.array(cells)


def _shuffled(
    scores: np.ndarray, part: CellSamples, labels: np.ndarray, level: float
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Measures of cells [cell], and how far the data and each shuffle lie from the shuffles' mean [1+shuffle cell].

    Without a pair to compare there are none.
    """
    ranks, least, pairs = ranks_inside(scores, part.right, part.strata)
    if not pairs:
        return {}, None
    shuffled = (labels @ ranks - least) / pairs
    shuffled, mean = shuffled[:-1], shuffled[-1]
    # The data count among the shuffles here too: only then is the test exact for few shuffles.
    spread = np.sqrt(((shuffled - mean) ** 2).mean(axis=0))
    far = np.divide(np.abs(shuffled - mean), spread, out=np.zeros_like(shuffled), where=spread > 1e-9)
    null_low, null_high = np.quantile(shuffled[1:], [(1 - level) / 2, (1 + level) / 2], axis=0)
    measured = dict(auroc=shuffled[0], null_mean=mean, null_low=null_low, null_high=null_high)
    return measured | dict(p=(far >= far[0] - 1e-9).mean(axis=0), spread=spread, pairs=pairs, n=_paired(part)), far


def _paired(part: CellSamples) -> int:
    """The samples that enter a pair: those of strata with right and wrong ones."""
    sizes, right = np.bincount(part.strata), np.bincount(part.strata, weights=part.right)
    return int(sizes[(right > 0) & (right < sizes)].sum())


def _shuffle_on(table: np.ndarray, whole: CellSamples, found: dict[str, np.ndarray], rng: np.random.Generator) -> None:
    """Take the p of cells that few of the first shuffles reach from more of them, `PER_CELL` cells for each.

    A p that stays is larger than any that is taken anew can have been; so each errs at most at its level, as with as
    many shuffles of all cells (Besag and Clifford 1991 stop likewise).
    """
    first = len(whole.keys)
    rounds = math.ceil((~np.isnan(found["p"])).sum() / PER_CELL) - 1
    reached = found["p"] * (1 + first)
    on = np.flatnonzero((reached < 1 + _FEW * first) & (found["spread"] > 1e-9))
    if rounds < 1 or not len(on):
        return
    for samples, cells in _alike(np.isnan(table[:, on])):
        part, here = whole.only(samples), on[cells]
        ranks, least, pairs = ranks_inside(table[np.ix_(samples, here)], part.right, part.strata)
        mean, spread = found["null_mean"][here], found["spread"][here]
        edge = np.abs(found["auroc"][here] - mean) / spread - 1e-9
        for _ in range(rounds):
            labels = shuffled_labels(part.right, part.strata, part.units, rng.random(part.keys.shape))[1:-1]
            reached[here] += (np.abs((labels @ ranks - least) / pairs - mean) / spread >= edge).sum(axis=0)
    found["p"][on] = reached[on] / (1 + first * (1 + rounds))


def _widen(
    found: dict[str, np.ndarray], spreads: list[tuple[np.ndarray, AurocSpread]], widest: np.ndarray, level: float
) -> None:
    """The interval of each cell that holds for all together; and no interval contradicts the p that goes with it."""
    together = max(level, math.erf(float(np.quantile(widest, level)) / math.sqrt(2)))
    for here, spread in spreads:
        found["low_all"][here], found["high_all"][here] = spread.ends(level if len(found["p"]) == 1 else together)
    for low, high, p in (("low", "high", "p"), ("low_all", "high_all", "p_max")):
        own = reaching(Interval(found["auroc"], found[low], found[high], level), found[p], none=0.5)
        found[low], found[high] = own.low, own.high
