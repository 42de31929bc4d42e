"""What the dual mechanisms say of a model: in a few sentences, and one page of all tools."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from matplotlib import rc_context

from interp.answers.metrics import ALL
from interp.numeric import bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import NOTHING, decimal, p_said, p_value, points
from probes.mechanisms.ablation.report import ablation_findings
from probes.mechanisms.dual.statements import why_not
from probes.mechanisms.dual.study import LINES, PHOTOS
from probes.mechanisms.interchange.report import interchange_findings, spans
from probes.mechanisms.interchange.shown import LEAST, SURE
from probes.mechanisms.probe.report import position_probe_findings
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import together
from probes.study.tools import ToolFindings

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.dual.study import DualMechanisms

TITLE = "Vision encoder or language model: which finds where things are?"

MEASURED_ON = {
    LINES: "Lines of three items on an empty canvas are what this was measured on. Photos hold more, and what a model "
    "does with them may be something else.",
    PHOTOS: "Pairs of photos are what this was measured on, with what else is in them. What a model does with other "
    "photos, or with nothing but the items, may be something else.",
}
CAUTIONS = (
    "A statement that is not shown is not shown to be false: look at its interval, and at how many pairs were left.",
    f"What is shown is a gain, and of a probability one of more than {LEAST:g}: a small p beside a number below that "
    "shows nothing.",
    "Swaps that change an answer show what is enough to change it. What the model uses when nothing is swapped, and "
    "what else would do, is another question.",
    "Random image tokens as many as a strip are most of a photo, so that the control of strips tears the photo apart: "
    "what strips do beyond it is told too small rather than too large.",
)
OF_AXES = (
    "What is said of one axis is corrected for looking at both, and the statement over all lines is not. That one axis "
    "shows what the other does not show is no test of whether they differ."
)
NAMES = {
    "strip": "Strips swapped",
    "object": "Objects swapped",
    "background": "Background of strips swapped",
    "last": "Last position patched",
    "backup": "Objects swapped, order removed from both",
}
SAID = {
    "encoder_carries": "order is in the image tokens before the first block",
    "encoder_is_enough": "the answer hangs on the order that the vision encoder made",
    "language_adds": "without the encoder's order the language model still finds places",
    "language_builds": "the language model writes order into the objects' tokens",
    "answer_is_read": "the last position has read what the answer hangs on",
}
"""By statement, how it is said."""

LOOKED_FOR = {"language_builds": ("backup", "largest"), "answer_is_read": ("last", "first")}
"""Statements that are looked for at several slots: in which sweep, and which slot's number is told."""


def dual_sentences(found: DualMechanisms) -> tuple[str, ...]:
    """What is shown of the encoder, of the language model, and where; each with interval and test, and by axis.

    Behind them, a sentence for each tool that this model can not be measured by.
    """
    refused = (f"{name!r} was not measured: {why.rstrip('.')}." for name, why in found.refused.items())
    return (_verdict(found), *(_sentence(found, name) for name in SAID), *refused)


def untold_lines(tools: ToolFindings) -> tuple[str, ...]:
    """What each tool had to leave out, one line for each tool and reason."""
    counts: Counter[tuple[str, str]] = Counter()
    for name, own in tools.found.items():
        for row in own.summary.get("left_out", ()):
            counts[name, row["why"]] += row.get("cases", 1)
    return tuple(f"{name} leaves out {count}: {why}" for (name, why), count in counts.items())


def _verdict(found: DualMechanisms) -> str:
    """Which mechanism is shown, of all pairs, then of those on each axis."""
    told = found.mechanisms()
    of = {own: [f"the {name}" for name, is_shown in told.items() if is_shown is own] for own in (True, False, None)}
    if len(of[True]) == 2:
        text = "both the vision encoder and the language model are shown to find where things are"
    elif len(of[False]) == 2:
        text = "neither the vision encoder nor the language model is shown to find where things are"
    elif len(of[None]) == 2:
        text = "it can not be told whether the vision encoder or the language model finds where things are"
    elif of[True] and of[False]:
        text = f"{of[True][0]} is shown to find where things are, and {of[False][0]} is not"
    else:
        known = f"{of[True][0]} is" if of[True] else f"{of[False][0]} is not"
        text = f"{known} shown to find where things are; of {of[None][0]} it can not be told"
    by_axis = "; ".join(f"{axis} axis, {found.verdict(axis)}" for axis in found.axes[1:])
    return f"In these {_pairs_of(found)}, {text}.{by_axis and f' By axis: {by_axis}.'}"


def _pairs_of(found: DualMechanisms) -> str:
    """What the pairs are: `LINES` or `PHOTOS`."""
    return str(found.settings.get("pairs_of", LINES))


def _sentence(found: DualMechanisms, name: str) -> str:
    """A statement over all pairs, and behind it what holds for which axis."""
    row, why = _row(found, name, ALL)
    if row is None:
        whole = f"It can not be told whether {SAID[name]}, as {why}."
    elif row["shown"]:
        whole = f"{SAID[name][0].upper()}{SAID[name][1:]}: {row['measure']}, is {_number(found, row)}."
    else:
        whole = f"It is not shown that {SAID[name]}: {row['measure']}, is {_number(found, row)}."
    parts = []
    for axis in found.axes[1:]:
        own, other = _row(found, name, axis)
        if own is not None:
            measure = "" if row is not None and own["measure"] == row["measure"] else f"{own['measure']}, is "
            parts.append(f"{axis} axis, {'' if own['shown'] else 'not '}shown, {measure}{_number(found, own)}")
        elif other != why:
            parts.append(f"{axis} axis, not told, as {other}")
    return f"{whole} By axis: {'; '.join(parts)}." if parts else whole


def _row(found: DualMechanisms, name: str, axis: str) -> tuple[pd.Series | None, str]:
    """The row of a statement; or None, and why there is none."""
    own, out = found.statements, found.left_out
    rows = own[(own["statement"] == name) & (own["axis"] == axis)]
    if len(rows):
        return rows.iloc[0], ""
    return None, out[(out["measure"] == name) & (out["axis"] == axis)]["why"].iloc[0]


def _number(found: DualMechanisms, row: pd.Series) -> str:
    """A number with its interval, test and count, and at which slots it stands."""
    of_accuracy = row["measure"].startswith("accuracy")
    ends = [float(row[end]) for end in ("value", "low", "high")]
    level = level_of(found.settings)
    number = points(*ends, level=level) if of_accuracy else decimal(*ends, level=level)
    why = why_not(row)
    count = f"{row['pairs']} {'questions' if of_accuracy else 'pairs'}"
    return f"{number}{_where(found, row)} ({p_said(row['p'], test=_test(row))}; {count}{why and '; '}{why})"


def _test(row: pd.Series) -> str:
    """What gave the p of a statement, and what it is corrected for."""
    over = [] if row["measure"].startswith("accuracy") else ["slots"]
    over += [] if row["axis"] == ALL else ["axes"]
    corrected = f", maxT over {' and '.join(over)}" if over else ""
    return f"sign flips{corrected}{', Holm over what was swapped' if row['statement'] == 'encoder_carries' else ''}"


def _where(found: DualMechanisms, row: pd.Series) -> str:
    """At which slot a number stands that was looked for at several, or which swap it is of; and how it was chosen."""
    many, same = int(row["picked_from"]), int(row["shared_by"])
    picked = (f", shared by {same}" if same > 1 else "") + together(many, row["low"])
    if row["statement"] not in LOOKED_FOR:
        return f", the largest of {counted(many, 'swap')}{picked}" if picked else ""
    tool, chosen = LOOKED_FOR[row["statement"]]
    every = [slot for slot in found.sweeps[tool].slots if slot > 0 or tool == "last"]
    slots = [int(slot) for slot in row["slots"].split(",") if slot]
    if not slots:
        return f" at slot {row['slot']}, the largest of {len(every)}, at none of which it is shown{picked}"
    first = "" if row["shown"] else ", but so it is at slot 0, where nothing can have been built yet"
    if len(slots) == 1:
        return f" at slot {row['slot']}, the only one of {len(every)} at which it is shown{first}{picked}"
    return f" at slot {row['slot']}, the {chosen} of slots {spans(slots, every)} at which it is shown{first}{picked}"


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
    figures = {}
    for axis in found.axes:
        if drawn := found.beyond_control(axis):
            bands = " with intervals that draw whole groups" if bounded(*(own["low"] for own in drawn.values())) else ""
            caption = (
                f"Means over pairs{bands}; full dots: an interval beyond {LEAST:g}, and p at most {SURE:g} over all "
                "slots together, of one axis over both axes (sign flips, maxT). Statements ask more: an interval for "
                "all slots together."
            )
            name, title = ("sweeps", "") if axis == ALL else (f"sweeps_{axis}", f", {axis} axis")
            figures[name] = Drawn(f"Which swaps exchange places{title}", figure_of(found.plot(axis=axis)), caption)
    sentences = dual_sentences(found)
    return Findings(
        title="What is shown",
        sentences=sentences,
        cautions=(MEASURED_ON[_pairs_of(found)], *CAUTIONS, *((OF_AXES,) if len(found.axes) > 1 else ())),
        tables={"statements": found.statements, "left_out": found.left_out},
        shown={"Statements": _as_text(found.statements)},
        figures=figures,
        summary={
            "verdict": found.verdict(),
            "by_axis": {axis: found.verdict(axis) for axis in found.axes[1:]},
            "statements": found.statements.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _as_text(statements: pd.DataFrame) -> pd.DataFrame:
    """One row per statement and axis, as text."""
    import pandas as pd

    rows = [
        {
            "statement": row["statement"].replace("_", " "),
            "axis": row["axis"],
            "shown": "yes" if row["shown"] else "not shown",
            "measure": row["measure"],
            "value": decimal(float(row["value"]), float(row["low"]), float(row["high"])),
            "p": p_value(row["p"]),
            "slots": row["slots"] or NOTHING,
            "pairs": row["pairs"],
        }
        for _, row in statements.iterrows()
    ]
    return pd.DataFrame(rows)
