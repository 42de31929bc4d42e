"""What found heads say: in sentences, tables and one figure of all functions, heads as cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_value, percent
from interp.report.tables import records
from probes.heads.figures.cells import plot_functions
from probes.heads.functions import TITLES
from probes.study.findings import Drawn, Findings

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from probes.heads.found.find import FoundHeads

CAUTIONS = (
    "A probe that reads a function from a head shows that the head's output tells such questions from others. It does "
    "not show that the model uses it: remove the heads, beside as many random ones (heads mask).",
    "Questions of different functions have different words and answers. A probe may read these in the place of the "
    "function; its null deals the labels of main questions anew, and so keeps words apart from labels, not from it.",
    "The number of heads hangs on the rule and on how many items there are: with more of them, smaller differences "
    "stand out of the null.",
    "Measures of sparsity say little alone: sizes of noise are not even either, and stand beside them.",
)

MEASURES = ("share_above", "gini", "effective_heads", "elbow_count", "layer_centre")
"""The measures of sparsity and layers that the page shows; the table has all."""


def found_findings(found: FoundHeads) -> Findings:
    """What found heads say."""
    sentences = tuple(_sentences(found))
    figures = {
        f"functions_{name}": Drawn(
            f"Functions by layer, {name}",
            _figure(found, name),
            f"Every cell is a head, its colour the score of {name}; framed: selected by {found.rule}.",
        )
        for name in found.scorers
    }
    tables = {
        "scores": found.to_dataframe(),
        "selected": found.selected(),
        "layout": _every(found, "measures"),
        "profile": _every(found, "profile"),
        "left_out": found.left_out(),
    }
    if found.in_common:
        tables["in_common"] = _with_scorer(found.in_common)
    if found.agreement is not None:
        tables["agreement"] = found.agreement
    return Findings(
        title="Which heads serve which function?",
        sentences=sentences,
        cautions=CAUTIONS,
        tables=tables,
        shown=_shown(found),
        figures=figures,
        summary={
            "items": found.settings["items"],
            "selected": {
                name: {one.function: [list(head) for head in one.heads] for one in own}
                for name, own in found.sets.items()
            },
            "rule": found.rule,
            "layout": records(tables["layout"]),
            "left_out": records(tables["left_out"]),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
    )


def _sentences(found: FoundHeads) -> list[str]:
    told = [_selected_told(found, name) for name in found.scorers]
    first = found.scorers[0]
    for one in found.sets[first]:
        if len(one):
            scores = found.scores[first]
            layer, head = one.heads[0]
            place = (scores.place(one.function), layer, head)
            ends = [float(own[place]) for own in (scores.values, scores.low, scores.high) if own is not None]
            null = (
                ""
                if scores.null is None
                else f", {decimal(float(scores.null[place]), digits=3)} with labels dealt anew"
            )
            told.append(
                f"{TITLES.get(one.function, one.function)}: {len(one)} heads; the strongest is head {head} of layer "
                f"{layer} with {decimal(*ends, digits=3)}{null}. It was chosen after looking, and is told too strong."
            )
    told += [
        f"{TITLES.get(one.function, one.function)} by {name}: no head, as {one.why}."
        for name, own in found.sets.items()
        for one in own
        if not len(one)
    ]
    told += [
        f"{TITLES.get(one['function'], one['function'])} is not scored by {name}: {one['why']}."
        for name, own in found.scores.items()
        for one in own.left_out
    ]
    return told + _agreement_told(found)


def _selected_told(found: FoundHeads, name: str) -> str:
    """How many heads each function has, and how many serve several."""
    own, scores = found.sets[name], found.scores[name]
    counts = ", ".join(f"{one.function} {len(one)}" for one in own)
    of = scores.values[0].size
    masks = np.stack([one.mask() for one in own])
    any_of, several = int(masks.any(axis=0).sum()), int((masks.sum(axis=0) > 1).sum())
    return (
        f"Of {of} heads, {name} and {own[0].rule} select {any_of} for any function ({counts}); {several} of them serve "
        "two or more."
    )


def _agreement_told(found: FoundHeads) -> list[str]:
    if found.agreement is None:
        return []
    told = []
    for (first, second, measure), rows in found.agreement.groupby(["first", "second", "measure"], sort=False):
        known = rows[rows["value"].notna()]
        if len(known):
            clear = int((known["p_random"] < 0.05).sum())
            told.append(
                f"{first} and {second} agree by {measure} with {decimal(float(known['value'].mean()))} on average over "
                f"{len(known)} functions, and {decimal(float(known['random'].mean()))} with heads dealt anew; "
                f"in {clear} functions more than that by an uncorrected p below 0.05."
            )
    return told


def _figure(found: FoundHeads, name: str) -> Figure:
    """Functions by layer with heads as cells."""
    scores = found.scores[name]
    marked = np.stack([one.mask() for one in found.sets[name]])
    axes = plot_functions(scores.values, scores.functions, marked=marked, titles=TITLES, label=name)
    return figure_of(axes[0])


def _every(found: FoundHeads, what: str) -> pd.DataFrame:
    return _with_scorer({name: getattr(own, what) for name, own in found.layout.items()})


def _with_scorer(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Tables of several scorers as one."""
    import pandas as pd

    made = [own.assign(scorer=name) for name, own in tables.items()]
    whole = pd.concat(made, ignore_index=True)
    return whole[["scorer", *(name for name in whole if name != "scorer")]]


def _shown(found: FoundHeads) -> dict[str, pd.DataFrame]:
    shown = {"Heads of each function": _shown_sets(found), "How few heads, and where": _shown_layout(found)}
    if found.agreement is not None:
        shown["How far scorers agree"] = shown_agreement(found.agreement)
    for name, table in found.in_common.items():
        rows = table[table["measure"] == "shared"]
        if len(rows):
            shown[f"What functions have in common, {name}"] = shown_agreement(rows)
    return shown


def _shown_sets(found: FoundHeads) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "scorer": name,
            "function": TITLES.get(one.function, one.function),
            "heads": len(one),
            "items": found.scores[name].samples[found.scores[name].place(one.function)],
            "the strongest (layer.head)": ", ".join(f"{layer}.{head}" for layer, head in one.heads[:10]) or one.why,
        }
        for name, own in found.sets.items()
        for one in own
    ]
    return pd.DataFrame(rows)


def _shown_layout(found: FoundHeads) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "scorer": name,
            "function": one.function,
            "measure": one.measure,
            "value": decimal(one.value, one.low, one.high, digits=3),
            "all heads alike": decimal(one.even, digits=3),
            "random heads": decimal(one.random, one.random_low, one.random_high, digits=3),
        }
        for name, own in found.layout.items()
        for one in own.measures.itertuples()
        if one.measure in MEASURES
    ]
    return pd.DataFrame(rows)


def shown_agreement(table: pd.DataFrame) -> pd.DataFrame:
    """Agreement as a page shows it, with both of its nulls."""
    import pandas as pd

    rows = []
    for one in table.to_dict("records"):
        spell = percent if one["measure"] in ("jaccard", "shared", "several") else decimal
        rows.append(
            {
                **({"function": one["function"]} if "function" in one else {}),
                "first": one["first"],
                "second": one["second"],
                "measure": one["measure"] + (", %" if spell is percent else ""),
                "value": spell(one["value"], one["low"], one["high"]),
                "heads dealt anew": spell(one["random"], one["random_low"], one["random_high"]),
                "p": p_value(one["p_random"]),
                "dealt inside layers": spell(one["within"], one["within_low"], one["within_high"]),
                "p inside layers": p_value(one["p_within"]),
            }
        )
    return pd.DataFrame(rows)
