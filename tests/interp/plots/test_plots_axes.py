"""Axes of figures: ticks in percent tell themselves apart, layers of two depths share no axis, titles say the mean."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from made_up import layout_of, softmax_rows
from made_up_plots import BOXES, GRID, OVERLAPS, PHOTO, TRAJECTORIES, axes, make_trajectories
from matplotlib.figure import Figure

from interp import plots
from interp.errors import InputError
from interp.image.boxes import Box
from interp.maps.trajectory import trajectory
from interp.overlap.overlap import overlap
from interp.plots.layers import over_steps
from interp.plots.style import in_percent, layer_axis, new_axes

RANGES = [(0, 1.02), (0, 0.6), (0, 0.031), (0, 0.012), (0, 0.0017), (0, 3e-6), (0.981, 0.994), (-0.002, 0.003)]


def tick_labels(axis):
    """Numbers and words of the ticks that lie in view."""
    axis.axes.figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    pairs = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=True)
    return [(float(place), label.get_text()) for place, label in pairs if low <= place <= high]


@pytest.mark.parametrize("ends", RANGES, ids=str)
def test_ticks_in_percent_are_exact_and_differ(ends):
    ax = Figure().subplots()
    ax.set_ylim(*ends)
    in_percent(ax.yaxis)
    ticks = tick_labels(ax.yaxis)
    assert len(ticks) > 2 and len({words for _, words in ticks}) == len(ticks)
    for place, words in ticks:
        assert float(words.removesuffix("%")) / 100 == pytest.approx(place, rel=1e-6, abs=1e-12)
        assert "-0%" not in words


def test_whole_percent_have_no_decimals():
    ax = Figure().subplots()
    ax.set_ylim(0, 1)
    in_percent(ax.yaxis)
    assert [words for _, words in tick_labels(ax.yaxis)] == ["0%", "20%", "40%", "60%", "80%", "100%"]


def test_the_path_of_a_small_box_has_ticks_that_differ():
    maps = np.random.default_rng(1).dirichlet(np.ones(16), size=12).astype(np.float32)
    _, right = plots.plot_attention_path(PHOTO, GRID, maps, [Box("pin", (30, 30, 33, 33))], axes=axes(2))
    ticks = [words for _, words in tick_labels(right.yaxis)]
    assert len(set(ticks)) == len(ticks) > 3


def flips(depth):
    kinds = {"kind": "window", "n": 4, "share": 0.5, "low": 0.2, "high": 0.8}
    return pd.DataFrame([{**kinds, "layer": layer} for layer in range(depth)])


def effect(depth):
    names = ("auroc", "low", "high", "low_all", "high_all", "null_low", "null_high", "p", "p_max", "p_bh")
    return SimpleNamespace(
        **{name: np.linspace(0.4, 0.6, depth) for name in names}, n=np.full(depth, 10), n_right=5, n_wrong=5, level=0.95
    )


BY_LAYER = {
    "share": lambda depth, ax: plots.plot_share_by_layer(make_trajectories(2, depth), ax),
    "overlap": lambda depth, ax: plots.plot_overlap_by_layer(
        [overlap(one, GRID, BOXES) for one in make_trajectories(2, depth)], ax
    ),
    "flips": lambda depth, ax: plots.plot_flips_by_layer(flips(depth), ax),
    "auroc": lambda depth, ax: plots.plot_auroc_by_layer(effect(depth), ax, score="cosine"),
    "path": lambda depth, ax: plots.plot_attention_path(
        PHOTO, GRID, np.ones((depth, 16), np.float32), BOXES[:1], axes=[Figure().subplots(), ax]
    ),
}


@pytest.mark.parametrize("second", BY_LAYER)
@pytest.mark.parametrize("first", BY_LAYER)
def test_models_of_two_depths_on_one_axis_are_refused_and_nothing_is_drawn(first, second):
    [ax] = axes()
    BY_LAYER[first](12, ax)
    before = len(ax.get_children())
    with pytest.raises(InputError, match="a model of 12 layers, and one of 4 was given"):
        BY_LAYER[second](4, ax)
    assert len(ax.get_children()) == before and ax.get_xlim() == (-0.5, 11.5)


@pytest.mark.parametrize("name", BY_LAYER)
def test_models_of_one_depth_share_an_axis_and_its_shade(name):
    [ax] = axes()
    BY_LAYER[name](12, ax)
    BY_LAYER[name](12, ax)
    assert sum(str(patch.get_gid()).startswith("spatial-lens-layers-") for patch in ax.patches) == 1


def test_an_axis_that_was_cleared_takes_a_model_of_another_depth():
    [ax] = axes()
    layer_axis(ax, 12)
    ax.clear()
    assert new_axes(ax, (3, 3), n_layers=4) is ax


def of_steps(n, seed=0):
    """A trajectory over so many answer tokens."""
    layout = layout_of(16, pads=1)
    rows = np.stack([softmax_rows(layout, 3, 2, seed=seed + step) for step in range(n)], axis=2)
    full = np.concatenate([rows, np.zeros((3, 2, n, n - 1), np.float32)], axis=-1)
    return trajectory(full, layout.extended([f"t{step}" for step in range(n - 1)]), GRID, sample_id=f"s{n}")


@pytest.mark.parametrize(
    "steps, says", [((1,), ""), ((4,), ", mean over 4 answer tokens"), ((2, 5), ", mean over 2 to 5 answer tokens")]
)
def test_titles_say_over_how_many_answer_tokens_a_curve_is_the_mean(steps, says):
    looked = [of_steps(n) for n in steps]
    for results in (looked, pd.concat([one.to_dataframe() for one in looked])):
        title = plots.plot_share_by_layer(results, axes()[0]).get_title(loc="left")
        assert title == f"Where attention goes, {len(steps)} sample{'s'[: len(steps) - 1]}{says}"
    found = [overlap(one, GRID, BOXES) for one in looked]
    for results in (found, pd.concat([one.to_dataframe() for one in found])):
        title = plots.plot_overlap_by_layer(results, axes()[0]).get_title(loc="left")
        assert title == f"Attention and boxes of the objects, head mean{says}"


def test_titles_name_the_region():
    title = plots.plot_overlap_by_layer(OVERLAPS, axes()[0], region="mug").get_title(loc="left")
    assert title == "Attention and mug, head mean"
    assert over_steps(TRAJECTORIES) == "" and over_steps(OVERLAPS[0]) == ""
