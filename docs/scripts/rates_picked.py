"""Rates of intervals of what was picked from several, of what noise moves to one side, and over runs and scenes."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pandas as pd
from measured_rate import Rate
from rates_answers import DRAWS, Scenario, Told, holds, rates_of

from adaptvis.sweep.flips import share_of
from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import Interval, quantiles, recentred_ends
from interp.stats.picked import for_all
from probes.retraining.statistics import Statistic

LEVEL = 0.95
SLOTS, LAYERS = 33, 12
GROUPS, CELLS = 20, 48
SETS = 4000
"""Data sets whose mean stands for what a measure is on average."""

ALONE = "interval of that one alone, which no report gives it"

Sizes = np.ndarray
"""A measure's numbers, [draw cell]."""


def rates(repeats: int = 1000) -> list[Rate]:
    """The rates of all scenarios, of so many data sets each."""
    return rates_of(SCENARIOS, repeats)


# picked from several -------------------------------------------------------------------------------------------------


def largest_mean(groups: int, alike: float) -> Scenario:
    """The largest of 33 means over groups of two samples, which go together by `alike`; all are 0 in truth."""
    names = np.repeat(np.arange(groups), 2)

    def scenario(rng: np.random.Generator) -> Told:
        shared, alone = rng.normal(size=(groups, 1)), rng.normal(size=(groups, SLOTS))
        values = np.repeat(alike**0.5 * shared + (1 - alike) ** 0.5 * alone, 2, axis=0)
        values += 0.5 * rng.normal(size=values.shape)
        found = mean_over_groups(values, names, seed=0, n=DRAWS)
        at = int(np.argmax(found.estimate))
        own = Interval(*(float(end[at]) for end in (found.estimate, found.low, found.high)))
        wide = for_all(own, SLOTS, units=groups)
        what = f"largest of {SLOTS} means of {groups} groups, correlation {alike:g}"
        return {
            f"{what}: interval for all": holds(wide.low, 0, wide.high),
            f"{what}: {ALONE}": holds(own.low, 0, own.high),
        }

    return scenario


def largest_share(size: int, truth: float = 0.3) -> Scenario:
    """The largest of twelve shares of 20 groups, of which each sample mostly follows its group; all are alike."""

    def scenario(rng: np.random.Generator) -> Told:
        luck = np.repeat(rng.random((20, LAYERS)), size, axis=0)
        right = np.where(rng.random(luck.shape) < 0.7, luck, rng.random(luck.shape)) < truth
        best = right[:, right.mean(axis=0).argmax()]
        rows = pd.DataFrame({"same": best, "group": [f"g{place // size}" for place in range(len(best))]})
        wide, own = (share_of(rows, "same", among=among) for among in (LAYERS, 1))
        what = f"largest of {LAYERS} shares of {truth:g}, " + (f"20 groups of {size}" if size > 1 else "20 samples")
        return {f"{what}: interval for all": holds(wide.low, truth, wide.high),
                f"{what}: {ALONE}": holds(own.low, truth, own.high)}  # fmt: skip

    return scenario


# what noise moves to one side ----------------------------------------------------------------------------------------


def gini(values: Sizes) -> np.ndarray:
    """The Gini index of sizes, [draw]."""
    own = np.sort(np.abs(values))
    return (own * np.arange(1 - own.shape[1], own.shape[1], 2)).sum(1) / own.shape[1] / own.sum(1)


def effective_number(values: Sizes) -> np.ndarray:
    """The effective number of sizes, [draw]."""
    own = np.abs(values)
    return own.sum(axis=1) ** 2 / (own**2).sum(axis=1)


def alike_maps(values: Sizes) -> np.ndarray:
    """Pearson's correlation of both halves of the cells, [draw]."""
    first, second = (own - own.mean(axis=1, keepdims=True) for own in np.split(values, 2, axis=1))
    return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))


NOISY: dict[str, tuple[Callable[[Sizes], np.ndarray], tuple[float, ...]]] = {
    "Gini index of 48 sizes, of which 7 are no noise": (gini, (2.0,) * 7 + (0.0,) * 41),
    "Gini index of 48 sizes that are all noise": (gini, (0.0,) * 48),
    "effective number of 48 sizes, of which 7 are no noise": (effective_number, (2.0,) * 7 + (0.0,) * 41),
    "correlation of two noisy maps that are alike": (alike_maps, tuple(np.sin(np.arange(24))) * 2),
}
"""Measures of means over 20 groups, and the true means of 48 cells."""


def of_groups(rng: np.random.Generator, truth: tuple[float, ...]) -> np.ndarray:
    """Values of groups that vary by one around the true means, [group cell]."""
    return np.array(truth) + rng.normal(size=(GROUPS, len(truth)))


@lru_cache
def on_average(name: str) -> float:
    """What the measure is on average over data sets of 20 groups."""
    statistic, truth = NOISY[name]
    rng = np.random.default_rng(0)
    return float(statistic(np.stack([of_groups(rng, truth).mean(axis=0) for _ in range(SETS)])).mean())


def moved_by_noise(name: str) -> Scenario:
    """Whether ends that are moved back, and percentiles that are not, hold what the measure is on average."""
    statistic, truth = NOISY[name]

    def scenario(rng: np.random.Generator) -> Told:
        each = of_groups(rng, truth)
        weights = rng.multinomial(GROUPS, np.full(GROUPS, 1 / GROUPS), size=DRAWS) / GROUPS
        value, drawn = float(statistic(each.mean(axis=0)[None])[0]), statistic(weights @ each)
        back, plain = recentred_ends(value, drawn, LEVEL, units=GROUPS), quantiles(drawn, LEVEL)
        return {f"{name}: ends moved back": holds(back[0], on_average(name), back[1]),
                f"{name}: percentiles, not moved back": holds(plain[0], on_average(name), plain[1])}  # fmt: skip

    return scenario


# runs and scenes -----------------------------------------------------------------------------------------------------


def of_runs(runs: int, apart: float, scenes: int = 40) -> Scenario:
    """The mean over training runs and scenes, both drawn; runs are so far apart, scenes 1, and each pair 1."""

    def scenario(rng: np.random.Generator) -> Told:
        values = apart * rng.normal(size=runs) + rng.normal(size=(scenes, 1)) + rng.normal(size=(scenes, runs))
        of_scenes = rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=DRAWS) / scenes
        weights = rng.multinomial(runs, np.full(runs, 1 / runs), size=DRAWS) / runs
        own = Statistic(values.mean(axis=0), of_scenes @ values, scenes, scenes)
        drawn = (own.drawn * weights).sum(axis=1)
        low, high = own.ends(own.here.mean(), drawn, LEVEL, runs=runs)
        plain = quantiles(drawn, LEVEL)
        what = f"mean of {runs} runs over {scenes} scenes, runs {apart:g} apart"
        return {f"{what}: interval over runs and scenes": holds(low, 0, high),
                f"{what}: percentiles, not spread": holds(plain[0], 0, plain[1])}  # fmt: skip

    return scenario


SCENARIOS: dict[str, tuple[float, Scenario]] = {
    **{f"largest mean {groups}, {alike:g}": (LEVEL, largest_mean(groups, alike))
       for groups in (8, 40) for alike in (0.0, 0.8)},
    **{f"largest share {size}": (LEVEL, largest_share(size)) for size in (1, 3)},
    **{name: (LEVEL, moved_by_noise(name)) for name in NOISY},
    **{f"runs {runs}, {apart:g}": (LEVEL, of_runs(runs, apart)) for runs in (3, 5) for apart in (0.0, 0.2, 1.0)},
}  # fmt: skip
"""What is simulated: the nominal rate, and what makes one data set and asks it."""


if __name__ == "__main__":
    print(pd.DataFrame(rates()).to_string(index=False))
