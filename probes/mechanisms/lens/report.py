"""What a lens over a data set says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interp.numeric import bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, percent, points, share
from interp.report.verdicts import undetected
from interp.stats.intervals import APART
from interp.stats.intervals import SHARE as SHARES
from probes.mechanisms.lens.rows import IMAGE, MEASURES, OBJECT, OTHER, OUTSIDE, PROBABILITY, SHARE
from probes.mechanisms.lens.study import ALL, BEYOND
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.lens.study import ImageLens

CAUTIONS = (
    "That a token says a word under the unembedding does not show that any later layer reads it there; that it does "
    "not say it does not show that it does not know: layers may write in other directions than the unembedding's.",
    "The best slot is picked after the fact by the numbers that are then told of it, so these are a little too good. "
    "Their intervals allow for the choice: they hold for all slots together, and are wider than in the tables.",
    "Image tokens before the question can not have read its words in models that look back only; in models that look "
    "in both directions they can.",
)
CONTROLS = {OUTSIDE: "outside all boxes", OTHER: "at the tokens of the sample's other objects"}


def lens_findings(found: ImageLens) -> Findings:
    """What a lens over a data set says."""
    told = [name for name in MEASURES if len(_curve(found, name, OBJECT))]
    figures = {
        {SHARE: "lens", PROBABILITY: "probability"}.get(name, "rank"): Drawn(
            {SHARE: "Tokens that say their object's word", PROBABILITY: "Probability of the word"}.get(
                name, "Rank of the word"
            ),
            figure_of(found.plot(measure=name)),
            "By slot, with controls: the same word at tokens that should not say it."
            + (" Bands draw whole groups." if bounded(_curve(found, name, OBJECT)["low"]) else ""),
        )
        for name in told
    }
    words = found.measures[(found.measures["what"] != ALL) & (found.measures["where"] == IMAGE)]
    shown: dict[str, pd.DataFrame] = {"By slot": _shown(found)} if told else {}
    if len(words):
        shown["Words that were named, at all image tokens"] = _words_shown(words)
    sentences = (*_of_objects(found), *_of_words(words, level_of(found.settings)))
    return Findings(
        title="What do image tokens say under the unembedding?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={"lens": found.measures, "samples": found.samples, "left_out": found.left_out},
        shown=shown,
        figures=figures,
        summary={
            "share_by_slot": [round(float(value), 6) for value in found.share],
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _of_objects(found: ImageLens) -> list[str]:
    own = _curve(found, SHARE, OBJECT)
    if own.empty:
        return ["No object's word could be looked for at its tokens; left_out.csv says why."]
    best = own.loc[own["value"].idxmax()]
    slot, count = int(best["slot"]), len(own)
    level = level_of(found.settings)
    said = share(*picked_ends(best, count, level, bounds=SHARES), level=level)
    beside = [
        f"{share(*picked_ends(row, count, level, bounds=SHARES), level=level)} {name}"
        for where, name in CONTROLS.items()
        for _, row in _at(_curve(found, SHARE, where), slot).iterrows()
    ]
    sentences = [
        f"At slot {slot} of 0 to {int(own['slot'].max())}, the best{shared(own['value'], best['value'])}, {said} of "
        f"an object's image tokens say its word among their {found.top} first"
        f"{'; ' + ' and '.join(beside) if beside else ''} ({counted(int(best['samples']), 'sample')}"
        f"{together(count, best['low'])})."
    ]
    for where, other in BEYOND.items():
        for _, row in _at(_curve(found, SHARE, where), slot).iterrows():
            ends = picked_ends(row, count, level, bounds=APART)
            sentences.append(
                f"The difference there to those {CONTROLS[other]} is {points(*ends, level=level)}, object by object"
                f"{undetected(*ends[1:])}."
            )
    last = own[own["slot"] == own["slot"].max()].iloc[0]
    if last["slot"] != slot:
        sentences.append(f"At the last slot it is {share(last['value'], last['low'], last['high'], level=level)}.")
    return sentences


def _of_words(words: pd.DataFrame, level: float) -> list[str]:
    told = []
    for word, own in words[words["measure"] == PROBABILITY].groupby("what", sort=False):
        best = own.loc[own["value"].idxmax()]
        told.append(
            f"{word!r} has a mean probability of "
            f"{decimal(*picked_ends(best, len(own), level, bounds=SHARES), digits=3, level=level)} over all image "
            f"tokens at slot {int(best['slot'])}, where it is largest{shared(own['value'], best['value'])} "
            f"({counted(int(best['samples']), 'sample')}{together(len(own), best['low'])})."
        )
    return told


def _curve(found: ImageLens, measure: str, where: str) -> pd.DataFrame:
    own = found.measures
    return own[(own["what"] == ALL) & (own["measure"] == measure) & (own["where"] == where)]


def _at(curve: pd.DataFrame, slot: int) -> pd.DataFrame:
    return curve[curve["slot"] == slot]


def _shown(found: ImageLens) -> pd.DataFrame:
    import pandas as pd

    columns = {
        f"{name}, %": _curve(found, SHARE, where).set_index("slot")
        for where, name in ((OBJECT, "at its tokens"), *CONTROLS.items(), *((one, one) for one in BEYOND))
    }
    cells = {
        name: [percent(row["value"], row["low"], row["high"]) for _, row in own.iterrows()]
        for name, own in columns.items()
        if len(own)
    }
    return pd.DataFrame({"slot": list(next(iter(columns.values())).index), **cells})


def _words_shown(words: pd.DataFrame) -> pd.DataFrame:
    own = words[words["measure"] == PROBABILITY]
    table = own.pivot(index="slot", columns="what", values="value").reset_index()
    table.columns.name = None
    return table.apply(lambda column: column if column.name == "slot" else column.map(lambda x: decimal(x, digits=3)))
