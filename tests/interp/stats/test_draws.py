"""Draws keep the size of each stratum, or keep groups whole."""

import numpy as np
import pytest

from interp.stats.draws import drawn_counts


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
