"""Intervals in figures: axis or legend names their level as it was given, and only where one is drawn."""

import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_overlap import made_up_study
from made_up_plots import OVERLAPS, TRAJECTORIES, legend_texts
from matplotlib.figure import Figure

from interp import plots
from interp.numeric import bounded, named_level
from interp.overlap.figures.association import plot_auroc_by_layer
from interp.overlap.figures.by_layer import plot_overlap_by_layer
from interp.overlap.figures.partial_effect import plot_partial_effect
from interp.overlap.figures.study import plot_coverage, plot_lift_by_layer, plot_overlap_by_answer
from interp.plots.intervals import named_intervals, with_interval
from interp.report.numbers import decimal
from interp.stats.association import association

ENDS = {"low": 0.2, "high": 0.8}
SWEEP = pd.DataFrame(
    [
        {"id": place, "alpha": alpha, "correct": place % 2 == 0, "changed": place < 9, "confidence": place / 20}
        for alpha in (0.5, 1.0)
        for place in range(20)
    ]
)
FLIPS = pd.DataFrame([{"kind": "only", "layer": layer, "n": 9, "share": 0.5, **ENDS} for layer in range(4)])
CONFIDENCE = pd.DataFrame([{"relation": "all", "measure": "accuracy", "n": 9, "value": 0.5, **ENDS}])
GAINS = pd.DataFrame([{"setting": "one", "difference": 0.5, **ENDS}])
BINS = pd.DataFrame([{"confidence": 0.5, "accuracy": 0.5, "n": 9, **ENDS}])
STUDY = made_up_study(40)
SCORES = np.random.default_rng(0).normal(size=(40, 6))


def association_at(level):
    return association(SCORES, np.arange(40) < 20, seed=0, n_draws=50, n_shuffles=50, level=level)


def partial_at(level):
    effect = SimpleNamespace(log_odds=np.ones(6), low=np.zeros(6), high=np.ones(6), separated=np.zeros(6))
    return SimpleNamespace(adjusted=effect, unadjusted=effect, beside=(), level=level)


DRAWINGS = {
    "alpha": lambda ax, level: plots.plot_accuracy_by_alpha(SWEEP, ax, level=level),
    "changed": lambda ax, level: plots.plot_changed_by_alpha(SWEEP, ax, level=level),
    "threshold": lambda ax, level: plots.plot_accuracy_by_threshold(SWEEP, 0.5, 1.0, ax, level=level),
    "confidence": lambda ax, level: plots.plot_confidence_by_relation(CONFIDENCE, ax, level=level),
    "gains": lambda ax, level: plots.plot_gains(GAINS, ax, level=level),
    "reliability": lambda ax, level: plots.plot_reliability(BINS, ax, level=level),
    "flips": lambda ax, level: plots.plot_flips_by_layer(FLIPS, ax, level=level),
    "share": lambda ax, level: plots.plot_share_by_layer(TRAJECTORIES, ax, level=level),
    "overlap": lambda ax, level: plot_overlap_by_layer(OVERLAPS, ax, level=level),
    "answers": lambda ax, level: plot_overlap_by_answer(STUDY, ax, level=level),
    "lift": lambda ax, level: plot_lift_by_layer(STUDY, ax, level=level),
    "coverage": lambda ax, level: plot_coverage(STUDY.samples, ax, level=level),
    "auroc": lambda ax, level: plot_auroc_by_layer(association_at(level), ax),
    "partial": lambda ax, level: plot_partial_effect(partial_at(level), ax),
}
LEVEL = re.compile(r"([\d.]+) ?%(?= (?:Wilson |interval|of shuffled))")


def said(ax):
    """What stands at the axes and in the legend."""
    legend = legend_texts(ax) if ax.get_legend() else []
    return " | ".join([ax.get_xlabel(), ax.get_ylabel(), *legend])


@pytest.mark.parametrize("level", [0.8, 0.95, 0.975, 0.999])
@pytest.mark.parametrize("name", DRAWINGS)
def test_a_level_is_named_as_it_was_given_with_all_its_decimals(name, level):
    told = LEVEL.findall(said(DRAWINGS[name](Figure().subplots(), level)))
    assert told and [float(one) / 100 for one in told] == pytest.approx([level] * len(told), abs=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.57, 0.9, 0.95, 0.975, 0.99, 0.999, 0.9999, 0.9999999])
def test_a_level_reads_back_as_itself_in_figures_and_in_sentences(level):
    assert float(named_level(level).removesuffix(" %")) == pytest.approx(100 * level, abs=1e-9)
    assert f"[{named_level(level)} CI " in decimal(0.5, 0.4, 0.6, level=level)
    assert len(named_level(level)) <= len("99.99999 %")


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("plot", "results"), [(plots.plot_share_by_layer, TRAJECTORIES), (plot_overlap_by_layer, OVERLAPS)]
)
def test_bands_over_samples_are_drawn_and_named_from_three_on(plot, results, n):
    ax = plot(results[:n], Figure().subplots())
    assert bool(ax.collections) == ("interval" in said(ax)) == (n > 2)


def test_what_others_drew_on_the_axes_is_no_band_of_ours():
    ax = Figure().subplots()
    ax.fill_between([0, 1], [0, 0], [1, 1])
    assert "interval" not in said(plot_overlap_by_layer(OVERLAPS[:1], ax))


def test_handles_and_axes_name_intervals_where_some_number_has_one():
    nothing, some = [np.nan, None], [np.nan, 0.2]
    assert not bounded() and not bounded([], nothing) and bounded(nothing, some) and bounded(0.0)
    assert named_intervals(nothing, [], level=0.95) == []
    for bars in (False, True):
        [handle] = named_intervals(nothing, some, level=0.975, over="groups", bars=bars)
        assert handle.get_label() == "97.5 % interval over groups"
    assert [one.get_label() for one in named_intervals(some, level=None)] == ["interval"]
    assert with_interval("accuracy", nothing, level=0.95) == "accuracy"
    assert with_interval("accuracy", some, level=0.95, kind="band") == "accuracy, 95 % band"
