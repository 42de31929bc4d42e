"""Shared patterns: the fit is that of least squares, draws are those of a loop, and p-values of nothing are even."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from interp.errors import InputError
from interp.stats.intervals import spread_ends
from interp.stats.shared_pattern import agreement, r2, shared_pattern

ROW, COL = (axis.ravel() - 1.5 for axis in np.indices((4, 4)))
CODE = np.stack([COL, ROW, COL * ROW], axis=1)
HAT = CODE @ np.linalg.inv(CODE.T @ CODE) @ CODE.T


def made_up(rng, *, units=5, width=24, noise=0.1, place=True):
    """Units that hold column and row along two directions, all alike, each with noise of its own; their means gone."""
    own = noise * rng.normal(size=(units, 16, width)) + place * (CODE[:, :2] @ rng.normal(size=(2, width)))
    return own - own.mean(axis=1, keepdims=True)


def test_the_fit_is_that_of_least_squares():
    own = made_up(np.random.default_rng(1), noise=2)
    mean = own.mean(0)
    wanted = r2_score(mean, LinearRegression().fit(CODE, mean).predict(CODE), multioutput="variance_weighted")
    assert 0.2 < wanted < 0.9 and r2(own, HAT) == pytest.approx(wanted)


def test_agreement_is_each_unit_s_with_all_others():
    own = made_up(np.random.default_rng(3), noise=1)
    for unit, said in enumerate(agreement(own)):
        others = np.mean([own[other] for other in range(5) if other != unit], axis=0)
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(own[unit], others, strict=True)]
        assert said == pytest.approx(np.mean(cosines))


def test_intervals_draw_units_as_a_loop_does():
    own, n, level = made_up(np.random.default_rng(2), noise=2), 60, 0.8
    found = shared_pattern(own, HAT, seed=4, shuffles=3, n=n, level=level).measures
    counts = np.random.default_rng(4).multinomial(5, np.full(5, 1 / 5), size=n)
    drawn = [np.repeat(np.arange(5), times) for times in counts]
    for measure, values in (
        ("r2", [r2(own[units], HAT) for units in drawn]),
        ("agreement", [agreement(own)[units].mean() for units in drawn]),
    ):
        bounds = (0 if measure == "r2" else -1, 1)
        ends = spread_ends(found[measure]["value"], np.array(values), level, units=5, bounds=bounds)
        assert [found[measure]["low"], found[measure]["high"]] == pytest.approx(ends)


def test_in_the_null_each_unit_s_cells_are_shuffled_by_themselves():
    own = made_up(np.random.default_rng(5), noise=0)
    found = shared_pattern(own, HAT, seed=0, shuffles=39, n=10)
    assert found.measures["agreement"]["value"] == pytest.approx(1) == found.measures["r2"]["value"]
    assert np.abs(found.null["agreement"]).max() < 0.8, "units that are shuffled alike would still agree"
    for name, own in found.measures.items():
        null = found.null[name]
        assert len(null) == 39 and own["p"] == 1 / 40 and own["null"] == pytest.approx(null.mean())
        assert (null <= own["null_high"]).mean() == pytest.approx(0.95, abs=0.03)


def test_p_values_of_no_place_are_even():
    p = []
    for seed in range(60):
        none = made_up(np.random.default_rng(seed), place=False, width=6)
        p.append(shared_pattern(none, HAT, seed=seed, shuffles=19, n=20).measures["r2"]["p"])
    assert abs(np.mean(p) - 0.525) < 0.12 and np.mean(np.array(p) <= 0.1) < 0.25


def test_where_four_cells_leave_the_projection_nothing_to_miss_every_shuffle_is_a_tie():
    code = np.array([[-1, -1, 1], [1, -1, -1], [-1, 1, -1], [1, 1, 1]]) / 2
    own = np.random.default_rng(0).normal(size=(4, 4, 9))
    found = shared_pattern(own - own.mean(axis=1, keepdims=True), code @ code.T, seed=0, shuffles=19, n=20)
    assert found.measures["r2"]["value"] == pytest.approx(1) and found.measures["r2"]["p"] == 1


@pytest.mark.parametrize("wrong", [{"n": 0}, {"level": 1.0}, {"seed": -1}])
def test_no_draws_and_what_is_no_level_are_refused(wrong):
    with pytest.raises(InputError, match="at least one draw|no seed"):
        shared_pattern(made_up(np.random.default_rng(0)), HAT, **{"seed": 0, "shuffles": 9, **wrong})
