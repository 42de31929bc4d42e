"""What the demo says of the interventions: dose and response beside the control, the flips, and what was chosen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptvis.comparison import compare
from adaptvis.evaluation import Evaluation
from adaptvis.flips import Flips, dose_response, follow_flips, strongest_alpha, with_changes
from adaptvis.matched import ask_matched
from adaptvis.metrics import ALL
from adaptvis.policies import ScalingVis
from adaptvis.sweep import UNTOUCHED, rows_under
from interp.reprs import fits_a_cell
from interp.stats import Interval

if TYPE_CHECKING:
    import pandas as pd

    from interp.datasets.sample import Sample
    from interp.hooked_vlm import HookedVLM


@fits_a_cell("flips dose scaled matched", table="dose")
@dataclass(frozen=True, eq=False)
class Change:
    """What scaling the attention to the image does to the answers of the reported scenes.

    Attributes:
        scaled: one row per scene and alpha, the untouched ones at 1, with `correct` and `changed`.
        matched: the same under the matched control of every other alpha, with the image's shares.
        dose: accuracy and share of changed answers by relation and alpha, with intervals; `control`: of the control.
        flips: what the alpha that changes most answers does; None where no alpha changes any.
    """

    scaled: pd.DataFrame
    matched: pd.DataFrame
    dose: pd.DataFrame
    control: pd.DataFrame
    flips: Flips | None

    def share(self, what: str, alpha: float, *, control: bool = False) -> Interval:
        """`accuracy` or share of answers `changed` at an alpha over all scenes, with its interval."""
        table = self.control if control else self.dose
        line = table[(table["relation"] == ALL) & (table["alpha"] == alpha)].iloc[0]
        return Interval(float(line[what]), float(line[f"{what}_low"]), float(line[f"{what}_high"]))

    def summary(self) -> dict[str, Any]:
        """The numbers as plain data."""
        told: dict[str, Any] = {
            "dose_response": self.dose.to_dict("records"),
            "control": self.control.to_dict("records"),
            "image_share_by_alpha": self.matched.groupby("alpha")[["scaled", "matched"]].mean().to_dict("index"),
            "largest_change_in_answers": None,
        }
        if (flips := self.flips) is not None:
            told["largest_change_in_answers"] = {
                "alpha": flips.alpha,
                "note": "the alpha that changes most answers of these scenes, not one that improves them",
                "scenes": len(flips.answers),
                "same_answer_by_layers": flips.carried().to_dict("records"),
            }
        return told


@dataclass(frozen=True)
class Choice:
    """What the validation scenes chose for ScalingVis.

    Attributes:
        alpha: the chosen one.
        other: the alpha that it is held against the untouched model by: itself, or if it is 1 the best of the others.
        gain: of `other` over the untouched model on the validation scenes, paired bootstrap.
        p: of McNemar's exact test of the same.
        n: how many validation scenes.
    """

    alpha: float
    other: float
    gain: Interval
    p: float
    n: int


def measure_change(vlm: HookedVLM, evaluation: Evaluation, samples: Sequence[Sample], *, prompt: str) -> Change:
    """Hold the sweep of the reported scenes against its matched control, and follow the flips of one alpha by layers.

    Args:
        vlm: the model.
        evaluation: of the scenes, with a sweep over alphas.
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
    found = compare(base, rows[rows["alpha"] == other], seed=seed)
    return Choice(policy.alpha, other, found.difference, found.p_value, len(base))
