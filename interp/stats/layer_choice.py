"""Layer choice: do the paper's layers predict right answers as well as the best ones, found without peeking."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from einops import reduce
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.layers import paper_layers
from interp.numeric import percentage
from interp.reprs import fits_a_cell
from interp.stats.auroc_intervals import auroc_interval
from interp.stats.cross_fit import CrossFit, Labelled, cross_fit
from interp.stats.draws import check_draws
from interp.stats.intervals import Interval, shrunk_wilson
from interp.stats.pairs import weighted_wins
from interp.stats.scores import codes_of, read_scores
from interp.stats.student import t_beyond, t_quantile

if TYPE_CHECKING:
    import pandas as pd

FOLDS = 5
"""Parts that samples are dealt into where nothing else is asked for."""

LEAST_FOLDS = 3
"""With fewer parts there is none left to choose on for pairs that lie in two."""

LEAST = 2
"""Samples, or groups, in each part."""

TEST = "Student's t, its variance what each sample or group changes when it is left out"
"""What gives the p of a comparison."""


def compare_layers(
    scores: Float[np.ndarray, "sample layer"] | ArrayLike,
    right: ArrayLike,
    *,
    chosen: Sequence[int] | None = None,
    width: int | None = None,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int,
    folds: int | None = None,
    repeats: int = 20,
    level: float = 0.95,
) -> LayerComparison:
    """The AUROC of the paper's layers beside that of the best layers, which are chosen on other samples than scored.

    The best of many layers looks better than it is on the samples that chose it. So the samples are dealt into `folds`
    parts, alike in strata and right answers and whole in groups. A pair of a right and a wrong sample lies in one part
    or two; on all the others the window of `width` neighbouring layers whose AUROC is farthest from one half is chosen
    (its score is the mean over its layers), and it and the paper's layers are scored on this pair. So each deal scores
    every pair once, by a choice in which neither sample had a part (leave-pair-out cross-validation, Airola et al.
    2011), and the means over `repeats` deals are given. Far below one half tells as much as far above, with the other
    sign; so the direction of each, too, is learnt on the other parts, and its AUROC counted in that direction: where it
    turns round between parts, it is below one half, and counts against.

    The deals share their samples, and choices change from one to the next. So the variance is that of the whole
    procedure: the sum, over samples or groups, of the squared change of an estimate when one of them is left out of
    choosing and scoring. Its mean is never below the variance, whatever is estimated (Efron and Stein 1981; Steele
    1986). Intervals and p use Student's t with one degree of freedom less than there are samples (groups) of the rarer
    kind of answer. The ends of an AUROC are Wilson's with as many samples as would give this variance, at most as many
    as would give that of an AUROC of one half (Mann and Whitney 1947); the standard error of the difference is never
    below what half a sample (group) of the rarer kind can move. So no interval is without width, also where the chosen
    layers are always the paper's.

    Args:
        scores: [sample layer], such as overlap of the head mean. A sample with NaN in any layer is left out of all.
        right: whether the answer is right, bool [sample].
        chosen: the layers to hold against the best; those of the paper (`paper_layers`) by default.
        width: layers in each window that may be chosen; as many as `chosen` by default, 1 for single layers.
        strata: compare only inside these, such as the relation, [sample].
        groups: samples that belong together, such as those of one object pair, [sample].
        seed: the seed of dealing.
        folds: the number of parts, 3 or more; 5 by default, or fewer where there are few samples (groups).
        repeats: the number of ways to deal.
        level: nominal coverage.

    Returns:
        Intervals whose numbers are NaN where no right sample can be compared with a wrong one. Their ends alone are NaN
        where one sample (group) holds all right answers, or all wrong ones.

    Example:
        >>> found = compare_layers(cosine[:, :, -1], right, strata=relation, seed=0)  # cosine [412 32 33]
        >>> found.difference.estimate, found.p, found.times_chosen.argmax(), found.best_reversed

    Raises:
        InputError: shapes differ, a layer does not exist or has no score at all, or there are fewer than `LEAST`
            samples (groups) for each fold.
    """
    table, truth, shape = read_scores(scores, right)
    check_draws(repeats, level, seed)
    if len(shape) != 1:
        raise InputError(f"scores have shape {np.shape(scores)}: give [sample layer], one head or the head mean")
    layers = _layers(paper_layers(shape[0]) if chosen is None else chosen, shape[0])
    spans = _windows(shape[0], len(layers) if width is None else width)
    there = _there(table)
    own = codes_of(strata, len(table), "strata")[0][there]
    units = np.arange(len(table)) if groups is None else codes_of(groups, len(table), "groups")[0]
    units = np.unique(units[there], return_inverse=True)[1]
    folds = _folds(folds, len(np.unique(units)), "samples" if groups is None else "groups")
    means = _means(table[there].astype(np.float64), [layers, *spans])
    data = Labelled(means, truth[there], own, units)
    deals = list(cross_fit(data, folds, repeats, np.random.default_rng(seed)))
    estimates = _Estimates(np.mean([one.aurocs for one in deals], axis=0), data, level)
    alone = auroc_interval(
        np.column_stack([table[there], means[:, 0]]),
        data.right,
        strata=own,
        groups=None if groups is None else units,
        level=level,
    )
    by_layer, chosen_all = (
        Interval(alone.estimate[at], alone.low[at], alone.high[at], level) for at in (slice(-1), -1)
    )
    apparent = _apparent(data)
    paired = np.isin(own, own[data.right]) & np.isin(own, own[~data.right])
    return LayerComparison(
        chosen_layers=layers,
        width=len(spans[0]),
        chosen=estimates.auroc(0),
        best=estimates.auroc(1),
        difference=estimates.difference(),
        p=estimates.p(),
        chosen_reversed=_share(deals, 0),
        best_reversed=_share(deals, 1),
        chosen_all=chosen_all,
        by_layer=by_layer,
        times_chosen=_times(deals, spans, shape[0]),
        choices=sum(len(one.picks) for one in deals),
        apparent=np.nan if apparent is None else 0.5 + abs(apparent[1] - 0.5),
        apparent_reversed=apparent is not None and apparent[1] < 0.5,
        apparent_layers=() if apparent is None else spans[apparent[0]],
        n_right=int((data.right & paired).sum()),
        n_wrong=int((~data.right & paired).sum()),
        left_out=int((~there).sum()),
    )


@fits_a_cell("chosen_layers chosen best difference p n_right n_wrong")
@dataclass(frozen=True, eq=False)
class LayerComparison:
    """What `compare_layers` found. AUROCs; layers are 0-based.

    Those of `chosen`, `best`, `difference` and `apparent` are in the direction that was learnt with the choice: above
    one half it holds. `chosen_all` and `by_layer` are plain: below one half, right answers score lower.

    Attributes:
        chosen_layers: the layers held against the best, the paper's by default.
        width: layers in each window that could be chosen.
        chosen: the mean score over `chosen_layers`, on the very pairs that `best` is scored on, which are all.
        best: the layers chosen on other samples.
        difference: the estimate of `best` less that of `chosen`.
        p: two-sided, of no difference; below 1 - level exactly where the interval of `difference` leaves out zero.
        chosen_reversed: the share of choices on whose samples right answers scored lower than wrong ones in
            `chosen_layers`.
        best_reversed: the same in the layers that were chosen.
        chosen_all: the mean score over `chosen_layers` on all pairs.
        by_layer: each layer alone on all pairs; numbers are [layer]. Both have the intervals of `auroc_interval`.
        times_chosen: the share of choices whose window held the layer, [layer].
        choices: how often layers were chosen, for pairs that there are: at most folds (folds + 1) / 2 times repeats.
        apparent: the window that is best on all samples, scored on these same samples: too high by the winner's curse.
        apparent_reversed: whether right answers score lower there.
        apparent_layers: its layers.
        n_right: right samples compared, each with a wrong one of its stratum.
        n_wrong: wrong samples compared.
        left_out: samples that have no score in some layer.
    """

    chosen_layers: tuple[int, ...]
    width: int
    chosen: Interval
    best: Interval
    difference: Interval
    p: float
    chosen_reversed: float
    best_reversed: float
    chosen_all: Interval
    by_layer: Interval
    times_chosen: Float[np.ndarray, " layer"]
    choices: int
    apparent: float
    apparent_reversed: bool
    apparent_layers: tuple[int, ...]
    n_right: int
    n_wrong: int
    left_out: int

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer: layer, auroc, low, high (alone, on all pairs), times_chosen, and whether it is chosen."""
        import pandas as pd

        n_layers = len(self.times_chosen)
        ends = self.by_layer.cells("auroc")
        held = np.isin(np.arange(n_layers), self.chosen_layers)
        return pd.DataFrame({"layer": np.arange(n_layers), **ends, "times_chosen": self.times_chosen, "chosen": held})


@dataclass(frozen=True, eq=False)
class _Estimates:
    """Means over deals, of all samples and without each unit, [2 1+unit]: of the layers given, and of those chosen."""

    aurocs: np.ndarray
    data: Labelled
    level: float

    @property
    def kinds(self) -> tuple[int, int]:
        """How many units hold a right answer, and how many a wrong one."""
        right, units = self.data.right, self.data.units
        return len(np.unique(units[right])), len(np.unique(units[~right]))

    @property
    def freedom(self) -> int:
        """Degrees of freedom."""
        return min(self.kinds) - 1

    def auroc(self, which: int) -> Interval:
        """Wilson's interval with as many samples as would give the variance."""
        values = self.aurocs[which]
        middle, n = float(values[0]), self._most_samples()
        variance = _variance(values)
        if self.freedom < 1 or math.isnan(variance):
            return Interval(middle, math.nan, math.nan, self.level)
        if variance > 0 and 0 < middle < 1:
            n = min(n, middle * (1 - middle) / variance)
        return shrunk_wilson(middle, n, self.freedom, self.level)

    def difference(self) -> Interval:
        """Student's interval of the chosen layers' less the given ones'."""
        gain, error = self._gain()
        if self.freedom < 1 or math.isnan(error):
            return Interval(gain, math.nan, math.nan, self.level)
        half = t_quantile(self.level, self.freedom) * error
        return Interval(gain, max(-1.0, gain - half), min(1.0, gain + half), self.level)

    def p(self) -> float:
        """Two-sided, of no difference."""
        gain, error = self._gain()
        return t_beyond(gain / error, self.freedom) if self.freedom > 0 else math.nan

    def _gain(self) -> tuple[float, float]:
        """The difference and its standard error."""
        gains = self.aurocs[1] - self.aurocs[0]
        least = 1 / (2 * (min(self.kinds) + 1))
        return float(gains[0]), max(math.sqrt(_variance(gains)), least)

    def _most_samples(self) -> float:
        """For how many samples a share of one half would vary as the AUROC of scores that know nothing does."""
        right, wrong = self.kinds
        return 3 * right * wrong / (right + wrong + 1)


def _variance(values: np.ndarray) -> float:
    """The sum of the squared changes of an estimate, row 0, when one unit is left out, the other rows."""
    return float(((values[1:] - values[0]) ** 2).sum())


def _apparent(data: Labelled) -> tuple[int, float] | None:
    """The place of the window whose AUROC on all pairs is farthest from one half, and its AUROC; None without pairs."""
    wins, pairs = weighted_wins(data.scores[:, 1:], data.right, data.strata, np.ones((1, len(data.right)), np.float32))
    if not pairs[0]:
        return None
    aurocs = wins[0] / pairs[0]
    at = int(np.abs(aurocs - 0.5).argmax())
    return at, float(aurocs[at])


def _means(scores: np.ndarray, spans: Sequence[Sequence[int]]) -> np.ndarray:
    """The mean score over each span of layers, [sample span]."""
    return np.stack([reduce(scores[:, list(span)], "sample layer -> sample", "mean") for span in spans], axis=1)


def printed_difference(found: LayerComparison, digits: int = 3) -> Interval:
    """The difference, its estimate moved by at most one of the last digit printed, so that what is printed adds up.

    Args:
        found: the comparison.
        digits: how many digits of an AUROC are printed.
    """
    gain = found.difference
    apart = round(round(found.best.estimate, digits) - round(found.chosen.estimate, digits), digits)
    rounding = abs(apart - gain.estimate) <= 10**-digits
    return replace(gain, estimate=apart) if rounding else gain


def taken(auroc: float, turned: float, measure: str) -> str:
    """How an AUROC is taken, as a part of a sentence; nothing of one half, which has no direction.

    Args:
        auroc: as it is given, 0 to 1.
        turned: in how large a share of the choices it was turned round, 0 to 1.
        measure: the name of what was scored.

    Example:
        >>> taken(0.7, True, "cosine"), taken(0.5, True, "cosine")
        (', taken so that a higher cosine goes with wrong answers', '')
    """
    return "" if auroc == 0.5 else f", taken so that {direction(turned, measure)}"


def direction(turned: float, measure: str) -> str:
    """With which answers more of a measure goes, where it is turned round in so large a share of the choices.

    Args:
        turned: that share, 0 to 1.
        measure: the name of what was scored.

    Example:
        >>> direction(True, "cosine"), direction(0.9, "mass")
        ('a higher cosine goes with wrong answers', 'a higher mass goes with wrong answers in 90 % of the choices')
    """
    word = "wrong" if turned > 0.5 else "right"
    share = max(turned, 1 - turned)
    often = "" if share == 1 else f" in {percentage(share, 0)} % of the choices"
    return f"a higher {measure} goes with {word} answers{often}"


def _share(deals: list[CrossFit], which: int) -> float:
    """The share of choices in which the scores given, or those chosen, were turned round; NaN without choices."""
    marks = np.concatenate([one.reversed[which] for one in deals])
    return float(marks.mean()) if len(marks) else math.nan


def _times(deals: list[CrossFit], spans: list[tuple[int, ...]], n_layers: int) -> np.ndarray:
    """How large a share of the choices held each layer, [layer]; NaN where nothing could be chosen."""
    picks = np.bincount(np.concatenate([one.picks for one in deals]), minlength=len(spans))
    if not picks.sum():
        return np.full(n_layers, np.nan)
    held = np.zeros(n_layers)
    for times, span in zip(picks, spans, strict=True):
        held[list(span)] += times
    return held / picks.sum()


def _folds(given: int | None, n_units: int, what: str) -> int:
    """How many parts; refuses those that can not be dealt or have nothing to choose on."""
    folds = max(LEAST_FOLDS, min(FOLDS, n_units // LEAST)) if given is None else given
    if not LEAST_FOLDS <= folds <= n_units // LEAST:
        raise InputError(
            f"{n_units} {what} can not be dealt into {folds} folds of {LEAST} or more: give {LEAST_FOLDS} folds or "
            f"more, and at least {LEAST} {what} for each"
        )
    return folds


def _layers(chosen: Sequence[int], n_layers: int) -> tuple[int, ...]:
    """The layers held against the best, in order; refuses none, one twice, and what does not exist."""
    layers = tuple(sorted(int(layer) for layer in chosen))
    if not layers or len(set(layers)) < len(layers) or not 0 <= layers[0] <= layers[-1] < n_layers:
        raise InputError(f"layers {list(chosen)} of {n_layers}: give one or more, each once, from 0 to {n_layers - 1}")
    return layers


def _windows(n_layers: int, width: int) -> list[tuple[int, ...]]:
    """Every run of `width` neighbouring layers."""
    if not 1 <= width <= n_layers:
        raise InputError(f"no window of {width} layers fits into {n_layers}: give a width from 1 to {n_layers}")
    return [tuple(range(start, start + width)) for start in range(n_layers - width + 1)]


def _there(table: np.ndarray) -> np.ndarray:
    """Which samples have a score in every layer, bool [sample]; refuses a layer that has none."""
    empty = np.flatnonzero(np.isnan(table).all(axis=0)).tolist()
    if empty:
        raise InputError(f"no sample has a score in layer {', '.join(map(str, empty))}: give scores of all layers")
    return ~np.isnan(table).any(axis=1)
