"""All tools of the position probes over one data set, each kept in a folder of its own, and one page of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, RefusedError
from interp.report.page import Section, render_report
from interp.reprs import fits_a_cell
from interp.store.folder import OutputFolder
from probes.study.findings import Findings, write_findings
from probes.study.run import check_asked, groups_of

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

TITLE = "What the model does with the order of its image tokens"


def _norms(vlm: HookedVLM, samples: Sequence[Sample], **how: Any) -> Findings:
    from probes.position.norms_study import study_norms
    from probes.position.report.norms import norms_findings

    return norms_findings(study_norms(vlm, samples, **how))


def _balance(vlm: HookedVLM, samples: Sequence[Sample], **how: Any) -> Findings:
    from probes.position.balance_study import study_balance
    from probes.position.report.balance import balance_findings

    return balance_findings(study_balance(vlm, samples, **how))


def _rope(vlm: HookedVLM, samples: Sequence[Sample], **how: Any) -> Findings:
    from probes.position.report.rope import rope_findings
    from probes.position.rope_study import study_rope

    return rope_findings(study_rope(vlm, samples, **how))


def _order(vlm: HookedVLM, samples: Sequence[Sample], **how: Any) -> Findings:
    from probes.position.order import psi
    from probes.position.report.order import order_findings

    return order_findings(psi(vlm, samples, **how))


def _normalise(vlm: HookedVLM, samples: Sequence[Sample], **how: Any) -> Findings:
    from probes.position.dose import dose_response
    from probes.position.report.dose import dose_findings

    return dose_findings(dose_response(vlm, samples, **how))


TOOLS: Mapping[str, Callable[..., Findings]] = {
    "norms": _norms,
    "balance": _balance,
    "rope": _rope,
    "order": _order,
    "normalise": _normalise,
}
"""By name, what measures a data set and says what was found."""


@fits_a_cell("found refused")
@dataclass(frozen=True, eq=False)
class PositionFindings:
    """What all tools found over one data set.

    Attributes:
        found: by tool, what it found.
        refused: by tool, why this model can not be measured by it.
    """

    found: Mapping[str, Findings] = field(repr=False)
    refused: Mapping[str, str]

    def sentences(self) -> tuple[str, ...]:
        """One sentence a tool, with its interval, in the order of `TOOLS`; or why there is none."""
        told = {name: own.sentences[0] for name, own in self.found.items()}
        told |= {name: f"{name.capitalize()} was not measured: {why}" for name, why in self.refused.items()}
        return tuple(told[name] for name in TOOLS if name in told)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per tool: `tool`, `measured` (false where the model can not be), `sentence`."""
        import pandas as pd

        names = [name for name in TOOLS if name in self.found or name in self.refused]
        told = {"tool": names, "measured": [name in self.found for name in names], "sentence": self.sentences()}
        return pd.DataFrame(told)


def examine_position(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    tools: Sequence[str] = tuple(TOOLS),
    *,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    prompt: str = "chat",
    progress: bool = True,
    seed: int = 0,
    record: Mapping[str, Any] | None = None,
) -> PositionFindings:
    """Measure a data set by all tools: norms, balance, RoPE, order, and the norm knob.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        tools: which of `TOOLS`.
        out: a folder; each tool's study is kept in one of its name inside, so that it can be resumed.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        prompt: prompt style, see `HookedVLM.prepare`.
        progress: show progress bars.
        seed: the seed of the bootstraps.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> examine_position(vlm, read_dataset("shapes", n=100)).sentences()

    Raises:
        InputError: a tool that is not known, or samples that can not be asked; before the first pass.
        RefusedError: a model that none of the tools can measure.
    """
    tools = check_tools(tools)
    groups_of(samples)
    check_asked(vlm, samples, prompt, progress=progress)
    asked = {"prompt": prompt, "progress": progress, "batch": batch, "resume": resume, "seed": seed, "record": record}
    found: dict[str, Findings] = {}
    refused: dict[str, str] = {}
    for name in tools:
        place = None if out is None else Path(out) / name
        try:
            found[name] = TOOLS[name](vlm, samples, out=place, **asked)
        except RefusedError as error:
            refused[name] = str(error)
    if not found:
        raise RefusedError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    return PositionFindings(found, refused)


def check_tools(names: Sequence[str]) -> tuple[str, ...]:
    """The tools that are asked for, in the order of `TOOLS`.

    Raises:
        InputError: there is none, or one is not known.
    """
    unknown = [name for name in names if name not in TOOLS]
    if unknown or not names:
        raise InputError(f"there is no tool {unknown[0] if unknown else ''!r}: use some of {', '.join(TOOLS)}")
    return tuple(name for name in TOOLS if name in names)


def write_position(folder: OutputFolder, every: PositionFindings, settings: Mapping[str, Any]) -> list[Path]:
    """Write each tool's files into a folder of its name, then `summary.json` and one page of them all.

    Args:
        folder: where to.
        every: what was found.
        settings: the record of the run.

    Raises:
        InputError: a file can not be written.
    """
    parts = [Section("In a few sentences", every.sentences())]
    for name, own in every.found.items():
        first = next(iter(own.figures.values()), None)
        told = (*own.sentences, f"More in {name}/report.html.")
        parts.append(Section(own.title, told, first.figure, first.caption) if first else Section(own.title, told))
    cautions = [f"{name.capitalize()}: {line}" for name, own in every.found.items() for line in own.cautions]
    parts.append(Section("What this does not show", tuple(cautions)))
    page = render_report(
        TITLE, "Each sentence stands with its interval; each tool has a page of its own.", parts, dict(settings)
    )
    paths = [
        path for name, own in every.found.items() for path in write_findings(OutputFolder(folder.path / name), own)
    ]
    summary = {name: own.summary for name, own in every.found.items()}
    whole = {"sentences": every.sentences(), "refused": every.refused, **summary, "settings": settings}
    return [*paths, folder.write_json("summary.json", whole), folder.write_text("report.html", page)]
