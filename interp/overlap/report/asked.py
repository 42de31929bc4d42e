"""What an overlap study's report says first: how many answers are right, by which rule, and what its words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interp.numeric import agree, bounded, counted
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.overlap import LESS_IS_BETTER
from interp.report.numbers import share
from interp.stats.clusters import shared_groups

if TYPE_CHECKING:
    import pandas as pd

    from interp.overlap.study.examine import OverlapAnalysis
    from interp.overlap.study.result import OverlapStudy
    from interp.stats.intervals import Interval


def asked_says(study: OverlapStudy, analysis: OverlapAnalysis, coverage: pd.DataFrame) -> tuple[str, ...]:
    """Numbers of answers, and what the words of the page mean."""
    right, n, measure = int(study.right.sum()), len(study.samples), analysis.measure
    worth = ", of as many answers as those of groups are worth" if shared_groups(study.samples) is not None else ""
    by = f", by Wilson's interval{worth}" if np.isfinite(analysis.accuracy.low) else ""
    overlap = (
        f"Measured is here the {measure} of the map of attention alone, without boxes"
        if measure in MAP_MEASURES
        else f"Overlap is here the {measure} of attention with the region '{analysis.region}'"
    )
    less = f" A lower {measure} is more overlap." if measure in LESS_IS_BETTER else ""
    return (
        f"{right} of {counted(n, 'answer')} {agree(right, 'is', 'are')} right, {accuracy_says(analysis.accuracy)}{by}. "
        f"{_rule(study.samples)}",
        f"{overlap}, in the normalisation '{analysis.normalisation}'.{less} Attention is that of the last prompt row, "
        "from which the first word of the answer is read. The head mean averages the weights over heads before "
        "anything is measured. Layers and heads are counted from 0.",
        *_brackets(analysis, coverage),
    )


def accuracy_says(found: Interval) -> str:
    """A share as a sentence has it."""
    return share(found.estimate, found.low, found.high, level=found.level)


def _rule(samples: pd.DataFrame) -> str:
    """When an answer is right: by the options, and without any by the words of the right answer."""
    listed = samples["options"].fillna("").astype(str).str.len() > 0
    named = "the option that it names first is the right one; one that names none is wrong"
    said = "it says the words of the right answer and does not deny them"
    if listed.all():
        return f"An answer is right when {named}."
    if not listed.any():
        return f"The questions list no options: an answer is right when {said}."
    without = int((~listed).sum())
    return f"An answer is right when {named}. Of {without} without options, one is right when {said}."


def _brackets(analysis: OverlapAnalysis, coverage: pd.DataFrame) -> list[str]:
    """What the intervals of tables are, of those that there are."""
    every = (analysis, *analysis.further.values())
    means = [gain.low for one in every for gain in one.above.values()]
    aurocs = [found.low_all for one in every for found in (one.pooled, one.within)]
    kinds = {
        "Those of shares are Wilson's.": [analysis.accuracy.low, coverage["low"]],
        "Those of means are bootstraps, which draw whole groups (object pairs, photos) where samples share "
        "them.": means,
        "Those of AUROCs take groups as a whole, and hold for all layers and heads together, as the farthest of many "
        "looks better than it is.": aurocs,
    }
    there = [said for said, ends in kinds.items() if bounded(*ends)]
    return [" ".join(("In tables, brackets hold confidence intervals of 95 %.", *there))] if there else []
