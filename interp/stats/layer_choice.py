"""Layer choice: do the paper's layers predict right answers as well as the best ones, found without peeking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from einops import reduce
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.layers import paper_layers
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws, drawn_counts
from interp.stats.intervals import DRAWS, Interval
from interp.stats.pairs import weighted_wins
from interp.stats.scores import codes_of, read_scores

if TYPE_CHECKING:
    import pandas as pd

LEAST = 3
"""Samples, or groups, in each part: the bootstrap of fewer groups hardly varies, and finds differences in noise."""


def compare_layers(
    scores: Float[np.ndarray, "sample layer"] | ArrayLike,
    right: ArrayLike,
    *,
    chosen: Sequence[int] | None = None,
    width: int | None = None,
    strata: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    seed: int,
    folds: int = 2,
    repeats: int = 20,
    n_draws: int = DRAWS,
    level: float = 0.95,
) -> LayerComparison:
    """The AUROC of the paper's layers beside that of the best layers, which are chosen on other samples than scored.

    The best of many layers looks better than it is on the samples that chose it. So the samples are dealt into `folds`
    parts, alike in strata and right answers and whole in groups. For each part the window of `width` neighbouring
    layers whose AUROC on all other parts is farthest from one half is chosen (its score is the mean over its layers),
    and it and the paper's layers are scored on this part, by pairs inside it. Far below one half tells as much as far
    above, with the other sign; so the direction of each, too, is learnt on the other parts, and its AUROC counted in
    that direction: where it turns round between parts, it is below one half, and counts against. Each part of each of
    the `repeats` ways to deal is a split, whose interval and p are honest by themselves: a bootstrap of the part's
    samples inside strata, or of its whole groups, with the choice held fixed. But splits share their samples, and
    pooled they would promise too much. So medians over splits are given: of the estimates, of the ends of intervals
    that err half as often as asked for, and twice that of the p-values (Meinshausen et al. 2009; Chernozhukov et al.
    2018). They err at most at the level, and usually less: an interval of a part of the samples is wider than one of
    all.

    Args:
        scores: [sample layer], such as overlap of the head mean. A sample with NaN in any layer is left out of all.
        right: whether the answer is right, bool [sample].
        chosen: the layers to hold against the best; those of the paper (`paper_layers`) by default.
        width: layers in each window that may be chosen; as many as `chosen` by default, 1 for single layers.
        strata: compare only inside these, such as the relation, [sample].
        groups: samples that belong together, such as those of one object pair, [sample].
        seed: the seed of dealing and draws.
        folds: the number of parts, 2 or more; more parts choose on more samples, but score on fewer.
        repeats: the number of ways to deal.
        n_draws: the number of bootstrap draws.
        level: nominal coverage.

    Returns:
        Intervals whose numbers are NaN where no right sample can be compared with a wrong one.

    Example:
        >>> found = compare_layers(cosine[:, :, -1], right, strata=relation, seed=0)  # cosine [412 32 33]
        >>> found.difference.estimate, found.p, found.times_chosen.argmax(), found.best_reversed

    Raises:
        InputError: shapes differ, a layer does not exist or has no score at all, or there are fewer than `LEAST`
            samples (groups) for each fold.
    """
    table, truth, shape = read_scores(scores, right)
    check_draws(min(n_draws, repeats), level)
    if len(shape) != 1:
        raise InputError(f"scores have shape {np.shape(scores)}: give [sample layer], one head or the head mean")
    layers = _layers(paper_layers(shape[0]) if chosen is None else chosen, shape[0])
    spans = _windows(shape[0], len(layers) if width is None else width)
    there = _there(table)
    own = codes_of(strata, len(table), "strata")[0][there]
    units = np.arange(len(table)) if groups is None else codes_of(groups, len(table), "groups")[0]
    units = np.unique(units[there], return_inverse=True)[1]
    n_units = len(np.unique(units))
    if not 2 <= folds <= n_units // LEAST:
        what = "samples" if groups is None else "groups"
        raise InputError(
            f"{n_units} {what} can not be dealt into {folds} folds of {LEAST} or more, and fewer would promise too "
            f"much: give 2 folds or more, and at least {LEAST} {what} for each"
        )
    samples = _Samples(table[there].astype(np.float64), truth[there], own, units)
    rng = np.random.default_rng(seed)
    drawn = drawn_counts(own, None if groups is None else units, n_draws, rng)
    counts = np.concatenate([np.ones((1, len(own)), np.float32), drawn])  # row 0 is the data, once each
    splits = _splits(samples, layers, spans, counts, folds, repeats, rng)
    whole = samples.auroc(samples.means(spans), counts[:1])[0]
    farthest = _farthest(whole)
    return LayerComparison(
        chosen_layers=layers,
        width=len(spans[0]),
        chosen=_median([split.aurocs[:, 0] for split in splits], level),
        best=_median([split.aurocs[:, 1] for split in splits], level),
        difference=_median([split.aurocs[:, 1] - split.aurocs[:, 0] for split in splits], level),
        p=_p([split.aurocs[1:, 1] - split.aurocs[1:, 0] for split in splits]),
        chosen_reversed=_share([split.reversed[0] for split in splits]),
        best_reversed=_share([split.reversed[1] for split in splits]),
        chosen_all=_interval(samples.auroc(samples.means([layers]), counts)[:, 0], level),
        by_layer=_interval(samples.auroc(samples.scores, counts), level),
        times_chosen=_times([split.pick for split in splits], spans, shape[0]),
        choices=len(splits),
        apparent=np.nan if farthest is None else 0.5 + abs(float(whole[farthest]) - 0.5),
        apparent_reversed=farthest is not None and bool(whole[farthest] < 0.5),
        apparent_layers=() if farthest is None else spans[farthest],
        n_right=int(samples.right.sum()),
        n_wrong=int((~samples.right).sum()),
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
        chosen: the mean score over `chosen_layers`, on the very parts that `best` is scored on.
        best: the layers chosen on other samples.
        difference: best minus chosen, in each split; medians need not add up.
        p: two-sided, of no difference.
        chosen_reversed: the share of choices on whose samples right answers scored lower than wrong ones in
            `chosen_layers`.
        best_reversed: the same in the layers that were chosen.
        chosen_all: the mean score over `chosen_layers` on all pairs.
        by_layer: each layer alone on all pairs; numbers are [layer].
        times_chosen: the share of choices whose window held the layer, [layer].
        choices: splits with pairs to choose by and to score; at most folds times repeats.
        apparent: the window that is best on all samples, scored on these same samples: too high by the winner's curse.
        apparent_reversed: whether right answers score lower there.
        apparent_layers: its layers.
        n_right: right samples compared.
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
class _Samples:
    """The samples compared: scores [sample layer], right, and the codes of strata and of what is dealt as a whole."""

    scores: np.ndarray
    right: np.ndarray
    strata: np.ndarray
    units: np.ndarray

    def means(self, spans: Sequence[Sequence[int]]) -> np.ndarray:
        """The mean score over each span of layers, [sample span]."""
        return np.stack([self.scores[:, list(span)].mean(axis=1) for span in spans], axis=1)

    def auroc(self, scores: np.ndarray, counts: np.ndarray, some: np.ndarray | None = None) -> np.ndarray:
        """AUROC [draw score] of scores [sample score] among some of the samples; NaN where there is no pair."""
        own = np.ones(len(self.right), dtype=bool) if some is None else some
        wins, pairs = weighted_wins(scores[own], self.right[own], self.strata[own], counts[:, own])
        return np.divide(wins, pairs[:, None], out=np.full(wins.shape, np.nan), where=pairs[:, None] > 0)


@dataclass(frozen=True, eq=False)
class _Split:
    """One choice and its score, of the layers given and of the span picked.

    AUROCs are [1+draw 2], turned round where right answers scored lower on the samples that chose: `reversed` [2].
    """

    pick: int
    aurocs: np.ndarray
    reversed: np.ndarray


def direction(turned: float, measure: str) -> str:
    """With which answers more of a measure goes, where it is turned round in so large a share of the choices.

    Example:
        >>> direction(True, "cosine"), direction(0.9, "mass")
        ('a higher cosine goes with wrong answers', 'a higher mass goes with wrong answers in 90 % of the choices')
    """
    word = "wrong" if turned > 0.5 else "right"
    share = max(turned, 1 - turned)
    often = "" if share == 1 else f" in {100 * share:.0f} % of the choices"
    return f"a higher {measure} goes with {word} answers{often}"


def _splits(
    samples: _Samples,
    layers: tuple[int, ...],
    spans: list[tuple[int, ...]],
    counts: np.ndarray,
    folds: int,
    repeats: int,
    rng: np.random.Generator,
) -> list[_Split]:
    """Every split that has pairs to choose by and to score."""
    scores = np.column_stack([samples.means([layers]), samples.means(spans)])
    found = []
    for part in (_dealt(samples, folds, rng) for _ in range(repeats)):
        for test in (part == fold for fold in range(folds)):
            learnt = samples.auroc(scores, counts[:1], ~test)[0]
            if (pick := _farthest(learnt[1:])) is None:
                continue
            both = [0, 1 + pick]
            turned = learnt[both] < 0.5
            aurocs = samples.auroc(scores[:, both], counts, test)
            if not np.isnan(aurocs[0]).any():
                found.append(_Split(pick, np.where(turned, 1 - aurocs, aurocs), turned))
    return found


def _farthest(aurocs: np.ndarray) -> int | None:
    """The place of the AUROC farthest from one half; None where they are not defined."""
    return None if np.isnan(aurocs).any() else int(np.abs(aurocs - 0.5).argmax())


def _dealt(samples: _Samples, folds: int, rng: np.random.Generator) -> np.ndarray:
    """The part of each sample [sample]: units sorted by how many samples of each kind they hold, dealt like cards."""
    kind = 2 * samples.strata + samples.right
    make_up = np.zeros((samples.units.max() + 1, kind.max() + 1))
    np.add.at(make_up, (samples.units, kind), 1)
    order = np.lexsort((rng.random(len(make_up)), *make_up.T))
    part = np.empty(len(make_up), dtype=int)
    part[order] = (np.arange(len(make_up)) + rng.integers(folds)) % folds
    return part[samples.units]


def _interval(values: np.ndarray, level: float) -> Interval:
    """The interval of values [1+draw ...] whose row 0 is the data; draws without a pair are left out."""
    draws = values[1:][~reduce(np.isnan(values[1:]), "draw ... -> draw", "any")]
    ends = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(draws, ends, axis=0) if len(draws) else np.full((2, *values.shape[1:]), np.nan)
    return Interval(values[0], low, high, level, len(draws))


def _median(splits: list[np.ndarray], level: float) -> Interval:
    """Medians over splits, each [1+draw], of the estimate and of the ends of intervals that err half as often."""
    each = [_interval(values, (1 + level) / 2) for values in splits]
    if not each:
        return Interval(np.nan, np.nan, np.nan, level)
    middle, low, high = (float(np.median([getattr(own, name) for own in each])) for name in ("estimate", "low", "high"))
    return Interval(middle, low, high, level, min(own.draws for own in each))


def _p(splits: list[np.ndarray]) -> float:
    """Twice the median p over splits of draws [draw] of a difference; NaN without splits."""
    return min(1.0, 2 * float(np.median([_p_of(draws[~np.isnan(draws)]) for draws in splits]))) if splits else np.nan


def _p_of(draws: np.ndarray) -> float:
    """Twice the smaller share of draws on one side of no difference, the data counting as one."""
    fewer = min((draws <= 0).sum(), (draws >= 0).sum())
    return min(1.0, 2 * float(1 + fewer) / (1 + len(draws)))


def _share(marks: list[bool]) -> float:
    """The share of marks that are set; NaN where there are none."""
    return float(np.mean(marks)) if marks else np.nan


def _times(picks: list[int], spans: list[tuple[int, ...]], n_layers: int) -> np.ndarray:
    """How large a share of the picks held each layer, [layer]; NaN where nothing could be picked."""
    held = np.bincount([layer for pick in picks for layer in spans[pick]], minlength=n_layers)
    return held / len(picks) if picks else np.full(n_layers, np.nan)


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
        raise InputError(f"layers {empty} have no score for any sample: leave them out, or compare the others")
    return ~np.isnan(table).any(axis=1)
