"""Titles and labels of figures claim no head, layer or sample that was not given."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up_plots import BOXES, GRID, MAPS, OVERLAPS, PHOTO, TRAJECTORIES, axes
from matplotlib.text import Text

from interp import plots
from interp.errors import InputError
from interp.plots.film import PathFilm
from interp.plots.gallery import KINDS, Case, Look

CASE = Case(next(iter(KINDS)), "s0", 0.5, True, 0.9, "left", "left")


def path_of(**said):
    return plots.plot_attention_path(PHOTO, GRID, MAPS, BOXES[:1], BOXES[1:], axes=axes(2), **said)[0].figure


def film_of(**said):
    return PathFilm(PHOTO, GRID, MAPS, BOXES[:1], **said).figure


def film_of_tokens(**said):
    return PathFilm(PHOTO, GRID, MAPS, BOXES[:1], tokens=["a", "b", "c"], **said).figure


def gallery_of(**said):
    look = {"s0": Look(PHOTO, GRID, MAPS[0], tuple(BOXES))}
    return plots.plot_gallery([CASE], look, layer=5, axes=axes(1), **said)[0].figure


@pytest.mark.parametrize(("draw", "places"), [(path_of, 2), (film_of, 1), (film_of_tokens, 1), (gallery_of, 2)])
def test_maps_of_one_head_are_not_called_those_of_the_head_mean(draw, places):
    for heads in ("", "head 3", "head mean"):
        said = [" ".join(text.get_text().split()) for text in draw(heads=heads).findobj(Text)]
        named = [words for words in said if "head" in words]
        assert len(named) == (places if heads else 0)
        assert all(heads in words for words in named)
    assert not any("head" in text.get_text() for text in draw().findobj(Text))


def table(of=TRAJECTORIES):
    return pd.concat([one.to_dataframe() for one in of])


@pytest.mark.parametrize(
    ("held", "says"), [((1,), "(head 1)"), ((0, 1), "(mean over heads 0-1)")], ids=["one head", "all heads"]
)
def test_the_mean_over_heads_of_a_table_is_that_of_the_heads_in_it(held, says):
    rows = table()
    ax = plots.plot_share_by_layer(rows[rows["head"].isin(held)], axes()[0])
    assert says in ax.get_ylabel()
    wanted = np.mean([one.share("image")[:, list(held)].mean(axis=1) for one in TRAJECTORIES], axis=0)
    assert ax.lines[0].get_ydata() == pytest.approx(wanted)
    assert "(mean over heads)" in plots.plot_share_by_layer(TRAJECTORIES, axes()[0]).get_ylabel()


@pytest.mark.parametrize(
    ("plot", "results"),
    [(plots.plot_share_by_layer, TRAJECTORIES), (plots.plot_overlap_by_layer, OVERLAPS)],
    ids=["share", "overlap"],
)
def test_a_table_of_some_layers_is_refused_and_not_drawn_as_the_first_ones(plot, results):
    rows = table(results)
    with pytest.raises(InputError, match="holds layers 5-7,9 alone, and they would stand as 0 to 3"):
        plot(rows[rows["layer"].isin([5, 6, 7, 9])], axes()[0])


def windows(layers, kind="only layer l"):
    return [{"kind": kind, "layer": layer, "n": 4, "share": 0.5, "low": 0.2, "high": 0.8} for layer in layers]


def test_changes_of_all_layers_at_once_are_no_window_of_a_layer():
    rows = pd.DataFrame(windows(range(6)) + windows([-1], "all layers"))
    ax = plots.plot_flips_by_layer(rows, axes()[0])
    assert [line.get_label() for line in ax.lines] == ["only layer l"] and ax.get_xlim() == (-0.5, 5.5)
    with pytest.raises(InputError, match="one per window"):
        plots.plot_flips_by_layer(rows[rows["layer"] < 0], axes()[0])


@pytest.mark.parametrize("layers", [range(1, 6), [0, 1, 3, 4, 5], [0, 0, 1, 2, 3, 4, 5]], ids=str)
def test_windows_that_lack_a_layer_are_refused(layers):
    with pytest.raises(InputError, match="one row for each layer from 0 to 5"):
        plots.plot_flips_by_layer(pd.DataFrame(windows(layers)), axes()[0])


def line(shape):
    """An association and an effect of arrays of one shape."""
    values = np.full(shape, 0.6)
    names = (
        "auroc",
        "low",
        "high",
        "low_all",
        "high_all",
        "null_low",
        "null_high",
        "p",
        "p_max",
        "p_bh",
        "log_odds",
        "separated",
    )
    return SimpleNamespace(**dict.fromkeys(names, values), n=np.full(shape, 10), n_right=5, n_wrong=5, level=0.95)


def test_the_score_of_one_line_is_called_that_of_the_head_mean_only_where_it_was_taken_from_heads():
    for shape, mean in (((12,), False), ((12, 5), True)):
        one = line(shape)
        partial = SimpleNamespace(unadjusted=one, adjusted=one, beside=("area",), level=0.95)
        for ax in (plots.plot_auroc_by_layer(one, axes()[0]), plots.plot_partial_effect(partial, axes()[0])):
            assert "overlap" in ax.get_ylabel() and ("head mean" in ax.get_ylabel()) is mean
        assert "mass, head 3" in plots.plot_auroc_by_layer(one, axes()[0], score="mass, head 3").get_ylabel()
