"""Every pair is scored once, by a choice that knew neither of its samples, whoever is left out."""

import numpy as np
import pytest

from interp.stats.auroc import auroc
from interp.stats.cross_fit import Labelled, cross_fit, deal


def made_up(n=40, n_scores=5, per_unit=1, seed=0):
    """Samples in two strata whose third score follows the right answers."""
    rng = np.random.default_rng(seed)
    right, strata = rng.random(n) < 0.4, rng.integers(2, size=n)
    scores = rng.integers(12, size=(n, n_scores)).astype(float)
    scores[:, 3] += 4 * right
    return Labelled(scores, right, strata, np.arange(n) // per_unit)


def by_pairs(data, part, some):
    """The AUROCs of score 0 and of the chosen among some samples, one pair after the other; and what was chosen."""
    won, pairs, chosen = np.zeros(2), 0, {}
    for i in np.flatnonzero(data.right & some):
        for j in np.flatnonzero(~data.right & some & (data.strata == data.strata[i])):
            block = frozenset((part[i], part[j]))
            rest = some & ~np.isin(part, list(block))
            if block not in chosen:
                learnt = [auroc(own[rest], data.right[rest], groups=data.strata[rest]) for own in data.scores.T]
                at = 1 + int(np.argmax(np.abs(np.array(learnt[1:]) - 0.5)))
                chosen[block] = (at, learnt[0] < 0.5, learnt[at] < 0.5)
            at, turned, best_turned = chosen[block]
            for place, (score, turn) in enumerate(((0, turned), (at, best_turned))):
                left, right = data.scores[i, score], data.scores[j, score]
                win = (left > right) + 0.5 * (left == right)
                won[place] += 1 - win if turn else win
            pairs += 1
    return won / pairs, chosen


@pytest.mark.parametrize("folds", [3, 4])
@pytest.mark.parametrize("per_unit", [1, 2])
def test_every_pair_is_scored_by_a_choice_that_knew_neither_sample(per_unit, folds):
    data = made_up(per_unit=per_unit)
    parts = [deal(data, folds, rng) for rng in [np.random.default_rng(5)] for _ in range(2)]
    found = list(cross_fit(data, folds, 2, np.random.default_rng(5)))
    for part, one in zip(parts, found, strict=True):
        values, chosen = by_pairs(data, part, np.ones(len(part), bool))
        assert one.aurocs[:, 0] == pytest.approx(values)
        assert sorted(one.picks) == sorted(at - 1 for at, _, _ in chosen.values())
        assert one.reversed.sum(axis=1).tolist() == [
            sum(c[1] for c in chosen.values()),
            sum(c[2] for c in chosen.values()),
        ]
        for unit in range(0, data.n_units, 3):
            assert one.aurocs[:, 1 + unit] == pytest.approx(by_pairs(data, part, data.units != unit)[0])


def test_units_are_dealt_alike_and_whole():
    rng = np.random.default_rng(0)
    right, strata = rng.random(300) < 0.2, rng.integers(3, size=300)
    part = deal(Labelled(np.empty((300, 1)), right, strata, np.arange(300)), 5, rng)
    for stratum in range(3):
        for answer in (False, True):
            sizes = np.bincount(part[(strata == stratum) & (right == answer)], minlength=5)
            assert sizes.max() - sizes.min() <= 1
    groups = Labelled(np.empty((300, 1)), right, strata, np.arange(300) % 75)
    part = deal(groups, 5, rng)
    assert all(len(set(part[groups.units == group])) == 1 for group in range(75))
    assert np.bincount(part).tolist() == [60] * 5
    assert (part != deal(groups, 5, rng)).any()


def test_without_pairs_nothing_is_chosen():
    data = Labelled(np.ones((12, 3)), np.ones(12, bool), np.zeros(12, int), np.arange(12))
    (found,) = cross_fit(data, 3, 1, np.random.default_rng(0))
    assert np.isnan(found.aurocs).all() and not len(found.picks)
