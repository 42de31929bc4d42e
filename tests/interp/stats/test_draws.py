"""Halves keep groups whole, and the size of each stratum."""

import numpy as np

from interp.stats.draws import halves


def test_halves_keep_groups_whole_and_are_alike_in_strata():
    groups = np.repeat([f"photo {place}" for place in range(41)], 2).astype(object)
    strata = np.repeat(np.where(np.arange(41) % 4 == 0, "vertical", "horizontal"), 2).astype(object)
    part = halves(groups, strata, seed=0)
    assert not np.array_equal(part, halves(groups, strata, seed=1)) and np.array_equal(
        part, halves(groups, strata, seed=0)
    )
    assert all(len(set(part[groups == name])) == 1 for name in set(groups))
    for stratum in ("horizontal", "vertical"):
        assert abs(part[strata == stratum].sum() - (1 - part[strata == stratum]).sum()) <= 2  # one group more at most
    renamed = np.array([f"z{name}" for name in groups], dtype=object)
    assert np.array_equal(part, halves(renamed, strata, seed=0))
