"""Titles and legends of an overlap study's figures: they count what is compared, and name what is drawn."""

import numpy as np
from matplotlib.figure import Figure

from interp import plots
from interp.stats.association import association


def ax():
    """Axes of a figure that pyplot does not know."""
    return Figure(figsize=(7, 5)).subplots()


def legend_texts(drawn):
    return [text.get_text() for text in drawn.get_legend().get_texts()]


def test_a_title_counts_the_answers_that_are_compared_and_nothing_is_drawn_of_intervals_that_are_not_there():
    rng = np.random.default_rng(3)
    scores, right = rng.normal(size=(40, 5)), np.arange(40) % 2 == 0
    scores[:8] = np.nan
    scores[8:10, 2] = np.nan
    strata = np.where(np.arange(40) < 30, "left", "right")
    right[30:] = True
    for groups, named in ((None, True), (np.arange(40) % 2, False)):
        found = association(scores, right, strata=strata, groups=groups, seed=0, n_draws=50, n_shuffles=50)
        drawn = plots.plot_auroc_by_layer(found, ax())
        assert drawn.get_title(loc="left").endswith("(20 to 22 of 40 answers)")
        told = legend_texts(drawn)
        assert ("its 95 % interval for all together" in told) == ("AUROC with its 95 % interval" in told) == named
        assert ("AUROC (no interval)" in told) != named
