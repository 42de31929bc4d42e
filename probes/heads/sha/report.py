"""What SHA says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.numeric import bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import NOTHING, decimal, p_said, p_value, percent, points, share
from interp.report.verdicts import NOT_DETECTED, UNCLAIMED, judge
from probes.heads.functions import SPATIAL
from probes.heads.sha.arms import BOTH, ELSEWHERE, ORIGINAL, TITLES
from probes.study.findings import Drawn, Findings, level_of
from probes.study.parts import ALL, rows_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from probes.heads.sha.result import ShaStudy

CAUTIONS = (
    "Neither code nor data of the paper are published: fill, frames, words and the place of the masked copy are ours, "
    "as the settings name them, and another choice may do otherwise.",
    "A box tells where an object is. Better answers with boxes may come of that being told, and of no head that lay "
    "idle; more heads that a probe can read do not have to be heads that the answer hangs on.",
    "A mask hides what questions of colour, shape and number ask about: what answers to these lose is no measure of "
    "how the model works.",
    "Pictures with boxes and grey are pictures that the model may never have been shown. The control has as many of "
    "both where no object is; it covers some of the objects where a photo has no other room, see `control_overlap`.",
    "The number of heads is that of one scorer and one selector at one size of data. A probe reads whatever tells the "
    "functions apart, words of the question among it; its null deals the labels of main questions anew.",
    "Where objects are hidden, photos differ less from each other, so that the words of a question are more of what a "
    "head can carry: a rise with masks may be that, and no head that looks for places. The control has no arm of masks "
    "alone.",
    "The number of heads that are found hangs on the noise of the scores. Its interval is of the number that as many "
    "groups give on average, and there is none where nearly all draws give the same.",
)


DEALT = "labels dealt anew, one-sided, not corrected"
"""The test of a number of heads, as the heading of a table."""

UP_TO = "with labels dealt anew, and the upper end of that"
"""The heading of what a number of heads is by chance."""

FLIPS = "sign flips of groups"
"""The test of a difference between arms."""


def sha_findings(found: ShaStudy) -> Findings:
    """What a study of SHA says."""
    sentences = tuple(_sentences(found))
    figures = {
        "accuracy": Drawn(
            "Accuracy by arm",
            figure_of(found.plot()),
            "Share of right answers by function"
            + (", with intervals that draw whole groups." if bounded(found.accuracy["low"]) else "."),
        )
    }
    if len(found.heads):
        figures["heads"] = Drawn(
            "Heads by arm",
            figure_of(found.plot_heads()),
            "Heads that are selected for each function; dotted: their mean number with labels dealt anew.",
        )
        name = _of_cells(found)
        told = f"The heads of the function {name} in each arm, those that are selected framed."
        figures["cells"] = Drawn("Which heads", _cells(found, name), told)
    return Findings(
        title="Do boxes and hidden objects activate spatial heads?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables={
            "accuracy": found.accuracy,
            "against_original": found.against_original,
            "heads": found.heads,
            "heads_against_original": found.heads_against_original,
            "sha_answers": found.answers,
            "left_out": found.left_out,
        },
        shown={"Answers": _shown_answers(found), "Heads": _shown_heads(found)},
        figures=figures,
        summary={
            "n": int((found.answers["arm"] == ORIGINAL).sum()),
            "arms": list(found.arms),
            "accuracy": found.accuracy.to_dict("records"),
            "against_original": found.against_original.to_dict("records"),
            "heads": found.heads.to_dict("records"),
            "heads_against_original": found.heads_against_original.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _sentences(found: ShaStudy) -> list[str]:
    told = [_answers_told(found, ALL), *(_answers_told(found, name) for name in _spatial(found))]
    told += [_against_control(found, name) for name in (ALL, *_spatial(found)) if ELSEWHERE in found.arms]
    told += [_heads_told(found, name) for name in _spatial(found, heads=True)]
    if not len(found.heads):
        why = rows_of(found.left_out, table="heads")
        told.append(f"Heads can not be counted: {why['why'].iloc[0] if len(why) else 'no function has any'}.")
    return [*(one for one in told if one), _shown_how(found)]


def _answers_told(found: ShaStudy, function: str) -> str:
    """Accuracy with boxes and masks, beside that without, and what cannot be read."""
    own = rows_of(found.accuracy, measure="accuracy", function=function)
    if own.empty:
        return ""
    first, last = found.share("accuracy", ORIGINAL, function), found.share("accuracy", BOTH, function)
    gap, lost = (found.against(measure, BOTH, function) for measure in ("accuracy", "parse_failures"))
    level = level_of(found.settings)
    what = "of all questions" if function == ALL else f"of questions of the function {function}"
    return (
        f"With {TITLES[BOTH]}, {share(last.value, last.low, last.high, level=level)} {what} are answered rightly, and "
        f"{share(first.value, first.low, first.high, level=level)} as they are: "
        f"{points(gap.value, gap.low, gap.high, level=level)} ({p_said(gap.p_any, test=FLIPS)}, corrected for "
        f"{counted(len(found.arms) - 1, 'arm')} by maxT; {counted(int(gap.samples), 'question')} in "
        f"{counted(int(gap.groups), 'group')}): {_claimed(gap, gap.p_any)}. Answers that name no option change by "
        f"{points(lost.value, lost.low, lost.high, level=level)}."
    )


def _against_control(found: ShaStudy, function: str) -> str:
    if rows_of(found.against_original, baseline=ELSEWHERE, function=function).empty:
        return ""
    gap = found.against("accuracy", BOTH, function, baseline=ELSEWHERE)
    what = "all questions" if function == ALL else f"questions of the function {function}"
    return (
        "Against as many boxes and masks where no object is: "
        f"{points(gap.value, gap.low, gap.high, level=level_of(found.settings))} of accuracy over {what} "
        f"({p_said(gap.p, test=FLIPS)}): {_claimed(gap, gap.p)}."
    )


def _heads_told(found: ShaStudy, function: str) -> str:
    first, last = found.found(ORIGINAL, function), found.found(BOTH, function)
    more = rows_of(found.heads_against_original, arm=BOTH, function=function).set_index("baseline")
    beside, level = "", level_of(found.settings)
    if ELSEWHERE in more.index:
        gap = _more(more.loc[ELSEWHERE], level)
        beside = f" Against as many boxes and masks where no object is: {gap}."
    return (
        f"{function.capitalize()}: {found.settings['scorer']} and {found.settings['rule']} select {int(last.value)} of "
        f"{counted(int(last.of), 'head')} with {TITLES[BOTH]}, and {int(first.value)} without: "
        f"{_more(more.loc[ORIGINAL], level)}. With labels dealt anew they select {decimal(last.null, digits=1)} "
        f"and {decimal(first.null, digits=1)} ({p_said(last.p, test=_dealt(last))}; "
        f"{p_said(first.p, test=_dealt(first))}).{beside}"
    )


def _more(row: pd.Series, level: float) -> str:
    """How many heads more, and how often dealt labels differ as much."""
    number = decimal(row.value, row.low, row.high, digits=1, signed=True, level=level)
    return f"{number} ({p_said(row.p, test=_dealt(row))})"


def _dealt(row: pd.Series) -> str:
    """The test of a number of heads, with how often labels were dealt: no p lies below 1 / (1 + that)."""
    return f"labels dealt anew {counted(int(row.deals), 'time')}, one-sided, not corrected"


def _claimed(row: pd.Series, p: float) -> str:
    """What a difference of two arms shows."""
    word = judge(row.low, row.high, p).word
    return {"above": "more", "below": "fewer", "unclaimed": UNCLAIMED}.get(word, NOT_DETECTED)


def _shown_how(found: ShaStudy) -> str:
    """Which of the choices that the paper leaves open were taken."""
    view, source = found.settings["view"], found.settings["boxes"]
    given = {"drawn": "drawn", "text": "written before the question", "both": "drawn and written before the question"}
    copy = {
        "in_place": "The masked copy stands in the place of the photo",
        "beside": "The masked copy stands beside the photo, both as one photo of twice the width",
    }
    who = {"data set": "of the data set", "given": "given by hand"}.get(source["source"], f"of {source['source']}")
    covered = found.settings.get("control_overlap")
    control = "" if covered is None else f" Of the objects, the control hides {percent(covered)} % all the same."
    return (
        f"Boxes are {who}, {given[view['boxes']]}{', with names' if view['names'] else ''}; objects are filled with "
        f"{tuple(view['fill'])}. {copy[view['placement']]}: a prompt of this library holds one photo, for every family."
        f"{control}"
    )


def _spatial(found: ShaStudy, *, heads: bool = False) -> list[str]:
    """The spatial functions that are told of."""
    table = found.heads if heads else found.accuracy
    if heads:
        table = table[table["arm"].isin([ORIGINAL, BOTH])]
        both = table.groupby("function")["arm"].nunique()
        return [name for name in SPATIAL if both.get(name, 0) == 2]
    return [name for name in SPATIAL if name in set(table["function"])]


def _of_cells(found: ShaStudy) -> str:
    """The function whose heads are drawn: a spatial one, where all arms have it."""
    names = [name for name in SPATIAL if all(name in own.scores.functions for own in found.counts.values())]
    return names[0] if names else found.counts[ORIGINAL].scores.functions[0]


def _cells(found: ShaStudy, name: str) -> Figure:
    """The heads of one function, an arm a map, framed where selected."""
    from probes.heads.figures.cells import plot_functions

    own = {arm: one for arm, one in found.counts.items() if name in one.scores.functions}
    values = np.stack([one.scores.of(name) for one in own.values()])
    marked = np.stack([one.sets[one.scores.place(name)].mask() for one in own.values()])
    titles = {arm: TITLES[arm].replace(" ", "\n") for arm in own}
    axes = plot_functions(values, list(own), marked=marked, titles=titles, label=found.settings["scorer"], columns=3)
    return figure_of(axes[0])


def _shown_answers(found: ShaStudy) -> pd.DataFrame:
    import pandas as pd

    rows = []
    for one in rows_of(found.accuracy, measure="accuracy").itertuples():
        lost = found.share("parse_failures", one.arm, one.function)
        gap = None if one.arm == ORIGINAL else found.against("accuracy", one.arm, one.function)
        rows.append(
            {
                "function": one.function,
                "arm": TITLES[one.arm],
                "right, %": percent(one.value, one.low, one.high),
                "against original, points": NOTHING if gap is None else points(gap.value, gap.low, gap.high),
                f"p, {FLIPS}, corrected for arms by maxT": NOTHING if gap is None else p_value(gap.p_any),
                "no option, %": percent(lost.value, lost.low, lost.high),
                "questions": one.samples,
            }
        )
    return pd.DataFrame(rows)


def _shown_heads(found: ShaStudy) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "function": one.function,
            "arm": TITLES[one.arm],
            "heads": decimal(one.value, one.low, one.high, digits=1),
            "of": f"{one.of:.0f}",
            UP_TO: f"{decimal(one.null, digits=1)}, {decimal(one.null_high, digits=0)}",
            f"p, {DEALT}": p_value(one.p),
        }
        for one in found.heads.sort_values("function", kind="stable").itertuples()
    ]
    return pd.DataFrame(rows, columns=["function", "arm", "heads", "of", UP_TO, f"p, {DEALT}"])
