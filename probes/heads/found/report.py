"""What found heads say: in sentences, tables and one figure of all functions, heads as cells."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from interp.numeric import agree, counted, named_level
from interp.plots.style import figure_of
from interp.report.numbers import decimal, p_said, p_value, percent, ranged
from interp.report.tables import records
from interp.report.verdicts import NOT_DETECTED
from probes.heads.figures.cells import plot_functions
from probes.heads.found.asked import BY_NUMBERS
from probes.heads.found.by_model import LOOKING
from probes.heads.functions import TITLES
from probes.heads.scores import EVERY
from probes.heads.selection.agreement import ALPHA, too_few_deals
from probes.study.extremes import shared
from probes.study.findings import Drawn, Findings, level_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from probes.heads.found.find import FoundHeads

PROBED = (
    "A probe that reads a function from a head shows that the head's output tells such questions from others. It does "
    "not show that the model uses it: remove the heads, beside as many random ones (heads mask).",
    "Questions of different functions have different words and answers. A probe may read these in the place of the "
    "function; its null deals the labels of main questions anew, and so keeps words apart from labels, not from it.",
)

LOOKED = (
    "Where a head looks does not show that the answer uses what it sees there, and scores of a function are of its "
    "questions alone: a head that looks at objects in all questions is found for every function.",
)

CAUTIONED = {
    "image_mass": "Attention has no reason to be even: that a head puts more on the image than that says little.",
    "gaze": "Gaze holds a question's first object against its others: where a question asks about several, a head that "
    "looks at all of them is not found by it.",
    "selection_frequency": "Where nearly all heads that look at the image are concentrated, few stand out.",
    "gradient": "A gradient tells what a little more attention would change, and not what its loss would. Its null "
    "keeps what head and answer prefer of places, and not what they prefer of what is shown: a head that likes red, of "
    "an answer that gains by red, is found.",
    "ablation": "Heads are removed one by one, at the last position: of heads that stand in for each other none is "
    "missed, and what a head does at other positions is not seen.",
    "divergence": "What divergence is held against is a control and no draw of chance: a head is found where the photo "
    "moves it more than a change of colour does.",
    "id_write": "Axes are of drawn scenes: where the model does not place objects along them, no head writes a place.",
}
"""By scorer, what it does not show."""

SHARED = (
    "Scorers that look at the same attention share numbers (what lies on an object lies on the image), and so agree in "
    "part whatever the heads do.",
)

COUNTED = (
    "The number of heads hangs on the rule and on how many items there are: with more of them, smaller differences "
    "stand out of the null.",
    "The strongest head of a function was picked after the fact: it is told too strong, and so is given no interval. "
    "The table of scores has those of heads that are named before.",
    "Measures of sparsity say little alone: sizes of noise are not even either, and stand beside them.",
    "Noise makes sizes more even, and maps less alike, than they would be without. Numbers and intervals are of scores "
    "that are as noisy as these. A number has no interval where nearly all draws give the same, or where fewer than "
    "three groups (or layers, where those are drawn) have anything to say.",
)

DEALT = "heads dealt anew, one-sided"
"""The test of how alike two maps are."""

NULLS = {
    "linear_probe": "with labels dealt anew",
    "joint_network": "with labels dealt anew",
    "image_mass": "where attention is even",
    "spatial_entropy": "with the same weights elsewhere",
    "selection_frequency": "where heads are alike",
    "overlap": "on moved boxes",
    "pointing": "on moved boxes",
    "gaze": "on what is not asked about",
    "hit_rate": "on moved boxes",
    "gradient": "with the gain in another photo",
    "ablation": "of a head that gains as often as it loses",
    "ablation_positive": "gained in the same questions",
    "ablation_negative": "lost in the same questions",
    "divergence": "between two blank photos",
    "divergence_relative": "between two blank photos",
    "divergence_cosine": "between two blank photos",
    "id_write": "with places dealt anew",
}
"""By scorer, what its null is."""

FEW = 3
"""Pairs of scorers that sentences tell each of; of more, the table tells."""

MEASURES = {"share_above": 3, "gini": 3, "effective_heads": 1, "elbow_count": 1, "layer_centre": 2}
"""The measures of sparsity and layers that the page shows, with their decimals; the table has all."""


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
        "left_out": found.left_out(),
    }
    if found.layout:
        tables |= {"layout": _every(found, "measures"), "profile": _every(found, "profile")}
    if found.in_common:
        tables["in_common"] = _with_scorer(found.in_common)
    if found.agreement is not None:
        tables["agreement"] = found.agreement
    return Findings(
        title="Which heads serve which function?",
        sentences=sentences,
        cautions=_cautions(found),
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
            "layout": records(tables["layout"]) if found.layout else [],
            "left_out": records(tables["left_out"]),
            "sentence": sentences[0],
        },
        settings=dict(found.settings),
        groups=tuple(count for own in found.scores.values() for count in own.groups),
    )


def called(function: str) -> str:
    """What sentences and tables call a function."""
    return "All questions" if function == EVERY else TITLES.get(function, function)


def _inside(function: str) -> str:
    """What a function is called inside a sentence."""
    return called(function) if function in TITLES else called(function).lower()


def _cautions(found: FoundHeads) -> tuple[str, ...]:
    """What the scorers that were asked do not show."""
    names = found.scorers
    looking = [name for name in names if name in LOOKING]
    probed = PROBED if any(name in BY_NUMBERS for name in names) else ()
    own = [told for kind, told in CAUTIONED.items() if any(name.startswith(kind) for name in names)]
    return (*probed, *(LOOKED if looking else ()), *own, *(SHARED if len(looking) > 1 else ()), *COUNTED)


def _sentences(found: FoundHeads) -> list[str]:
    told = [_selected_told(found, name) for name in found.scorers]
    first = found.scorers[0]
    by = f" by {first}" if len(found.scorers) > 1 else ""
    for one in found.sets[first]:
        if not len(one):
            told.append(f"{called(one.function)} by {first}: no head, as {one.why}.")
            continue
        scores = found.scores[first]
        layer, head = one.heads[0]
        place = (scores.place(one.function), layer, head)
        null = "" if scores.null is None else f", {decimal(float(scores.null[place]), digits=3)} {NULLS[first]}"
        test = f"the null of {first}, corrected for {scores.values[0].size} heads by maxT"
        p = "" if scores.p_any is None else f" ({p_said(float(scores.p_any[place]), test=test)})"
        count = counted(len(one), "head")
        told.append(
            f"{called(one.function)}{by}: {count}; the strongest is head {head} of layer {layer} "
            f"with {decimal(float(scores.values[place]), digits=3)}"
            f"{shared(scores.of(one.function), float(scores.values[place]))}{null}{p}."
        )
    return told + _unscored_told(found) + _agreement_told(found)


def _unscored_told(found: FoundHeads) -> list[str]:
    """Functions that scorers do not score, those of one reason together."""
    table = found.left_out()
    why: dict[tuple[str, str], list[str]] = {}
    for one in table[table["table"] == "scores"].itertuples():
        why.setdefault((one.scorer, one.why), []).append(called(one.function))
    return [
        f"{', '.join(functions)} {'is' if len(functions) == 1 else 'are'} not scored by {scorer}: {told}."
        for (scorer, told), functions in why.items()
    ]


def _selected_told(found: FoundHeads, name: str) -> str:
    """How many heads each function has, and how many serve several."""
    own, scores = found.sets[name], found.scores[name]
    of = scores.values[0].size
    masks = np.stack([one.mask() for one in own])
    if len(own) == 1:
        return f"Of {of} heads, {name} and {own[0].rule} select {len(own[0]) or 'none'} for {_inside(own[0].function)}."
    counts = ", ".join(f"{one.function} {len(one)}" for one in own)
    any_of, several = int(masks.any(axis=0).sum()), int((masks.sum(axis=0) > 1).sum())
    if not any_of:
        return f"Of {of} heads, {name} and {own[0].rule} select none for any function."
    return (
        f"Of {of} heads, {name} and {own[0].rule} select {any_of} for any function ({counts}); {several or 'none'} of "
        f"them {agree(several, 'serves', 'serve')} two or more."
    )


def _agreement_told(found: FoundHeads) -> list[str]:
    """How far each pair agrees; of many pairs, which agree most and least."""
    if found.agreement is None:
        return []
    every = []
    for (first, second, measure), rows in found.agreement.groupby(["first", "second", "measure"], sort=False):
        known = rows[rows["value"].notna()]
        if len(known):
            value = float(known["value"].mean())
            over = f" on average over {len(known)} functions"
            if len(known) == 1:
                over = f" for {_inside(known['function'].iloc[0])}"
            sentence = (
                f"{first} and {second} agree by {measure} with {decimal(value)}{over}, "
                f"{decimal(float(known['random'].mean()))} with heads dealt anew and "
                f"{decimal(float(known['within'].mean()))} with heads dealt inside layers; "
                f"{alike_told(known, found.settings['deals'])}."
            )
            every.append((measure, value, sentence))
    if len({tuple(pair) for pair in found.agreement[["first", "second"]].to_numpy()}) <= FEW:
        return [sentence for _, _, sentence in every]
    ranked = sorted((own for own in every if own[0] == "spearman"), key=lambda own: -own[1])
    if len(ranked) < 2:
        return []
    every_one = [value for _, value, _ in ranked]
    most, least = (shared(every_one, every_one[place]) for place in (0, -1))
    of = f"Of {len(ranked)} pairs of scorers these agree most{most}{',' * bool(most)} and least{least}: "
    return [f"{of}{ranked[0][2]}", ranked[-1][2]]


def alike_told(rows: pd.DataFrame, deals: int) -> str:
    """Of how many functions two maps are more alike than with heads dealt inside layers, which is the harder test."""
    tests = int(rows["p_within"].notna().sum())
    if few := too_few_deals(deals, tests):
        return f"whether that is more than the latter can not be told, {few}"
    p = rows["p_within_holm"].to_numpy(float)
    beyond, test = int((p <= ALPHA).sum()), "heads dealt inside layers, one-sided"
    if tests == 1:
        return f"{'more than the latter' if beyond else NOT_DETECTED} ({p_said(float(np.nanmin(p)), test=test)})"
    return f"more than the latter in {beyond or 'none'} of them (p ≤ {ALPHA:g}, {test}, corrected for {tests} by Holm)"


def _figure(found: FoundHeads, name: str) -> Figure:
    """Functions by layer with heads as cells."""
    scores = found.scores[name]
    marked = np.stack([one.mask() for one in found.sets[name]])
    titles = {one: called(one) for one in scores.functions}
    axes = plot_functions(scores.values, scores.functions, marked=marked, titles=titles, label=name)
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
    shown, level = {"Heads of each function": _shown_sets(found)}, level_of(found.settings)
    if found.layout:
        shown["How few heads, and where"] = _shown_layout(found)
    if found.agreement is not None:
        shown["How far scorers agree"] = shown_agreement(found.agreement, "the functions of a pair", level)
    for name, table in found.in_common.items():
        rows = table[table["measure"] == "shared"]
        if len(rows):
            pairs = counted(len(rows), "pair")
            shown[f"What functions have in common, {name}"] = shown_agreement(rows, f"{pairs} of functions", level)
    return shown


def _shown_sets(found: FoundHeads) -> pd.DataFrame:
    import pandas as pd

    rows = [
        {
            "scorer": name,
            "function": called(one.function),
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
            "value": decimal(one.value, one.low, one.high, digits=MEASURES[one.measure]),
            "all heads alike": decimal(one.even, digits=MEASURES[one.measure]),
            f"random heads ({100 * own.settings['level']:g} % of them)": ranged(
                one.random, one.random_low, one.random_high, digits=MEASURES[one.measure]
            ),
        }
        for name, own in found.layout.items()
        for one in own.measures.itertuples()
        if one.measure in MEASURES
    ]
    return pd.DataFrame(rows)


def shown_agreement(table: pd.DataFrame, family: str, level: float) -> pd.DataFrame:
    """Agreement as a page shows it, with both of its nulls, and p-values corrected for a family that is named."""
    import pandas as pd

    rows, some = [], f" ({named_level(level)} of them)"
    for one in table.to_dict("records"):
        in_percent = one["measure"] in ("jaccard", "shared", "several")
        spell = percent if in_percent else decimal
        null = partial(ranged, digits=1, factor=100) if in_percent else ranged
        rows.append(
            {
                **({"function": one["function"]} if "function" in one else {}),
                "first": one["first"],
                "second": one["second"],
                "measure": one["measure"] + (", %" if in_percent else ""),
                "value": spell(one["value"], one["low"], one["high"]),
                f"heads dealt anew{some}": null(one["random"], one["random_low"], one["random_high"]),
                f"p, {DEALT}, corrected for {family} by Holm": p_value(one["p_random_holm"]),
                f"dealt inside layers{some}": null(one["within"], one["within_low"], one["within_high"]),
                "p inside layers, likewise": p_value(one["p_within_holm"]),
            }
        )
    return pd.DataFrame(rows)
