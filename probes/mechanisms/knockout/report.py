"""What a study of knock-outs says: in sentences, tables and figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from interp.numeric import agree, bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, percent, points, share
from interp.report.verdicts import NO_INTERVAL
from probes.mechanisms.knockout.arms import CONTROLS, OBJECT
from probes.mechanisms.knockout.study import NO_WINDOW, UNTOUCHED
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.mechanisms.knockout.study import KnockoutStudy

CAUTIONS = (
    "A cut shows what the model does without an edge, not what it uses the edge for: what is cut off may reach the "
    "answer another way, and then a small effect says little.",
    "A cut row spends its attention on the keys that are left, which no training ever showed it. A large effect may be "
    "a broken row and not a lost message; cuts of as many tokens at random tell how much that is, for the objects.",
    "The image has many more tokens than the text behind it has: arms differ in how much they cut, and are no "
    "like-for-like comparison. The table of samples counts the keys of each.",
    "The effect is over samples whose answer is right with nothing cut, so it can hardly be anything but a loss. "
    "Accuracy is over all of them, and of the first token alone.",
)


def knockout_findings(found: KnockoutStudy) -> Findings:
    """What a study of knock-outs says."""
    figures = {
        "accuracy": Drawn(
            "Accuracy by window",
            figure_of(found.plot_accuracy()),
            "Share of samples whose likeliest first token is the right answer; dots: nothing cut"
            + (", shade: its interval." if bounded(found.row("accuracy", UNTOUCHED, NO_WINDOW)["low"]) else "."),
        )
    }
    if any(found.tells("effect", arm) for arm in found.arms):
        drawn = Drawn(
            "What the right answer loses, by window",
            figure_of(found.plot()),
            "Relative change of its probability when edges keys->rows are cut in a window of layers; dashed: random.",
        )
        figures = {"windows": drawn, **figures}
    sentences = tuple(_sentences(found))
    return Findings(
        title="Which way does the image take to the answer?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={"knockout": found.measures, "cuts": found.by_sample(), "left_out": found.left_out},
        shown={"By what is cut and where": _shown(found)},
        figures=figures,
        summary={
            "n": len(found.samples),
            "windows": {name: list(own) for name, own in found.windows.items()},
            "measures": found.measures.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _sentences(found: KnockoutStudy) -> list[str]:
    level = level_of(found.settings)
    right = found.row("accuracy", UNTOUCHED, NO_WINDOW)
    told = []
    own = found.measures.query("measure == 'effect' and not arm.str.startswith('random')")
    if len(own):
        told.append(_largest(own, len(found.windows), level))
    told.append(
        f"With nothing cut, the right answer is the likeliest first token in "
        f"{share(right.value, right.low, right.high, level=level)} of {counted(int(right.samples), 'question')}."
    )
    for window in [name for name in found.windows if name == "all"]:
        told += [_in_all(found, arm, window) for arm in found.arms if found.tells("effect", arm)]
    for control in CONTROLS[OBJECT]:
        measure = f"beyond_{control.split('->')[0].replace(' ', '_')}"
        if found.tells(measure, OBJECT):
            told.append(_beyond(found, measure, control))
    if found.left_out["measure"].eq("effect").any():
        told.append(f"The effect can not be told: {found.left_out['why'].iloc[0]}.")
    return told


def _largest(own: pd.DataFrame, windows: int, level: float) -> str:
    """The largest loss, as the one that was chosen from many."""
    most, count = own.loc[own["value"].idxmin()], own["arm"].nunique()
    change = _percent(picked_ends(most, len(own), level, bounds=(-100.0, math.inf)), level)
    loses = "the right answer loses most by"
    if most.value >= 0:
        loses = "none lowers the right answer's probability on average; it changes least by"
    return (
        f"Of {counted(count, 'cut')} in {counted(windows, 'window')} of layers, {loses} {most.arm} in "
        f"{_named(most.window)}: its probability changes by {change}{shared(own['value'], most.value)} ("
        f"{counted(int(most.samples), 'sample')} {agree(int(most.samples), 'that is', 'that are')} right with "
        f"nothing cut{together(len(own), most.low)})."
    )


def _percent(ends: tuple[float, float, float], level: float) -> str:
    """A relative change of a probability, which is kept in percent."""
    value, low, high = (float(end) / 100 for end in ends)
    return share(value, low, high, level=level, signed=True)


def _in_all(found: KnockoutStudy, arm: str, window: str) -> str:
    effect, change = (found.row(measure, arm, window) for measure in ("effect", "accuracy_change"))
    level = level_of(found.settings)
    lost = _percent((effect.value, effect.low, effect.high), level)
    told = points(change.value, change.low, change.high, level=level)
    return (
        f"Cut in all layers, {arm}: {lost} of the right answer's probability ("
        f"{counted(int(effect.samples), 'sample')} {agree(int(effect.samples), 'that is', 'that are')} right "
        f"with nothing cut), {told} of accuracy ({counted(int(change.samples), 'sample')})."
    )


def _beyond(found: KnockoutStudy, measure: str, control: str) -> str:
    every = found.measures
    asked = every[(every["measure"] == measure) & (every["arm"] == OBJECT)]
    own = asked.dropna(subset=["low", "high"])
    if not len(own):
        return f"Whether {OBJECT} costs more than {control}: {NO_INTERVAL}."
    clear, turned = own[own["high"] < 0], int((own["low"] > 0).sum())
    unknown = len(asked) - len(own)
    rest = f" In {counted(unknown, 'further window')} there is no interval." if unknown else ""
    if not len(clear):
        return (
            f"In none of {counted(len(own), 'window')} does {OBJECT} cost more than {control} by an interval that "
            f"leaves out 0, and in {turned} {control} costs more, not corrected for their number. That none was "
            f"detected does not show that there is none.{rest}"
        )
    most = clear.loc[clear["value"].idxmin()]
    where = _named(most.window)
    ends = (most.value, most.low, most.high) if len(clear) == 1 else (most.value,)
    effect = decimal(*ends, digits=1, signed=True, level=level_of(found.settings))
    which = f"most of these in {where}, picked after the fact:" if len(clear) > 1 else f"in {where},"
    return (
        f"{OBJECT} costs more than {control} in {len(clear)} of {counted(len(own), 'window')} by intervals that "
        f"leave out 0, not corrected for their number; {which} {effect} points of the effect"
        f"{shared(clear['value'], most.value)}.{rest}"
    )


def _shown(found: KnockoutStudy) -> pd.DataFrame:
    """One row per arm and window."""
    import pandas as pd

    titles = {"effect": "change of p, %", "accuracy": "right, %", "accuracy_change": "against nothing cut, points"}
    rows = []
    for (arm, window), own in found.measures.groupby(["arm", "window"], sort=False):
        by = own.set_index("measure")
        cells = {title: _cell(by, measure) for measure, title in titles.items()}
        rows.append({"cut": arm, "layers": _with_layers(found, window), **cells})
    return pd.DataFrame(rows)


def _named(window: str) -> str:
    """A window in a sentence."""
    if window == "all":
        return "all layers"
    return f"the {window} layers" if window.replace("-", "").isalpha() else f"layers {window}"


def _with_layers(found: KnockoutStudy, window: str) -> str:
    """A window with its layers, where its name does not say them."""
    own = tuple(found.windows.get(window, ()))
    together = bool(own) and own == tuple(range(own[0], own[-1] + 1))
    return f"{window} ({own[0]} to {own[-1]})" if together and window.replace("-", "").isalpha() else window


def _cell(by: pd.DataFrame, measure: str) -> str:
    if measure not in by.index:
        return "–"
    ends = [float(by.loc[measure, end]) for end in ("value", "low", "high")]
    if measure == "effect":
        return decimal(*ends, digits=1, signed=True)
    return percent(*ends) if measure == "accuracy" else points(*ends)
