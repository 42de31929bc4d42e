"""What the dual mechanisms say of a model: in a few sentences, and one page of all tools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from matplotlib import rc_context

from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_value, points
from probes.mechanisms.ablation.report import ablation_findings
from probes.mechanisms.interchange.report import interchange_findings, spans
from probes.mechanisms.probe.report import position_probe_findings
from probes.study.findings import Drawn, Findings
from probes.study.tools import ToolFindings

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.dual.study import DualMechanisms

TITLE = "Vision encoder or language model: which finds where things are?"

CAUTIONS = (
    "Lines of three items on an empty canvas are what this was measured on. Photos hold more, and what a model does "
    "with them may be something else.",
    "A statement that is not shown is not shown to be false: look at its interval, and at how many pairs were left.",
    "Swaps that change an answer show what is enough to change it. What the model uses when nothing is swapped, and "
    "what else would do, is another question.",
    "Random image tokens as many as a strip are most of a photo, so that the control of strips tears the photo apart: "
    "what strips do beyond it is told too small rather than too large.",
)
NAMES = {
    "strip": "Strips swapped",
    "object": "Objects swapped",
    "background": "Background of strips swapped",
    "last": "Last position patched",
    "backup": "Objects swapped, order removed from both",
}
SAID = {
    "encoder_carries": "Order is in the image tokens before the first block",
    "encoder_is_enough": "The answer hangs on the order that the vision encoder made",
    "language_adds": "Without the encoder's order the language model still finds places",
    "language_builds": "The language model writes order into the objects' tokens",
    "answer_is_read": "The last position has read what the answer hangs on",
}
"""By statement, how it is said."""


def dual_sentences(found: DualMechanisms) -> tuple[str, ...]:
    """What is shown of the encoder, of the language model, and where; each with interval and test."""
    verdict = {
        "both": "both the vision encoder and the language model are shown to find where things are",
        "vision encoder": "the vision encoder is shown to find where things are, and the language model is not",
        "language model": "the language model is shown to find where things are, and the vision encoder is not",
        "neither": "neither the vision encoder nor the language model is shown to find where things are",
    }[found.verdict()]
    return (f"In these lines, {verdict}.", *(_sentence(found, name) for name in SAID))


def _sentence(found: DualMechanisms, name: str) -> str:
    own = found.statements.query("statement == @name")
    if not len(own):
        why = found.left_out.query("measure == @name")["why"].iloc[0]
        return f"{SAID[name]}: this can not be told, as {why}."
    row = own.iloc[0]
    of_accuracy = row["measure"].startswith("accuracy")
    form = points if of_accuracy else decimal
    number = form(float(row.value), float(row.low), float(row.high)) + (" points" if of_accuracy else "")
    told = SAID[name] if row.shown else f"Not shown: {SAID[name][0].lower()}{SAID[name][1:]}"
    slots = [int(slot) for slot in row.slots.split(",") if slot]
    every = next(iter(found.sweeps.values())).slots if found.sweeps else ()
    where = f", at slots {spans(slots, every)}" if len(slots) > 1 else ""
    return f"{told}: {row.measure} {number} (p = {p_value(row.p)}, {row.pairs} pairs){where}."


def dual_tools(found: DualMechanisms) -> ToolFindings:
    """What each tool found, to be written as one page; the statements first."""
    with rc_context({"figure.max_open_warning": 0}):  # there are many, which the page closes
        tools: dict[str, Findings] = {"statements": _statements(found)}
        tools |= {f"probe-{axis}": position_probe_findings(own) for axis, own in found.probes.items()}
        tools |= {name: _named(interchange_findings(own), name) for name, own in found.sweeps.items()}
        if found.ablation is not None:
            tools["ablate"] = ablation_findings(found.ablation)
    refused = dict(found.refused)
    return ToolFindings((*tools, *refused), tools, refused)


def _named(found: Findings, name: str) -> Findings:
    from dataclasses import replace

    return replace(found, title=NAMES[name])


def _statements(found: DualMechanisms) -> Findings:
    figures: Mapping[str, Drawn] = {}
    if any(len(own.differences()) for own in found.sweeps.values() if own.p_control is not None):
        caption = (
            "Means over pairs with intervals that draw whole groups; full dots: p at most 0.05 over all slots "
            "together (sign flips, maxT)."
        )
        figures = {"sweeps": Drawn("Which swaps exchange places", figure_of(found.plot()), caption)}
    sentences = dual_sentences(found)
    return Findings(
        title="What is shown",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={"statements": found.statements, "left_out": found.left_out},
        shown={"Statements": _shown(found.statements)},
        figures=figures,
        summary={
            "verdict": found.verdict(),
            "statements": found.statements.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _shown(statements: pd.DataFrame) -> pd.DataFrame:
    """One row per statement, as text."""
    import pandas as pd

    rows = [
        {
            "statement": row.statement.replace("_", " "),
            "shown": "yes" if row.shown else "not shown",
            "measure": row.measure,
            "value": decimal(float(row.value), float(row.low), float(row.high)),
            "p": p_value(row.p),
            "slots": row.slots or "–",
            "pairs": row.pairs,
        }
        for row in statements.itertuples()
    ]
    return pd.DataFrame(rows)
