"""Measures of an evaluation: what every arm is answered, with intervals, tests, dose curves and verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.answers.metrics import NONE, answer_distribution, guessing
from interp.stats.clusters import mean_over_groups, ratio_over_groups
from interp.stats.intervals import APART, SHARE
from interp.stats.sign_flips import flip_signs
from interp.stats.tests import holm
from probes.heads.evaluation.arms import COUNT, DRAWN, FACTOR, RANDOM, TESTED, UNTOUCHED, Arm
from probes.heads.evaluation.measurement import CONTROL, MAIN, TEXTS
from probes.heads.evaluation.verdicts import Evidence, judge

if TYPE_CHECKING:
    import pandas as pd

    from interp.stats.intervals import Interval

LARGEST = 700.0
"""Nats a token beyond which perplexity is told as e to this power, so that it stays a number."""

TELLS = {
    "accuracy": "share of answers that are right by the strict rule",
    "accuracy_change": "that less the share untouched, of the same samples",
    "parse_failures": "share of answers that name no option; to open questions, that are empty",
    "parse_failures_change": "that less the share untouched",
    "confidence": "largest probability of the first token, mean over samples",
    "confidence_change": "that less the untouched one",
    "perplexity": "e to the mean negative log-probability of a token of the right answers, forced",
    "perplexity_ratio": "that over the untouched one",
}
"""What is measured of every arm; of tested sets also `beyond_CONTROL`, accuracy less the mean over that control."""


@dataclass(frozen=True, eq=False)
class TaskAnswers:
    """What one task was answered under every arm.

    Attributes:
        task: which one.
        table: the rows as they were measured, with `gold` and `options`.
        groups: the group of each sample.
        values: by column, a number for each sample and arm; NaN where there is none.
    """

    task: str
    table: pd.DataFrame = field(repr=False)
    groups: Shaped[np.ndarray, " sample"]
    values: Mapping[str, Float[np.ndarray, "sample arm"]] = field(repr=False)

    @classmethod
    def of(cls, table: pd.DataFrame, task: str, arms: int, groups: Shaped[np.ndarray, " sample"]) -> TaskAnswers:
        """Those of one task, of a table whose rows are in the order of samples, then of arms."""
        own = table[table["task"] == task]
        columns = ("correct", "parsed", "confidence", "log_prob", "tokens")
        values = {name: own[name].to_numpy(dtype=np.float64, na_value=np.nan).reshape(-1, arms) for name in columns}
        return cls(task, own, groups, values)


@dataclass(frozen=True)
class Told:
    """How answers are told: which way they should go, and how sure that has to be.

    Attributes:
        direction: -1 where accuracy should fall, 1 where it should rise.
        seed: of bootstraps and sign flips.
        draws: of the bootstrap.
        level: nominal coverage.
        alpha: the level of tests.
        margin: what is broken, see `judge`.
    """

    direction: int
    seed: int
    draws: int
    level: float
    alpha: float
    margin: float

    @property
    def drawn(self) -> dict[str, Any]:
        """The arguments of bootstraps."""
        return {"seed": self.seed, "n": self.draws, "level": self.level}


def measure_arms(arms: Sequence[Arm], tasks: Mapping[str, TaskAnswers], told: Told) -> pd.DataFrame:
    """A row for each task, arm and measure of `TELLS`, and of tested sets how far they are beyond each control."""
    import pandas as pd

    parts = []
    for own in tasks.values():
        count, groups = len(own.groups), len(set(own.groups.tolist()))
        for measure, found, which in _intervals(arms, own, told):
            parts.append(
                pd.DataFrame(
                    {
                        "task": own.task, "arm": [arms[place].name for place in which], "measure": measure,
                        **found.cells("value"), "samples": count, "groups": groups,
                    }
                )
            )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _intervals(arms: Sequence[Arm], own: TaskAnswers, told: Told) -> list[tuple[str, Interval, list[int]]]:
    """Each measure of a task, with the arms that it is of."""
    every, edited = list(range(len(arms))), list(range(1, len(arms)))
    found: list[tuple[str, Interval, list[int]]] = []
    if own.task != TEXTS:
        shares = {
            "accuracy": own.values["correct"],
            "parse_failures": 1 - own.values["parsed"],
            "confidence": own.values["confidence"],
        }
        for measure, values in shares.items():
            found.append((measure, mean_over_groups(values, own.groups, **told.drawn, bounds=SHARE), every))
            change = mean_over_groups(values[:, 1:] - values[:, :1], own.groups, **told.drawn, bounds=APART)
            found.append((f"{measure}_change", change, edited))
        for control, (values, which) in _beyond(arms, own.values["correct"]).items():
            beyond = mean_over_groups(values, own.groups, **told.drawn, bounds=APART)
            found.append((f"beyond_{control}", beyond, which))
    if np.isfinite(own.values["log_prob"]).all():
        lost, tokens = -own.values["log_prob"], own.values["tokens"]
        whole = ratio_over_groups(lost, tokens, own.groups, **told.drawn)
        change = ratio_over_groups(lost[:, 1:] - lost[:, :1], tokens[:, 1:], own.groups, **told.drawn)
        found += [("perplexity", _exp(whole), every), ("perplexity_ratio", _exp(change), edited)]
    return found


def _beyond(
    arms: Sequence[Arm], right: Float[np.ndarray, "sample arm"]
) -> dict[str, tuple[Float[np.ndarray, "sample set"], list[int]]]:
    """By control, what each tested set has that the mean over the control does not, and which arms these sets are."""
    found: dict[str, tuple[list[np.ndarray], list[int]]] = {}
    for place in whole_sets(arms):
        for control, own in controls_of(arms, place).items():
            values, which = found.setdefault(control, ([], []))
            values.append(right[:, place] - right[:, own].mean(axis=1))
            which.append(place)
    return {control: (np.stack(values, axis=1), which) for control, (values, which) in found.items()}


def whole_sets(arms: Sequence[Arm]) -> list[int]:
    """The places of the tested sets, points of dose curves left out."""
    return [place for place, arm in enumerate(arms) if arm.role == TESTED and not arm.dose]


def controls_of(arms: Sequence[Arm], tested: int) -> dict[str, list[int]]:
    """By role, the places of the arms that control a tested set."""
    found: dict[str, list[int]] = {}
    for place, arm in enumerate(arms):
        if arm.of == arms[tested].of and arm.role not in (TESTED, UNTOUCHED) and not arm.dose:
            found.setdefault(arm.role, []).append(place)
    return found


def table_of_arms(
    arms: Sequence[Arm],
    edited: Sequence[int],
    tasks: Mapping[str, TaskAnswers],
    measures: pd.DataFrame,
    answers: pd.DataFrame,
    told: Told,
) -> pd.DataFrame:
    """A row for each arm: what it is, what it does to the answers, and of a tested set the verdict."""
    import pandas as pd

    main = tasks[MAIN]
    right = main.values["correct"]
    p = np.concatenate([[np.nan], flip_signs(right[:, 1:] - right[:, :1], main.groups, seed=told.seed).p])
    edits = main.table["edits"].to_numpy(dtype=bool).reshape(-1, len(arms)).any(axis=0)
    chance = guessing(_of_arm(main, arms[0].name))["chance"]
    by = measures.set_index(["task", "measure", "arm"])[["value", "low", "high"]]
    rows = []
    for place, arm in enumerate(arms):
        was, now = right[:, 0] > 0, right[:, place] > 0
        row = {
            "arm": arm.name, "role": arm.role, "of": arm.of, "dose": arm.dose, "factor": arm.factor,
            "heads": len(arm.heads), "edited": int(edited[place]), "edits": bool(edits[place]),
            **_named("accuracy", by, MAIN, arm), **_named("accuracy_change", by, MAIN, arm),
            **_named("parse_failures", by, MAIN, arm), **_named("parse_failures_change", by, MAIN, arm),
            **_named("confidence", by, MAIN, arm),
            "corrected": int((~was & now).sum()), "broken": int((was & ~now).sum()),
            "net": int(now.sum()) - int(was.sum()),
            "chance": chance, "below_chance": bool(by.loc[(MAIN, "accuracy", arm.name), "high"] < chance),
            **_lean(answers, arm), **_named("accuracy_change", by, CONTROL, arm, prefix="control_"),
            "perplexity_ratio": _unrelated(by, arm), "p": float(p[place]),
        }  # fmt: skip
        rows.append(row)
    table = pd.DataFrame(rows)
    above = {task: _beats_guessing(by, own, arms[0]) for task, own in tasks.items() if task != TEXTS}
    judged = table.join(pd.DataFrame(_verdicts(arms, table, main, told, above), index=whole_sets(arms)))
    return judged.fillna({"verdict": "", "why": ""})


def _beats_guessing(by: pd.DataFrame, own: TaskAnswers, untouched: Arm) -> bool:
    """Whether a task is answered better than by a guess, by its interval; open questions can not be guessed."""
    chance = guessing(_of_arm(own, untouched.name))["chance"]
    return bool(by.loc[(own.task, "accuracy", untouched.name), "low"] > np.nan_to_num(chance))


def _verdicts(
    arms: Sequence[Arm], table: pd.DataFrame, main: TaskAnswers, told: Told, above: Mapping[str, bool]
) -> dict[str, list[Any]]:
    """Of each tested set: p corrected for all of them, the verdict, and why.

    Args:
        arms: the arms.
        table: their rows.
        main: what the main task was answered.
        told: how that is told.
        above: by task, whether it is answered better than by a guess, untouched.
    """
    places, right = whole_sets(arms), main.values["correct"]
    effects = told.direction * table["accuracy_change"].to_numpy(dtype=np.float64)
    p_random, random = [], []
    for place in places:
        drawn = {role: own for role, own in controls_of(arms, place).items() if role in DRAWN}
        against = [right[:, place] - right[:, own].mean(axis=1) for own in drawn.values()]
        ps = flip_signs(np.stack(against, axis=1), main.groups, seed=told.seed).p.tolist() if against else []
        p_random.append(max([float(table["p"].iloc[place]), *ps]))
        random.append({role: effects[own].tolist() for role, own in drawn.items()})
    corrected, corrected_random = holm(table["p"].iloc[places].to_numpy(dtype=np.float64)), holm(p_random)
    found = []
    for number, place in enumerate(places):
        row = table.iloc[place]
        evidence = Evidence(
            edits=bool(row["edits"]), effect=float(effects[place]),
            p=float(corrected[number]), p_random=float(corrected_random[number]), random=random[number],
            below_chance=bool(row["below_chance"]), was_below=bool(table["below_chance"].iloc[0]),
            parse_change=float(row["parse_failures_change"]),
            control_loss=_known(-row["control_accuracy_change"]), perplexity_ratio=_known(row["perplexity_ratio"]),
            could_fall=told.direction > 0 or above[MAIN], control_could_fall=above.get(CONTROL, True),
            clear=bool(row["accuracy_change_low"] > 0 or row["accuracy_change_high"] < 0),
        )  # fmt: skip
        found.append(judge(evidence, alpha=told.alpha, sets=len(places), margin=told.margin))
    return {
        "p_holm": corrected.tolist(),
        "p_random_holm": corrected_random.tolist(),
        "verdict": [verdict for verdict, _ in found],
        "why": [why for _, why in found],
    }


def count_answers(arms: Sequence[Arm], tasks: Mapping[str, TaskAnswers]) -> pd.DataFrame:
    """How often each option is right and is said, a row for each task, arm and answer."""
    import pandas as pd

    parts = []
    for own in tasks.values():
        if own.task != TEXTS:
            for arm in arms:
                found = answer_distribution(_of_arm(own, arm.name))
                found.insert(0, "arm", arm.name)
                found.insert(0, "task", own.task)
                parts.append(found)
    return pd.concat(parts, ignore_index=True)


def dose_curves(arms: Sequence[Arm], table: pd.DataFrame) -> pd.DataFrame:
    """The points of both dose curves, a row each, with the mean and the ends of the random sets at the same dose."""
    import pandas as pd

    rows = []
    for place in whole_sets(arms):
        for dose in (COUNT, FACTOR):
            own = [i for i, arm in enumerate(arms) if arm.of == arms[place].of and arm.dose == dose]
            points = [i for i in own if arms[i].role == TESTED]
            for i in [*points, place] if points else []:
                random = [j for j in (own if i != place else range(len(arms))) if _beside(arms[j], arms[i])]
                drawn = table["accuracy"].iloc[random]
                rows.append(
                    {
                        "of": arms[i].of, "dose": dose, "at": _at(arms[i], dose), "arm": arms[i].name,
                        **{name: table[name].iloc[i] for name in ("accuracy", "accuracy_low", "accuracy_high")},
                        "sets": len(random), "random": drawn.mean(), "random_least": drawn.min(),
                        "random_most": drawn.max(),
                    }
                )  # fmt: skip
    names = ("of dose at arm accuracy accuracy_low accuracy_high sets random random_least random_most").split()
    sets = [arms[place].of for place in whole_sets(arms)]  # in their own order, as everywhere else
    curves = pd.DataFrame(rows, columns=names)
    order = curves["of"].map(sets.index)
    return (
        curves.assign(order=order)
        .sort_values(["order", "dose", "at"], kind="stable", ignore_index=True)
        .drop(columns="order")
    )


def _beside(arm: Arm, point: Arm) -> bool:
    """Whether an arm is a random set at the very dose of a point."""
    same = arm.of == point.of and arm.dose == point.dose and arm.factor == point.factor
    return arm.role == RANDOM and same and len(arm.heads) == len(point.heads)


def _at(arm: Arm, dose: str) -> float:
    return float(len(arm.heads)) if dose == COUNT else arm.factor


def _of_arm(own: TaskAnswers, arm: str) -> pd.DataFrame:
    return own.table[own.table["arm"] == arm]


def _lean(answers: pd.DataFrame, arm: Arm) -> dict[str, Any]:
    """The answer that is said most too often in the main task, and by how much of all answers."""
    own = answers[(answers["arm"] == arm.name) & (answers["task"] == MAIN) & (answers["answer"] != NONE)]
    over = (own["predicted_share"] - own["gold_share"]).to_numpy(dtype=np.float64)
    most = int(over.argmax())
    return {"leans_to": str(own["answer"].iloc[most]), "lean": float(over[most])}


def _named(measure: str, by: pd.DataFrame, task: str, arm: Arm, *, prefix: str = "") -> dict[str, float]:
    """A measure of an arm with its interval, under names of its own; NaN where there is none."""
    ends = {"value": "", "low": "_low", "high": "_high"}
    there = (task, measure, arm.name) in by.index
    return {
        f"{prefix}{measure}{end}": float(by.loc[(task, measure, arm.name), name]) if there else np.nan
        for name, end in ends.items()
    }


def _unrelated(by: pd.DataFrame, arm: Arm) -> float:
    """The larger perplexity ratio of the control task and of texts; NaN where neither has one."""
    known = [_named("perplexity_ratio", by, task, arm)["perplexity_ratio"] for task in (CONTROL, TEXTS)]
    there = [one for one in known if np.isfinite(one)]
    return max(there) if there else np.nan


def _known(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _exp(found: Interval) -> Interval:
    def up(nats: Any) -> Any:
        return np.exp(np.minimum(nats, LARGEST))

    return replace(found, estimate=up(found.estimate), low=up(found.low), high=up(found.high))
