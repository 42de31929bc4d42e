"""The sentences of an overlap study's report: each is made from the numbers, and claims no more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interp.intervene.indices import spell
from interp.report.numbers import decimal, p_said
from interp.stats.layer_choice import direction, printed_difference

if TYPE_CHECKING:
    from interp.stats.association import Association
    from interp.stats.intervals import Interval
    from interp.stats.layer_choice import LayerComparison
    from interp.stats.partial import PartialEffect

SIGNIFICANT = 0.05
"""A corrected p below it is called a difference."""

_NULLS = {
    "even": "attention spread evenly (keeps the size of the boxes)",
    "shuffled": "boxes of other photos (keeps where objects of this data set tend to be, and how large they are)",
    "moved": "boxes moved at random inside what the model saw (keeps how large they are)",
    "centre": "a centred Gaussian in place of the attention (keeps that objects lie in the middle)",
    "heads": "another head of the layer, or for the head mean any (keeps that some head looks there)",
}


def association_says(found: Association, where: str, measure: str) -> str:
    """Whether right answers differ from wrong ones, by the corrected p of the head mean.

    Args:
        found: arrays [layer head+1].
        where: which pairs are compared, such as `inside relations`.
        measure: what is compared.
    """
    auroc, p = (np.asarray(array)[:, -1] for array in (found.auroc, found.p_max))
    if np.isnan(auroc).all():
        counts = f"{found.n_right} right, {found.n_wrong} wrong"
        return f"No right answer can be compared with a wrong one {where} ({counts}), so nothing can be said."
    layer = int(np.nanargmax(np.abs(auroc - 0.5)))
    real, null = (
        ended(*(np.asarray(getattr(found, name))[layer, -1] for name in names))
        for names in (("auroc", "low", "high"), ("null_mean", "null_low", "null_high"))
    )
    numbers = (
        f"Farthest from one half is layer {layer}: AUROC {real}; with shuffled answers {null}; corrected "
        f"{p_said(p[layer])}."
    )
    small = p < SIGNIFICANT
    parts = _where({"higher": small & (auroc > 0.5), "lower": small & (auroc < 0.5)})
    if not parts:
        return f"Compared {where}, the {measure} of right and wrong answers does not differ from chance. {numbers}"
    return f"Compared {where}, right answers have a {measure} that is {parts}. {numbers}"


def null_says(null: str, gain: Interval, layers: Sequence[int]) -> str:
    """Where the measure lies above or below one null, by the interval of each layer, and how far in some layers."""
    middle, low, high = (np.asarray(end) for end in (gain.estimate, gain.low, gain.high))
    against = f"Against {_NULLS.get(null, null)}"
    if np.isnan(middle).all():
        return f"{against}: not defined in any layer."
    parts = _where({"more": low > 0, "less": high < 0}) or "no layer differs"
    known = [layer for layer in layers if np.isfinite(middle[layer])]
    here = ", ".join(f"layer {layer} {ended(middle[layer], low[layer], high[layer], signed=True)}" for layer in known)
    return f"{against}: {parts}{f'; {here}' if here else ''}."


def layers_say(found: LayerComparison, measure: str) -> str:
    """Whether the best layers predict better than the paper's, on samples that did not choose them, and which way."""
    gain = printed_difference(found)
    if np.isnan(gain.estimate):
        return "The paper's layers can not be set against the best: there is no pair to choose or to score by."
    verdict = "they do not differ from chance"
    if found.p < SIGNIFICANT:
        verdict = f"the chosen ones predict right answers {'better' if gain.estimate > 0 else 'worse'}"
    paper, best = (
        f"AUROC {ended(one.estimate, one.low, one.high)}, taken so that {direction(turned, measure)} ({_holds(one)})"
        for one, turned in ((found.chosen, found.chosen_reversed), (found.best, found.best_reversed))
    )
    difference = ended(gain.estimate, gain.low, gain.high, signed=True)
    width = "Single layers" if found.width == 1 else f"Windows of {found.width} layers"
    return (
        f"The paper's ({name_layers(found.chosen_layers)} here): {paper}. {width}, chosen on other samples than "
        f"scored: {best}. Difference {difference}, {p_said(found.p)}: {verdict}. Chosen and scored on the same "
        f"samples, {name_layers(found.apparent_layers)} would seem to have {found.apparent:.3f} "
        f"({direction(found.apparent_reversed, measure)}): too high."
    )


def partial_says(found: PartialEffect, measure: str) -> str:
    """Whether the measure still goes with right answers beside the covariates, by corrected p."""
    slope, p = np.asarray(found.adjusted.log_odds), np.asarray(found.adjusted.p_bh)
    beside = f"Beside {', '.join(found.beside) or 'nothing that varies'}"
    if np.isnan(slope).all():
        return f"{beside}, no effect of the {measure} can be told."
    held = np.asarray(found.adjusted.separated, dtype=bool)
    small = (p < SIGNIFICANT) & ~held
    parts = [
        f"a higher {measure} goes with {word} answers in {name_layers(so)}"
        for word, so in (("right", small & (slope > 0)), ("wrong", small & (slope < 0)))
        if so.any()
    ]
    said = " and ".join(parts) or f"the {measure} of right and wrong answers does not differ from chance"
    note = ""
    if held.any():
        note = f" In {name_layers(held)} only the penalty keeps the slope finite: nothing is claimed there."
    if found.skipped:
        note += f" Left out, as their answers are all right or all wrong: {', '.join(found.skipped)}."
    return f"{beside}, {said} (corrected for a false discovery rate of {SIGNIFICANT:.0%} over the layers).{note}"


def _holds(found: Interval) -> str:
    """Whether a direction that was learnt holds where it was scored, by the interval."""
    if found.low > 0.5:
        return "which holds on other samples"
    return "which turns round on other samples" if found.high < 0.5 else "which other samples do not tell from chance"


def name_layers(layers: Sequence[int] | np.ndarray) -> str:
    """Layers in words, given as numbers or as a mask.

    Example:
        >>> name_layers((3, 4, 5, 9)), name_layers(np.array([False, True]))
        ('layers 3-5, 9', 'layer 1')
    """
    array = np.asarray(layers)
    listed = [int(number) for number in (np.flatnonzero(array) if array.dtype == np.bool_ else array)]
    return f"layer{'' if len(listed) == 1 else 's'} {spell(listed).replace(',', ', ')}"


def ended(value: float, low: float, high: float, *, signed: bool = False) -> str:
    """A measure or an AUROC with its interval, as this report writes them."""
    return decimal(value, low, high, digits=3, signed=signed)


def _where(masks: dict[str, np.ndarray]) -> str:
    """`higher in layers 3-5 and lower in layer 9`; empty where nothing is anywhere."""
    return " and ".join(f"{word} in {name_layers(mask)}" for word, mask in masks.items() if mask.any())
