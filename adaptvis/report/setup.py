"""The setup of an evaluation in words: whose numbers, whose words, and which pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.report.figures import changes_something
from adaptvis.report.measures import SHORT
from interp.report.page import Section

if TYPE_CHECKING:
    from adaptvis.evaluation.evaluation import Evaluation
    from adaptvis.report.measures import EvaluationMeasures

_PLACES = {"validation": "chosen on the validation part"}


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run besides its numbers: the data set, the model, and the record of its settings."""

    dataset: str
    model: str
    settings: Mapping[str, Any]

    @property
    def preset(self) -> str:
        """Whose numbers were taken, such as `preset paper`; empty where none were."""
        given = str(self.settings.get("settings", ""))
        return given if given.startswith("preset ") else ""


def chosen_on(evaluation: Evaluation, name: str, run: RunFacts) -> str:
    """Where the numbers of a policy are from: `validation`, such as `preset paper`, or `given`."""
    if evaluation.validation is not None and isinstance(evaluation.policies[name], (ScalingVis, AdaptVis)):
        return "validation"
    return run.preset if run.preset and name in ("scaling", "adaptvis") else "given"


def chosen_section(evaluation: Evaluation, measured: EvaluationMeasures, run: RunFacts) -> Section:
    """Which settings were chosen, and on what."""
    import pandas as pd

    tuned = evaluation.validation is not None
    rows = [
        {
            "policy": SHORT[name],
            "settings": str(policy),
            "how": _PLACES.get(place := chosen_on(evaluation, name, run), place),
        }
        for name, policy in evaluation.policies.items()
        if name != "baseline"
    ]
    if tuned:
        n = evaluation.validation["id"].nunique()  # type: ignore[index]
        adaptive = measured.tried.get("adaptvis_settings_on_validation")
        text: tuple[str, ...] = (
            f"The validation part has {n} samples, none of which is reported. On it, "
            f"{measured.tried['settings_on_validation']} settings were run"
            + (
                f", and AdaptVis was chosen among {adaptive} combinations of two alphas and a threshold"
                if adaptive
                else ""
            )
            + ". The setting with the most right answers by the strict rule was taken; of equals, the one that changes "
            "least.",
        )
    else:
        authors = f"{run.preset}: the authors' settings for LLaVA-1.5-7B on this data set"
        source = f"those of {authors}" if run.preset else "given beforehand"
        text = (
            f"Nothing was chosen here: the numbers are {source}. Whether they were once tuned on the samples that are "
            "reported here, this report can not know.",
        )
    idle = [
        SHORT[name] for name in evaluation.policies if name != "baseline" and not changes_something(evaluation, name)
    ]
    text += tuple(f"{line}." for policy in evaluation.policies.values() for line in getattr(policy, "caveats", ()))
    if idle:
        text += (f"As these settings are, the model stays untouched in every sample under {', '.join(idle)}.",)
    return Section("What was chosen, and what was given", text, table=pd.DataFrame(rows) if rows else None)
