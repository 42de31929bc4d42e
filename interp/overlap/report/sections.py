"""The sections of an overlap study's report: what each number is, its null, and what it does not show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from interp.layers import paper_layers
from interp.numeric import agree, bounded, counted, named_level
from interp.overlap.report.asked import accuracy_says, asked_says
from interp.overlap.report.coverage import coverage_cautions, coverage_section
from interp.overlap.report.further import sections_of_further_maps
from interp.overlap.report.sentences import (
    SHUFFLES,
    association_says,
    by_interval,
    ended,
    layers_say,
    nulls_say,
    partial_says,
)
from interp.overlap.study.means import nulls_of
from interp.report.numbers import p_value, ranged
from interp.report.page import Section
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, SIGNIFICANT, UNCLAIMED, judge
from interp.stats.clusters import few_units, shared_groups

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from interp.overlap.study.examine import OverlapAnalysis
    from interp.overlap.study.result import OverlapStudy
    from interp.stats.association import Association

FEW = 10
"""Right or wrong answers below which the page says that there are few."""

_STILL = "Coverage, geometry and nulls are what can be read off here."
NOT_AT_HAND = "Not drawn: the model or the photos were not at hand when this report was written."
_MOST_CELLS = 12  # heads in a table
_MOST_LABELS = 10  # objects in a table


@dataclass(frozen=True)
class Photos:
    """What the figures of photos show.

    Attributes:
        told: why there are none; empty where they are.
        layer: the layer of the gallery's maps.
        measure: the measure by which its samples were chosen.
        path_of: the sample of the path, and which kind of case it is; empty where there is none.
    """

    why_none: str
    layer: int = 0
    measure: str = ""
    path_of: str = ""


def lead(study: OverlapStudy, analysis: OverlapAnalysis) -> str:
    """The main result in one paragraph."""
    n, dataset = len(study.samples), _dataset(study)
    asked = f"{counted(n, 'question')}{f' of {dataset}' if dataset else ''}"
    by = study.settings.get("model", "a model")
    said = association_says(analysis.within, "inside relations", analysis.measure)
    return f"{asked}, answered by {by}; right: {accuracy_says(analysis.accuracy)}. {said}"


def cautions_of(study: OverlapStudy, analysis: OverlapAnalysis, out_of_domain: str | None) -> list[str]:
    """What a reader has to know before any number; nothing where nothing is amiss."""
    found = [f"The model is out of its domain: {out_of_domain}", _STILL] if out_of_domain else []
    found += coverage_cautions(study.samples)
    found += _few_units(study, analysis)
    known = _measured(study, analysis)
    of = study.right[known] if known.any() else study.right
    where = f"where the {analysis.measure} is defined, " if len(of) < len(study.samples) else ""
    inside = [both for both in analysis.within.strata.values() if 0 not in both]
    for place, (name, count) in enumerate((("right", int(of.sum())), ("wrong", int((~of).sum())))):
        said = ""
        if not count:
            said = f"{where}no answer is {name}, so right and wrong answers can not be compared."
        elif count < FEW:
            are = agree(count, "answer is", "answers are")
            said = f"{where}only {count} {are} {name}: that no difference is detected means little."
        elif inside and (there := sum(both[place] for both in inside)) < FEW:
            said = (
                f"inside relations only {counted(there, 'answer')} that can be compared {agree(there, 'is', 'are')} "
                f"{name}: that no difference is detected there means little."
            )
        found += [said[0].upper() + said[1:]] if said else []
    if analysis.within.skipped and 0 < study.right.sum() < len(study.samples):
        names = "; ".join(analysis.within.skipped)
        found.append(f"All answers are right, or all are wrong, in {names}: these say nothing inside relations.")
    return found


def _few_units(study: OverlapStudy, analysis: OverlapAnalysis) -> list[str]:
    """Whether samples, or the groups that they share, are few, of all or of those that are measured."""
    if few := few_units(study.samples):
        return [few]
    measured = study.samples[_measured(study, analysis)]
    few = few_units(measured) if len(measured) else ""
    return [f"Where the {analysis.measure} is defined, {few[0].lower()}{few[1:]}"] if few else []


def _measured(study: OverlapStudy, analysis: OverlapAnalysis) -> Bool[np.ndarray, " sample"]:
    """In which samples the measure of the head mean is defined in some layer."""
    values = study.values(analysis.measure, analysis.region, analysis.normalisation)[..., -1]
    return np.isfinite(values).any(axis=1)


def sections(
    study: OverlapStudy,
    analysis: OverlapAnalysis,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Figure],
    *,
    cautions: Sequence[str],
    photos: Photos,
) -> list[Section]:
    """All sections, in order; those that the data do not allow say why, or are not there."""
    found = [
        Section("Read this first", tuple(cautions)) if cautions else None,
        Section("What was asked", asked_says(study, analysis, tables["coverage"])),
        coverage_section(study, tables["coverage"], figures),
        _agreement(tables.get("agreement")),
        *_overlap(study, analysis, tables["means"], figures),
        _association(analysis, figures),
        *_heads(analysis, figures),
        *sections_of_further_maps(study, analysis),
        Section("The paper's layers and the best ones", _layers(analysis)),
        _partial(analysis, figures),
        *_photos(study, photos, figures),
        Section("What was tried, and what it was corrected for", _tried(study, analysis)),
        Section("What these maps do not show", _NOT_SHOWN),
    ]
    return [section for section in found if section is not None]


def _agreement(agreed: pd.DataFrame | None) -> Section | None:
    """How well a detector's boxes are those of the data set, where it has some."""
    if agreed is None:
        return None
    shown = agreed.head(1 + _MOST_LABELS)
    columns = {
        "object": shown["label"],
        "true boxes": shown["n_truth"],
        "found": shown["n_found"],
        "recall": [ended(line.recall, line.recall_low, line.recall_high) for line in shown.itertuples()],
        "precision": [ended(line.precision, line.precision_low, line.precision_high) for line in shown.itertuples()],
        "mean IoU": [f"{value:.2f}" if value == value else "" for value in shown["mean_iou"]],
    }
    more = len(agreed) - len(shown)
    worth = ", of as many boxes as those of one photo or group are worth"
    text = (
        "Boxes of the objects that are asked about, against the data set's own: a box counts as found if its "
        "intersection over union (IoU) with a true one is 0.5 or more."
        + (f" Wilson's intervals of 95 %{worth}." if bounded(shown["recall_low"]) else "")
        + (f" Of the names, the {_MOST_LABELS} most frequent; {more} more stand in agreement.csv." if more else ""),
    )
    return Section("Does the detector agree with the data set?", text, table=shown.assign(**columns)[list(columns)])


def _overlap(
    study: OverlapStudy, analysis: OverlapAnalysis, means: pd.DataFrame, figures: Mapping[str, Figure]
) -> list[Section]:
    """Whether attention lies on the objects at all."""
    layers = [layer for layer in paper_layers(study.n_layers) if layer in study.layers]
    told = any(np.isfinite(gain.estimate[layers]).any() for gain in analysis.above.values())
    numbers = " Numbers are of the paper's layers." if told else ""
    text = (
        f"The {analysis.above_measure} of the head mean less that under each null, mean over samples"
        f"{by_interval(analysis.above)}{numbers}",
        *nulls_say(study, analysis, layers),
    )
    title = "Does attention lie on the objects?"
    if "overlap_by_answer" not in figures:
        return [Section(title, text)]
    drawn = means[means["measure"] == analysis.measure]
    over = " and over ".join(dict.fromkeys(drawn["answers"]))
    bands = " with bands of 95 %" if bounded(drawn["low"]) else ""
    asked = {"region": analysis.region, "normalisation": analysis.normalisation}
    lines = "; dashed and dotted lines are the nulls" if nulls_of(study, analysis.measure, **asked) else ""
    found = [Section(title, text, figures["overlap_by_answer"], f"Mean over {over} answers{bands}{lines}.")]
    if "lift" in figures:
        text = ("How many times the null's mean the overlap is; one is no more than the null.",)
        some = bounded(*(gain.low for gain in analysis.above.values()))
        bands = "Bands are bootstraps of 95 %." if some else ""
        found.append(Section("How many times more than each null", text, figures["lift"], bands))
    return found


def _association(analysis: OverlapAnalysis, figures: Mapping[str, Figure]) -> Section:
    """Whether overlap goes with right answers."""
    text = (
        f"AUROC: how often the {analysis.measure} of a right answer is higher than that of a wrong one, ties counting "
        "half; 0.5 says nothing, and below it a higher one goes with wrong answers. Over all pairs it can be a "
        "detector of the relation, where relations differ both in how often they are answered rightly and in how boxes "
        "lie. Inside relations only pairs of one relation and as many objects are compared.",
        association_says(analysis.pooled, "over all pairs", analysis.measure),
        association_says(analysis.within, "inside relations", analysis.measure),
    )
    both = (analysis.pooled, analysis.within)
    filled = any((found.p_max[:, -1] < SIGNIFICANT).any() for found in both)
    drawn = " with the interval of each layer alone; at the star, that for all layers and heads together"
    by = drawn if bounded(*(found.low_all[:, -1] for found in both)) else ""
    caption = (
        f"AUROC of the head mean by layer{by}; grey, what shuffled answers give."
        f"{f' Filled marks have a corrected p below {SIGNIFICANT:g}.' if filled else ''}"
    )
    tested = any(np.isfinite(found.auroc[:, -1]).any() for found in both)
    return Section("Does overlap go with right answers?", text, figures["auroc"], caption if tested else "")


def _heads(analysis: OverlapAnalysis, figures: Mapping[str, Figure]) -> list[Section]:
    """Single heads: the mean overlap, and the AUROC with the cells that survive."""
    found = []
    if "overlap_by_head" in figures:
        caption = f"Mean {analysis.measure} over samples by layer and head; the head mean at the right."
        found.append(Section("Which heads look at the objects", (), figures["overlap_by_head"], caption))
    for name, one, where in (
        ("auroc_by_head", analysis.pooled, "over all pairs"),
        ("auroc_by_head_within", analysis.within, "inside relations"),
    ):
        if name in figures:
            text, table = _surviving(one)
            caption = (
                f"AUROC {where}; red above one half (more in right answers), blue below (more in wrong answers)."
                f"{'' if table is None else f' Dots have a corrected p below {SIGNIFICANT:g}.'}"
            )
            found.append(Section(f"Single heads, {where}", (text,), figures[name], caption, table))
    return found


def _surviving(found: Association) -> tuple[str, pd.DataFrame | None]:
    """How many cells survive the correction, and the farthest of them."""
    table = found.to_dataframe()
    tested = table[table["auroc"].notna()]
    kept = tested[tested["p_max"] < SIGNIFICANT]
    count = f"Of {len(tested)} layers and heads (the head means among them)"
    if kept.empty:
        return f"{count}, {NOT_DETECTED} in any: no corrected p is below {SIGNIFICANT:g} ({SHUFFLES}).", None
    order = (kept["auroc"] - 0.5).abs().sort_values(ascending=False, kind="stable").index[:_MOST_CELLS]
    more = f" The {_MOST_CELLS} farthest from one half:" if len(kept) > _MOST_CELLS else ""
    rows = kept.loc[order]
    columns = {
        "layer": rows["layer"].astype(str),
        "head": ["mean" if head < 0 else str(head) for head in rows["head"]],
        "AUROC": [ended(line.auroc, line.low_all, line.high_all) for line in rows.itertuples()],
        f"with shuffled answers, mean ({named_level(found.level)} of shuffles)": [
            ranged(line.null_mean, line.null_low, line.null_high, digits=3) for line in rows.itertuples()
        ],
        "p": [p_value(p) for p in rows["p"]],
        "corrected p": [p_value(p) for p in rows["p_max"]],
    }
    split = judge(kept["low_all"], kept["high_all"], kept["p_max"], none=0.5).unclaimed
    without = np.isnan(kept["low_all"].to_numpy(dtype=float))
    but = "".join(
        f" In {own.sum()} of these {why}."
        for own, why in ((split & ~without, UNCLAIMED), (split & without, NO_INTERVAL))
        if own.any()
    )
    have = agree(len(kept), "has", "have")
    said = f"{count}, {len(kept)} {have} a corrected p below {SIGNIFICANT:g} ({SHUFFLES}).{but}{more}"
    return said, rows.assign(**columns)[list(columns)]


def _layers(analysis: OverlapAnalysis) -> tuple[str, ...]:
    """The paper's layers against the best."""
    if analysis.layers is None:
        return (f"Not compared: {_why(analysis, 'best layers')}",)
    said = layers_say(analysis.layers, analysis.measure)
    if np.isnan(analysis.layers.difference.estimate):
        return (said,)
    return (
        "Inside relations, head mean. The best of many layers looks better than it is on the samples that chose it, so "
        "it is chosen on some samples and scored on others, over and over. An AUROC far below one half tells right "
        "from wrong answers as well as one far above, with the other sign: the best is the farthest from one half, and "
        "which way it goes is learnt with the choice. Here AUROCs are counted that way: above one half it holds on "
        "the samples that did not choose, and below one half it turns round.",
        said,
    )


def _why(analysis: OverlapAnalysis, what: str) -> str:
    """The reason for which a part was not done, without what was not done."""
    return " ".join(line.partition(": ")[2] for line in analysis.not_done if what in line)


def _partial(analysis: OverlapAnalysis, figures: Mapping[str, Figure]) -> Section:
    """Overlap beside what else may tell right from wrong answers."""
    title = "Other things equal"
    if analysis.partial is None:
        return Section(title, (f"Not computed: {_why(analysis, 'beside')}",))
    text = (
        "Logistic regression of right answers on the overlap of the head mean, alone and beside other columns, layer "
        "by layer. The relation is among them: where relations differ both in how often they are answered rightly and "
        "in how their boxes lie, overlap alone can stand for the relation. Zero is no effect.",
        partial_says(analysis.partial, analysis.measure),
    )
    by = "; intervals of 95 %" if bounded(analysis.partial.adjusted.low, analysis.partial.unadjusted.low) else ""
    caption = f"Log odds ratio of a right answer for one standard deviation of overlap{by}."
    return Section(title, text, figures.get("partial_effect"), caption)


def _photos(study: OverlapStudy, photos: Photos, figures: Mapping[str, Figure]) -> list[Section]:
    """The gallery and the path."""
    title = "Telling samples"
    if "gallery" not in figures:
        return [Section(title, (photos.why_none,))]
    paper = photos.layer in paper_layers(study.n_layers)
    named = "the first of the paper's layers that was measured" if paper else "the first layer that was measured"
    text = (
        f"Chosen by {photos.measure} in layer {photos.layer} (0-based), {named}, and by whether the answer is right; "
        "not by how the maps look. A few samples show what can be the case, not what usually is.",
    )
    found = [Section(title, text, figures["gallery"], "Attention of the head mean over the photo, all on one scale.")]
    if "path" in figures:
        text = (f"{photos.path_of}. The file path.gif beside this page shows the same layer by layer.",)
        caption = "The attention's centroid over the layers, and the share of the image's attention on each object."
        found.append(Section("The path of attention in one photo", text, figures["path"], caption))
    return found


def _tried(study: OverlapStudy, analysis: OverlapAnalysis) -> tuple[str, ...]:
    """How many cells were tested, by what, and what was not."""
    cells, within = (int(np.isfinite(found.auroc).sum()) for found in (analysis.pooled, analysis.within))
    grouped = ", and between groups of like make-up" if shared_groups(study.samples) is not None else ""
    tests = (
        f"{cells} cells (layers, heads and head means) were tested over all pairs, and {within or 'none'} inside "
        "relations. Corrected p is family-wise, from the farthest of all cells in each shuffle of the answers: if "
        f"nothing went with right answers, any cell below {SIGNIFICANT:g} would be seen in {100 * SIGNIFICANT:g} % of "
        "studies. The two families are not corrected for each other, nor for other maps, measures, regions and "
        "normalisations that somebody may look at.",
        f"Answers are shuffled inside relations{grouped}: {analysis.within.movable} of "
        f"{counted(len(study.samples), 'sample')} can change their mark that way. Where few can, no p can be small.",
    )
    return (
        *(tests if cells else ("No layer or head was tested: no right answer can be compared with a wrong one.",)),
        *_not_told(study, analysis),
        *(line[:1].upper() + line[1:] for line in analysis.not_done),
    )


def _not_told(study: OverlapStudy, analysis: OverlapAnalysis) -> list[str]:
    """What was measured and stands in tables alone."""
    others = [name for name in study.normalisations if name != analysis.normalisation]
    if not others:
        return []
    none = "no-sinks" in study.normalisations and not study.settings.get("sinks")
    return [
        *(["No sink was found, so 'no-sinks' is the same as 'image'."] if none else []),
        f"This page is about the normalisation '{analysis.normalisation}'. Also measured, and to be found in "
        f"overlap.parquet: {', '.join(others)}. examine_overlap(read_overlap_study(FOLDER), "
        f"normalisation='{others[0]}') says as much about '{others[0]}' as this page.",
    ]


_NOT_SHOWN = (
    "Attention that lies on an object is not proof that the object was used: what a layer reads from there may be "
    "thrown away later, and what counts may come by other ways. An association is no cause: a clear photo can make "
    "both the attention and the answer good. Change the attention to learn whether it matters.",
    "The maps are of one row, from which the first word of the answer is read; earlier rows may have gathered what it "
    "needs. An image token of a late layer has itself looked at all tokens before it, and is no longer only the patch "
    "that it stands for.",
    "Boxes are what a detector or an annotator drew; the model may need the ground between them just as much. What is "
    "found here holds for this model, prompt and data set.",
)


def _dataset(study: OverlapStudy) -> str:
    """The data set's name, if there is one."""
    names = sorted(set(study.samples["dataset"])) if "dataset" in study.samples else []
    return Path(str(study.settings.get("dataset") or (names[0] if len(names) == 1 else ""))).name
