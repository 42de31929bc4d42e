"""Sets of heads: all others, and random ones of the same size that are none of the set."""

from collections import Counter

import numpy as np
import pytest

from interp import all_heads, other_heads, random_heads
from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape

SHAPE = ModelShape(n_layers=4, n_heads=4, n_kv_heads=2, d_model=64, d_head=16, d_vocab=9)
CHOSEN = ((2, 1), (0, 3), (2, 0))


def test_others_are_every_head_that_is_not_in_the_set():
    every = all_heads(SHAPE)
    assert len(set(every)) == 16 and every[0] == (0, 0) and every[-1] == (3, 3)
    assert set(other_heads(CHOSEN, SHAPE)) | set(CHOSEN) == set(every)
    assert not set(other_heads(CHOSEN, SHAPE)) & set(CHOSEN)
    assert other_heads(np.array(CHOSEN), SHAPE) == other_heads(iter(CHOSEN), SHAPE)


@pytest.mark.parametrize("same_layers", [False, True])
def test_random_heads_are_as_many_and_never_of_the_set(same_layers):
    counted = Counter()
    for seed in range(400):
        drawn = random_heads(CHOSEN, SHAPE, seed, same_layers=same_layers)
        assert len(set(drawn)) == len(CHOSEN) and not set(drawn) & set(CHOSEN)
        assert drawn == random_heads(CHOSEN, SHAPE, seed, same_layers=same_layers)
        if same_layers:
            assert sorted(layer for layer, _ in drawn) == [0, 2, 2]
        counted.update(drawn)
    pool = [one for one in other_heads(CHOSEN, SHAPE) if not same_layers or one[0] in (0, 2)]
    assert set(counted) == set(pool)
    even = 400 * len(CHOSEN) / len(pool)
    if not same_layers:  # five standard deviations of a binomial
        assert all(abs(times - even) < 5 * even**0.5 for times in counted.values())


def test_seeds_of_several_numbers_draw_apart():
    assert random_heads(CHOSEN, SHAPE, (0, 1)) != random_heads(CHOSEN, SHAPE, (0, 2))


@pytest.mark.parametrize("seed", [None, True, -1, 0.5, "one", (0, -1), []], ids=repr)
def test_a_seed_that_can_not_be_drawn_again_is_refused(seed):
    with pytest.raises(InputError, match="draws nothing"):
        random_heads(CHOSEN, SHAPE, seed)


def test_sets_that_leave_too_few_others_are_refused():
    most = all_heads(SHAPE)[:9]
    with pytest.raises(InputError, match="9 heads are in the set, and 7 others to draw from"):
        random_heads(most, SHAPE, 0)
    with pytest.raises(InputError, match="3 heads of layer 1 are in the set, and 1 others of layer 1"):
        random_heads([(1, 0), (1, 1), (1, 2)], SHAPE, 0, same_layers=True)
    with pytest.raises(InputError, match="all that this model has"):
        other_heads(all_heads(SHAPE), SHAPE)
    for heads in ([(4, 0)], [(0, 4)]):
        with pytest.raises(HookError, match="4 layers of 4 query heads"):
            random_heads(heads, SHAPE, 0)
    with pytest.raises(InputError, match="same_layers"):
        random_heads(CHOSEN, SHAPE, 0, same_layers="yes")
