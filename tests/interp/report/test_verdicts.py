"""Verdicts: what is said of a difference that has no test, by its interval."""

import math

from interp.report.verdicts import NO_INTERVAL, NOT_DETECTED, undetected


def test_a_difference_without_an_interval_is_not_left_to_stand_as_one_that_was_found():
    assert undetected(0.1, 0.3) == undetected(-0.3, -0.1) == ""
    assert undetected(-0.1, 0.3) == undetected(0, 0.3) == f": {NOT_DETECTED}"
    assert undetected(math.nan, math.nan) == undetected(math.nan, 0.3) == f": {NO_INTERVAL}"
