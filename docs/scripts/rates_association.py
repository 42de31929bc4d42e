"""Rates of AUROCs: how often their intervals hold the truth, of one cell and of one that was picked, and of their p."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
from measured_rate import Rate

from interp.stats.association import association
from interp.stats.auroc_intervals import auroc_interval

LEVEL, ALPHA = 0.95, 0.05
SAMPLES, CELLS, LAYERS = 300, 40, 24
WRONG, TRUE = (3, 5, 10, 60), (0.5, 0.7, 0.9, 0.99)

OF_SHARES = ("AUROC", "False discoveries")
"""Beginnings of the names of scenarios that tell a share of cells; the others say yes or no."""

Told = dict[str, float]
"""What one made-up data set says, by what was asked: a share of its cells, or 0 or 1."""


def rates(repeats: int = 1000, *, only: Callable[[str], bool] = lambda scenario: True) -> list[Rate]:
    """The rates of all scenarios, of so many data sets each.

    Args:
        repeats: how many.
        only: which scenarios, by name.
    """
    found = []
    for place, (name, (nominal, scenario)) in enumerate(scenarios()):
        if only(name):
            told = defaultdict(list)
            for repeat in range(repeats):
                for asked, share in scenario(np.random.default_rng([place, repeat])).items():
                    told[asked].append(share)
            found += [_rate(f"{name}: {asked}" if asked else name, nominal, own) for asked, own in told.items()]
    return found


def scenarios() -> Iterator[tuple[str, tuple[float, Callable[[np.random.Generator], Told]]]]:
    """Every scenario by its name, with the rate that is promised."""
    kinds = {
        f"AUROC of {SAMPLES} samples": covers_samples,
        "AUROC of 75 groups of four, alike inside, four strata": covers_groups,
        f"AUROC of {SAMPLES} samples, wrong answers spread twice as far": covers_unlike,
    }
    for name, scenario in kinds.items():
        for wrong in WRONG:
            yield f"{name}, {wrong} wrong", (LEVEL, lambda rng, scenario=scenario, wrong=wrong: scenario(rng, wrong))
    for count in (3, 5, 10, 20):
        yield f"AUROC of {count} groups of 20, alike inside", (LEVEL, lambda rng, count=count: covers_few(rng, count))
    for alike in (0.0, 0.9):
        name = f"Farthest of {LAYERS} layers without an effect, correlation {alike:g}"
        yield name, (LEVEL, lambda rng, alike=alike: covers_farthest(rng, alike))
    yield f"Farthest of {LAYERS} layers with effects from none to 0.9 deviations", (LEVEL, covers_graded)
    yield "Shuffles of 40 samples, 80 cells, none with an effect", (ALPHA, false_alarms)
    yield "Shuffles of 24 groups of four that are right or wrong together", (ALPHA, false_alarms_of_groups)
    yield "False discoveries at 0.1 among 100 cells, ten with an effect", (0.1, false_discoveries)


def covers_samples(rng: np.random.Generator, wrong: int, *, spread: float = 1.0) -> Told:
    """The share of cells whose interval holds the true AUROC, by how large that is."""
    right = rng.permutation(SAMPLES) >= wrong
    noise = rng.normal(size=(SAMPLES, CELLS)) * np.where(right, 1.0, spread)[:, None]
    return _held(noise, right, math.sqrt(1 + spread**2))


def covers_unlike(rng: np.random.Generator, wrong: int) -> Told:
    """The same where the scores of wrong answers vary twice as much as those of right ones."""
    return covers_samples(rng, wrong, spread=2.0)


def covers_groups(rng: np.random.Generator, wrong: int) -> Told:
    """The same for groups of four, one of each stratum, that are hard together and share half of their variance."""
    units, strata = np.repeat(np.arange(SAMPLES // 4), 4), np.tile(np.arange(4), SAMPLES // 4)
    hard = 3 * rng.normal(size=SAMPLES // 4)[units] + rng.normal(size=SAMPLES)
    right = np.argsort(np.argsort(-hard)) >= wrong
    return _held(_shared(rng, units), right, math.sqrt(2), strata=strata, groups=units)


def covers_few(rng: np.random.Generator, count: int) -> Told:
    """The same for a few groups of twenty, which differ in how many of their answers are right."""
    units = np.repeat(np.arange(count), 20)
    right = rng.random(len(units)) < rng.uniform(0.4, 0.9, size=count)[units]
    return _held(_shared(rng, units), right, math.sqrt(2), groups=units)


def covers_farthest(rng: np.random.Generator, alike: float) -> Told:
    """Whether the interval of the layer farthest from one half holds one half, where no layer has an effect."""
    noise = math.sqrt(alike) * rng.normal(size=(120, 1)) + math.sqrt(1 - alike) * rng.normal(size=(120, LAYERS))
    return _picked(noise, np.full(LAYERS, 0.5), int(rng.integers(2**31)))


def covers_graded(rng: np.random.Generator) -> Told:
    """Whether it holds that layer's own truth, where layers differ."""
    effects = np.linspace(0, 0.9, LAYERS)
    true = np.array([NormalDist().cdf(effect / math.sqrt(2)) for effect in effects])
    scores = rng.normal(size=(120, LAYERS)) + effects * (np.arange(120) >= 30)[:, None]
    return _picked(scores, true, int(rng.integers(2**31)))


def false_alarms(rng: np.random.Generator) -> Told:
    """How often the first of many cells, or any of them, is found where there is nothing."""
    scores, right = rng.normal(size=(40, 80)), rng.random(40) < 0.5
    found = association(scores, right, seed=int(rng.integers(2**31)), n_draws=1, n_shuffles=199)
    return {"p of one": float(found.p[0] <= ALPHA), "p_max of all": float(np.nanmin(found.p_max) <= ALPHA)}


def false_alarms_of_groups(rng: np.random.Generator) -> Told:
    """The same for one cell of groups whose answers and scores go together."""
    units = np.repeat(np.arange(24), 4)
    right = rng.random(96) < np.where(rng.random(24) < 0.5, 0.95, 0.05)[units]
    scores = rng.normal(size=24)[units] + 0.3 * rng.normal(size=96)
    how = {"strata": np.tile(np.arange(4), 24), "seed": int(rng.integers(2**31)), "n_draws": 1, "n_shuffles": 199}
    return {"p": float(association(scores, right, groups=units, **how).p <= ALPHA)}


def false_discoveries(rng: np.random.Generator) -> Told:
    """The share of cells without an effect among those that are found."""
    right = np.arange(60) % 2 > 0
    scores = rng.normal(size=(60, 100)) + 1.3 * (np.arange(100) < 10) * right[:, None]
    said = association(scores, right, seed=int(rng.integers(2**31)), n_draws=1, n_shuffles=200).p_bh < 0.1
    return {"p_bh": said[10:].sum() / max(said.sum(), 1)}


def _shared(rng: np.random.Generator, units: np.ndarray) -> np.ndarray:
    """Scores [sample cell] of groups that share half of their variance."""
    own = rng.normal(size=(len(units), CELLS))
    return math.sqrt(0.5) * (rng.normal(size=(units.max() + 1, CELLS))[units] + own)


def _held(noise: np.ndarray, right: np.ndarray, apart: float, **how: np.ndarray) -> Told:
    """The share of cells whose interval holds the truth, by the true AUROC; `apart` is a deviation of a difference."""
    told = {}
    for true in TRUE:
        found = auroc_interval(noise + apart * NormalDist().inv_cdf(true) * right[:, None], right, **how)
        told[f"AUROC {true:g}"] = float(np.mean(np.isnan(found.estimate) | (found.low <= true) & (true <= found.high)))
    return told


def _picked(scores: np.ndarray, true: np.ndarray, seed: int) -> Told:
    """Whether both intervals of the farthest layer hold its truth."""
    found = association(scores, np.arange(120) >= 30, seed=seed, n_draws=500, n_shuffles=99)
    best = int(np.abs(found.auroc - 0.5).argmax())
    ends = {
        "interval for all": (found.low_all, found.high_all),
        "interval of that layer alone, which no report gives it": (found.low, found.high),
    }
    return {name: float(low[best] <= true[best] <= high[best]) for name, (low, high) in ends.items()}


def _rate(name: str, nominal: float, told: list[float]) -> Rate:
    """A rate with its error: of yes and no that of the nominal rate, of shares theirs over data sets."""
    shares = name.startswith(OF_SHARES)
    spread = float(np.std(told)) if shares else math.sqrt(nominal * (1 - nominal))
    return Rate(name, nominal, float(np.mean(told)), spread / math.sqrt(len(told)), len(told))
