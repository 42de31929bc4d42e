"""Sign flips: exact where all flips can be listed, right at the stated rate where nothing differs, and able to find."""

from itertools import product

import numpy as np
import pytest

from interp.errors import InputError
from interp.stats.sign_flips import flip_signs, flipped, sign_flip_test
from interp.stats.tests import mcnemar


def test_p_values_near_those_of_all_flips_listed_one_by_one():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(8), 2)
    values = rng.normal(0.3, 1, (16, 3))
    sums = np.array([values[groups == group].sum(axis=0) for group in range(8)])
    every = np.array([np.array(signs) @ sums for signs in product((-1, 1), repeat=8)])
    far, own = np.abs(every) / np.sqrt((sums**2).sum(axis=0)), np.abs(sums.sum(axis=0)) / np.sqrt((sums**2).sum(axis=0))
    found = flip_signs(values, groups, seed=1, n=20000)
    assert np.abs(found.p - (far >= own - 1e-9).mean(axis=0)).max() < 0.015
    assert np.abs(found.p_any - (far.max(axis=1)[:, None] >= own - 1e-9).mean(axis=0)).max() < 0.015
    assert (found.p_any >= found.p - 1e-12).all()


def test_how_far_a_mean_lies_keeps_its_sign_and_its_size_is_what_both_sides_are_tested_by():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(6), 2)
    values = rng.normal([1.0, -1.0, 0.0], 1, (12, 3))
    values[:, 2] = 0
    far = flipped(values, groups, seed=3, n=50)
    sums = values.reshape(6, 2, 3).sum(axis=1)
    assert far.shape == (51, 3) and (far[:, 2] == 0).all()
    np.testing.assert_allclose(far[0, :2], (sums.sum(axis=0) / np.sqrt((sums**2).sum(axis=0) + 1e-300))[:2])
    two_sided = flip_signs(values, groups, seed=3, n=50).p
    np.testing.assert_allclose(two_sided, (np.abs(far) >= np.abs(far[0]) - 1e-9).mean(axis=0))


def test_any_of_many_places_errs_at_most_at_the_stated_rate_where_none_differs():
    hits = [alarm(seed) for seed in range(300)]
    assert np.mean(hits) < 0.05 + 2.6 * np.sqrt(0.05 * 0.95 / 300)
    assert np.mean([alarm(seed, shift=0.9) for seed in range(30)]) > 0.8


def alarm(seed, shift=0.0):
    """Whether any of 12 dependent places of 15 groups of two comes out below 0.05."""
    rng = np.random.default_rng(seed)
    group = rng.normal(0, 1, (15, 1)).repeat(2, axis=0)  # a group's samples go together
    values = group + rng.normal(0, 0.5, (30, 12)).cumsum(axis=1)
    values[:, 4] += shift * 2
    return flip_signs(values, np.arange(15).repeat(2), seed=seed, n=199).p_any.min() <= 0.05


def test_places_without_any_difference_say_nothing_and_the_order_of_names_does_not_matter():
    values = np.column_stack([np.zeros(6), np.arange(6) + 1.0])
    found = flip_signs(values, np.array(list("bbaacc")), seed=0, n=99)
    assert found.p[0] == found.p_any[0] == 1 and found.flips == 100
    renamed = flip_signs(values, np.array(list("xxyyzz")), seed=0, n=99)
    assert np.array_equal(found.p, renamed.p) and np.array_equal(found.p_any, renamed.p_any)


@pytest.mark.parametrize(
    ("values", "groups", "n"),
    (
        (np.zeros(3), np.arange(3), 9),
        (np.zeros((3, 1)), np.arange(2), 9),
        (np.full((3, 1), np.nan), np.arange(3), 9),
        (np.zeros((3, 1)), np.arange(3), 0),
        (np.zeros((3, 1)), np.zeros(3), 9),
    ),
)
def test_what_can_not_be_flipped_is_refused(values, groups, n):
    with pytest.raises(InputError, match="give"):
        flip_signs(values, groups, seed=0, n=n)


@pytest.mark.parametrize("seed", range(5))
def test_the_exact_test_of_group_sums_lists_all_flips(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 9, size=24)
    values = rng.integers(-1, 2, size=24)
    sums = np.array([values[groups == group].sum() for group in np.unique(groups)])
    every = np.abs([np.array(signs) @ sums for signs in product((-1, 1), repeat=len(sums))])
    assert sign_flip_test(values, groups) == pytest.approx((every >= abs(sums.sum())).mean(), rel=1e-12)
    renamed = [f"photo {group}" for group in groups]
    assert sign_flip_test(values, renamed) == sign_flip_test(-values, groups)
    assert abs(flip_signs(values[:, None], groups, seed=0, n=20_000).p[0] - sign_flip_test(values, groups)) < 0.015


def test_of_samples_alone_the_test_of_group_sums_is_mcnemars():
    rng = np.random.default_rng(0)
    for n in (3, 40, 3000):
        before, after = rng.random((2, n)) < [[0.5], [0.55]]
        found = sign_flip_test(after.astype(int) - before, np.arange(n))
        assert found == pytest.approx(mcnemar(before, after).p_value, rel=1e-9)


def test_groups_that_do_not_differ_say_nothing_and_five_can_not_be_rare():
    assert sign_flip_test([1, -1, 0], ["a", "a", "b"]) == 1
    assert sign_flip_test([1] * 9, ["only"] * 9) == 1
    assert sign_flip_test([1] * 5, range(5)) == 2 / 2**5 and sign_flip_test([1] * 6, range(6)) == 2 / 2**6


@pytest.mark.parametrize(
    "wrong", [([0.5], ["a"]), ([1, 1], ["a"]), ([[1]], [["a"]]), ([np.nan], ["a"]), ([np.inf], [1])]
)
def test_what_is_no_whole_difference_of_a_sample_is_refused(wrong):
    with pytest.raises(InputError, match="whole numbers"):
        sign_flip_test(*wrong)
