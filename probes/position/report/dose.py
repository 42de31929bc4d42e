"""What a study of doses says: in sentences, tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from interp.answers.metrics import ALL
from interp.numeric import bounded, counted
from interp.plots.style import figure_of
from interp.report.numbers import NOTHING, decimal, percent, points, probability, share
from interp.report.verdicts import undetected
from interp.stats.intervals import APART, FREE
from probes.position.dose_answers import UNTOUCHED, Dose
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.position.dose_measures import DoseResponse

CAUTIONS = (
    "This is no method of the paper: its models are trained with a projector whose tokens are short, and here a "
    "trained model meets tokens of lengths that it never saw. What gets worse says nothing of models trained so.",
    "Where accuracy falls, PSI is a share of fewer right answers, and its interval is as much wider. The index against "
    "chance is left out where accuracy is not surely above chance.",
    "The dose that is named is the one with the largest change: of several doses one changes most by chance alone. Its "
    "interval holds for all doses together. differences.csv has each with its own, not corrected for their number.",
)
KINDS = {"scale": "times a factor", "clip": "cut to at most a length", "target": "brought to one length"}


def dose_findings(found: DoseResponse) -> Findings:
    """What a study of doses says."""
    return Findings(
        title="What does the length of image tokens do, without training?",
        sentences=(dose_sentence(found), *_more(found)),
        cautions=CAUTIONS,
        tables={
            "normalise": found.measures,
            "differences": found.differences(),
            "left_out": found.left_out,
            "answers": found.answers,
            "states": found.states,
        },
        shown={"By dose, all samples": _shown(found.measures), "Minus the untouched model": _shown(found.changes)},
        figures=_figures(found),
        summary={
            "n": found.samples,
            "doses": [str(dose) for dose in found.doses],
            "measures": {str(dose): _values(found.measures, dose) for dose in found.doses},
            "left_out": found.left_out.to_dict("records"),
            "sentence": dose_sentence(found),
        },
        settings=dict(found.settings),
    )


def dose_sentence(found: DoseResponse) -> str:
    """What length does to accuracy, in one sentence with intervals."""
    told = _changes(found, "accuracy", "accuracy", share, points)
    asked = counted(found.samples, "question")
    return f"Image tokens made longer and shorter, with nothing trained for it, over {asked}: {told}"


def _more(found: DoseResponse) -> list[str]:
    fine, apart = partial(decimal, digits=3), partial(decimal, digits=3, signed=True)
    measures = {
        "psi": "PSI",
        "abs_delta_g_v": "RoPE sensitivity, |delta g_V|,",
        "confidence": "Confidence in the first token",
    }
    told = [_changes(found, measure, name, fine, apart) for measure, name in measures.items() if _tells(found, measure)]
    return told + [f"Dose {dose} is left out: {why}." for dose, why in _whole_doses_left(found).items()]


def _whole_doses_left(found: DoseResponse) -> dict[Dose, str]:
    """The doses at which nothing at all is told of all samples, and why."""
    told = {*zip(found.measures["kind"], found.measures["dose"], strict=True)}
    own = found.left_out.query("relation == @ALL").drop_duplicates(["kind", "dose"])
    return {Dose(row.kind, row.dose): row.why for row in own.itertuples() if (row.kind, row.dose) not in told}


def _changes(
    found: DoseResponse, measure: str, name: str, form: Callable[..., str], form_change: Callable[..., str]
) -> str:
    """A measure of the untouched model, and where it changes most."""
    level = level_of(found.settings)
    before = form(*_ends(_of(found.measures, measure, UNTOUCHED).iloc[0]), level=level)
    own = found.changes.query("relation == @ALL and measure == @measure")
    if own.empty:
        return f"{name} is {before} untouched, and can not be told at any other dose."
    row = own.loc[own["value"].abs().idxmax()]
    if row["value"] == 0:
        return f"{name} is {before} untouched, and the same at every dose."
    most, count = " most" if len(own) > 1 else "", len(own)
    ends = picked_ends(row, count, level, bounds=APART if measure in ("accuracy", "confidence") else FREE)
    return (
        f"{name} is {before} untouched, and changes{most} at {Dose(row['kind'], row['dose'])}, by "
        f"{form_change(*ends, level=level)}{shared(own['value'], row['value'], sizes=True)}{together(count, ends[1])}"
        f"{undetected(*ends[1:])}."
    )


def _ends(row: pd.Series) -> tuple[float, float, float]:
    return float(row["value"]), float(row["low"]), float(row["high"])


def _tells(found: DoseResponse, measure: str) -> bool:
    """Whether a measure of all samples is known of the untouched model, and of another dose."""
    return bool(len(found.changes.query("relation == @ALL and measure == @measure")))


def _of(table: pd.DataFrame, measure: str, dose: Dose) -> pd.DataFrame:
    return table.query("relation == @ALL and measure == @measure and kind == @dose.kind and dose == @dose.value")


def _values(table: pd.DataFrame, dose: Dose) -> dict[str, float]:
    """The measures of all samples at one dose."""
    own = table.query("relation == @ALL and kind == @dose.kind and dose == @dose.value")
    return {str(name): float(value) for name, value in own.set_index("measure")["value"].items()}


def _figures(found: DoseResponse) -> dict[str, Drawn]:
    bands = (
        " Bands are intervals over groups and, where tokens are permuted, over permutations, of the same draws at all "
        "doses."
    )
    gone = _whole_doses_left(found)
    kinds = list(dict.fromkeys(dose.kind for dose in found.doses if dose != UNTOUCHED and dose not in gone))
    return {
        f"normalise_{kind}": Drawn(
            f"Image tokens {KINDS[kind]}",
            figure_of(found.draw(kind=kind)[0]),
            "Accuracy, PSI, RoPE sensitivity and confidence by dose, with nothing trained: no method of the paper."
            + (bands if bounded(found.measures["low"]) else ""),
        )
        for kind in kinds
    }


COLUMNS: dict[str, tuple[str, Any]] = {
    "accuracy": ("right in order, %", percent),
    "permuted": ("right permuted, %", percent),
    "psi": ("PSI", decimal),
    "psi_corrected": ("against chance", decimal),
    "abs_delta_g_v": ("|delta g_V|", lambda *ends: decimal(*ends, digits=3)),
    "delta_alpha_v": ("delta alpha_V", lambda *ends: decimal(*ends, digits=4)),
    "image_mass": ("attention on the image", probability),
    "confidence": ("confidence", probability),
    "median_norm": ("median length", decimal),
}
"""By measure, its title in the tables of the page, and how its numbers are written."""


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """One row per dose, a column per measure, all samples."""
    import pandas as pd

    rows = []
    for (kind, dose), own in table[table["relation"] == ALL].groupby(["kind", "dose"], sort=False):
        by = own.set_index("measure")[["value", "low", "high"]]
        cells = {
            title: form(*by.loc[measure].astype(float)) if measure in by.index else NOTHING
            for measure, (title, form) in COLUMNS.items()
        }
        rows.append({"dose": str(Dose(kind, dose)), **cells})
    return pd.DataFrame(rows)
