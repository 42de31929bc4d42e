"""The report of a proof: a table to read, entries to compute with, a table for the docs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp.errors import ModelError
from interp.model.record import record
from interp.proof import CLAIMS, ROOM, TOLERANCE, Finding

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

LEGEND = (
    f"differences are the largest absolute ones, up to {TOLERANCE:g}, or {ROOM:g} times what transformers' own eager "
    "and SDPA attention differ by on the model where that is more, or 0 where nothing may differ; `generate` and "
    "`boxes` count mistakes; `-` is refused by name"
)


def entry(vlm: HookedVLM, findings: Sequence[Finding]) -> dict[str, Any]:
    """One model's findings as plain values: what ran, what holds, and each claim's value, tolerance and detail."""
    return {
        **record(vlm),
        "model": findings[0].model,
        "class": type(vlm.model).__name__,
        "vision": vlm.model.config.vision_config.model_type,
        "holds": all(finding.holds for finding in findings),
        "claims": {
            finding.claim: {
                key: value for key, value in finding.to_dict().items() if key not in ("model", "family", "claim")
            }
            for finding in findings
        },
    }


def heading(names: Sequence[str]) -> str:
    """The first line of the table on screen, for the claims of these names."""
    return f"{'model':<22}" + "".join(f"{name:>12}" for name in names)


def line(findings: Sequence[Finding]) -> str:
    """One model's line of the table on screen."""
    return f"{findings[0].model:<22}" + "".join(f"{spell(finding):>12}" for finding in findings)


def notes(findings: Sequence[Finding]) -> list[str]:
    """What did not hold or was refused, a sentence each."""
    verdict = {True: "is refused", False: "DOES NOT HOLD"}
    return [
        f"{finding.model}: {finding.claim} {verdict[finding.refused]}: {finding.detail}"
        for finding in findings
        if finding.refused or not finding.holds
    ]


def spell(finding: Finding) -> str:
    """A finding in a few characters; what does not hold is marked."""
    if finding.refused:
        return "-"
    number = f"{finding.value:.0f}" if finding.value.is_integer() else f"{finding.value:.1e}"
    return number if finding.holds else f"{number} !"


def markdown(entries: Sequence[dict[str, Any]]) -> str:
    """The table of the docs: a row for each model, a column for each claim, and what was refused below.

    Raises:
        ModelError: a claim does not hold.
    """
    broken = [one["model"] for one in entries if not one["holds"]]
    if broken:
        raise ModelError(f"claims do not hold for {', '.join(broken)}: run 'python -m interp selfcheck MODEL'")
    names = [claim.name for claim in CLAIMS]
    rows = [
        f"| family | model | class | vision tower | {' | '.join(names)} |",
        "|---|---|---|---|" + "---:|" * len(names),
    ]
    refused = []
    for one in entries:
        found = {name: Finding(one["model"], one["family"], name, **_fields(one, name)) for name in names}
        cells = " | ".join(spell(found[name]) for name in names)
        rows.append(f"| {one['family']} | {one['model']} | `{one['class']}` | {one['vision']} | {cells} |")
        refused += [f"* {note}" for note in notes(list(found.values()))]
    says = [f"* **{claim.name}**: {claim.says} (tolerance {claim.tolerance:g})" for claim in CLAIMS]
    return "\n".join([*rows, "", *says, "", *refused, ""])


def _fields(one: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: one["claims"][name][key] for key in ("value", "tolerance", "detail", "refused")}
