"""Numbers where some are missing: divisions by nothing and means over what is known, against numpy's own."""

import numpy as np
import pytest

from interp.numeric import mean_of_known, percentage, ratio


def test_a_division_by_nothing_is_not_defined():
    assert ratio([1.0, 0.0, 2.0], [2.0, 0.0, -1.0]) == pytest.approx([0.5, np.nan, np.nan], nan_ok=True)


def test_the_mean_of_what_is_known_is_numpys_nanmean_and_of_whole_values_the_mean_to_the_bit():
    values = np.random.default_rng(0).normal(size=(50, 4, 3))
    assert np.array_equal(mean_of_known(values), values.mean(axis=0))
    values[np.random.default_rng(1).random(values.shape) < 0.3] = np.nan
    np.testing.assert_allclose(mean_of_known(values), np.nanmean(values, axis=0))
    assert np.isnan(mean_of_known(np.full((5, 2), np.nan))).all() and np.isnan(mean_of_known(np.empty((0, 2)))).all()


@pytest.mark.parametrize("digits", [0, 1, 2])
def test_that_only_all_are_a_hundred_percent_and_only_none_are_nothing(digits):
    for n in (1, 7, 300, 2500, 30000):
        for k in {0, 1, 2, n // 3, n // 2, n - 2, n - 1, n} & set(range(n + 1)):
            told = percentage(k / n, digits)
            assert (told == f"{0:.{digits}f}") == (k == 0) and (told == f"{100:.{digits}f}") == (k == n)
            number = float(told.lstrip("<>"))
            assert k / n * 100 < number if told[0] == "<" else k / n * 100 > number if told[0] == ">" else True
            assert abs(number - 100 * k / n) <= (1 if told[0] in "<>" else 0.5000001) * 10.0**-digits
    assert percentage(1 - 1e-15) == "100.0", "what is left of rounding is no miss"
