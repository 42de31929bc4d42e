"""What an overlap study says: does overlap go with right answers, where, against which null, other things equal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Shaped

from interp.errors import InputError
from interp.layers import paper_layers
from interp.numeric import agree, bounded, counted, named_level
from interp.overlap.nulls import NULL_MEASURES
from interp.overlap.study.means import above_null
from interp.overlap.study.vision import VISION
from interp.report.numbers import decimal, p_said, ranged
from interp.report.numbers import share as said_share
from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, UNCLAIMED, judge
from interp.reprs import fits_a_cell
from interp.stats.association import Association, association
from interp.stats.clusters import clustered_share, group_names, mean_over_groups, shared_groups
from interp.stats.covariates import log_odds, logarithm, one_sided
from interp.stats.intervals import DRAWS, Interval
from interp.stats.layer_choice import TEST, LayerComparison, compare_layers, printed_difference, taken
from interp.stats.partial import PartialEffect, partial_effect

if TYPE_CHECKING:
    import pandas as pd

    from interp.overlap.study.result import OverlapStudy

NO_RELATION = "(none)"
PER_COLUMN = 4
"""Right or wrong answers, whichever are fewer, for each column of a regression: with fewer, p is too small."""

BESIDE: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "logit of confidence": ("confidence", log_odds),
    "log of the boxes' area": ("area_union", logarithm),
}
"""What overlap is held beside, with the relation: by its name, the column of the samples and what is made of it."""


@fits_a_cell("measure region normalisation accuracy pooled maps")
@dataclass(frozen=True, eq=False)
class OverlapAnalysis:
    """What `examine_overlap` found for one measure, region and normalisation; layers are 0-based.

    Attributes:
        measure, region, normalisation: what the numbers are of.
        accuracy: share of right answers, over all samples, with its interval, see `clustered_share`.
        pooled: does it predict right answers, over all pairs of samples; arrays [layer head+1], the head mean last.
        within: the same over pairs inside one relation, so that what tells relations apart can not pass for overlap.
        layers: the paper's layers against the best, chosen on other samples; head mean, inside relations.
        partial: head mean beside the logit of confidence, the log of the boxes' area and the relation, [layer].
        above: the mean, for each null, over samples of the measure less the null's, head mean, [layer], with a
            bootstrap interval over groups; of mass where the measure has no null.
        above_measure: the measure that `above` is of.
        told: why a part is missing, in sentences.
        maps: the maps that were measured, such as `rows`.
        seed: the seed of draws and shuffles.
        further: what the study's other maps say, by their names.
    """

    measure: str
    region: str
    normalisation: str
    accuracy: Interval
    pooled: Association
    within: Association
    layers: LayerComparison | None
    partial: PartialEffect | None
    above: dict[str, Interval]
    above_measure: str
    not_done: tuple[str, ...]
    maps: str
    seed: int = 0
    further: dict[str, OverlapAnalysis] = field(default_factory=dict)

    def describe(self) -> str:
        """Say in a few lines what was found.

        Example:
            >>> print(examine_overlap(study).describe())
            right: 58.3 % [95 % CI 53.4, 63.0] of 412 answers
            ...
        """
        share = self.accuracy
        n = self.pooled.n_right + self.pooled.n_wrong
        lines = [
            f"right: {said_share(share.estimate, share.low, share.high, level=share.level)} of {counted(n, 'answer')}"
        ]
        name = f"{self.measure} ({self.region}, {self.normalisation}, head mean)"
        for kind, found in (("over all pairs", self.pooled), ("inside relations", self.within)):
            lines.append(f"{name} {kind}: {_say_strongest(found)}")
        if self.layers is not None:
            lines.append(_say_layers(self.layers, self.measure))
        for null, gain in self.above.items():
            lines.append(f"{self.above_measure} less that of {null}: {_say_range(gain)}")
        lines += self.not_done
        for maps, own in self.further.items():
            lines += [f"{maps}: {line}" for line in own.describe().splitlines()[1:]]
        return "\n".join(lines)


def examine_overlap(
    study: OverlapStudy,
    *,
    measure: str = "cosine",
    region: str = "union",
    normalisation: str = "image",
    seed: int = 0,
    n_draws: int = DRAWS,
) -> OverlapAnalysis:
    """Does a measure of overlap predict right answers: pooled, inside relations, by layer, beside other things.

    Samples that share a group (an object pair, a photo) are drawn and shuffled together. Inside a relation are samples
    with the same relation and as many objects: one object in the left half of a photo and one left of another are
    asked about differently, answered differently well, and have boxes of different size.

    Args:
        study: what was measured.
        measure: which one.
        region: the region whose boxes count.
        normalisation: the normalisation of the attention; where other maps of the study do not have it, theirs is the
            first they have.
        seed: the seed of draws and shuffles.
        n_draws: how many of each.

    Example:
        >>> examine_overlap(study, measure="mass").within.p_max.min()

    Raises:
        InputError: the study has no such measure, region or normalisation.
    """
    scores = study.values(measure, region, normalisation)
    mean, right = scores[..., -1], study.right
    relation = relations_of(study.samples)
    groups = shared_groups(study.samples)
    draws: dict[str, Any] = {"groups": groups, "seed": seed, "n_draws": n_draws, "n_shuffles": n_draws}
    not_done: list[str] = []

    def choose() -> LayerComparison:
        if study.maps == VISION:
            raise InputError("the paper names no layers of the vision tower")
        if study.layers != tuple(range(study.n_layers)):
            raise InputError("not all layers were measured")
        return compare_layers(
            mean, right, chosen=paper_layers(study.n_layers), strata=relation, groups=groups, seed=seed
        )

    def adjust() -> PartialEffect:
        other = {
            said: made_of(study.samples[name].to_numpy(dtype=np.float64)) for said, (name, made_of) in BESIDE.items()
        }
        known = np.isfinite(mean).any(axis=1) & np.isfinite(list(other.values())).all(axis=0)
        _refuse_few(right[known], relation[known])
        return partial_effect(mean, right, {**other, "relation": relation}, groups=groups)

    def examine_further(own: OverlapStudy) -> OverlapAnalysis:
        known = normalisation if normalisation in own.normalisations else own.normalisations[0]
        return examine_overlap(own, measure=measure, region=region, normalisation=known, seed=seed, n_draws=n_draws)

    above_measure = measure if measure in NULL_MEASURES else "mass"
    return OverlapAnalysis(
        measure=measure,
        region=region,
        normalisation=normalisation,
        accuracy=clustered_share(right, groups),
        pooled=association(scores, right, **draws),
        within=association(scores, right, strata=relation, **draws),
        layers=_unless_refused(choose, "the best layers were not chosen", not_done),
        partial=_unless_refused(adjust, "overlap was not held beside confidence, area and relation", not_done),
        above=_above(study, above_measure, region, normalisation, seed),
        above_measure=above_measure,
        not_done=tuple(not_done),
        maps=study.maps,
        seed=seed,
        further={maps: examine_further(own) for maps, own in study.further.items()},
    )


def relations_of(samples: pd.DataFrame) -> Shaped[np.ndarray, " sample"]:
    """The relation of each sample, [sample], with the number of objects where questions about one and two are mixed."""
    relation = samples["relation"].replace("", NO_RELATION)
    n_objects = samples["objects"].str.count(r"\|") + 1
    mixed = n_objects.groupby(relation).transform("nunique") > 1
    said = relation + n_objects.map({1: ", one object", 2: ", two objects"})
    return relation.where(~mixed, said).to_numpy(dtype=object)


def _refuse_few(right: np.ndarray, relation: np.ndarray) -> None:
    """Refuse a regression with too few right or wrong answers, in relations that have both, for its columns."""
    kept = ~np.isin(relation, one_sided(relation, right))
    fewest = min(int(right[kept].sum()), int((~right)[kept].sum()))
    columns = len(BESIDE) + max(1, len(set(relation[kept])))
    if fewest < PER_COLUMN * columns:
        raise InputError(
            f"in relations with right and wrong answers {fewest} {agree(fewest, 'is', 'are')} of the rarer kind, and a "
            f"regression with {counted(columns, 'column')} needs {PER_COLUMN * columns} or more"
        )


def _above(study: OverlapStudy, measure: str, region: str, normalisation: str, seed: int) -> dict[str, Interval]:
    """The mean of a measure less that of each null, head mean, [layer]; NaN where no two groups have both."""
    groups, asked = group_names(study.samples), {"region": region, "normalisation": normalisation}
    return {
        null: mean_over_groups(above_null(study, measure, null, **asked), groups, seed=seed)
        for null in ("even", *study.nulls)
    }


def _unless_refused(measure: Callable[[], Any], what: str, not_done: list[str]) -> Any:
    """What a measurement gives; where the data do not allow it, None, and the reason among what is told."""
    try:
        return measure()
    except InputError as error:
        not_done.append(f"{what}: {error}.")
        return None


def _say_strongest(found: Association) -> str:
    """The layer whose AUROC lies farthest from one half."""
    auroc = np.asarray(found.auroc)[:, -1]
    if np.isnan(auroc).all():
        return f"no right answer can be compared with a wrong one ({found.n_right} right, {found.n_wrong} wrong)"
    layer = int(np.nanargmax(np.abs(auroc - 0.5)))
    low, high, mean, null_low, null_high, p, n = (
        float(np.asarray(getattr(found, name))[layer, -1])
        for name in ("low_all", "high_all", "null_mean", "null_low", "null_high", "p_max", "n")
    )
    side = "higher" if auroc[layer] > 0.5 else "lower"
    known = np.isfinite(low)
    interval = " (an interval for all layers and heads together)" if known else ""
    said = {"": NOT_DETECTED, "unclaimed": UNCLAIMED if known else NO_INTERVAL}.get(
        judge(low, high, p, none=0.5).word, f"{side} in right answers"
    )
    return (
        f"AUROC {_ended(auroc[layer], low, high, found.level)} in layer {layer}, the farthest from one half{interval}, "
        "over "
        f"{n:.0f} of {found.n_right + found.n_wrong} answers; shuffled answers give "
        f"{ranged(mean, null_low, null_high, digits=3, of=f'{named_level(found.level)} of them')}; "
        f"{p_said(p, test='corrected for all layers and heads by maxT')}: {said}"
    )


def _say_layers(found: LayerComparison, measure: str) -> str:
    names = ", ".join(map(str, found.chosen_layers))
    if np.isnan(found.difference.estimate):
        return f"the paper's layers ({names}) and the best ones can not be compared inside relations"
    best, gain = found.best, printed_difference(found)
    return (
        f"the paper's layers ({names}): AUROC {_of(found.chosen)} inside relations"
        f"{taken(found.chosen.estimate, found.chosen_reversed, measure)}; the best layers, chosen on other samples, "
        f"{_of(best)}{taken(best.estimate, found.best_reversed, measure)}; difference {_of(gain, signed=True)}, "
        f"{p_said(found.p, test=TEST)}"
    )


def _say_range(gain: Interval) -> str:
    """The layers in which a difference is the least and the most, each with its interval."""
    if np.isnan(gain.estimate).all():
        return "not defined in any layer"
    ends = dict.fromkeys((int(np.nanargmin(gain.estimate)), int(np.nanargmax(gain.estimate))))
    said = " to ".join(
        f"{_ended(gain.estimate[layer], gain.low[layer], gain.high[layer], gain.level, signed=True)} in layer {layer}"
        for layer in ends
    )
    by = ", by the interval of each layer alone" if bounded(gain.low) else f"; {NO_INTERVAL}"
    return f"{said}, the least and the most{by}" if len(ends) > 1 else said


def _of(found: Interval, *, signed: bool = False) -> str:
    """A number with its interval."""
    return _ended(found.estimate, found.low, found.high, found.level, signed=signed)


def _ended(value: float, low: float, high: float, level: float, *, signed: bool = False) -> str:
    """A number with the ends of its interval, to three digits."""
    return decimal(float(value), float(low), float(high), digits=3, signed=signed, level=level)
