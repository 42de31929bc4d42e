"""What a sweep of interchange interventions says: in sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.numeric import agree, bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_said, probability
from interp.stats.intervals import SHARE
from probes.mechanisms.interchange.result import RESTORED
from probes.mechanisms.interchange.shown import LEAST, SURE, lowered, raised
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.interchange.result import Interchange

PLACE = "place"
"""The outcome that says that a place in the row or column was moved."""

MEANT = {
    "clean": "the right answer of the clean run",
    PLACE: "what is right if a place in the row or column has moved with the patch",
    "content": "what is right if that which stood at the place has moved with it",
}
"""What it means that the model says an outcome's word."""

CAUTIONS = (
    "A patch that changes the answer shows that what it brought is enough to change it at this slot, and not that the "
    "model uses it so when nothing is patched, nor that no other tokens carry the same.",
    "Once the last position has read the tokens, patching them does nothing: that an effect ends at a slot says when "
    "it was read, and not where it was made.",
    "The control's tokens are drawn for each pair, and come from random tokens of the counterfactual photo: it has as "
    "many tokens, but they do not lie together, and may touch an object or none.",
    "Where the set holds most of the image tokens, as strips do, the control does too: it then brings most of the "
    "counterfactual photo along, and may change the answer by itself. Smaller sets are told apart better.",
)
BOTH_RIGHT = (
    "Only pairs count of which the model gets both sides right: of other photos and questions this says nothing."
)
WRONG_TOO = "All pairs count, those too of which the model gets a side wrong: a patch may bring what is wrong there."
OF_VIEWS = (
    "Where the model sees a photo whole and in tiles, both are patched, each view from its like: what stayed in the "
    "other would still show the clean photo. Which of the two the model reads, this does not tell."
)
FLIPS = "sign flips of groups"
"""The test of what a patch does beyond its control."""

ALIKE = (
    " Where all pairs are alike, as behind the last block that reads the tokens, an interval says what so few groups "
    "could miss."
)
UNCONTROLLED = "There was no control: other tokens might have done the same."


def interchange_findings(found: Interchange) -> Findings:
    """What a sweep says."""
    means, runs, kept = found.to_dataframe(), found.runs(), found.both_right()
    tables = {"interchange": means, "runs": runs, "both_right": kept, "left_out": found.left_out}
    tables["pairs"] = found.by_pair()
    figures = {}
    if len(means):
        caption = "Lines: mean over pairs kept, bands: one standard deviation over pairs, as in the paper."
        if found.p_control is not None:
            caption += " Dashes: the same outcome with as many random image tokens patched."
        title = f"What the model says, {unit(found)} by {unit(found)}"
        figures["interchange"] = Drawn(title, figure_of(found.plot()), caption)
        for direction in [name for name in dict.fromkeys(means["direction"]) if name != "all"]:
            drawn = figure_of(found.plot(direction=direction))
            figures[f"interchange_{_as_name(direction)}"] = Drawn(f"Asked: {direction}", drawn, caption)
    if found.p_control is not None:
        tables["beyond_control"] = found.differences()
        if PLACE in found.outcomes and len(tables["beyond_control"]):
            bands = bounded(tables["beyond_control"]["low"])
            figures["beyond_control"] = Drawn(
                "Beyond the control",
                figure_of(found.plot_differences()),
                f"Patched minus control, pair by pair{', with intervals that draw whole groups' if bands else ''}. "
                f"Full dots: differs by more than {LEAST:g}, at the level of {SURE:g} over all {unit(found)}s together "
                f"(sign flips, maxT).{ALIKE if bands else ''}",
            )
    if PLACE in found.outcomes:
        tables["restoration"] = found.restoration()
    sentences = (main_sentence(found), *_more(found, tables))
    of_pairs = WRONG_TOO if found.settings.get("keep_wrong") else BOTH_RIGHT
    cautions = (*CAUTIONS, of_pairs, OF_VIEWS, *(() if found.p_control is not None else (UNCONTROLLED,)))
    return Findings(
        title="Interchange: which tokens hold what the answer hangs on, and in which layers?",
        sentences=sentences,
        cautions=cautions,
        tables=tables,
        shown={"Pairs": kept} | ({f"By {unit(found)}": _shown(found, means)} if len(means) else {}),
        figures=figures,
        summary={
            "pairs": len(found.ids),
            "kept": int(found.kept.sum()),
            "positions": found.positions,
            "control": found.control,
            "hook": found.hook,
            "slots": list(found.slots),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def main_sentence(found: Interchange) -> str:
    """What the patch does at the slot at which it does most, in one sentence with intervals."""
    means, level = found.to_dataframe(), level_of(found.settings)
    outcome = PLACE if PLACE in found.outcomes else found.outcomes[0]
    own = means.query("direction == 'all' and outcome == @outcome and set == 'patched'") if len(means) else means
    own, unknown = own[own["value"].notna()], len(own)
    if not len(own):
        why = found.left_out["why"].iloc[0] if len(found.left_out) else "nothing was kept"
        why = "the model's probabilities are not finite" if unknown else why
        return (
            f"Nothing can be told of patching {found.positions!r}: {why} ({found.kept.sum()} of {len(found.ids)} kept)."
        )
    most = own.loc[own["value"].idxmax()]
    text = (
        f"Patched at {found.positions!r}, the word of the outcome {outcome!r} has a probability of up to "
        f"{probability(*picked_ends(most, len(own), level, bounds=SHARE), level=level)} ({unit(found)} {most.slot}, "
        f"the largest of {counted(len(own), unit(found))}{shared(own['value'], most.value)}; "
        f"{counted(most.pairs, 'pair')}{together(len(own), most.low)})"
    )
    beside = means.query("direction == 'all' and outcome == @outcome and set == 'control' and slot == @most.slot")
    if len(beside):
        one = beside.iloc[0]
        ends = picked_ends(one, len(own), level, bounds=SHARE)
        text += f", with as many random image tokens patched there {probability(*ends, level=level)}"
    clean = found.runs().query("direction == 'all' and outcome == @outcome and run == 'clean'").iloc[0]
    return f"{text}, untouched {probability(clean.value, clean.low, clean.high, level=level)}."


def unit(found: Interchange) -> str:
    """What `slot` counts: layer slots, or layers inside."""
    return "slot" if found.hook == "resid_pre" else "layer"


def spans(slots: Sequence[int], every: Sequence[int]) -> str:
    """Slots as people read them: those next to each other among all as one span.

    Example:
        >>> spans([0, 1, 2, 5], range(8))
        '0 to 2, 5'
    """
    order = {slot: place for place, slot in enumerate(every)}
    parts: list[list[int]] = []
    for slot in slots:
        if parts and order[slot] == order[parts[-1][-1]] + 1:
            parts[-1].append(slot)
        else:
            parts.append([slot])
    return ", ".join(f"{own[0]} to {own[-1]}" if len(own) > 1 else f"{own[0]}" for own in parts)


def _more(found: Interchange, tables: dict[str, pd.DataFrame]) -> list[str]:
    level = level_of(found.settings)
    count = found.both_right().iloc[0]
    meant = [f"{name!r}, {MEANT[name]}" if name in MEANT else repr(name) for name in found.outcomes]
    told = [
        f"{count.kept} of {counted(count.pairs, 'pair')} {agree(count.kept, 'was', 'were')} kept; the clean side was "
        f"answered wrongly in {count.clean_wrong}, the counterfactual side in {count.counterfactual_wrong}.",
        f"Outcomes: {'; '.join(meant)}.",
    ]
    apart = tables.get("beyond_control")
    if apart is not None and len(apart) and PLACE in found.outcomes:
        own = apart.query("direction == 'all' and outcome == @PLACE", local_dict={"PLACE": PLACE})
        told += _beyond(found, own)
    score = tables.get("restoration")
    if score is not None and len(score):
        own = score.query("direction == 'all' and set == 'patched'").dropna(subset="value")
        if len(own):
            most = own.loc[own["value"].idxmax()]
            ends = picked_ends(most, len(own), level, bounds=RESTORED)
            most_of = (
                "It restores up to"
                if most["value"] > 0
                else f"It restores nothing at any {unit(found)}: at most it goes"
            )
            told.append(
                f"{most_of} {decimal(*ends, level=level)} of the way from the clean to the counterfactual run "
                f"({unit(found)} {most.slot}{shared(own['value'], most.value)}; {counted(most.pairs, 'pair')}"
                f"{together(len(own), most.low)})."
            )
    return told


def _beyond(found: Interchange, own: pd.DataFrame) -> list[str]:
    """Where the patch raises the outcome of the place beyond its control, and where the control does more."""
    above, below = own[raised(own)], own[lowered(own)]
    if len(above):
        least, most = above["p_any"].max(), above.loc[above["value"].idxmax()]
        picked = ", most at {slot}, picked after the fact: by {by}" if len(above) > 1 else ", by {by}"
        told = [
            f"It raises {PLACE!r} beyond the control at {_slots(found, above['slot'].tolist())} ({p_said(least, '≤')}, "
            f"{FLIPS}, corrected for {counted(len(own), unit(found))} by maxT)"
            f"{picked.format(slot=most.slot, by=decimal(most.value))}"
            f"{shared(above['value'], most.value)} ({counted(most.pairs, 'pair')})."
        ]
    else:
        told = [
            f"At none of {counted(len(own), unit(found))} is it shown to raise {PLACE!r} beyond the control by more "
            f"than {LEAST:g} ({FLIPS}, level {SURE:g} over all of them by maxT), which does not show that it does not."
        ]
    if len(below):
        told.append(
            f"At {_slots(found, below['slot'].tolist())} the control raises {PLACE!r} more than it does "
            f"({FLIPS}, level {SURE:g} over all {unit(found)}s by maxT)."
        )
    return told


def _shown(found: Interchange, means: pd.DataFrame) -> pd.DataFrame:
    """One row per slot: each outcome patched, and the place outcome's control."""
    import pandas as pd

    rows = []
    for slot in found.slots:
        cells: dict[str, object] = {unit(found): slot}
        own = means[(means["direction"] == "all") & (means["slot"] == slot)]
        for line in own.itertuples():
            if line.set == "patched" or line.outcome == PLACE:
                title = line.outcome if line.set == "patched" else f"{line.outcome}, control"
                cells[title] = probability(line.value, line.low, line.high)
        rows.append(cells)
    return pd.DataFrame(rows)


def _slots(found: Interchange, slots: Sequence[int]) -> str:
    """Slots in a sentence."""
    return f"{unit(found)}{'s' if len(slots) > 1 else ''} {spans(slots, found.slots)}"


def _as_name(text: str) -> str:
    """A text as a part of a file's name."""
    return "".join(letter if letter.isalnum() else "-" for letter in text.lower())
