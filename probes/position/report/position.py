"""All tools of the position probes over one data set, each kept in a folder of its own, and one page of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.numeric import listed
from probes.study.findings import Findings
from probes.study.run import check_asked, check_how, check_model, groups_of
from probes.study.tools import ToolFindings, check_tools, run_tools

if TYPE_CHECKING:
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
) -> ToolFindings:
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
    tools = check_tools(listed(tools, "tools"), tuple(TOOLS))
    check_how(out=out, resume=resume, batch=batch, progress=progress, record=record, parts=tools)
    check_model(vlm)
    groups_of(samples)
    check_asked(vlm, samples, prompt, progress=progress)
    asked = {"prompt": prompt, "progress": progress, "batch": batch, "resume": resume, "seed": seed, "record": record}
    return run_tools({name: _one(TOOLS[name], vlm, samples, asked) for name in tools}, out)


def _one(
    tool: Callable[..., Findings], vlm: HookedVLM, samples: Sequence[Sample], asked: Mapping[str, Any]
) -> Callable[[Path | None], Findings]:
    """A tool that only wants to know its folder."""
    return lambda out: tool(vlm, samples, out=out, **asked)
