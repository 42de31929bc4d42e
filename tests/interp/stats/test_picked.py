"""The interval of what was picked from several: how often it holds the truth, and how often its own would."""

import numpy as np
import pytest
from interval_coverage import FEWEST, RUNS, check_coverage
from scipy.stats import t

from interp.errors import InputError
from interp.stats.clusters import mean_over_groups
from interp.stats.intervals import Interval, students_t
from interp.stats.picked import for_all, level_of_each


@pytest.mark.parametrize("units", [5, 30, 4000])
def test_ends_lie_where_students_interval_at_the_corrected_level_has_them(units):
    values = np.random.default_rng(0).normal(size=units)
    plain, corrected = (students_t(values, level) for level in (0.95, 1 - 0.05 / 33))
    found = for_all(plain, 33, units=units)
    assert (found.low, found.high) == pytest.approx((corrected.low, corrected.high)) and found.level == 0.95
    reach = t.ppf(1 - 0.05 / 66, units - 1) * values.std(ddof=1) / units**0.5
    assert found.high - found.estimate == pytest.approx(reach)


def test_out_of_one_nothing_is_picked_and_bounds_and_few_units_stay_what_they_are():
    own = Interval(0.5, 0.25, 0.875)
    assert vars(for_all(own, 1, units=9)) == vars(own)
    assert vars(for_all(own, 99, units=5, bounds=(0.0, 1.0))) == vars(Interval(0.5, 0.0, 1.0))
    for nothing in (for_all(own, 4, units=2), for_all(Interval(0.5, np.nan, np.nan), 4, units=20)):
        assert np.isnan([nothing.low, nothing.high]).all() and nothing.estimate == 0.5
    with pytest.raises(InputError, match="one of 0 statistics"):
        for_all(own, 0, units=9)


@pytest.mark.parametrize(("level", "count", "says"), [(-1.0, 12, "between 0 and 1"), (95, 2, "between 0 and 1"),
                                                      (0.95, 0, "one of 0 statistics")])  # fmt: skip
def test_what_is_no_level_and_one_of_none_have_no_level_of_each(level, count, says):
    with pytest.raises(InputError, match=says):
        level_of_each(level, count)


@pytest.mark.parametrize("alike", [0.0, 0.8])
@pytest.mark.parametrize("groups", [8, 40])
def test_the_largest_of_33_lies_in_it_as_often_as_it_says_and_in_its_own_interval_less_often(alike, groups):
    """Groups of two samples; slots that go together by `alike`; all true means are 0."""
    rng = np.random.default_rng(7)
    held, own = [], []
    names = np.repeat(np.arange(groups), 2)
    for _ in range(RUNS):
        shared, alone = rng.normal(size=(groups, 1)), rng.normal(size=(groups, 33))
        values = np.repeat(alike**0.5 * shared + (1 - alike) ** 0.5 * alone, 2, axis=0)
        values += 0.5 * rng.normal(size=values.shape)
        found = mean_over_groups(values, names, seed=0, n=200)
        at = int(np.argmax(found.estimate))
        one = Interval(*(float(end[at]) for end in (found.estimate, found.low, found.high)))
        wide = for_all(one, 33, units=groups)
        held.append(wide.low <= 0 <= wide.high)
        own.append(one.low <= 0 <= one.high)
    check_coverage(held, most=RUNS)
    assert sum(own) < FEWEST
