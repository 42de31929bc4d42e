"""Rates of layer choice, of effects beside other things and of splits, in made-up data whose truth is known."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
from measured_rate import Rate

from adaptvis.evaluation.selection import choose_scaling
from adaptvis.paper.splits import OFFICIAL_SIZES, official_split, split_by_group
from adaptvis.sweep.plan import UNTOUCHED
from interp.stats.covariates import log_odds, logarithm
from interp.stats.layer_choice import LayerComparison, compare_layers
from interp.stats.partial import partial_effect

LEVEL = 0.95
FOR_POINTS = 10
"""Times as many data sets for splits: points vary more than yes and no."""

Made = dict[str, Any]
"""Made-up data: the keywords of what is measured."""


def rates(repeats: int = 1000) -> list[Rate]:
    """All rates, of so many data sets each; false alarms and coverage as shares, leaks in points."""
    found = [rate for name in LAYERS for rate in layer_rates(name, repeats)]
    found += [rate for name in BESIDE for rate in beside_rates(name, repeats)]
    return found + [leak(how, FOR_POINTS * repeats) for how in ("official", "by-pair")]


# layer choice --------------------------------------------------------------------------------------------------------


def layers_of(
    rng: np.random.Generator,
    *,
    n: int = 200,
    share: float = 0.5,
    strengths: dict[int, float] | None = None,
    every: float = 0.0,
    group: int = 1,
    n_layers: int = 12,
) -> Made:
    """Scores of layers that know of right answers as much as they are told to, alone or in every layer.

    With groups, right answers and scores both have a share in common inside a group.
    """
    units = np.arange(n) // group
    many = units.max() + 1
    right = rng.permutation(n) < round(share * n)
    if group > 1:
        right = drawn(2.0 * rng.normal(size=many)[units] + math.log(share / (1 - share)), rng)
    scores = rng.normal(size=(n, n_layers)) + (rng.normal(size=(many, n_layers))[units] if group > 1 else 0.0)
    scores += every * right[:, None]
    for layer, strength in (strengths or {}).items():
        scores[:, layer] += strength * right
    return {"scores": scores, "right": right, "groups": units if group > 1 else None}


LAYERS: dict[str, dict[str, Any]] = {
    "no layer knows": {},
    "no layer knows, 60 of 300 wrong": {"n": 300, "share": 0.8},
    "no layer knows, 5 of 100 wrong": {"n": 100, "share": 0.95},
    "no layer knows, 50 groups of four": {"group": 4},
    "no layer knows, ten groups": {"n": 100, "group": 10},
    "no layer knows, six groups": {"n": 60, "group": 10},
    "all layers know alike": {"every": 0.8},
    "all layers know alike, reversed": {"every": -0.8},
    "all layers know alike, 50 groups of four": {"every": 0.8, "group": 4},
    "the paper's and another know alike": {"strengths": {3: 0.8, 6: 0.8}},
    "the paper's alone knows": {"strengths": {6: 1.0}},
    "another alone knows": {"strengths": {3: 0.8}},
    "another alone knows, reversed, 60 of 300 wrong": {"n": 300, "share": 0.8, "strengths": {3: -1.3}},
    "another alone knows, ten groups": {"n": 100, "group": 10, "strengths": {3: 1.0}},
    "another nearly separates, 10 of 100 wrong": {"n": 100, "share": 0.9, "strengths": {3: 2.5}},
}
"""Scenarios: twelve layers, of which the paper's is layer 6."""

EQUAL = ("no layer knows", "all layers know alike", "the paper's and another")
"""Beginnings of the names of those in which no difference is a true one."""


def compared(name: str, repeats: int, **how: Any) -> list[LayerComparison]:
    """The comparisons of so many data sets of a scenario."""
    asked: dict[str, Any] = {"chosen": (6,), "repeats": 3, **how}
    place = list(LAYERS).index(name)
    made = ((seed, layers_of(np.random.default_rng([place, seed]), **LAYERS[name])) for seed in range(repeats))
    return [compare_layers(**data, seed=seed, **asked) for seed, data in made]


def layer_rates(name: str, repeats: int, **how: Any) -> list[Rate]:
    """False alarms of the difference where there is none, and how often each interval holds its true mean."""
    found = compared(name, repeats, **how)
    out = []
    if name.startswith(EQUAL):
        out.append(share_of(f"layers: {name}: false alarms", 1 - LEVEL, [one.p <= 1 - LEVEL for one in found]))
    for what in ("chosen", "best", "difference"):
        ends = [getattr(one, what) for one in found]
        truth = np.mean([one.estimate for one in ends])  # that of the procedure: its mean over data sets
        held = [one.low <= truth <= one.high for one in ends]
        out.append(share_of(f"layers: {name}: interval of {what}", LEVEL, held))
    return out


# beside other things -------------------------------------------------------------------------------------------------


def beside_of(name: str, rng: np.random.Generator, n: int = 400) -> tuple[np.ndarray, np.ndarray, dict[str, Made]]:
    """Scores, right answers, and by name of what is held fixed the keywords of `partial_effect`: no effect is true."""
    if name.startswith("relation"):
        relation = rng.integers(4, size=n)
        units = np.arange(n) // 4 if "groups" in name else None
        if "few" in name:
            units = np.arange(n) % 10
        shared = 0.0 if units is None else rng.normal(size=units.max() + 1)[units]
        odds = np.array([-1.5, -0.5, 0.5, 1.5])[relation] + shared
        scores = 0.8 * relation + rng.normal(size=n) + (0 if units is None else rng.normal(size=units.max() + 1)[units])
        other = {"noise": rng.normal(size=n)}
        words = np.array(["on", "under", "left", "right"])[relation]
        return (
            scores,
            drawn(odds, rng),
            {
                "with the relation": {"covariates": {**other, "relation": words}, "groups": units},
                "without it": {"covariates": other, "groups": units},
            },
        )
    if name == "confidence":
        odds = 1.2 + 2.0 * rng.normal(size=n)
        chance = 1 / (1 + np.exp(-odds))
        covariates = {"logit": log_odds(chance), "as it is": chance}
        driven = odds
    else:
        area = np.exp(9 + 1.2 * rng.normal(size=n))
        covariates = {"log": logarithm(area), "as it is": area}
        odds = driven = np.log(area) - 9
    scores = driven + rng.normal(size=n)
    return scores, drawn(odds, rng), {word: {"covariates": {name: own}} for word, own in covariates.items()}


def drawn(odds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Answers, right with these log odds."""
    return rng.random(odds.shape) < 1 / (1 + np.exp(-odds))


BESIDE = ("relation", "relation, groups of four", "relation, few groups", "confidence", "area")
"""What drives both right answers and scores."""


def beside_rates(name: str, repeats: int) -> list[Rate]:
    """False alarms beside what drives both, in each form that it is held fixed in."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for seed in range(repeats):
        scores, right, forms = beside_of(name, np.random.default_rng([BESIDE.index(name), seed]))
        for form, given in forms.items():
            hits[form].append(bool(partial_effect(scores, right, **given).adjusted.p <= 0.05))
    return [share_of(f"beside {name}: {form}: false alarms", 0.05, own) for form, own in hits.items()]


# splits --------------------------------------------------------------------------------------------------------------

ALPHAS = (0.5, 0.8, 1.2, 1.5, 2.0)
SET_EFFECT = 1.5
"""How far a set of four photos moves the log odds of a right answer under one alpha; no alpha is better than others."""


def leak(how: str, repeats: int, dataset: str = "controlled-a") -> Rate:
    """By how many points a chosen alpha looks better on the reported part than all alphas do there, which are alike."""
    size = OFFICIAL_SIZES[dataset]
    groups = [f"set {row // 4}" for row in range(size)]
    gains = []
    for seed in range(repeats):
        rng = np.random.default_rng([99, seed])
        right = drawn(SET_EFFECT * rng.normal(size=(size // 4 + 1, len(ALPHAS)))[np.arange(size) // 4], rng)
        val, test = official_split(size, seed=seed) if how == "official" else split_by_group(groups, seed=seed)
        chosen = choose_scaling(sweep_of(right[val])).alpha
        of_all = 100 * right[test].mean(axis=0)
        gains.append(of_all[ALPHAS.index(chosen)] - of_all.mean())
    error = float(np.std(gains, ddof=1)) / math.sqrt(repeats)
    return Rate(
        f"split: {how}: points that a chosen alpha keeps of its luck", 0.0, float(np.mean(gains)), error, repeats
    )


def sweep_of(right: np.ndarray) -> pd.DataFrame:
    """A sweep with these answers, [sample alpha], and an untouched run."""
    n = len(right)
    rows = {"mode": "mul", "layers": "all", "heads": "all", "id": np.arange(n)}
    parts = [pd.DataFrame({**rows, "setting": UNTOUCHED, "alpha": 1.0, "mode": "", "correct": False})]
    parts += [
        pd.DataFrame({**rows, "setting": f"x{alpha}", "alpha": alpha, "correct": own})
        for alpha, own in zip(ALPHAS, right.T, strict=True)
    ]
    return pd.concat(parts, ignore_index=True)


def share_of(name: str, nominal: float, hits: list[bool]) -> Rate:
    """The share of hits with its Monte-Carlo error, that of the nominal rate."""
    error = math.sqrt(nominal * (1 - nominal) / len(hits))
    return Rate(name, nominal, float(np.mean(hits)), error, len(hits))
