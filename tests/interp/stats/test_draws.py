"""Draws keep the size of each stratum, or keep groups whole; halves keep both."""

import numpy as np
import pytest

from interp.stats.draws import drawn_counts, halves


def test_counts_draw_inside_strata_or_whole_groups():
    strata, units = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 2, 2])
    inside = drawn_counts(strata, None, 500, np.random.default_rng(0))
    for stratum in range(3):
        assert (inside[:, strata == stratum].sum(axis=1) == (strata == stratum).sum()).all()
    whole = drawn_counts(strata, units, 500, np.random.default_rng(0))
    assert (whole[:, ::2] == whole[:, 1::2])[:, [0, 2]].all() and (whole[:, 2] == whole[:, 3]).all()
    assert (whole.sum(axis=1) == 6).all() and whole.std() > 0
    for counts in (inside[:, :3], whole):
        assert counts.mean(axis=0) == pytest.approx(np.ones(counts.shape[1]), abs=0.2)


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
