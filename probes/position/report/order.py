"""What a study of order says: in sentences, tables and figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from interp.numeric import counted
from interp.plots.style import figure_of
from interp.report.numbers import decimal, percent, points, share
from probes.study.extremes import NEAR, shared, sharing
from probes.study.findings import OF_EXTREMES, Drawn, Findings, level_of
from probes.study.picked import picked_ends, together

if TYPE_CHECKING:
    import pandas as pd

    from probes.position.order_sensitivity import OrderSensitivity

CAUTIONS = (
    "PSI is not corrected for chance: where a blind guess is right half of the time, it can not go beyond half of what "
    "a model gets right, or less. The index against chance is not the paper's.",
    "A PSI near 0 does not say that the model knows no places. What the vision tower wrote into each token about its "
    "own place moves along with it.",
    "One permutation serves all photos of one size, so the intervals also draw permutations: with five of them they "
    "hold the truth in about nine of ten cases, and not in 95 of 100, where permutations differ in effect.",
)
OF_POOLING = (
    "Pooling changes how many tokens there are, how finely the photo is seen, and what each token holds, all at once. "
    "Nothing was trained for it."
)
MANY = 4
"""Intervals of more relations than these are left to the table where a sentence would tell all of them."""


def order_findings(found: OrderSensitivity) -> Findings:
    """What a study of order says."""
    tables = {"order": found.measures, "answers": found.answers, "by_seed": found.by_seed(), "left_out": found.left_out}
    figures = {
        "order": Drawn(
            "Accuracy in order and permuted",
            figure_of(found.plot()),
            "Share of right answers by relation, with the image tokens in order and, as a mean over seeds, permuted.",
        ),
    }
    if _tells(found.measures, "psi"):
        figures["psi"] = Drawn(
            "Position sensitivity index",
            figure_of(found.plot_psi()),
            "Dashes: 0 if order could not be used, and what a model that is right as often by position alone would "
            "lose. What can not be told is left out; left_out.csv says why.",
        )
    if found.sides:
        tables["compression"] = found.compression()
        figures["compression"] = Drawn(
            "Fewer image tokens",
            figure_of(found.plot_compression()),
            "Share of right answers by how many image tokens were left, pooled without training.",
        )
    return Findings(
        title="Is the order of image tokens used?",
        sentences=(order_sentence(found), *_more(found)),
        cautions=(*CAUTIONS, OF_EXTREMES, *((OF_POOLING,) if found.sides else ())),
        tables=tables,
        shown={"By relation": _shown(found.measures)},
        figures=figures,
        summary={
            "n": len(found.original),
            "measures": _values(found),
            "left_out": found.left_out.to_dict("records"),
            "sentence": order_sentence(found),
        },
        settings=dict(found.settings),
    )


def order_sentence(found: OrderSensitivity) -> str:
    """What permuting does, in one sentence with intervals."""
    level = level_of(found.settings)
    right, permuted = (_line(found.measures, name) for name in ("accuracy", "permuted"))
    told = "there is no PSI, as no answer is right in order"
    if _tells(found.measures, "psi"):
        psi = _line(found.measures, "psi")
        told = f"PSI is {decimal(psi.value, psi.low, psi.high, level=level)}"
    return (
        f"With its image tokens permuted ({counted(len(found.seeds), 'seed')}) the model is right in "
        f"{share(permuted.value, permuted.low, permuted.high, level=level)} of {len(found.original)} questions, in "
        f"order in {share(right.value, right.low, right.high, level=level)}: {told}."
    )


def _more(found: OrderSensitivity) -> list[str]:
    level = level_of(found.settings)
    drop, changed = (_line(found.measures, name) for name in ("drop", "changed"))
    told = [
        f"Permuting changes the answer to {share(changed.value, changed.low, changed.high, level=level)} of the "
        f"questions, and accuracy by {points(0 - drop.value, 0 - drop.high, 0 - drop.low, level=level)}."
    ]
    told += _by_relation(found.measures.query("measure == 'psi' and relation != 'all'"), level)
    if _tells(found.measures, "psi_corrected"):
        corrected = _line(found.measures, "psi_corrected")
        told.append(
            "Of what it knows over chance, it loses "
            f"{share(corrected.value, corrected.low, corrected.high, level=level)} (the index against chance)."
        )
    return told


def _by_relation(own: pd.DataFrame, level: float) -> list[str]:
    """For which relations PSI is largest and smallest, and for how many it is."""
    own = own[own["value"].notna()]
    if own.empty:
        return []
    values = own["value"]
    if len(own) > 1 and sharing(values, values.iloc[0]) == len(own):
        return [f"PSI is the same for all {len(own)} relations{_of_same(own, level)}."]
    rows = [own.loc[place] for place in (values.idxmax(), values.idxmin())]
    each = [
        f"{row['relation']}, {decimal(*picked_ends(row, len(own), level, bounds=(-math.inf, 1.0)), level=level)} "
        f"(n = {row['samples']}){shared(values, row['value'])}"
        for row in rows
    ]
    picked = together(len(own), float(np.fmax.reduce([row["low"] for row in rows])), before="each ")
    return [f"PSI is largest for {each[0]}, and smallest for {each[1]}, {picked}." if picked else f"PSI for {each[0]}."]


def _of_same(own: pd.DataFrame, level: float) -> str:
    """The PSI that all relations have, with the interval that they share, or each with its own where these differ."""
    ends = own[["value", "low", "high"]].to_numpy(dtype=float)
    if np.isclose(ends, ends[0], rtol=NEAR, atol=0, equal_nan=True).all():
        return f", {decimal(*ends[0], level=level)}"
    if len(own) > MANY:
        return f", {decimal(ends[0, 0])}; each has an interval of its own, in the table"
    each = (
        f"{name}, {decimal(*row, level=level)} (n = {samples})"
        for name, samples, row in zip(own["relation"], own["samples"], ends, strict=True)
    )
    return f": {'; '.join(each)}"


def _values(found: OrderSensitivity) -> dict[str, float]:
    """The measures of all samples, and how far permutations lie apart."""
    own = found.measures.query("relation == 'all'")
    return own.set_index("measure")["value"].to_dict() | {"spread": found.spread()}


def _tells(measures: pd.DataFrame, measure: str) -> bool:
    """Whether a measure of all samples is there."""
    return bool(len(measures.query("relation == 'all' and measure == @measure")))


def _line(measures: pd.DataFrame, measure: str) -> pd.Series:
    """The row of a measure of all samples."""
    return measures.query("relation == 'all' and measure == @measure").iloc[0]


def _shown(measures: pd.DataFrame) -> pd.DataFrame:
    """One row per relation, a column per measure."""
    import pandas as pd

    forms = {
        "accuracy": percent, "permuted": percent, "changed": percent, "psi": decimal, "psi_position_alone": decimal,
        "psi_corrected": decimal,
    }  # fmt: skip
    titles = {
        "accuracy": "right in order, %",
        "permuted": "right permuted, %",
        "changed": "answers changed, %",
        "psi": "PSI",
        "psi_position_alone": "PSI of position alone",
        "psi_corrected": "against chance",
    }
    rows = []
    for name, own in measures.groupby("relation", sort=False):
        by = own.set_index("measure")
        cells = {
            titles[measure]: form(*(float(by.loc[measure, end]) for end in ("value", "low", "high")))
            if measure in by.index
            else "–"
            for measure, form in forms.items()
        }
        rows.append({"relation": name, "n": int(own["samples"].iloc[0]), **cells})
    return pd.DataFrame(rows)
