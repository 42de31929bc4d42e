"""What the demo says of the interventions: dose and response beside the control, the flips, and what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from adaptvis.evaluation.evaluation import Evaluation
from adaptvis.policy.policies import ScalingVis
from adaptvis.sweep.flips import (
    SHARES,
    Flips,
    dose_response,
    follow_flips,
    share_of,
    strongest_alpha,
    with_changes,
)
from adaptvis.sweep.matched import ask_matched
from adaptvis.sweep.plan import UNTOUCHED
from adaptvis.sweep.read import rows_under
from interp.answers.comparison import compare
from interp.answers.metrics import ALL
from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.intervals import DRAWS, Interval
from interp.stats.picked import level_of_each

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

COMMONEST = 5  # words that name no option


@fits_a_cell("flips dose scaled matched", table="dose")
@dataclass(frozen=True, eq=False)
class Change:
    """What scaling the attention to the image does to the answers of the reported scenes.

    Attributes:
        scaled: one row per scene and alpha, the untouched ones at 1, judged as by `with_changes`.
        matched: the same under the matched control of every other alpha, with the image's shares.
        dose: the shares of `dose_response` by relation and alpha, with intervals; `control`: of the control.
        flips: what the alpha that turns most answers to another option does; None where no alpha does.
    """

    scaled: pd.DataFrame
    matched: pd.DataFrame
    dose: pd.DataFrame
    control: pd.DataFrame
    flips: Flips | None

    def share(self, what: str, alpha: float, *, control: bool = False) -> Interval:
        """One of `SHARES` at an alpha over all scenes, with its interval."""
        table = self.control if control else self.dose
        line = table[(table["relation"] == ALL) & (table["alpha"] == alpha)].iloc[0]
        return Interval(float(line[what]), float(line[f"{what}_low"]), float(line[f"{what}_high"]))

    def most_changed(self) -> Interval:
        """The share of answers that the alpha of `flips` turns to another option: the largest, see `share_of`.

        Raises:
            InputError: no alpha turns one.
        """
        if self.flips is None:
            raise InputError("no alpha turns an answer to another option, so there is no largest share: look at flips")
        rows = self.scaled[self.scaled["alpha"] == self.flips.alpha]
        return share_of(rows, "changed", among=self.tried)

    @property
    def tried(self) -> int:
        """How many alphas were asked besides 1."""
        return self.scaled["alpha"].nunique() - 1

    def count(self, what: str, alpha: float) -> int:
        """The same as a number of scenes."""
        return int(self.scaled[self.scaled["alpha"] == alpha][SHARES[what]].sum())

    def wrong_answers(self) -> WrongAnswers:
        """What is wrong with the wrong answers of the untouched model."""
        return WrongAnswers(self.scaled[self.scaled["alpha"] == 1])

    def summary(self) -> dict[str, Any]:
        """The numbers as plain data."""
        numbers: dict[str, Any] = {
            "wrong_answers": self.wrong_answers().summary(),
            "dose_response": self.dose.to_dict("records"),
            "control": self.control.to_dict("records"),
            "image_share_by_alpha": self.matched.groupby("alpha")[["scaled", "matched"]].mean().to_dict("index"),
            "largest_change_in_answers": None,
        }
        if (flips := self.flips) is not None:
            numbers["largest_change_in_answers"] = {
                "alpha": flips.alpha,
                "note": "the alpha that turns most answers here to another option, not one that improves them",
                "scenes": len(flips.answers),
                "reworded": self.count("reworded", flips.alpha),
                "same_answer_by_layers": flips.carried().to_dict("records"),
            }
        return numbers


@fits_a_cell("n named_another named_none words", table="rows")
@dataclass(frozen=True, eq=False)
class WrongAnswers:
    """The wrong answers apart: those that name another option, and those that name none.

    An answer has to name an option of its question to be right, so that "under" is wrong where "below" is offered.

    Attributes:
        rows: one row per answer, right and wrong, as `with_changes` judges it.
    """

    rows: pd.DataFrame

    @property
    def n(self) -> int:
        """All answers, right and wrong."""
        return len(self.rows)

    @property
    def named_another(self) -> int:
        """How many name a wrong place."""
        return int(self.rows["named_another"].sum())

    @property
    def named_none(self) -> int:
        """How many say other words, of which it is not known whether they mean the right place."""
        return int(self.rows["named_none"].sum())

    @property
    def wrong(self) -> int:
        """How many there are of both kinds."""
        return self.named_another + self.named_none

    @property
    def words(self) -> dict[str, int]:
        """The commonest words that name no option, and how often they are said."""
        said = self.rows[self.rows["named_none"]]["text"].str.strip().value_counts().head(COMMONEST)
        return {str(word): int(n) for word, n in said.items()}

    def share(self, kind: str, *, of_wrong: bool = False) -> Interval:
        """The share of `named_another` or `named_none`, of all answers or of the wrong ones, see `clustered_share`."""
        rows = self.rows
        return share_of(rows[rows["named_another"] | rows["named_none"]] if of_wrong else rows, kind)

    def summary(self) -> dict[str, Any]:
        """The numbers as plain data; each share is of all answers."""
        numbers: dict[str, Any] = {"answers": self.n, "wrong": self.wrong}
        for name in ("named_another", "named_none"):
            numbers[name] = {"count": getattr(self, name), **self.share(name).cells("share")}
        return {**numbers, "words_that_name_none": self.words}


@dataclass(frozen=True)
class Choice:
    """What the validation scenes chose for ScalingVis.

    Attributes:
        alpha: the chosen one.
        other: the alpha that it is held against the untouched model by: itself, or if it is 1 the best of the others.
        gain: the gain of `other` over the untouched model on the validation scenes, paired bootstrap.
        p: the exact p-value of the same.
        tried: how many alphas it was picked among, all but 1. Interval and p hold for all of them (Bonferroni).
        test: what gave p, see `interp.answers.comparison.Comparison`.
        moved: how many answers became right or wrong under `other`.
        n: how many validation scenes.
    """

    alpha: float
    other: float
    gain: Interval
    p: float
    tried: int
    test: str
    moved: int
    n: int


def measure_change(vlm: HookedVLM, evaluation: Evaluation, samples: Sequence[Sample], *, prompt: str) -> Change:
    """Hold the sweep of the reported scenes against its matched control, and follow the flips of one alpha by layers.

    Args:
        vlm: the model.
        evaluation: the evaluation of the scenes, with a sweep over alphas.
        samples: the scenes.
        prompt: prompt style.
    """
    table = evaluation.test
    scaled, strongest = with_changes(table), strongest_alpha(table)
    matched = with_changes(table, ask_matched(vlm, samples, sorted(scaled["alpha"].unique()), prompt=prompt))
    flips = None if strongest is None else follow_flips(vlm, samples, table, matched, strongest, prompt=prompt)
    return Change(scaled, matched, dose_response(scaled), dose_response(matched), flips)


def choice_of(evaluation: Evaluation, *, seed: int = 0) -> Choice | None:
    """What the validation part chose, and how sure that is; None where nothing was chosen."""
    table, policy = evaluation.validation, evaluation.policies["scaling"]
    if table is None or not isinstance(policy, ScalingVis):
        return None
    rows, base = rows_under(table), table[table["setting"] == UNTOUCHED]
    right = rows[rows["alpha"] != 1].groupby("alpha")["correct"].sum()
    best = max(right.index, key=lambda alpha: (right[alpha], -abs(alpha - 1)))
    other = float(best) if policy.alpha == 1 else policy.alpha
    tried, level = len(right), 0.95
    found = compare(base, rows[rows["alpha"] == other], seed=seed, n=DRAWS * tried, level=level_of_each(level, tried))
    return Choice(
        alpha=policy.alpha,
        other=other,
        gain=replace(found.difference, level=level),
        p=min(1.0, tried * found.p_value),
        tried=tried,
        test=found.test,
        moved=found.gained + found.lost,
        n=len(base),
    )
