"""Legends name what draws something, and nothing else."""

import numpy as np
import pytest
from made_up_plots import axes

from interp.plots.legend import drawn_handles, legend_beside
from interp.plots.style import legend_below

NOTHING, SOME = [np.nan, np.nan], [np.nan, 1.0]
PLACES = [0, 1]
DRAWN = {
    "line": lambda ax, y, label: ax.plot(PLACES, y, "o-", label=label),
    "dots": lambda ax, y, label: ax.scatter(PLACES, y, label=label),
    "errors": lambda ax, y, label: ax.errorbar(PLACES, y, yerr=[[0.1] * 2] * 2, label=label),
    "bars": lambda ax, y, label: ax.bar(PLACES, y, label=label),
    "level": lambda ax, y, label: ax.axhline(y[1], label=label),
    "span": lambda ax, y, label: ax.axhspan(0, y[1], label=label),
    "steps": lambda ax, y, label: ax.vlines(PLACES, 0, y, label=label),
}


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_nan_everywhere_is_not_named_and_what_is_known_somewhere_is(kind):
    ax = axes()[0]
    for label, values in (("nothing", NOTHING), ("some", SOME)):
        DRAWN[kind](ax, values, label)
    for legend in (legend_below(ax), legend_beside(ax, 9, "black")):
        assert [text.get_text() for text in legend.get_texts()] == ["some"]


def test_bands_without_ends_and_no_dots_at_all_are_not_named_and_a_line_that_stands_for_others_is():
    ax = axes()[0]
    ax.fill_between(PLACES, NOTHING, NOTHING, label="no band")
    ax.fill_between(PLACES, [0, 0], [1, 1], where=[False, False], label="no part of it")
    ax.fill_between(PLACES, [0, 0], [1, 1], label="band")
    ax.scatter([], [], label="no dots")
    ax.plot([], [], label="all dashes")
    assert {handle.get_label() for handle in drawn_handles(ax)} == {"band", "all dashes"}
