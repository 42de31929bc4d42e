"""Comparison: arms set against each other, with what runs and scenes leave to chance in every number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, Interval, students_t
from probes.retraining.statistics import Statistic, chance_by_kind, statistics_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from probes.retraining.measure import ModelMeasures

SCENES, BOTH, SEEDS = "scenes", "seeds and scenes", "t over seeds"
"""What an interval draws: scenes alone, of one model; runs and scenes; or, by formula, runs alone."""

COLUMNS = ("what", "arm", "against", "seed", "measure", "part", "value", "low", "high", "interval", "seeds", "scenes")


@fits_a_cell("arms seeds measures training left_out")
@dataclass(frozen=True, eq=False)
class ArmComparison:
    """Arms set against each other.

    Measures, each by its parts:

        accuracy           share of right answers, by kind of question
        psi                (Acc - Acc_perm) / Acc, by kind of question
        psi_corrected      (Acc - Acc_perm) / (Acc - chance), by kind of question
        abs_delta_g_v      RoPE sensitivity, mean over heads and samples of |delta g_V|, over all layers and by layer
        delta_alpha_v      the same of the signed change of attention
        ratio              length of the residual stream at the image over that at the words, by depth

    Each has up to two intervals. `seeds and scenes` draws runs and groups of scenes, the same for all arms; it is
    spread as few runs need (`interp.stats.intervals.spread_ends`), and two runs have none. `t over seeds` is
    Student's, of one value a run, paired by seed for differences: three runs are three values, and it is wide; runs
    that are all alike have none. A single model has the interval over `scenes` alone, and so have arms of one run
    each, of which it says nothing. Ends are NaN where there is no interval.

    Attributes:
        arms: their names; the first is what the others are mainly set against.
        seeds: how many runs each has.
        measures: a row for each model, arm and difference, measure, part and interval.
        training: a row for each run, step and number that was written down in training.
        left_out: what can not be told, and why.
        settings: what made it.
    """

    arms: tuple[str, ...]
    seeds: int
    measures: pd.DataFrame
    training: pd.DataFrame
    left_out: pd.DataFrame
    settings: Mapping[str, Any]

    def to_dataframe(self) -> pd.DataFrame:
        """The measures."""
        return self.measures.copy()

    @property
    def drawn(self) -> str:
        """The interval of the bootstrap: over seeds and scenes, or over scenes alone where each arm has one run."""
        return drawn_of(self.seeds)

    def value(self, arm: str, measure: str, part: str, *, against: str = "", interval: str | None = None) -> Interval:
        """One number of an arm, or of its difference from another, with its interval.

        Args:
            arm: the arm.
            measure: one of the measures.
            part: a part of it.
            against: the arm that is subtracted; none for the number of the arm itself.
            interval: one of the intervals; that of the bootstrap if None.

        Raises:
            InputError: it is not there; the message says why.
        """
        interval = self.drawn if interval is None else interval
        own = self.measures.query(
            "seed == 'all' and arm == @arm and against == @against and measure == @measure and part == @part "
            "and interval == @interval"
        )
        if not len(own):
            why = self.left_out.query("measure == @measure and part == @part")["why"].tolist()
            wanted = f"{measure!r} of {part!r} in {arm!r}{' against ' + repr(against) if against else ''}"
            if self.seeds == 1 and interval in (BOTH, SEEDS):
                why.append(f"each arm has one run, and an interval over {SCENES!r} alone")
            raise InputError(f"there is no {wanted} with the interval {interval!r}: {[*why, 'no such name'][0]}")
        row = own.iloc[0]
        return Interval(float(row["value"]), float(row["low"]), float(row["high"]), float(self.settings["level"]))

    def plot(self, axes: Any = None) -> np.ndarray:
        """Draw accuracy, the index of order, RoPE sensitivity by layer, and the length of the stream by depth."""
        from probes.retraining.figure import plot_comparison

        return plot_comparison(self.measures, self.arms, axes, level=self.settings["level"])

    def plot_training(self, ax: Axes | None = None, *, measure: str = "right_relation") -> Axes:
        """Draw what was written down in training by step.

        Raises:
            InputError: nothing of that name was.
        """
        from probes.retraining.figure import plot_training

        return plot_training(self.training, self.arms, ax, measure=measure)


def drawn_of(seeds: int) -> str:
    """The interval of the bootstrap of arms with so many runs: one run says nothing of what runs leave to chance."""
    return BOTH if seeds > 1 else SCENES


def compare_arms(
    found: Mapping[tuple[str, int], ModelMeasures],
    training: Mapping[tuple[str, int], list[Mapping[str, float]]] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> ArmComparison:
    """Set arms against each other.

    Args:
        found: what each model gave, by arm and seed; every arm with the same seeds, all on the same scenes.
        training: what was written down while each was trained.
        settings: more to say of what made it.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> found = compare_arms({("plain", 0): one, ("normalised", 0): other})
        >>> found.value("normalised", "accuracy", "relation", against="plain")

    Raises:
        InputError: an arm lacks a seed, models were measured on other scenes, or there is no draw or no such level.
    """
    import pandas as pd

    check_draws(n, level, seed)
    arms, seeds = _check(found)
    first = next(iter(found.values()))
    runs = np.random.default_rng([seed, 2]).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=n)
    by_arm = {arm: statistics_of([found[arm, one] for one in seeds], seed=seed, n=n, level=level) for arm in arms}
    rows: list[dict[str, Any]] = []
    out: list[dict[str, str]] = []
    for measure, part in by_arm[arms[0]]:
        own = {arm: by_arm[arm][measure, part] for arm in arms}
        why = [statistic.why for statistic in own.values() if statistic.why]
        if why:
            out.append({"measure": measure, "part": part, "why": why[0]})
            continue
        for told in _rows(own, seeds, runs, level):
            rows.append({**told, "measure": measure, "part": part, "scenes": own[arms[0]].scenes})
    shown = pd.DataFrame(rows, columns=list(COLUMNS)).astype(dict.fromkeys(("value", "low", "high"), np.float32))
    return ArmComparison(
        arms=arms,
        seeds=len(seeds),
        measures=shown,
        training=_training(training or {}),
        left_out=pd.DataFrame(out, columns=["measure", "part", "why"]),
        settings={**(settings or {}), "chance": chance_by_kind(first), "seed": seed, "draws": n, "level": level},
    )


def _rows(
    own: Mapping[str, Statistic], seeds: list[int], runs: Int[np.ndarray, "draw run"], level: float
) -> Iterator[dict[str, Any]]:
    """The rows of one part of one measure: of every model, every arm, and every difference of two arms."""
    alone = {"seeds": 1, "interval": SCENES, "against": "", "what": "model"}
    for arm, statistic in own.items():
        ends = statistic.ends(statistic.here, statistic.drawn, level)
        for place, one in enumerate(seeds):
            yield {**alone, "arm": arm, "seed": str(one), **_ends(statistic.here[place], *ends[:, place])}
    pairs = [(later, earlier) for earlier, later in combinations(own, 2)]
    values = {("arm", arm, ""): own[arm] for arm in own}
    values |= {("difference", arm, against): own[arm].minus(own[against]) for arm, against in pairs}
    for (what, arm, against), statistic in values.items():
        told = {"what": what, "arm": arm, "against": against, "seed": "all", "seeds": len(seeds)}
        drawn = (statistic.drawn * runs).sum(axis=1) / len(seeds)
        mean, several = statistic.here.mean(), len(seeds) if len(seeds) > 1 else 0
        ends = statistic.ends(mean, drawn, level, runs=several)
        yield {**told, "interval": drawn_of(len(seeds)), **_ends(mean, *ends)}
        if several:
            interval = paired_t(statistic.here, level)
            yield {**told, "interval": SEEDS, **_ends(interval.estimate, interval.low, interval.high)}


def paired_t(values: Float[np.ndarray, " run"], level: float, rounding: float = 0.0) -> Interval:
    """Student's interval over runs, `interp.stats.intervals.students_t`; none of runs that are all alike.

    Args:
        values: differences [run].
        level: nominal coverage.
        rounding: by how much the values may differ and be alike, such as what they were rounded to.
    """
    found = students_t(values, level)
    alike = np.ptp(values) <= max(rounding, 1e-12 * np.abs(values).max())
    return Interval(found.estimate, math.nan, math.nan, level) if alike else found


def _ends(value: Any, low: Any, high: Any) -> dict[str, float]:
    return {"value": float(value), "low": float(low), "high": float(high)}


def _check(found: Mapping[tuple[str, int], ModelMeasures]) -> tuple[tuple[str, ...], list[int]]:
    """Arms and seeds of what was measured."""
    arms = tuple(dict.fromkeys(arm for arm, _ in found))
    seeds = sorted({seed for _, seed in found})
    absent = [f"{arm} of seed {seed}" for arm in arms for seed in seeds if (arm, seed) not in found]
    if absent or not found:
        raise InputError(f"measures lack {', '.join(absent) or 'every model'}: give each arm with the same seeds")
    first = next(iter(found.values()))
    for (arm, seed), one in found.items():
        for name in ("kinds", "groups", "chance", "probe_groups"):
            if not np.array_equal(getattr(one, name), getattr(first, name)):
                raise InputError(f"{arm} of seed {seed} was measured on other scenes: measure all on the same")
        if one.ratio.shape != first.ratio.shape or one.permuted.shape != first.permuted.shape:
            raise InputError(f"{arm} of seed {seed} has other layers or permutations: compare models of one budget")
    return arms, seeds


def _training(logs: Mapping[tuple[str, int], list[Mapping[str, float]]]) -> pd.DataFrame:
    """What was written down in training, a row for each number."""
    import pandas as pd

    rows = [
        {"arm": arm, "seed": seed, "step": int(row["step"]), "measure": name, "value": value}
        for (arm, seed), log in logs.items()
        for row in log
        for name, value in row.items()
        if name not in ("step", "seconds") and value is not None
    ]
    table = pd.DataFrame(rows, columns=["arm", "seed", "step", "measure", "value"])
    return table.astype({"value": np.float32})
