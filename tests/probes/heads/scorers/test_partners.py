"""Partners are each other's, of another group and the same kind, and whole groups are paired."""

from dataclasses import replace

import numpy as np
import pytest
from looking import planted_vlm, scenes

from probes.heads.scorers.partners import Partners, paired


def made_up(seed, count=60):
    """Groups of one to four samples of three kinds, some of none."""
    rng = np.random.default_rng(seed)
    loose = [None if rng.random() < 0.1 else str(rng.choice(["a", "b", "c"])) for _ in range(count)]
    strict = [None if kind is None else (kind, int(rng.integers(2))) for kind in loose]
    groups = rng.integers(0, 20, count).tolist()
    return [strict, loose], groups, rng.choice(["left", "right"], count).tolist()


@pytest.mark.parametrize("seed", range(8))
def test_partners_are_each_other_s_of_one_kind_and_of_another_group(seed):
    kinds, groups, answers = made_up(seed)
    places, pairs = paired(kinds, groups, answers, seed=seed)
    own = np.arange(len(groups))
    np.testing.assert_array_equal(places[places], own)
    there = places != own
    assert there.sum() > len(groups) / 2
    for place in np.flatnonzero(there):
        other = places[place]
        assert kinds[-1][place] == kinds[-1][other] is not None and groups[place] != groups[other]
    assert not there[[place for place in own if kinds[-1][place] is None]].any()
    # a group is in one pair, and no pair has more than two groups, so that pairs are drawn apart from each other
    within = [{groups[place] for place in own if pairs[place] == pair} for pair in set(pairs.tolist())]
    assert max(map(len, within)) == 2 and sum(map(len, within)) == len(set(groups))
    np.testing.assert_array_equal(pairs, pairs[places])
    again = paired(kinds, groups, answers, seed=seed)
    np.testing.assert_array_equal(again, (places, pairs))


def test_answers_of_partners_differ_where_no_answer_is_that_of_most():
    answers = ["left", "right", "above", "below"] * 6
    places, _ = paired([["a"] * 24], list(range(24)), answers, seed=0)
    assert all(answers[place] != answers[other] for place, other in enumerate(places))
    most = ["left"] * 16 + ["right"] * 8
    places, _ = paired([["a"] * 24], list(range(24)), most, seed=0)
    assert sum(most[place] != most[other] for place, other in enumerate(places)) == 16


def test_what_is_stricter_comes_first_and_what_is_left_takes_what_there_is():
    strict, loose = ["a1", "a2", "a1", "a2", "a3", "a4", "b"], ["a"] * 6 + ["b"]
    for seed in range(5):
        places, pairs = paired([strict, loose], list("stuvwxy"), ["left"] * 7, seed=seed)
        assert places.tolist() == [2, 3, 0, 1, 5, 4, 6] and len(set(pairs.tolist())) == 4


def test_groups_that_are_made_up_otherwise_match_in_what_they_share():
    groups, kinds = [0, 0, 0, 1, 1, 2], ["a", "b", "b", "b", "c", "d"]
    places, pairs = paired([kinds], groups, ["left"] * 6, seed=0)
    assert places.tolist() == [0, 3, 2, 1, 4, 5] and pairs.tolist() == [0, 0, 0, 0, 0, 1]


def test_samples_have_partners_of_their_functions_with_the_same_grid():
    mixed = [
        replace(one, meta={**one.meta, "functions": ["math"] if place % 3 else ["spatial"]}, group="")
        for place, one in enumerate(scenes())
    ]
    unread = replace(mixed[0], image="nowhere.png")
    own = Partners.of(planted_vlm(), [*mixed, replace(unread, id="unread")], seed=1)
    assert own.there.tolist() == [True] * 24 + [False] and own.other(own.samples[24]) is None
    for sample in mixed:
        other = own.other(sample)
        assert own.other(other) == sample and other.meta["functions"] == sample.meta["functions"]
        assert other.answer != sample.answer or sum(one.answer == sample.answer for one in mixed) > 12
