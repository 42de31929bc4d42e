"""The sections of an evaluation's report about confidence: by relation, and how well it tells right answers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from adaptvis.report import tables
from adaptvis.report.figures import MOST_RELATIONS
from adaptvis.report.lead import LEVEL
from interp.answers.calibration import CONFIDENCES
from interp.numeric import bounded, counted, named_level
from interp.report.numbers import NOTHING, decimal, percent, points, ranged, share
from interp.report.page import Section
from interp.report.verdicts import undetected
from interp.stats.clusters import shared_groups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from adaptvis.evaluation.evaluation import Evaluation
    from adaptvis.report.measures import EvaluationMeasures


def confidence_section(evaluation: Evaluation, measured: EvaluationMeasures, figures: Mapping[str, Figure]) -> Section:
    """Accuracy and confidence of the untouched model by relation."""
    text = [
        "Confidence is the probability of the untouched model's first token, over the whole vocabulary; the right "
        "option's probability is what that token gives the words that begin it. Accuracy is the baseline's, strict.",
    ]
    for line in measured.familiar.itertuples() if len(measured.familiar) else ():
        gap = points(line.difference, line.low, line.high, level=LEVEL) + undetected(line.low, line.high)
        gap = gap if tables.adds_up(line.unfamiliar, line.familiar, line.difference) else f"before rounding, {gap}"
        text.append(
            f"{line.measure.capitalize()} on left and right (n = {line.n_familiar}): {percent(line.familiar)} "
            f"%; on the other relations (n = {line.n_unfamiliar}): {percent(line.unfamiliar)} %; difference {gap}."
        )
    if not len(measured.familiar):
        named = evaluation.rows("baseline")["relation"].isin(("left", "right")).any()
        which = "all samples are of these two" if named else "no relation here has such a name"
        text.append(f"Left and right can not be set against other relations: {which}.")
    if CONFIDENCES[-1] not in set(measured.confidence["measure"]):
        text.append("The right option's probability is not known: first tokens do not tell the options apart.")
    untouched = evaluation.rows("baseline")
    table = tables.confidence_table(measured, untouched, tables.MOST_ROWS)
    shares = measured.confidence["measure"] == "accuracy"
    by = " with Wilson's interval" if bounded(measured.confidence[shares]["low"]) else ""
    drawn = ", with bootstrap intervals of 95 %" if bounded(measured.confidence[~shares]["low"]) else ""
    caption = (
        f"Accuracy{by}; means of confidence over all, right and wrong answers, and of the right option's "
        f"probability{drawn}."
    )
    if untouched["relation"].nunique() > MOST_RELATIONS:
        caption += f" The {MOST_RELATIONS} most frequent relations; `all` holds every one."
    return Section("Confidence by relation", tuple(text), figures.get("confidence"), caption, table)


def calibration_section(evaluation: Evaluation, measured: EvaluationMeasures, figures: Mapping[str, Figure]) -> Section:
    """How well the untouched model's confidence foretells right answers."""
    found, untouched = measured.calibration, evaluation.rows("baseline")
    brier = decimal(found.brier.estimate, found.brier.low, found.brier.high, level=LEVEL)
    n, right = len(untouched), int(untouched["correct"].sum())
    null = found.error_if_calibrated
    shared = shared_groups(untouched)
    part = f"{named_level(null.level)} of draws"
    if shared is not None:  # ends beyond those of the draws, by Student's factor
        part = f"{named_level(null.level)} range, as wide as {counted(len(set(shared)), 'group')} need:"
    by_chance = ranged(null.estimate, null.low, null.high, digits=1, factor=100, of=part)
    null_says = "" if by_chance == NOTHING else f"; a calibrated model would show {by_chance} on as many"
    order = found.auroc
    units = "samples" if shared is None else "groups"
    few = f"; of so few {units} there is no interval" if math.isnan(order.low) else ""
    auroc = (
        "All answers are of one kind, so confidence can not tell right from wrong."
        if order.estimate != order.estimate
        else "A right answer is more confident than a wrong one in "
        f"{share(order.estimate, order.low, order.high, level=LEVEL)} of the pairs of {right} right and {n - right} "
        f"wrong answers (AUROC; 50 % is no use at all{few})."
    )
    text = (
        f"Over {counted(n, 'sample')} the expected calibration error is {percent(found.error)} points{null_says}. "
        f"Brier score {brier}.",
        auroc,
    )
    by = ", Wilson intervals" if bounded(found.bins["low"]) else ""
    caption = f"Accuracy (strict, untouched model) in bins of equally many samples by confidence{by}."
    return Section("Calibration", text, figures.get("reliability"), caption)
