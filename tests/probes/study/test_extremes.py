"""Extremes: how many share one is counted, rounding of single precision aside."""

import numpy as np
import pytest

from probes.study.extremes import shared, sharing


@pytest.mark.parametrize(
    ("values", "extreme", "said"),
    [
        ([0.5, 0.2, 0.5], 0.5, ", shared by 2 of 3"),
        ([0.5, 0.2], 0.5, ""),
        ([0.5, 0.5, np.nan], 0.5, ", shared by all 2"),
        ([0.0, 0.0, 0.1], 0.0, ", shared by 2 of 3"),
        ([1.0], 1.0, ""),
        (np.float32([0.1, 0.1, 0.2]), 0.1, ", shared by 2 of 3"),
        ([0.5, 0.5001], 0.5001, ""),
    ],
)
def test_who_shares_an_extreme_is_counted(values, extreme, said):
    assert shared(values, extreme) == said


def test_of_sizes_the_sign_does_not_count():
    assert shared([-0.5, 0.5, 0.1], -0.5, sizes=True) == ", a size shared by 2 of 3"
    assert shared([-0.5, 0.5, 0.1], -0.5) == "" and sharing([-0.5, 0.5, 0.1], 0.5) == 1
