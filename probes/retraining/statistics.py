"""Statistics of a comparison: each measure of all runs of an arm, here and in draws of scenes that all arms share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike

from interp.datasets.synthetic.shapes import KINDS
from interp.numeric import ratio
from interp.stats.clusters import drawn_sums
from interp.stats.intervals import APART, FREE, SHARE, spread_ends
from probes.position.order_sensitivity import drawn_measures, not_told

if TYPE_CHECKING:
    from probes.retraining.measure import ModelMeasures

ORDER = ("accuracy", "psi", "psi_corrected")
PROBES = ("abs_delta_g_v", "delta_alpha_v")
LIMITS = {"accuracy": SHARE, "psi": (-np.inf, 1.0), "abs_delta_g_v": (0.0, np.inf), "delta_alpha_v": APART}
"""The least and the most that a measure can be, where there is something of the kind."""

ALL_LAYERS = "all layers"


@dataclass(frozen=True, eq=False)
class Statistic:
    """One part of one measure, of all runs of an arm.

    Attributes:
        here: its value for each run.
        drawn: the same in each draw of scenes, [draw run].
        scenes: how many scenes it is of.
        groups: in how many groups these lie, which are drawn.
        bounds: the least and the most that it can be, infinite where there is none.
        why: the reason for which it can not be told; empty where it can.
    """

    here: Float[np.ndarray, " run"]
    drawn: Float[np.ndarray, "draw run"]
    scenes: int
    groups: int
    bounds: tuple[float, float] = FREE
    why: str = ""

    def minus(self, other: Statistic) -> Statistic:
        """The difference, run by run and draw by draw."""
        low, high = self.bounds
        return Statistic(
            self.here - other.here, self.drawn - other.drawn, self.scenes, self.groups, (low - high, high - low)
        )

    def ends(
        self, value: ArrayLike, drawn: Float[np.ndarray, " draw *axes"], level: float, *, runs: int = 0
    ) -> Float[np.ndarray, " 2 *axes"]:
        """Both ends of an interval by draws of groups, or by draws of so many runs and of groups.

        They are spread as the fewer of both need, so that those of few runs are rather too wide where scenes leave
        more to chance than runs; fewer than three have none.
        """
        units = min(runs or self.groups, self.groups)
        return spread_ends(value, drawn, level, units=units, alike=self.groups, bounds=self.bounds)


def statistics_of(
    runs: Sequence[ModelMeasures], *, seed: int, n: int, level: float
) -> dict[tuple[str, str], Statistic]:
    """Every part of every measure, by both names.

    Draws depend on the seed and on the scenes alone, so that those of two arms belong together. Permutations are drawn
    with the scenes, as in the intervals of `probes.psi`.

    Args:
        runs: what each run of an arm gave.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage of the interval by which an accuracy is above chance.
    """
    found: dict[tuple[str, str], Statistic] = {}
    for kind in chance_by_kind(runs[0]):
        found |= {(measure, kind): one for measure, one in _order(runs, kind, seed, n, level).items()}
    for measure in PROBES:
        values = np.stack([getattr(run, measure) for run in runs], axis=1).astype(np.float64)
        parts = {ALL_LAYERS: values.mean(axis=2)}
        parts |= {f"layer {layer}": values[:, :, layer] for layer in range(values.shape[2])}
        how = (runs[0].probe_groups, LIMITS[measure], seed, n)
        found |= {(measure, part): _mean(own, *how) for part, own in parts.items()}
    ratios = np.stack([run.ratio for run in runs], axis=1).astype(np.float64)
    for depth in range(ratios.shape[2]):
        found["ratio", f"depth {depth}"] = _mean(ratios[:, :, depth], runs[0].probe_groups, (0.0, np.inf), seed, n)
    return found


def chance_by_kind(run: ModelMeasures) -> dict[str, float]:
    """What a blind guess scores on the scenes of each kind of question."""
    scenes = {kind: run.kinds == kind for kind in KINDS}
    return {kind: float(run.chance[own].mean()) for kind, own in scenes.items() if own.any()}


def _mean(
    values: Float[np.ndarray, "scene run"],
    groups: Shaped[np.ndarray, " scene"],
    bounds: tuple[float, float],
    seed: int,
    n: int,
) -> Statistic:
    """A mean over scenes."""
    above, below = drawn_sums([values, np.ones(len(values))], groups, seed=seed, n=n)
    return Statistic(values.mean(axis=0), ratio(above, below[:, None]), len(values), len(set(groups)), bounds)


def _order(runs: Sequence[ModelMeasures], kind: str, seed: int, n: int, level: float) -> dict[str, Statistic]:
    """Accuracy and both indices of one kind of question; an index that some run can not be told of says why."""
    own = runs[0].kinds == kind
    groups, chance = runs[0].groups[own], runs[0].chance[own]
    every = [
        drawn_measures(run.original[own], run.permuted[own], run.permuted[own], chance, groups, seed=seed, n=n)
        for run in runs
    ]
    found = {
        measure: Statistic(
            np.array([one[measure][0] for one in every]),
            np.stack([one[measure][1] for one in every], axis=1),
            int(own.sum()),
            len(set(groups)),
            LIMITS.get(measure, (-np.inf, np.inf)),
        )
        for measure in ORDER
    }
    right = found["accuracy"]
    why: dict[str, str] = {}
    for accuracy, low, high in zip(right.here, *right.ends(right.here, right.drawn, level), strict=True):
        why = not_told((float(accuracy), float(low), float(high)), float(chance.mean())) | why
    return {
        measure: replace(one, why=f"in some run, {why[measure]}" if measure in why else "")
        for measure, one in found.items()
    }
