"""Association: does a score, such as overlap with the objects, predict that an answer is right; layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from interp.layers import cell_columns
from interp.reprs import fits_a_cell
from interp.stats.cells import COUNTS, NUMBERS, CellSamples, measured_cells
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.stats.scores import codes_of, read_scores

if TYPE_CHECKING:
    import pandas as pd


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

    * Interval: that of `interp.stats.auroc_intervals.auroc_interval`, `low` to `high`, of this cell alone; it reaches
      one half wherever `p` is above 1 - level. A cell that is picked because it lies far from one half looks better
      than it is. `low_all` to `high_all` holds for all cells together, so also for one that was picked: its quantile is
      the level at which the farthest of all cells lies in draws of a multiplier bootstrap (Chernozhukov et al. 2013;
      Hothorn et al. 2008). It reaches one half wherever `p_max` is above 1 - level.
    * Null: the labels are shuffled inside each stratum. With groups, whose samples share what makes them hard, a
      group's labels go together to a group with as many samples of each stratum (Winkler et al. 2015), and are
      shuffled inside both; those of a group without such a partner stay in it. `movable` says how many can change.
    * `p`: two-sided, the share of shuffles (the data among them) at least as far from the mean of the null. Of more
      than `PER_CELL` cells, those that few shuffles reach are shuffled on, n_shuffles times for each `PER_CELL` cells,
      so that one true finding among a thousand cells can have a small `p_bh`. docs/rates.md has the time.
    * `p_max`: the same for the farthest of all cells in each shuffle (single-step maxT, Westfall and Young 1993), in
      standard deviations of each cell's null; all cells below a level together err at most at that rate, however
      dependent they are. `p_bh` is Benjamini and Hochberg's false discovery rate.

    Args:
        scores: [sample ...cells], for one [sample layer head+1]; NaN where a sample has none. Such samples are left out
            of that cell and counted in `undefined`; the others are shuffled among themselves.
        right: whether the answer is right, bool [sample].
        strata: compare only inside these, such as the relation, [sample].
        groups: samples that belong together, such as those of one object pair, [sample].
        seed: the seed of draws and shuffles.
        n_draws: the number of draws of the multiplier bootstrap.
        n_shuffles: the number of shuffles; no p_max is below 1 / (1 + n_shuffles).
        level: nominal coverage of the interval, and the share of the null inside its ends.

    Returns:
        Arrays [...cells]; NaN where no right sample can be compared with a wrong one. Intervals are NaN with fewer than
        three groups.

    Example:
        >>> found = association(cosine, right, strata=relation, groups=object_pair, seed=0)  # cosine [412 32 33]
        >>> found.auroc[17, -1], found.p_max[17, -1]  # layer 17, head mean

    Raises:
        InputError: lengths differ, a score is infinite, a stratum or group has no name, or there are no draws.
    """
    table, truth, shape = read_scores(scores, right)
    check_draws(min(n_draws, n_shuffles), level)
    own, names = codes_of(strata, len(truth), "strata")
    units = np.arange(len(truth)) if groups is None else codes_of(groups, len(truth), "groups", fewest=1)[0]
    rng = np.random.default_rng(seed)
    keys, draws = rng.random((n_shuffles, len(truth))), rng.standard_normal((n_draws, units.max() + 1))
    found, movable = measured_cells(table, CellSamples(truth, own, units, keys, draws), level, rng)
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
        low: lower end of its interval, of this cell alone.
        high: upper end.
        low_all: lower end of its interval that holds for all cells together: for cells that are picked.
        high_all: upper end.
        null_mean: mean AUROC over every way to shuffle the labels.
        null_low: lower end of the central `level` of the shuffles.
        null_high: upper end.
        p: two-sided, of this cell alone.
        p_max: corrected for all cells, family-wise.
        p_bh: corrected for all cells, false discovery rate.
        pairs: pairs of a right and a wrong sample that were compared, int.
        n: samples that enter such a pair: those of strata with right and wrong ones, int.
        undefined: samples left out because they have no score here, int.
        n_right: right samples given.
        n_wrong: wrong samples given.
        strata: how many of each stratum are right, and how many wrong; empty without strata.
        skipped: strata where all are right or all wrong: they have no pair and do not enter.
        movable: samples whose label a shuffle can change; where they are few, no p can be small.
        level: nominal coverage.
    """

    auroc: Float[np.ndarray, "*cells"]
    low: Float[np.ndarray, "*cells"]
    high: Float[np.ndarray, "*cells"]
    low_all: Float[np.ndarray, "*cells"]
    high_all: Float[np.ndarray, "*cells"]
    null_mean: Float[np.ndarray, "*cells"]
    null_low: Float[np.ndarray, "*cells"]
    null_high: Float[np.ndarray, "*cells"]
    p: Float[np.ndarray, "*cells"]
    p_max: Float[np.ndarray, "*cells"]
    p_bh: Float[np.ndarray, "*cells"]
    pairs: Int[np.ndarray, "*cells"]
    n: Int[np.ndarray, "*cells"]
    undefined: Int[np.ndarray, "*cells"]
    n_right: int
    n_wrong: int
    strata: dict[str, tuple[int, int]]
    skipped: tuple[str, ...]
    movable: int
    level: float = 0.95

    def to_dataframe(self, names: Sequence[str] | None = None) -> pd.DataFrame:
        """One row per cell: its place, then every array, such as for `.query("p_max < 0.05")`.

        Args:
            names: the names of the axes of the cells; `layer`, `head` by default. The last place of an axis called
                `head` is the head mean, written as -1.

        Raises:
            InputError: there are not as many names as axes.
        """
        import pandas as pd

        arrays = {name: np.ravel(getattr(self, name)) for name in (*NUMBERS, *COUNTS)}
        return pd.DataFrame({**cell_columns(np.shape(self.auroc), names), **arrays})
