"""Common tosses: answers are right as often as stated, pairs go together as asked, and the share of pairs is found."""

from itertools import combinations

import numpy as np
import pytest

from interp.stats.common_toss import common_share, tossed_together

CODES = np.repeat(np.arange(3), [2, 3, 4])
SURE = np.array([0.3, 0.8, 0.5, 0.6, 0.6, 0.1, 0.9, 0.95, 0.4])


def test_answers_are_right_as_often_as_stated_and_pairs_of_a_group_go_together_as_asked():
    rng, runs = np.random.default_rng(0), 20_000
    for share in (0.0, 0.4, 1.0):
        right = np.array([tossed_together(SURE, CODES, share, rng) for _ in range(runs)], dtype=float)
        assert np.abs(right.mean(axis=0) - SURE).max() < 4 * 0.5 / np.sqrt(runs)
        both = np.cov(right.T, bias=True)
        for one, other in combinations(range(len(SURE)), 2):
            inside = CODES[one] == CODES[other]
            wanted = share * (min(SURE[one], SURE[other]) - SURE[one] * SURE[other]) if inside else 0.0
            assert both[one, other] == pytest.approx(wanted, abs=4 * 0.25 / np.sqrt(runs))


def test_without_a_common_toss_answers_are_drawn_one_by_one():
    one, other = np.random.default_rng(1), np.random.default_rng(1)
    assert (tossed_together(SURE, CODES, 0.0, one) == (other.random(len(SURE)) < SURE)).all()
    assert one.random() == other.random()


def counted_by_hand(right, sure, groups):
    """The share over all pairs, one by one, with its standard error over groups."""
    slope, start = np.polyfit(sure, right, 1)
    off = right - start - slope * sure
    names = sorted(set(groups.tolist()))
    few, many = len(names) / (len(names) - 2), len(off) / (len(off) - 2)
    of_pairs, one_toss = [], 0.0
    for name in names:
        own = np.flatnonzero(groups == name)
        of_pairs.append((few * off[own].sum() ** 2 - many * (off[own] ** 2).sum()) / 2)
        for one, other in combinations(own, 2):
            one_toss += min(sure[one], sure[other]) - sure[one] * sure[other]
    error = np.sqrt(len(names)) * np.std(of_pairs, ddof=1)
    return np.clip((sum(of_pairs) + error) / one_toss, 0, 1)


@pytest.mark.parametrize("seed", range(20))
def test_the_share_is_that_of_all_pairs_inside_groups(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(8, size=40)
    sure = rng.uniform(0.1, 1, 40).round(1)  # with ties
    right = tossed_together(sure, groups, rng.random(), rng)
    names = np.array([f"photo {9 - name}" for name in groups], dtype=object)
    assert common_share(right, sure, names) == pytest.approx(counted_by_hand(right, sure, groups), abs=1e-9)


def test_the_share_is_found_where_groups_are_many_and_held_to_what_it_can_be():
    rng, codes = np.random.default_rng(3), np.repeat(np.arange(2000), 4)
    sure = rng.uniform(0.2, 1, len(codes))
    for share in (0.0, 0.3, 0.9):
        found = common_share(tossed_together(sure, codes, share, rng), sure, codes)
        assert share < found + 0.05 and found < share + 0.1  # one standard error is added
    for every in (True, False):
        assert common_share(np.full(len(codes), every), sure, codes) == 1.0, "nothing is known of it"


def test_answers_that_are_all_surer_than_right_do_not_pass_for_alike():
    rng, codes = np.random.default_rng(4), np.repeat(np.arange(500), 4)
    sure = rng.uniform(0.4, 1, len(codes))
    right = rng.random(len(codes)) < sure - 0.3
    assert common_share(right, sure, codes) < 0.1
    with_them = right - sure  # had the line not been taken off
    sums, squares = np.bincount(codes, weights=with_them), np.bincount(codes, weights=with_them**2)
    assert (sums**2 - squares).mean() / 2 > 0.3
