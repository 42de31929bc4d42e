"""The sentences of an overlap study's report: each is made from the numbers, and claims no more than they do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from interp.intervene.indices import spell
from interp.numeric import bounded, counted, named_level
from interp.overlap.study.means import above_null
from interp.report.numbers import decimal, p_said, ranged
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, SIGNIFICANT, UNCLAIMED, judge
from interp.stats.layer_choice import TEST, direction, printed_difference, taken

if TYPE_CHECKING:
    from interp.overlap.study.examine import OverlapAnalysis
    from interp.overlap.study.result import OverlapStudy
    from interp.stats.association import Association
    from interp.stats.intervals import Interval
    from interp.stats.layer_choice import LayerComparison
    from interp.stats.partial import PartialEffect

SHUFFLES = "answers shuffled, corrected for all layers and heads (maxT)"
"""The test of an association, and its correction."""

TOGETHER = "an interval that holds for all layers and heads together"
"""What the interval of a layer is that was picked because it lies farthest from one half."""

_BY_INTERVAL = (
    "'more' and 'less' are where the layer's own interval leaves out zero, not corrected for the number of layers"
)
"""What is claimed of nulls, which have no test."""

_NULLS = {
    "even": "attention spread evenly (keeps the size of the boxes)",
    "shuffled": "boxes of other photos (keeps where objects of this data set tend to be, and how large they are)",
    "moved": "boxes moved at random inside what the model saw (keeps how large they are)",
    "centre": "a centred Gaussian in place of the attention (keeps that objects lie in the middle)",
    "heads": "another head of the layer, or for the head mean any (keeps that some head looks there)",
}


def association_says(found: Association, where: str, measure: str) -> str:
    """Whether right answers differ from wrong ones, where the corrected p of the head mean and its interval agree.

    Args:
        found: arrays [layer head+1].
        where: which pairs are compared, such as `inside relations`.
        measure: what is compared.
    """
    names = ("auroc", "low_all", "high_all", "p_max")
    auroc, low, high, p = (np.asarray(getattr(found, name))[:, -1] for name in names)
    if np.isnan(auroc).all():
        counts = f"{found.n_right} right, {found.n_wrong} wrong"
        return f"No right answer can be compared with a wrong one {where} ({counts}), so nothing can be said."
    layer = int(np.nanargmax(np.abs(auroc - 0.5)))
    told = judge(low, high, p, none=0.5)
    parts = _where({"higher": told.above & (auroc > 0.5), "lower": told.below & (auroc < 0.5)})
    said = f"right answers have a {measure} that is {parts}" if parts else f"{NOT_DETECTED} in the {measure}"
    split = _unclaimed(told.unclaimed, p, layer, np.isnan(low))
    return f"Compared {where}, {said}. {farthest_says(found, layer)}{split}"


def farthest_says(found: Association, layer: int) -> str:
    """The layer whose head mean lies farthest from one half: its number, interval, null and test, and of how many."""
    names = ("auroc", "low_all", "high_all", "null_mean", "null_low", "null_high", "p_max", "n")
    auroc, low, high, *null, p, n = (np.asarray(getattr(found, name))[layer, -1] for name in names)
    interval = "" if np.isnan(low) else f" {TOGETHER},"
    return (
        f"Farthest from one half is layer {layer}: AUROC {ended(auroc, low, high, level=found.level)},{interval} "
        f"over {int(n)} of {found.n_right + found.n_wrong} answers; with shuffled answers {_null(found, *null)}; "
        f"{p_said(p, test=SHUFFLES)}."
    )


def by_interval(above: Mapping[str, Interval]) -> str:
    """The end of a sentence about nulls: what is claimed by intervals, where any of them has some."""
    return f"; {_BY_INTERVAL}." if bounded(*(gain.low for gain in above.values())) else "."


def nulls_say(study: OverlapStudy, analysis: OverlapAnalysis, layers: Sequence[int]) -> list[str]:
    """What `null_says` of each null of a study, and of how many of its samples; of none where nothing is defined."""
    if not any(np.isfinite(gain.estimate).any() for gain in analysis.above.values()):
        return [f"In no sample is the {analysis.above_measure} defined, so nothing is set against a null."]
    asked = {"region": analysis.region, "normalisation": analysis.normalisation}
    counts = {
        null: np.isfinite(above_null(study, analysis.above_measure, null, **asked)).sum(axis=0)
        for null in analysis.above
    }
    return [null_says(null, gain, layers, counts[null], len(study.samples)) for null, gain in analysis.above.items()]


def null_says(null: str, gain: Interval, layers: Sequence[int], counts: np.ndarray, of: int) -> str:
    """Where the measure lies above or below one null, by the interval of each layer, and how far in some layers.

    Args:
        null: its name.
        gain: the measure less the null's, numbers [layer].
        layers: those whose numbers are told.
        counts: the samples that have both, [layer].
        of: all samples.
    """
    middle, low, high = (np.asarray(end) for end in (gain.estimate, gain.low, gain.high))
    against = f"Against {_NULLS.get(null, null)}"
    some = np.isfinite(middle)
    if not some.any():
        return f"{against}: not defined in any layer."
    nothing = f"{NOT_DETECTED} in any layer" if bounded(low[some]) else NO_INTERVAL
    parts = _where({"more": low > 0, "less": high < 0}) or nothing
    here = ", ".join(
        f"layer {layer} {ended(middle[layer], low[layer], high[layer], signed=True, level=gain.level)}"
        for layer in layers
        if some[layer]
    )
    fewest, most = int(counts[some].min()), int(counts[some].max())
    n = f"{most}" if fewest == most else f"{fewest} to {most}, by layer,"
    return f"{against}: {parts}{f'; {here}' if here else ''} ({n} of {counted(of, 'sample')})."


def layers_say(found: LayerComparison, measure: str) -> str:
    """Whether the best layers predict better than the paper's, on samples that did not choose them, and which way."""
    gain = printed_difference(found)
    if np.isnan(gain.estimate):
        return "The paper's layers can not be set against the best: there is no pair to choose or to score by."
    verdict = {
        "above": "the chosen ones predict right answers better",
        "below": "the chosen ones predict right answers worse",
        "unclaimed": UNCLAIMED,
    }.get(judge(gain.low, gain.high, found.p).word, NO_INTERVAL if np.isnan(gain.low) else NOT_DETECTED)
    paper, best = (
        f"AUROC {_of(one)}{taken(one.estimate, turned, measure)} ({_holds(one)})"
        for one, turned in ((found.chosen, found.chosen_reversed), (found.best, found.best_reversed))
    )
    width = "Single layers" if found.width == 1 else f"Windows of {found.width} layers"
    tested = "" if np.isnan(found.p) else f", {p_said(found.p, test=TEST)}"
    beside = f"{found.apparent:.3f}", f"{found.best.estimate:.3f}"
    more = float(beside[0]) - float(beside[1])
    higher = f"{more:.3f} more than" if more > 0 else "no more than"
    way = "" if found.apparent == 0.5 else f" ({direction(found.apparent_reversed, measure)})"
    return (
        f"The paper's ({name_layers(found.chosen_layers)} here): {paper}. {width}, chosen on other samples than "
        f"scored: {best}. Difference {_of(gain, signed=True)}{tested}, over {found.n_right} "
        f"right and {found.n_wrong} wrong answers: {verdict}. Chosen and scored on the same samples, "
        f"{name_layers(found.apparent_layers)} would seem to have {beside[0]}{way}: {higher} on other samples."
    )


def partial_says(found: PartialEffect, measure: str) -> str:
    """Whether the measure still goes with right answers beside the covariates, where corrected p and interval agree."""
    own = found.adjusted
    slope, p = np.asarray(own.log_odds), np.asarray(own.p_bh)
    beside = f"Beside {', '.join(found.beside) or 'nothing that varies'}"
    alike = f" Not used, as it is the same in all samples: {', '.join(found.constant)}." if found.constant else ""
    gone = (
        f" Left out, as their answers are all right or all wrong: {'; '.join(found.skipped)}." if found.skipped else ""
    )
    if np.isnan(slope).all():
        return f"{beside}, no effect of the {measure} can be told, as {_untold(found, measure)}.{gone}{alike}"
    held = np.asarray(own.separated, dtype=bool)
    told = judge(own.low, own.high, np.where(held, np.nan, p))
    parts = [
        f"a higher {measure} goes with {word} answers in {name_layers(so)}"
        for word, so in (("right", told.above & (slope > 0)), ("wrong", told.below & (slope < 0)))
        if so.any()
    ]
    said = " and ".join(parts) or f"{NOT_DETECTED} in the {measure} of right and wrong answers"
    note = ""
    if (small := told.unclaimed & (p < SIGNIFICANT)).any():
        note = f" In {name_layers(small)} {UNCLAIMED} there."
    if held.any():
        note += f" In {name_layers(held)} only the penalty keeps the slope finite: nothing is claimed there."
    note += gone
    most, whole = int(np.max(found.n)), int(np.max(np.asarray(found.n) + np.asarray(found.left_out)))
    return (
        f"{beside}, {said} ({found.test}, corrected for a false discovery rate of {100 * SIGNIFICANT:g} % over the "
        f"layers; {most} of {counted(whole, 'answer')}).{note}{alike}"
    )


def _untold(found: PartialEffect, measure: str) -> str:
    """Why an effect has no number in any layer."""
    count = int(np.max(found.n))
    if not count:
        return f"no answer that is left has both the {measure} and the covariates"
    if np.isfinite(np.asarray(found.unadjusted.log_odds)).any():
        return f"the covariates together tell the {measure} of every answer"
    left = counted(count, "answer")
    return f"of the {left} that are left all are right, all are wrong, or all have the same {measure}"


def _null(found: Association, mean: float, low: float, high: float) -> str:
    """What shuffled answers give, and from where to where most of the shuffles go."""
    return ranged(mean, low, high, digits=3, of=f"{named_level(found.level)} of shuffles")


def _unclaimed(split: np.ndarray, p: np.ndarray, layer: int, without: np.ndarray) -> str:
    """Where test and interval do not agree, or there is none: layers of a small p, and the layer that is told of."""
    told = split & (p < SIGNIFICANT)
    told[layer] = split[layer]
    return "".join(
        f" In {name_layers(own)} {why} there."
        for own, why in ((told & ~without, UNCLAIMED), (told & without, NO_INTERVAL))
        if own.any()
    )


def _of(found: Interval, *, signed: bool = False) -> str:
    """A number with its interval and the level of that."""
    return ended(found.estimate, found.low, found.high, signed=signed, level=found.level)


def _holds(found: Interval) -> str:
    """Whether a direction that was learnt holds where it was scored, by the interval."""
    if found.low > 0.5:
        return "which holds on other samples"
    if found.high < 0.5:
        return "which turns round on other samples"
    return "whether it holds on other samples can not be told"


def name_layers(layers: Sequence[int] | np.ndarray) -> str:
    """Layers in words, given as numbers or as a mask.

    Example:
        >>> name_layers((3, 4, 5, 9)), name_layers(np.array([False, True]))
        ('layers 3-5, 9', 'layer 1')
    """
    array = np.asarray(layers)
    listed = [int(number) for number in (np.flatnonzero(array) if array.dtype == np.bool_ else array)]
    return f"layer{'' if len(listed) == 1 else 's'} {spell(listed).replace(',', ', ')}"


def ended(value: float, low: float, high: float, *, signed: bool = False, level: float | None = None) -> str:
    """A measure or an AUROC with its interval, as this report writes them."""
    return decimal(value, low, high, digits=3, signed=signed, level=level)


def _where(masks: dict[str, np.ndarray]) -> str:
    """`higher in layers 3-5 and lower in layer 9`; empty where nothing is anywhere."""
    return " and ".join(f"{word} in {name_layers(mask)}" for word, mask in masks.items() if mask.any())
