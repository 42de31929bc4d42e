"""Intervals of statistics that noise moves to one side: they hold the estimate, and what it is on average."""

import numpy as np
import pytest

from interp.stats.intervals import recentred_ends, spread_ends

GROUPS, DRAWS, SETS = 20, 200, 200


def pearson(first, second):
    first, second = (own - own.mean(axis=1, keepdims=True) for own in (first, second))
    return (first * second).sum(axis=1) / np.sqrt((first**2).sum(axis=1) * (second**2).sum(axis=1))


SIZES = {
    "gini": lambda own: (
        (np.sort(own) * np.arange(1 - own.shape[1], own.shape[1], 2)).sum(1) / own.shape[1] / own.sum(1)
    ),
    "effective number": lambda own: own.sum(axis=1) ** 2 / (own**2).sum(axis=1),
    "share of the largest": lambda own: np.sort(own)[:, -5:].sum(axis=1) / own.sum(axis=1),
    "count": lambda own: (own > own.max(axis=1, keepdims=True) / 2).sum(axis=1).astype(float),
}
SCENES = {"noise": np.zeros(48), "few": np.where(np.arange(48) < 7, 2.0, 0), "all": 0.5 + np.linspace(0, 2, 48)}


def of_groups(rng, truth, noise=1.0):
    """Means over groups of the truth and noise, and the same in draws of groups."""
    each = truth + noise * rng.normal(size=(GROUPS, *truth.shape))
    counts = rng.multinomial(GROUPS, np.full(GROUPS, 1 / GROUPS), size=DRAWS) / GROUPS
    return each.mean(axis=0), np.tensordot(counts, each, axes=1)


def coverage(statistic, truth, noise=1.0):
    """How often an interval holds the mean of the statistic over sets, how often percentiles do, and the estimates."""
    rng, found = np.random.default_rng(0), []
    for _ in range(SETS):
        own, draws = of_groups(rng, truth, noise)
        value, drawn = float(statistic(own[None])[0]), statistic(draws)
        found.append([value, *recentred_ends(value, drawn, 0.95, units=GROUPS), *np.quantile(drawn, [0.025, 0.975])])
    mean = np.mean([row[0] for row in found])
    values, low, high, first, last = np.array([row for row in found if np.isfinite(row[1])]).T  # some draws are one
    assert (low <= values).all() and (values <= high).all()
    return ((low <= mean) & (mean <= high)).mean(), ((first <= mean) & (mean <= last)).mean()


ERROR = 3 * np.sqrt(0.95 * 0.05 / SETS)
"""Three Monte-Carlo errors of a rate of 0.95."""


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("name", SIZES)
def test_the_interval_holds_what_the_measure_is_on_average_over_sets_of_as_many_groups(name, scene):
    here, _ = coverage(lambda own: SIZES[name](np.abs(own)), SCENES[scene])
    assert here >= 0.95 - ERROR - 0.02, here  # where all is noise, draws are a little less apart than sets


def test_percentiles_of_noisy_maps_miss_it_and_recentred_ones_do_not():
    rng = np.random.default_rng(1)
    first = rng.normal(size=200)
    maps = np.stack([first, 0.6 * first + 0.8 * rng.normal(size=200)])
    here, percentiles = coverage(lambda own: pearson(own[:, 0], own[:, 1]), maps, noise=4.0)
    assert here >= 0.95 - ERROR and percentiles < 0.7


def test_without_bias_the_ends_are_those_of_every_bootstrap():
    draws = np.random.default_rng(0).normal(size=400)
    draws -= draws.mean()
    assert recentred_ends(0.0, draws, 0.9, units=30) == pytest.approx(spread_ends(0.0, draws, 0.9, units=30))
    aside = recentred_ends(2.0, draws + 9, 0.9, units=30, bounds=(0, 3))
    assert aside == pytest.approx([2 + spread_ends(0.0, draws, 0.9, units=30)[0], 3])


@pytest.mark.parametrize(
    ("draws", "units"),
    [(np.full(200, 0.4), 20), (np.r_[np.zeros(199), 1.0], 20), (np.full(200, np.nan), 20), (np.linspace(0, 1, 200), 2)],
    ids=["all alike", "nearly all alike", "none known", "two units"],
)
def test_draws_that_say_nothing_give_no_interval(draws, units):
    assert np.isnan(recentred_ends(0.4, draws, 0.95, units=units, bounds=(0, 1))).all()
