"""Cross-fitting: the best of many scores, chosen and given its direction on other samples than it is scored on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from einops import einsum, rearrange, reduce
from jaxtyping import Bool, Float, Int

from interp.numeric import ratio


@dataclass(frozen=True, eq=False)
class Labelled:
    """The samples compared.

    Attributes:
        scores: [sample score]; score 0 is the one given, the others can be chosen.
        right: whether each answer is right, [sample].
        strata: the code of each sample's stratum, [sample]; only pairs inside one count.
        units: the code of what each sample is dealt with as a whole, from 0 on without a gap, [sample].
    """

    scores: Float[np.ndarray, "sample score"]
    right: Bool[np.ndarray, " sample"]
    strata: Int[np.ndarray, " sample"]
    units: Int[np.ndarray, " sample"]

    @property
    def n_units(self) -> int:
        """How many units there are."""
        return int(self.units.max()) + 1


@dataclass(frozen=True, eq=False)
class CrossFit:
    """One way to deal, with all its choices.

    Attributes:
        aurocs: of the score given and of those chosen, over all pairs, each in the direction learnt with the choice:
            of all samples, and when each unit in turn is left out of choice and score, [2 1+unit].
        picks: which score each choice fell on, 0 for score 1, [choice].
        reversed: whether right answers scored lower where it was chosen, in the given and in the chosen, [2 choice].
    """

    aurocs: Float[np.ndarray, "2 row"]
    picks: Int[np.ndarray, " choice"]
    reversed: Bool[np.ndarray, "2 choice"]


def cross_fit(data: Labelled, folds: int, repeats: int, rng: np.random.Generator) -> Iterator[CrossFit]:
    """Choose the score whose AUROC is farthest from one half, and score it on pairs that it was not chosen by.

    Units are dealt into folds. A pair of a right and a wrong sample lies in two folds, or in one; for every two folds,
    and every one, the choice is made on all the others, and these pairs are scored with it. So every pair counts once,
    and no sample of it had a part in its choice (leave-pair-out cross-validation, Airola et al. 2011, by folds).

    Args:
        data: the samples.
        folds: how many, 3 or more.
        repeats: the number of ways to deal.
        rng: what deals.
    """
    parts = np.stack([deal(data, folds, rng) for _ in range(repeats)])
    met = _met(data, np.eye(folds, dtype=np.float32)[parts])
    first = np.unique(data.units, return_index=True)[1]
    for repeat, part in enumerate(parts):
        yield _of_one_deal(met.won[:, :, repeat], met.inside, part[first])


def deal(data: Labelled, folds: int, rng: np.random.Generator) -> Int[np.ndarray, " sample"]:
    """The fold of each sample: units sorted by how many samples of each kind they hold, dealt like cards."""
    kind = 2 * data.strata + data.right
    make_up = np.zeros((data.n_units, kind.max() + 1))
    np.add.at(make_up, (data.units, kind), 1)
    order = np.lexsort((rng.random(len(make_up)), *make_up.T))
    part = np.empty(len(make_up), dtype=int)
    part[order] = (np.arange(len(make_up)) + rng.integers(folds)) % folds
    return part[data.units]


@dataclass(frozen=True, eq=False)
class _Met:
    """Pairs won, of each score, and last how many there are; ties count half.

    Attributes:
        won: between the samples of a unit and those of a fold, [score+1 unit repeat fold].
        inside: between samples of one unit, [score+1 unit].
    """

    won: np.ndarray
    inside: np.ndarray


def _met(data: Labelled, folds: Float[np.ndarray, "repeat sample fold"]) -> _Met:
    """The pairs of every unit with every fold that each sample is in, one of `folds` [repeat sample fold]."""
    place = rearrange(folds, "repeat sample fold -> sample (repeat fold)")
    both = [_met_by(data, score, place) for score in (*data.scores.T, None)]
    won = rearrange(
        np.stack([own for own, _ in both]), "score unit (repeat fold) -> score unit repeat fold", repeat=len(folds)
    )
    return _Met(won, np.stack([own for _, own in both]))


def _met_by(data: Labelled, score: np.ndarray | None, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same by one score, or of all pairs: [unit place] and [unit]."""
    each, inside = np.zeros(place.shape, np.float32), np.zeros(data.n_units)
    alone = data.n_units == len(data.units)
    for stratum in np.unique(data.strata):
        yes, no = (np.flatnonzero((data.strata == stratum) & side) for side in (data.right, ~data.right))
        won = np.ones((len(yes), len(no)), np.float32)  # halves and whole numbers: exact up to 8 million pairs
        if score is not None:
            left, right = score[yes][:, None], score[no][None]
            won = (left > right).astype(np.float32)
            won[left == right] = 0.5
        each[yes], each[no] = won @ place[no], won.T @ place[yes]
        if not alone:
            together = data.units[yes][:, None] == data.units[no][None]
            inside += np.bincount(data.units[yes], (won * together).sum(axis=1), minlength=data.n_units)
    order = np.argsort(data.units, kind="stable")
    starts = np.flatnonzero(np.diff(data.units[order], prepend=-1))
    return np.add.reduceat(each[order].astype(np.float64), starts), inside


def _of_one_deal(won: np.ndarray, inside: np.ndarray, fold: np.ndarray) -> CrossFit:
    """The choices of one deal, from `_Met` of its folds [score+1 unit fold], and the fold of each unit."""
    folds = won.shape[2]
    one, two = np.array(list(combinations_with_replacement(range(folds), 2))).T
    within = np.eye(folds)[fold]
    between = einsum(won, within, "score unit fold, unit other -> score other fold")

    chooses = (np.arange(folds) != one[:, None]) & (np.arange(folds) != two[:, None])  # [block fold]
    known = einsum(between, chooses, chooses, "score fold other, block fold, block other -> score block") / 2
    gone = einsum(won, chooses, "score unit fold, block fold -> score block unit") - inside[:, None]
    known = _with_each_left_out(known, gone * chooses[:, fold])

    same = one == two
    scored = between[:, one, two] / np.where(same, 2, 1)
    gone = won[:, :, two] * (fold[:, None] == one) + np.where(same, 0, won[:, :, one] * (fold[:, None] == two))
    gone -= inside[:, :, None] * (same & (fold[:, None] == one))
    scored = _with_each_left_out(scored, rearrange(gone, "score unit block -> score block unit"))

    learnt = ratio(known[:-1], known[-1])
    picks = np.abs(learnt[1:] - 0.5).argmax(axis=0)
    taken = [
        np.stack([table[0], np.take_along_axis(table[1:], picks[None], axis=0)[0]]) for table in (learnt, scored[:-1])
    ]
    pairs = scored[-1] * (known[-1] > 0)
    turned = taken[0] < 0.5
    wins = np.where(turned, pairs - taken[1], taken[1]) * (known[-1] > 0)
    made = pairs[:, 0] > 0
    aurocs = ratio(reduce(wins, "which block row -> which row", "sum"), pairs.sum(axis=0))
    return CrossFit(aurocs, picks[made, 0], turned[:, made, 0])


def _with_each_left_out(whole: np.ndarray, gone: np.ndarray) -> np.ndarray:
    """Pairs [score block 1+unit]: all, and what is left without each unit."""
    return whole[:, :, None] - np.concatenate([np.zeros((*whole.shape, 1)), gone], axis=2)
