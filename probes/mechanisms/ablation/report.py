"""What an ablation of ordering says: in sentences, tables and figures."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from interp.numeric import bounded
from interp.plots.style import figure_of
from interp.report.numbers import percent, points, share
from interp.report.verdicts import undetected
from probes.mechanisms.ablation.measurement import ABLATED, UNTOUCHED
from probes.mechanisms.ablation.ordering import DIFFERENCES
from probes.mechanisms.interchange.report import interchange_findings
from probes.study.findings import Drawn, Findings, level_of

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.ablation.ordering import OrderingAblation
    from probes.mechanisms.interchange.result import Interchange

CAUTIONS = (
    "What is right without ordering was not made by it alone: the items keep their places, the middle one its content, "
    "and the language model may read places for itself.",
    "Photos put together from parts of others are none that the model has seen. `removed - kept` sets that apart, as "
    "both are put together; `removed - untouched` does not.",
    "Nothing is said about where the language model makes up for it: for that, swap tokens in both ablated runs.",
)

OF_SWAPS = (
    "Only pairs count that are right on both sides under the ablation: where the model is little better than a guess, "
    "they are few and partly luck, and an effect on them, or none, says little."
)


def ablation_findings(found: OrderingAblation) -> Findings:
    """What an ablation of ordering says."""
    sentences = tuple(_sentences(found))
    bars = " with intervals that draw whole groups" if bounded(found.measures["low"]) else ""
    drawn = Drawn(
        "Accuracy by arm",
        figure_of(found.plot()),
        f"Share of right answers{bars}{'; dashes: a blind guess' if found.chance else ''}.",
    )
    return Findings(
        title="What is left without the order of the items?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={"ablate": found.measures, "answers": found.answers, "left_out": found.left_out},
        shown={"By relation": _shown(found.measures)},
        figures={"ablate": drawn},
        summary={
            "n": found.right.shape[1],
            "chance": dict(found.chance),
            "measures": found.measures.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def ablated_swap_findings(found: Interchange) -> Findings:
    """What a swap under ablation says: what an interchange says, of two runs that were ablated first."""
    own = interchange_findings(found)
    removed = found.settings["ordering"] == "removed"
    lost = "without the order of their items" if removed else "put together of parts, with their order kept"
    first = f"Both runs are {lost}. {own.sentences[0]}"
    return replace(
        own,
        title="Where does the language model make order anew?",
        sentences=(first, *own.sentences[1:]),
        cautions=(*(() if found.settings.get("keep_wrong") else (OF_SWAPS,)), *own.cautions),
        summary={**own.summary, "ordering": found.settings["ordering"], "sentence": first},
    )


def _sentences(found: OrderingAblation) -> list[str]:
    level = level_of(found.settings)
    before, after = (found.row("accuracy", arm) for arm in (UNTOUCHED, ABLATED))
    guess = f" (chance {percent(found.chance['all'])} %)" if "all" in found.chance else ""
    told = [
        f"With the order of the items taken out of the image tokens, the model is right in "
        f"{share(after.value, after.low, after.high, level=level)} of {after.samples} questions{guess}, untouched in "
        f"{share(before.value, before.low, before.high, level=level)}."
    ]
    for name, what in (
        ("removed - untouched", "Taking order out changes accuracy by"),
        ("kept - untouched", "Replacing as much with the order kept, by"),
        ("removed - kept", "What the order itself is worth is the difference of the two,"),
        ("random - untouched", "As many tokens blank at random places without items, by"),
    ):
        row = found.row("difference", name)
        told.append(f"{what} {points(row.value, row.low, row.high, level=level)}{undetected(row.low, row.high)}.")
    if "all" in found.chance:
        over = found.row("over_chance", ABLATED)
        lies = points(over.value, over.low, over.high, level=level)
        told.append(f"Without ordering, accuracy less chance is {lies}: {_over(over)}.")
    return told


def _over(row: pd.Series) -> str:
    """What an accuracy less chance says of the language model."""
    if row.low > 0:
        return "the language model finds more than a guess by itself"
    return "less than a guess scores" if row.high < 0 else undetected(row.low, row.high).removeprefix(": ")


def _shown(measures: pd.DataFrame) -> pd.DataFrame:
    """One row per relation and arm, or difference of two."""
    import pandas as pd

    rows = []
    for (relation, arm), own in measures.groupby(["relation", "arm"], sort=False):
        by = own.set_index("measure")
        if arm in DIFFERENCES:
            rows.append({"relation": relation, "arm": arm, "right, %": "–", "points": _ends(by, "difference")})
        else:
            right = percent(*(float(by.loc["accuracy", end]) for end in ("value", "low", "high")))
            rows.append({"relation": relation, "arm": arm, "right, %": right, "points": _ends(by, "over_chance")})
    return pd.DataFrame(rows).rename(columns={"points": "over chance, or difference, points"})


def _ends(by: pd.DataFrame, measure: str) -> str:
    return points(*(float(by.loc[measure, end]) for end in ("value", "low", "high"))) if measure in by.index else "–"
