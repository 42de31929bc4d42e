"""The setup of an evaluation in words: whose numbers, whose words, and which pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from adaptvis.policy.policies import AdaptVis, ScalingVis
from adaptvis.report.figures import changes_something
from adaptvis.report.measures import SHORT
from interp.numeric import agree, counted
from interp.report.page import Section

if TYPE_CHECKING:
    import pandas as pd

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

    @property
    def released(self) -> bool:
        """Whether every question was asked in the authors' released words, to the letter."""
        return bool(self.settings.get("prompts", {}).get("released"))


def asked_section(run: RunFacts) -> Section | None:
    """Whose words were asked, and what the photos were resized with; nothing where the record does not say."""
    text = [line for line in (_words(run.settings), _pixels(run.settings)) if line]
    return Section("How it was asked", tuple(text)) if text else None


def _words(settings: Mapping[str, Any]) -> str:
    file, style = settings.get("prompts"), settings.get("prompt")
    if not file:
        wording = (
            "The questions are in this toolkit's own template of the paper's prompts, not in a released prompt file."
        )
        return wording if style == "paper" else f"The questions are in prompt style {style!r}." if style else ""
    whose = "as the authors released it" if file["released"] else "which is not the authors' released file to the byte"
    why = "; ".join(f"{reason}: {n}" for reason, n in file["why"].items())
    return (
        f"Each question is the prompt of its row in {file['file']}, letter for letter ({whose}; sha256 "
        f"{file['sha256'][:12]}). Of the {counted(file['reported'], 'reported row')}, {file['reported_differ']} "
        f"{agree(file['reported_differ'], 'is', 'are')} worded otherwise than this toolkit's own template, and "
        f"{file['differ']} of all {file['rows']} that were read"
        f"{f' ({why})' if why else ''}."
    )


def _pixels(settings: Mapping[str, Any]) -> str:
    backend = settings.get("image_backend")
    beside = (
        "as in the authors' code"
        if backend == "pil"
        else "where the authors' code has PIL; their pixels differ a little"
    )
    return f"Photos were resized by {backend}, {beside}." if backend else ""


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
        settings = measured.tried["settings_on_validation"]
        adaptive = measured.tried.get("adaptvis_settings_on_validation")
        text: tuple[str, ...] = (
            f"The validation part has {counted(n, 'sample')}, none of which is reported. On it, "
            f"{counted(settings, 'setting')} {agree(settings, 'was', 'were')} run"
            + (
                f", and AdaptVis was chosen among {counted(adaptive, 'combination')} of two alphas and a threshold"
                if adaptive
                else ""
            )
            + ". The setting with the most right answers by the strict rule was taken; of equals, the one that changes "
            "least.",
            _shared_groups(evaluation.validation, evaluation.test),  # type: ignore[arg-type]
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


def _shared_groups(validation: pd.DataFrame, test: pd.DataFrame) -> str:
    """Whether what is peculiar to an object pair or photo helped to choose the settings that are reported on it."""
    known = [part["group"].fillna("").astype(str) if "group" in part else None for part in (validation, test)]
    if any(names is None or (names == "").any() for names in known):
        return (
            "Not all samples name a group (object pair or photo), so whether the parts share some is not known; what "
            "is peculiar to a shared one would let the chosen settings look better than they are."
        )
    chosen_by = set(known[0])  # type: ignore[arg-type]
    reported = test.assign(shared=known[1].isin(chosen_by)).drop_duplicates("id")  # type: ignore[union-attr]
    both = int(reported["shared"].sum())
    if not both:
        return "No reported sample shares its group (object pair or photo) with a sample of the validation part."
    share_their = agree(both, "shares its", "share their")
    return (
        f"{both} of {counted(len(reported), 'reported sample')} {share_their} group (object pair or photo) with a "
        "sample of the validation part. What is peculiar to a group helped to choose the settings and is reported once "
        "more, so the gains of chosen settings tend to be too high here. This split is for comparison; "
        "--split by-pair keeps groups whole."
    )
