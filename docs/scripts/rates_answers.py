"""Rates of the statistics of answers: how often intervals hold the truth and tests find what is not there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from zlib import crc32

import numpy as np
import pandas as pd
from measured_rate import Rate

from interp.answers.calibration import calibration, familiar_against_unfamiliar
from interp.answers.comparison import compare
from interp.answers.groups import pair_set_scores
from interp.answers.metrics import accuracy, class_scores
from interp.answers.yesno import yes_no_scores
from interp.numeric import counted
from interp.stats.clusters import clustered_mean
from interp.stats.intervals import APART
from interp.stats.sign_flips import sign_flip_test
from interp.stats.tests import holm

DRAWS = 400
"""Draws of each bootstrap: so few, that many repeats are quick."""

Told = dict[str, bool]
"""What a made-up data set says, by what was asked: whether an interval holds the truth, or a test finds something."""

Scenario = Callable[[np.random.Generator], Told]
"""What makes one data set and asks it."""


def rates(repeats: int = 2000, *, only: Callable[[str], bool] = lambda scenario: True) -> list[Rate]:
    """The rates of all scenarios, of so many data sets each.

    Args:
        repeats: how many.
        only: which scenarios, by name.
    """
    return rates_of({name: own for name, own in SCENARIOS.items() if only(name)}, repeats)


def rates_of(scenarios: Mapping[str, tuple[float, Scenario]], repeats: int) -> list[Rate]:
    """The rates of scenarios, each drawn by its own name, so that none changes where another is added."""
    found = []
    for name, (nominal, scenario) in scenarios.items():
        found += measure(scenario, nominal, repeats, seed=crc32(name.encode()))
    return found


def measure(scenario: Scenario, nominal: float, repeats: int, *, seed: int) -> list[Rate]:
    """The rates of one scenario."""
    hits: dict[str, list[bool]] = defaultdict(list)
    for repeat in range(repeats):
        for name, hit in scenario(np.random.default_rng([seed, repeat])).items():
            hits[name].append(hit)
    error = (nominal * (1 - nominal) / repeats) ** 0.5
    return [Rate(name, nominal, float(np.mean(own)), error, repeats) for name, own in hits.items()]


def holds(low: float, truth: float, high: float) -> bool:
    """Whether an interval holds the truth."""
    return bool(low <= truth <= high)


# intervals of means over groups --------------------------------------------------------------------------------------


def mean_of(count: int) -> Scenario:
    """The mean of values that groups of one to five samples share in part."""

    def scenario(rng: np.random.Generator) -> Told:
        groups = np.repeat(np.arange(count), rng.integers(1, 6, size=count))
        values = rng.normal(size=count)[groups] + rng.normal(size=len(groups))
        found = clustered_mean(values, groups, seed=0, n=DRAWS)
        return {f"mean of {count} groups": holds(found.low, 0, found.high)}

    return scenario


def gain_of(count: int, gained: float, lost: float) -> Scenario:
    """The gain where groups of four gain or lose all their answers, or none."""

    def scenario(rng: np.random.Generator) -> Told:
        groups = np.repeat(np.arange(count), 4)
        changed = rng.choice([1, -1, 0], p=[gained, lost, 1 - gained - lost], size=count)[groups]
        found = clustered_mean(changed, groups, seed=0, n=DRAWS, bounds=APART)
        name = f"gain of {count} groups, of which {gained:.0%} gain and {lost:.0%} lose"
        return {name: holds(found.low, gained - lost, found.high)}

    return scenario


def gain_of_few(count: int, rate: float) -> Scenario:
    """The gain of answers that share no groups, of which about three change, all for the better."""

    def scenario(rng: np.random.Generator) -> Told:
        before = answers_of(rng, count, np.zeros(count), size=1)
        found = compare(before, before.assign(correct=rng.random(count) < rate), n=DRAWS).difference
        return {f"gain of {count} answers, of which {rate:.1%} gain": holds(found.low, rate, found.high)}

    return scenario


# shares and what is made of them -------------------------------------------------------------------------------------


def answers_of(rng: np.random.Generator, count: int, sure: np.ndarray, *, size: int = 4) -> pd.DataFrame:
    """Answers that are right with these probabilities; those of a group by one toss, so that they go together."""
    right = np.repeat(rng.random(count), size) < sure
    ids = [f"s{place}" for place in range(count * size)]
    groups = np.repeat([f"g{place}" for place in range(count)], size)
    return pd.DataFrame({"id": ids, "group": groups, "correct": right, "correct_paper": right, "confidence": sure})


def share_of(count: int, share: float) -> Scenario:
    """Accuracy where the four answers of a group are right or wrong together, or in part."""

    def scenario(rng: np.random.Generator) -> Told:
        told = {}
        apart = min(0.2, share, 1 - share)
        for name, spread in (("all alike", 0.0), ("alike in part", apart), ("independent", 0.0)):
            sure = share + rng.uniform(-spread, spread, size=4 * count)
            table = answers_of(rng, count, sure)
            if name == "independent":
                table = table.assign(correct=rng.random(4 * count) < sure)
            found = accuracy(table)
            told[f"accuracy {share:g} of {count} groups, {name}"] = holds(found.low, share, found.high)
        return told

    return scenario


def of_calibrated(rng: np.random.Generator) -> Told:
    """The Brier score, calibration error and AUROC of 60 groups of calibrated answers."""
    grid = np.linspace(0.2, 1.0, 20001)
    wrong = np.cumsum(1 - grid) - (1 - grid) / 2
    discriminates = float((grid * wrong).sum() / grid.sum() / (1 - grid).sum())
    found = calibration(answers_of(rng, 60, rng.uniform(0.2, 1, size=240)), n=DRAWS)
    null = found.error_if_calibrated
    return {
        "Brier score of 60 groups": holds(found.brier.low, float((grid * (1 - grid)).mean()), found.brier.high),
        "calibration error of 60 groups, among those of calibrated answers": holds(null.low, found.error, null.high),
        "AUROC of confidence of 60 groups": holds(found.auroc.low, discriminates, found.auroc.high),
    }


def alarm_of_calibration(count: int, size: int) -> Scenario:
    """The calibration error of calibrated answers beyond what calibrated ones are said to show."""

    def scenario(rng: np.random.Generator) -> Told:
        told = {}
        for name in ("alike", "alike in part", "independent"):
            sure = rng.uniform(0.2, 1, count * size)
            if name == "alike":
                sure = sure[::size].repeat(size)
            table = answers_of(rng, count, sure, size=size)
            if name == "independent":
                table = table.assign(correct=rng.random(count * size) < sure)
            found = calibration(table, n=DRAWS)
            beyond = found.error > found.error_if_calibrated.high
            told[f"calibration error of {count} groups of {size}, {name}, above all but 0.025"] = bool(beyond)
        return told

    return scenario


def alarm_without_groups(rng: np.random.Generator) -> Told:
    """The same of 100 samples that share no groups."""
    table = answers_of(rng, 100, rng.uniform(0.2, 1, 100), size=1)
    found = calibration(table, n=DRAWS)
    return {"calibration error of 100 samples, above all but 0.025": found.error > found.error_if_calibrated.high}


def of_rare_answer(groups: int, size: int, sure: float) -> Scenario:
    """Balanced accuracy and F1 of 40 groups of four and an answer that is right for a few samples of one photo."""

    def scenario(rng: np.random.Generator) -> Told:
        gold = np.repeat(["left", "rare"], [160, groups * size])
        common = answers_of(rng, 40, np.full(160, 0.8))
        rare = answers_of(rng, groups, np.full(groups * size, sure), size=size)
        table = pd.concat([common, rare.assign(group="rare " + rare["group"])], ignore_index=True)
        said = np.where(table["correct"], gold, np.where(gold == "rare", "left", None))
        table = table.assign(id=np.arange(len(gold)), gold=gold, predicted=said)
        found = class_scores(table, n=DRAWS)
        wrong, right = groups * size * (1 - sure), 160 * 0.8
        f1 = (2 * right / (160 + right + wrong) + 2 * sure / (1 + sure)) / 2
        truth = {"balanced_accuracy": (0.8 + sure) / 2, "macro_f1": f1}
        what = f"one answer {counted(groups * size, 'sample')} of {counted(groups, 'photo')}, right in {sure:g}"
        return {f"{name.replace('_', ' ')}, {what}": holds(found[name].low, own, found[name].high)
                for name, own in truth.items()}  # fmt: skip

    return scenario


def of_yes_and_no(rng: np.random.Generator) -> Told:
    """Rates of yes and no, and balanced accuracy, where the four answers of a group go together."""
    gold = rng.choice(["yes", "no"], p=[0.7, 0.3], size=160)
    rates_of = {"yes": 0.9, "no": 0.6}
    table = answers_of(rng, 40, np.array([rates_of[name] for name in gold]))
    turned = np.where(gold == "yes", "no", "yes")
    table = table.assign(gold=gold, predicted=np.where(table["correct"], gold, turned), options=[("yes", "no")] * 160)
    found = yes_no_scores(table, n=DRAWS).set_index(["rule", "measure"]).loc["strict"]
    truth = {"true_positive_rate": 0.9, "true_negative_rate": 0.6, "balanced_accuracy": 0.75, "paper_f1": 0.72}
    ends = {name: found.loc[name, ["low", "high"]] for name in truth}
    told = {
        f"{name.replace('_', ' ')} of 40 groups": holds(ends[name]["low"], own, ends[name]["high"])
        for name, own in truth.items()
    }
    mean = class_scores(table, n=DRAWS)["balanced_accuracy"]
    return told | {"mean recall over answers of 40 groups": holds(mean.low, 0.75, mean.high)}


def of_familiar(rng: np.random.Generator) -> Told:
    """The difference of relations that one group holds two of each of."""
    relation = np.tile(["left", "left", "on", "on"], 40)
    table = answers_of(rng, 40, np.where(relation == "left", 0.8, 0.5)).assign(relation=relation)
    found = familiar_against_unfamiliar(table, ["left"], n=DRAWS).iloc[0]
    return {"accuracy of familiar less unfamiliar relations of 40 groups": holds(found["low"], 0.3, found["high"])}


def of_sets(rng: np.random.Generator) -> Told:
    """Pairs and sets of 20 groups of which few are right; Wilson's interval holds its level on average over shares."""
    pairs, share = (("left", "right"), ("on", "under")), rng.uniform(0, 0.3)
    table = answers_of(rng, 20, np.full(80, share)).assign(relation=np.tile(sum(pairs, ()), 20))
    found = pair_set_scores(table, pairs).set_index(["score", "denominator"])
    ends = {name: found.loc[(name, "complete"), ["low", "high"]] for name in ("pair", "set")}
    return {f"right {name}s of 20 groups, 0 to 30% of which are": holds(own["low"], share, own["high"])
            for name, own in ends.items()}  # fmt: skip


# tests under the null ------------------------------------------------------------------------------------------------


def alarm_of(count: int, moved: float) -> Scenario:
    """A comparison of two policies that differ in groups of four, as often for the better as for the worse."""

    def scenario(rng: np.random.Generator) -> Told:
        before = answers_of(rng, count, np.full(4 * count, 0.5))
        turned = np.repeat(rng.random(count) < moved, 4)
        after = before.assign(correct=np.where(turned, np.repeat(rng.random(count) < 0.5, 4), before["correct"]))
        return {f"p of a gain of {count} groups": compare(before, after, n=2).p_value <= 0.05}

    return scenario


def of_many(rng: np.random.Generator) -> Told:
    """Any of 25 policies that differ from the untouched run in groups of four by chance, after Holm's correction."""
    groups = np.repeat(np.arange(40), 4)
    changed = rng.choice([-1, 0, 1], p=[0.15, 0.7, 0.15], size=(25, 40))[:, groups]
    p = holm([sign_flip_test(own, groups) for own in changed])
    return {"any p of 25 policies, corrected by Holm": bool((p <= 0.05).any())}


OF_CALIBRATION = ((20, 2), (10, 5), (20, 5), (40, 5), (60, 4))
"""Groups, and how many answers each, of which the calibration error is asked."""

OF_RARE = ((1, 2), (2, 2), (1, 5))
"""Photos of a rare answer, and how many samples of it each."""

SCENARIOS: dict[str, tuple[float, Scenario]] = {
    **{f"mean {count}": (0.95, mean_of(count)) for count in (3, 5, 10, 12, 20, 60)},
    **{f"gain {count}": (0.95, gain_of(count, 0.3, 0.15)) for count in (5, 10, 20, 60)},
    **{f"rare gain {count}": (0.95, gain_of(count, 0.04, 0.0)) for count in (10, 20, 60)},
    **{f"gain of few {count}": (0.95, gain_of_few(count, 3 / count)) for count in (20, 60, 400)},
    **{f"share {count}": (0.95, share_of(count, 0.8)) for count in (5, 10, 20, 60)},
    "high share": (0.95, share_of(20, 0.97)),
    "calibrated": (0.95, of_calibrated),
    "yes and no": (0.95, of_yes_and_no),
    **{
        f"rare answer {groups} x {size}, {sure:g}": (0.95, of_rare_answer(groups, size, sure))
        for groups, size in OF_RARE
        for sure in (0.5, 0.9)
    },
    "familiar": (0.95, of_familiar),
    "sets": (0.95, of_sets),
    **{f"alarm {count}": (0.05, alarm_of(count, 0.6)) for count in (8, 40)},
    "many": (0.05, of_many),
    **{f"calibrated {count} x {size}": (0.025, alarm_of_calibration(count, size)) for count, size in OF_CALIBRATION},
    "calibrated, no groups": (0.025, alarm_without_groups),
}
"""What is simulated: the nominal rate, and what makes one data set and asks it."""


if __name__ == "__main__":
    print(pd.DataFrame(rates()).to_string(index=False))
