"""What an evaluation of head sets says: in sentences, tables and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.numeric import agree, bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_said, percent, points, probability, share
from probes.heads.evaluation.arms import CONTROLS, COUNT, DRAWN, FACTOR, UNTOUCHED
from probes.heads.evaluation.measurement import CONTROL
from probes.heads.evaluation.verdicts import BELOW_CHANCE, CAUSAL, TEST, VERDICTS
from probes.study.findings import Drawn, Findings, level_of

if TYPE_CHECKING:
    import pandas as pd

    from probes.heads.evaluation.result import HeadEvaluation

DONE = {
    "scale": "scaled by {factor}",
    "mean": "replaced by their mean over training samples",
    "resample": "replaced by what they were in a training sample",
    "gain": "strengthened {factor} times",
    "steer": "steered from wrong to right answers, alpha {factor}",
    "bias": "turned towards the boxes of objects, bias {factor}",
    "redistribute": "made to leave sinks {factor} of their weight",
}
"""What was done with heads, as it stands in a sentence."""

HUGE = 1e4
"""A ratio from which on its size alone is told."""

CAUTIONS = (
    f"Accuracy below chance: {BELOW_CHANCE}. A model that has lost what it knows guesses; one that is right less often "
    "than a guess does something else.",
    "An edit shows what the model does without these heads, or with more of them, and not that nothing else serves the "
    "same: what was removed may be made up for by later heads, and then a small effect says little.",
    "Heads that were selected on the samples that they are tested on look stronger than they are: select on others.",
    "A set that is judged here is one of many that might have been. p-values are corrected for the sets of this page, "
    "and not for scorers, rules or edits that were tried before.",
    "That a control task holds is shown for this control task, and within its interval alone.",
)


def evaluation_findings(found: HeadEvaluation) -> Findings:
    """What an evaluation of head sets says."""
    shaded = bounded(found.arm(UNTOUCHED)["accuracy_low"])
    figures = {
        "sets": Drawn(
            "Accuracy with heads edited",
            figure_of(found.plot()),
            f"Bars: with the set edited; line{' and shade' if shaded else ''}: untouched; grey: from the least to the "
            "most of its random controls; the verdict stands under the name of each set.",
        )
    }
    for dose in (COUNT, FACTOR):
        if (found.doses["dose"] == dose).any():
            figures[f"dose_{dose}"] = Drawn(
                "Dose curve over the number of heads" if dose == COUNT else "Dose curve over the factor",
                figure_of(found.plot_doses(dose=dose)),
                "Dashed: mean of random sets at the same dose, with the band from the least to the most of them.",
            )
    sentences = tuple(_sentences(found))
    return Findings(
        title="Do these heads make the answers?",
        sentences=sentences,
        cautions=(*CAUTIONS, *_of_settings(found)),
        tables={
            "arms": found.arms,
            "measures": found.measures,
            "answers": found.answers,
            "doses": found.doses,
            "samples": found.rows.drop(columns="options"),
            "left_out": found.left_out,
        },
        shown={"Sets and their controls": _shown(found), "What each verdict means": _meanings(found)},
        figures=figures,
        summary={
            "edit": found.edit,
            "sets": {name: [list(head) for head in own] for name, own in found.sets.items()},
            "verdicts": {name: found.verdict(name) for name in found.sets},
            "arms": found.arms.to_dict("records"),
            "left_out": found.left_out.to_dict("records"),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _sentences(found: HeadEvaluation) -> list[str]:
    told = [_verdict(found, name) for name in found.sets]
    before = found.arm(UNTOUCHED)
    chance = f"; chance is {percent(before['chance'])} %" if np.isfinite(before["chance"]) else ""
    level = level_of(found.settings)
    n = found.row("accuracy", UNTOUCHED)["samples"]
    told.append(
        f"Untouched, {_ends(before, 'accuracy', level)} of {counted(int(n), 'answer')} "
        f"{agree(int(n), 'is', 'are')} right{chance}."
    )
    for name in found.sets:
        row = found.arm(name)
        told.append(
            f"{name!r}: answers corrected {row['corrected']}, broken {row['broken']}, net {row['net']:+d}; "
            f"{_ends(row, 'parse_failures', level)} can not be read, a change of "
            f"{_change(row, 'parse_failures_change', level)}; {_leans(row)}."
        )
        told += _against(found, name)
        told += _unrelated(found, name)
    return told


def _leans(row: Any) -> str:
    """Which answer is said too often, if any is."""
    if not row["lean"] > 0:
        return "no answer is said more often than it is right"
    return f"{row['leans_to']!r} is said {percent(row['lean'])} points more often than it is right"


def _verdict(found: HeadEvaluation, name: str) -> str:
    """The verdict on a set, with its change and what stands against it."""
    level = level_of(found.settings)
    row = found.arm(name)
    done = DONE[found.edit].format(factor=f"{row['factor']:g}")
    heads = counted(row["heads"], "head")
    some = f", of which {row['edited']} can be," if row["edited"] < row["heads"] else ""
    says = "" if row["verdict"] == CAUSAL else f" ({row['why']})"
    return (
        f"With the {heads} of {name!r}{some} {done}, accuracy changes by {_change(row, 'accuracy_change', level)} to "
        f"{_ends(row, 'accuracy', level)} ({p_said(row['p_holm'], test=TEST)}; {len(found.sets)} in all): "
        f"{row['verdict']}{says}."
    )


def _against(found: HeadEvaluation, name: str) -> list[str]:
    """How far a set is beyond each of its controls."""
    level = level_of(found.settings)
    told = []
    for control, what in CONTROLS.items():
        if found.tells(f"beyond_{control}", name):
            row = found.row(f"beyond_{control}", name)
            own = found.arms[(found.arms["of"] == name) & (found.arms["role"] == control) & (found.arms["dose"] == "")]
            drawn = (
                f"mean of {counted(len(own), 'draw')}" if control in DRAWN else "mean" if len(own) > 1 else "one set"
            )
            change = own["accuracy_change"]
            told.append(
                f"{name!r} against {what} ({drawn}): {points(row['value'], row['low'], row['high'], level=level)}; "
                f"these alone change accuracy by {_from_to(change)} points."
            )
    return told


def _unrelated(found: HeadEvaluation, name: str) -> list[str]:
    """What becomes of the control task and of texts."""
    level = level_of(found.settings)
    told = []
    if found.tells("accuracy_change", name, CONTROL):
        row = found.row("accuracy_change", name, CONTROL)
        told.append(
            f"{name!r}: the control task changes by "
            f"{points(row['value'], row['low'], row['high'], level=level)} ({counted(int(row['samples']), 'sample')})."
        )
    for task, what in (("main", "right answers"), (CONTROL, "the control task's answers"), ("texts", "other texts")):
        if found.tells("perplexity_ratio", name, task):
            row = found.row("perplexity_ratio", name, task)
            told.append(
                f"{name!r}: the perplexity of {what} is "
                f"{_times(row['value'], row['low'], row['high'], level=level)} times as large."
            )
    return told


def _of_settings(found: HeadEvaluation) -> list[str]:
    """What has to be said of how this was measured."""
    settings = found.settings
    scope = (
        "Heads were edited while tokens are decoded, and not in the prompt: the first token of an answer never changes."
        if settings.get("scope") == "decode"
        else f"Heads were edited at {settings.get('positions')!r} of the prompt, scope {settings.get('scope')!r}."
    )
    first = settings["chance_of_first"]
    return [
        scope,
        f"A set that is one more random draw stands before all of its draws by chance in {percent(first)} % of cases, "
        f"whatever else is tested; where draws are normally distributed, at most {percent(settings['alpha'])} % of "
        "studies call any such set causal. More draws make the first number smaller.",
    ]


def _shown(found: HeadEvaluation) -> pd.DataFrame:
    """One row per arm, points of dose curves left out."""
    import pandas as pd

    rows = []
    for _, row in found.arms[found.arms["dose"] == ""].iterrows():
        rows.append(
            {
                "arm": row["arm"],
                "heads": f"{row['edited']}" if row["edited"] == row["heads"] else f"{row['edited']} of {row['heads']}",
                "right, %": percent(row["accuracy"], row["accuracy_low"], row["accuracy_high"]),
                "change, points": _change(row, "accuracy_change"),
                "corrected / broken": f"{row['corrected']} / {row['broken']}",
                "below chance": "yes" if row["below_chance"] else "no",
                "not read, %": percent(*(row[f"parse_failures{end}"] for end in ("", "_low", "_high"))),
                "control task, points": _change(row, "control_accuracy_change"),
                "perplexity of control and texts, times": _times(row["perplexity_ratio"]),
                "confidence": probability(row["confidence"]),
                "verdict": row["verdict"],
            }
        )
    return pd.DataFrame(rows)


def _meanings(found: HeadEvaluation) -> pd.DataFrame:
    import pandas as pd

    said = [name for name in VERDICTS if name in set(found.arms["verdict"])]
    return pd.DataFrame({"verdict": said, "meaning": [VERDICTS[name] for name in said]})


def _ends(row: Any, measure: str, level: float) -> str:
    return share(row[measure], row[f"{measure}_low"], row[f"{measure}_high"], level=level)


def _from_to(values: pd.Series) -> str:
    """From the least to the most of some draws, in points; of one, itself."""
    least, most = points(values.min()), points(values.max())
    return least if least == most else f"{least} to {most}"


def _times(value: float, *ends: float, level: float | None = None) -> str:
    """A ratio; of one that is out of all proportion, its size."""
    if not value < HUGE:
        return f"{value:.2g}" if np.isfinite(value) else decimal(value)
    return decimal(value, *ends, level=level)


def _change(row: Any, measure: str, level: float | None = None) -> str:
    return points(row[measure], row[f"{measure}_low"], row[f"{measure}_high"], level=level)
