"""Association: does a score, such as overlap with the objects, predict that an answer is right; layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Real
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.layers import cell_columns
from interp.reprs import fits_a_cell
from interp.stats.intervals import DRAWS
from interp.stats.tests import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd

_CELLS = 1024  # measured at a time
_FLOATS = 2**24  # in the largest array of `weighted_wins`: 64 MB
_COLUMNS = ("auroc", "low", "high", "null_mean", "null_low", "null_high", "p", "p_max", "p_bh")
_COUNTS = ("pairs", "undefined", "draws")


def association(
    scores: ArrayLike,
    right: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int,
    n_draws: int = DRAWS,
    n_shuffles: int = DRAWS,
    level: float = 0.95,
) -> Association:
    """How often a right answer scores above a wrong one, in every cell, with its interval and its null.

    The measure is the AUROC: pairs of a right and a wrong sample in which the right one scores higher, ties counting
    half, over all such pairs (Mann and Whitney 1947). With `strata` only pairs inside one stratum count, so that what
    tells the strata apart (the relation is often both what makes an answer right and where the boxes lie) can not pass
    for an association.

    * Interval: percentile bootstrap. Samples are drawn inside each stratum, whole groups where there are groups; draws
      without a pair are left out. With ten or so right or wrong answers, or groups, it is too narrow; p never is.
    * Null: the labels are shuffled inside each stratum. With groups, whose samples share what makes them hard, a
      group's labels go together to a group with as many samples of each stratum (Winkler et al. 2015), and are
      shuffled inside both; those of a group without such a partner stay in it. `movable` says how many can change.
    * `p`: two-sided, the share of shuffles (the data among them) at least as far from the mean of the null.
    * `p_max`: the same for the farthest of all cells in each shuffle (single-step maxT, Westfall and Young 1993), in
      standard deviations of each cell's null; all cells below a level together err at most at that rate, however
      dependent they are. `p_bh` is Benjamini and Hochberg's false discovery rate.

    Args:
        scores: [sample ...cells], for one [sample layer head+1]; NaN where a sample has none. Such samples are left out
            of that cell and counted in `undefined`; the others are shuffled among themselves.
        right: whether the answer is right, bool [sample].
        strata: compare only inside these, such as the relation, [sample].
        groups: samples that belong together, such as those of one object pair, [sample].
        seed: of draws and shuffles.
        n_draws: bootstrap draws.
        n_shuffles: shuffles; no p is below 1 / (1 + n_shuffles).
        level: nominal coverage of the interval, and the share of the null inside its ends.

    Returns:
        Arrays [...cells]; NaN where no right sample can be compared with a wrong one.

    Example:
        >>> found = association(cosine, right, strata=relation, groups=object_pair, seed=0)  # cosine [412 32 33]
        >>> found.auroc[17, -1], found.p_max[17, -1]  # layer 17, head mean

    Raises:
        InputError: lengths differ, a score is infinite, a stratum or group has no name, or there are no draws.
    """
    table, truth, shape = read_scores(scores, right)
    check_draws(min(n_draws, n_shuffles), level)
    own, names = codes_of(strata, len(truth), "strata")
    units = np.arange(len(truth)) if groups is None else codes_of(groups, len(truth), "groups")[0]
    rng = np.random.default_rng(seed)
    counts = drawn_counts(own, None if groups is None else units, n_draws, rng)
    found, movable = _over_cells(table, _Part(truth, own, units, counts, rng.random((n_shuffles, len(truth)))), level)
    sizes = {name: (int(truth[own == at].sum()), int((~truth)[own == at].sum())) for at, name in enumerate(names)}
    return Association(
        **{name: values.reshape(shape)[()] for name, values in found.items()},
        n_right=int(truth.sum()),
        n_wrong=int((~truth).sum()),
        strata={} if strata is None else sizes,
        skipped=() if strata is None else tuple(name for name, both in sizes.items() if 0 in both),
        movable=movable,
        level=level,
    )


@fits_a_cell("auroc n_right n_wrong strata movable")
@dataclass(frozen=True, eq=False)
class Association:
    """What `association` found; arrays are [...cells], numbers where the scores had no cells.

    Attributes:
        auroc: 0.5 says nothing, 1 that every right answer scores above every wrong one.
        low: lower end of its bootstrap interval.
        high: upper end.
        null_mean: mean AUROC over every way to shuffle the labels.
        null_low: lower end of the central `level` of the shuffles.
        null_high: upper end.
        p: two-sided, of this cell alone.
        p_max: corrected for all cells, family-wise.
        p_bh: corrected for all cells, false discovery rate.
        pairs: pairs of a right and a wrong sample that were compared, int.
        undefined: samples left out because they have no score here, int.
        draws: bootstrap draws that held a pair, int.
        n_right: right samples given.
        n_wrong: wrong samples given.
        strata: of each stratum, how many are right and how many wrong; empty without strata.
        skipped: strata where all are right or all wrong: they have no pair and do not enter.
        movable: samples whose label a shuffle can change; where they are few, no p can be small.
        level: nominal coverage.
    """

    auroc: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    null_mean: Float[np.ndarray, "*cells"]
    null_low: Float[np.ndarray, "*cells"]
    null_high: Float[np.ndarray, "*cells"]
    p: Float[np.ndarray, "*cells"]
    p_max: Float[np.ndarray, "*cells"]
    p_bh: Float[np.ndarray, "*cells"]
    pairs: Int[np.ndarray, "*cells"]
    undefined: Int[np.ndarray, "*cells"]
    draws: Int[np.ndarray, "*cells"]
    n_right: int
    n_wrong: int
    strata: dict[str, tuple[int, int]]
    skipped: tuple[str, ...]
    movable: int
    level: float = 0.95

    def to_dataframe(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per cell: its place, then every array, such as for `.query("p_max < 0.05")`.

        Args:
            names: of the axes of the cells; `layer`, `head` by default. The last place of an axis called `head` is the
                head mean, written as -1.

        Raises:
            InputError: there are not as many names as axes.
        """
        import pandas as pd

        arrays = {name: np.ravel(getattr(self, name)) for name in (*_COLUMNS, *_COUNTS)}
        return pd.DataFrame({**cell_columns(np.shape(self.auroc), names), **arrays})


def weighted_wins(
    scores: Real[np.ndarray, "sample cell"],
    right: Bool[np.ndarray, " sample"],
    strata: Int[np.ndarray, " sample"],
    counts: Real[np.ndarray, "draw sample"],
) -> tuple[Float[np.ndarray, "draw cell"], Float[np.ndarray, " draw"]]:
    """Pairs that right samples win over wrong ones when each sample is there `counts` times; ties count half.

    Args:
        scores: [sample cell], no NaN.
        right: bool [sample].
        strata: code of each sample's stratum, [sample]; only pairs inside one count.
        counts: [draw sample].

    Returns:
        Wins [draw cell] and pairs [draw]: their ratio is the AUROC of each draw.
    """
    wins, pairs = np.zeros((len(counts), scores.shape[1])), np.zeros(len(counts))
    for stratum in np.unique(strata):
        yes, no = (np.flatnonzero((strata == stratum) & side) for side in (right, ~right))
        above, below = counts[:, yes].astype(np.float32), counts[:, no].astype(np.float32)
        pairs += above.sum(axis=1, dtype=np.float64) * below.sum(axis=1, dtype=np.float64)
        width = max(1, _FLOATS // max(1, len(no) * max(len(yes), len(counts))))
        for start in range(0, scores.shape[1] if len(yes) and len(no) else 0, width):
            cells = slice(start, start + width)
            wins[:, cells] += _wins(scores[yes, cells], scores[no, cells], above, below)
    return wins, pairs


def drawn_counts(
    strata: Int[np.ndarray, " sample"], units: Int[np.ndarray, " sample"] | None, n: int, rng: np.random.Generator
) -> Float32[np.ndarray, "draw sample"]:
    """How often each sample is in each bootstrap draw, float32 [draw sample].

    Samples are drawn inside their stratum; where units (codes of groups) are given, whole units are drawn instead, and
    with them as many samples of each stratum as they hold.
    """
    if units is not None:
        n_units = int(units.max()) + 1
        return rng.multinomial(n_units, np.full(n_units, 1 / n_units), size=n)[:, units].astype(np.float32)
    counts = np.empty((n, len(strata)), np.float32)
    for stratum in np.unique(strata):
        own = np.flatnonzero(strata == stratum)
        counts[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n)
    return counts


def corrected(p: Float[np.ndarray, " cell"]) -> Float[np.ndarray, " cell"]:
    """Benjamini and Hochberg's correction over the p-values [cell] that are defined."""
    out, some = np.full(p.shape, np.nan), ~np.isnan(p)
    out[some] = benjamini_hochberg(p[some])
    return out


def read_scores(
    scores: ArrayLike, right: ArrayLike
) -> tuple[Float[np.ndarray, "sample cell"], Bool[np.ndarray, " sample"], tuple[int, ...]]:
    """Scores as [sample cell], right as bool [sample], and the shape of the cells.

    Raises:
        InputError: lengths differ, there is nothing, a score is infinite, or right is not true or false.
    """
    table, truth = np.asarray(scores), np.asarray(right)
    table = table if table.dtype in (np.float32, np.float64) else table.astype(np.float64)
    if truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
        raise InputError(f"right has shape {truth.shape} or values other than true and false: give one bool per sample")
    if table.ndim == 0 or table.size == 0 or len(table) != len(truth):
        raise InputError(f"scores have shape {table.shape} for {len(truth)} samples: give [sample ...cells]")
    if np.isinf(table).any():
        raise InputError(f"{int(np.isinf(table).sum())} scores are infinite: give NaN where a score is undefined")
    return table.reshape(len(table), -1), truth.astype(bool), table.shape[1:]


def codes_of(values: ArrayLike | None, n: int, what: str) -> tuple[Int[np.ndarray, " sample"], tuple[str, ...]]:
    """The code of each sample's stratum or group [sample], and their names in order of appearance; None is one for all.

    Raises:
        InputError: not one per sample, a sample has none, or groups are fewer than two.
    """
    if values is None:
        return np.zeros(n, dtype=int), ("all",)
    named = [str(value) for value in np.asarray(values, dtype=object).ravel()]
    if np.shape(values) != (n,):
        raise InputError(f"{what} have shape {np.shape(values)} for {n} samples: give one per sample")
    without = sum(name in ("", "None", "nan", "<NA>", "NaT") for name in named)
    if without:
        raise InputError(f"{without} of {n} samples have no name in {what}: name one for every sample, or give None")
    place = {name: code for code, name in enumerate(dict.fromkeys(named))}
    if what == "groups" and len(place) < 2:
        raise InputError(f"all {n} samples lie in group {named[0]!r}: give at least two groups, or None")
    return np.array([place[name] for name in named]), tuple(place)


def check_draws(n: int, level: float) -> None:
    """Refuse no draws, and a level that is no coverage."""
    if n < 1 or not 0 < level < 1:
        raise InputError(f"{n} draws at level {level}: give at least one draw, and a level between 0 and 1")


@dataclass(frozen=True, eq=False)
class _Part:
    """The samples that some cells have scores for.

    Right [sample], the codes of strata [sample] and of groups [sample], each sample its own where there are none;
    `counts` [draw sample] says how often a draw holds each; `keys` [shuffle sample] are random numbers from 0 to 1.
    They alone decide a shuffle, so that cells that miss other samples are shuffled alike where they share samples.
    """

    right: np.ndarray
    strata: np.ndarray
    units: np.ndarray
    counts: np.ndarray
    keys: np.ndarray

    def only(self, own: np.ndarray) -> _Part:
        """Some of the samples."""
        return _Part(self.right[own], self.strata[own], self.units[own], self.counts[:, own], self.keys[:, own])


def _over_cells(table: np.ndarray, whole: _Part, level: float) -> tuple[dict[str, np.ndarray], int]:
    """Every array of an `Association` for table [sample cell], and how many samples a shuffle can change."""
    missing, movable = np.isnan(table), np.zeros(len(table), dtype=bool)
    found = {name: np.full(table.shape[1], np.nan) for name in _COLUMNS}
    found |= {name: np.zeros(table.shape[1], dtype=int) for name in _COUNTS}
    distance, farthest = np.full(table.shape[1], np.nan), np.zeros(1 + len(whole.keys))
    for samples, cells in _alike(missing):
        part = whole.only(samples)
        labels = _shuffled(part)
        movable[samples] |= (labels[-1] > 0) & (labels[-1] < 1)
        for here in np.split(cells, range(_CELLS, len(cells), _CELLS)):
            measured, far = _measure(table[np.ix_(samples, here)], part, labels, level)
            for name, values in measured.items():
                found[name][here] = values
            if far is not None:
                distance[here], farthest = far[0], np.maximum(farthest, far.max(axis=1))
    found |= {"p_max": _beyond(distance, farthest), "p_bh": corrected(found["p"]), "undefined": missing.sum(axis=0)}
    return found, int(movable.sum())


def _shuffled(part: _Part) -> np.ndarray:
    """Labels [row sample]: the data, shuffles between groups of one make-up and inside them, and their exact mean."""
    out = np.empty((len(part.keys) + 2, len(part.right)))
    out[0] = part.right
    for members in _same_make_up(part.strata, part.units):
        kinds, keys = part.strata[members[0]], part.keys[:, members]
        blocks = part.right[members][np.lexsort(part.right[members].T)]
        # The sum of a group's keys says nothing of their order, so that both can be used.
        blocks = blocks[np.argsort(np.argsort(keys.sum(axis=2), axis=1), axis=1)]
        if len(np.unique(kinds)) < len(kinds):
            blocks = np.take_along_axis(blocks, np.argsort(kinds + keys, axis=2), axis=2)
        out[1:-1, members] = blocks
        for kind in np.unique(kinds):
            out[-1, members[:, kinds == kind]] = part.right[members[:, kinds == kind]].mean()
    return out


def _alike(missing: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Samples and cells of missing [sample cell] that go together: all these cells miss the same samples, not all."""
    together: dict[bytes, list[int]] = {}
    for cell, pattern in enumerate(np.packbits(missing, axis=0).T):
        together.setdefault(pattern.tobytes(), []).append(cell)
    for cells in together.values():
        if not missing[:, cells[0]].all():
            yield np.flatnonzero(~missing[:, cells[0]]), np.array(cells)


def _measure(
    scores: np.ndarray, part: _Part, labels: np.ndarray, level: float
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Measures of cells [cell], and how far out each row of `_shuffled` lies [1+shuffle cell]; none without a pair."""
    ranks, least, pairs = _ranks(scores, part)
    if not pairs:
        return {}, None
    ends = [(1 - level) / 2, (1 + level) / 2]
    drawn = (labels @ ranks - least) / pairs
    drawn, mean = drawn[:-1], drawn[-1]
    # The data count among the shuffles here too: only then is the test exact for few shuffles.
    spread = np.sqrt(((drawn - mean) ** 2).mean(axis=0))
    far = np.divide(np.abs(drawn - mean), spread, out=np.zeros_like(drawn), where=spread > 1e-9)
    null_low, null_high = np.quantile(drawn[1:], ends, axis=0)
    wins, compared = weighted_wins(scores, part.right, part.strata, part.counts)
    some = compared > 0
    low, high = np.quantile(wins[some] / compared[some, None], ends, axis=0) if some.any() else (np.nan, np.nan)
    measured = dict(auroc=drawn[0], low=low, high=high, null_mean=mean, null_low=null_low, null_high=null_high)
    return measured | dict(p=(far >= far[0] - 1e-9).mean(axis=0), draws=some.sum(), pairs=pairs), far


def _ranks(scores: np.ndarray, part: _Part) -> tuple[np.ndarray, float, int]:
    """Midranks inside strata [sample cell], the least sum that the right samples can have, and the pairs.

    For any labels with as many right samples in each stratum, the sum of their ranks above the least is their wins.
    """
    ranks, least, pairs = np.zeros(scores.shape), 0.0, 0
    for stratum in np.unique(part.strata):
        own = np.flatnonzero(part.strata == stratum)
        n_right = int(part.right[own].sum())
        if 0 < n_right < len(own):
            ranks[own] = _midranks(scores[own])
            least += n_right * (n_right - 1) / 2
            pairs += n_right * (len(own) - n_right)
    return ranks, least, pairs


def _midranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 0 down each column [sample cell]; equal scores share the mean of theirs."""
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


def _wins(better: np.ndarray, worse: np.ndarray, above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Wins [draw cell] of scores [yes cell] over others [no cell], there above [draw yes] and below [draw no] times."""
    mine, theirs = better[:, :, None], worse.T[None]
    order = (mine > theirs).astype(np.float32)  # halves and whole numbers: exact up to 8 million pairs
    order[mine == theirs] = 0.5
    beaten = (above @ order.reshape(len(better), -1)).reshape(len(above), -1, len(worse))
    return np.einsum("dcn,dn->dc", beaten, below)


def _same_make_up(strata: np.ndarray, units: np.ndarray) -> list[np.ndarray]:
    """Positions [unit member] of units with as many samples of each stratum, members in the order of their strata."""
    order = np.lexsort((strata, units))
    found: dict[tuple[int, ...], list[np.ndarray]] = {}
    for members in np.split(order, np.flatnonzero(np.diff(units[order])) + 1):
        found.setdefault(tuple(strata[members].tolist()), []).append(members)
    return [np.stack(alike) for alike in found.values()]


def _beyond(distance: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    """The share of shuffles whose farthest cell lies at least as far out as each cell does; NaN where undefined."""
    nearer = np.searchsorted(np.sort(farthest), distance - 1e-9)
    return np.where(np.isnan(distance), np.nan, (len(farthest) - nearer) / len(farthest))
