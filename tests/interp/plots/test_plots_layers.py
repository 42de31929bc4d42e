"""Figures by layer: the lines are what was measured, from results and from tables alike."""

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import layout_of, softmax_rows
from made_up_plots import BOXES, GRID, OVERLAPS, TRAJECTORIES, axes, legend_texts, lines, make_trajectories

from interp import plots
from interp.errors import InputError
from interp.image.boxes import Box
from interp.layers import HEAD_MEAN
from interp.maps.trajectory import trajectory
from interp.overlap.figures import study as overlap_study
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.overlap import overlap


@pytest.fixture(autouse=True)
def nothing_global(monkeypatch):
    """No figure is shown, no setting changes, and pyplot holds no figure in the end."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot called show"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


def test_the_share_line_is_the_mean_over_heads_and_samples_and_the_dashed_one_the_tokens():
    ax = plots.plot_share_by_layer(TRAJECTORIES, axes()[0])
    [drawn], [dashed] = lines(ax), lines(ax, "--")
    assert drawn.get_ydata() == pytest.approx(np.mean([one.share_by_layer("image") for one in TRAJECTORIES], axis=0))
    assert dashed.get_ydata() == pytest.approx(float(TRAJECTORIES[0].token_share("image")))
    assert "0-based" in ax.get_xlabel()


def test_tables_and_results_give_the_same_lines():
    marks = {"correct": [True, True, False, False]}
    for plot, objects, options in (
        (plots.plot_share_by_layer, TRAJECTORIES[::-1], {}),
        (
            plots.plot_overlap_by_layer,
            OVERLAPS[::-1],
            marks,
        ),  # marks go with the order of the samples, not of their names
    ):
        table = pd.concat([one.to_dataframe() for one in objects])
        one, other = plot(objects, axes()[0], **options), plot(table, axes()[0], **options)
        for left, right in zip(one.lines, other.lines, strict=True):
            assert left.get_ydata() == pytest.approx(right.get_ydata(), abs=1e-6)


def test_samples_that_share_an_id_are_refused_not_averaged_into_one():
    table = pd.concat([TRAJECTORIES[0].to_dataframe()] * 2)
    with pytest.raises(InputError, match="one id"):
        plots.plot_share_by_layer(table, axes()[0])


@pytest.mark.parametrize(
    ("depth", "span", "name"),
    [(12, (5.5, 6.5), "paper's layers 17-18 of 32 = here 6 of 12"), (32, (16.5, 18.5), "paper's layers 17-18 of 32")],
)
def test_the_layers_of_the_paper_are_shaded_and_named(depth, span, name):
    ax = plots.plot_share_by_layer(make_trajectories(1, depth), axes()[0])
    shade = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (shade.x0, shade.x1) == pytest.approx(span)
    assert name in legend_texts(ax)


def test_a_single_sample_has_no_band_and_that_of_several_has_its_level_named():
    alone, several = (plots.plot_share_by_layer(one, axes()[0], level=0.9) for one in (TRAJECTORIES[0], TRAJECTORIES))
    assert not alone.collections and not any("interval" in text for text in legend_texts(alone))
    assert several.collections and "90 % interval" in legend_texts(several)


def test_each_part_of_the_layout_gets_its_line():
    ax = plots.plot_share_by_layer(TRAJECTORIES, axes()[0], parts=("bos", "image", "image_marker"))
    assert len(lines(ax)) == 3 and {"bos", "image", "image marker"} <= set(legend_texts(ax))


def test_right_and_wrong_answers_get_their_own_lines_and_even_lines():
    marks = {"s0": True, "s1": False, "s2": True, "s3": False}
    ax = plots.plot_overlap_by_layer(OVERLAPS, axes()[0], measure="mass", correct=marks)
    profiles = [one.values("mass")[:, HEAD_MEAN] for one in OVERLAPS]
    right, wrong = lines(ax)
    assert right.get_ydata() == pytest.approx((profiles[0] + profiles[2]) / 2)
    assert wrong.get_ydata() == pytest.approx((profiles[1] + profiles[3]) / 2)
    assert lines(ax, ":")[0].get_ydata()[0] == pytest.approx(OVERLAPS[0].even_score("mass"))
    assert {"answered right (n = 2)", "answered wrong (n = 2)", "evenly spread attention"} <= set(legend_texts(ax))


@pytest.mark.parametrize("measure", (*MEASURES, *MAP_MEASURES))
def test_every_measure_is_drawn_from_results_and_tables_alike(measure):
    table = pd.concat([one.to_dataframe() for one in OVERLAPS])
    wanted = np.mean([one.by_layer(measure) for one in OVERLAPS], axis=0)
    for given in (OVERLAPS, table):
        ax = plots.plot_overlap_by_layer(given, axes()[0], measure=measure)
        assert lines(ax)[0].get_ydata() == pytest.approx(wanted, abs=1e-6)
        even = [line.get_ydata()[0] for line in lines(ax, ":")]
        if measure in MEASURES:
            assert even == pytest.approx([np.mean([one.even_score(measure) for one in OVERLAPS])], abs=1e-6)
        else:
            assert not even and "evenly spread attention" not in legend_texts(ax)
        assert ax.get_ylabel() == overlap_study.name_axis(measure, "image")
        assert (ax.get_ylim()[0] == 0) == (measure != "nss")


def test_what_can_be_negative_is_drawn_whole():
    against = [overlap(one, GRID, BOXES, contrast=("mug", "table")) for one in TRAJECTORIES]
    away = [overlap(one, GRID, [Box("mug", tuple(GRID.boxes[0]))]) for one in TRAJECTORIES]
    for given, chosen in (
        *((against, {"measure": measure, "region": "mug minus table"}) for measure in MEASURES),
        (away, {"measure": "nss"}),
    ):
        ax = plots.plot_overlap_by_layer(given, axes()[0], **chosen)
        low, high = ax.get_ylim()
        drawn = np.concatenate([line.get_ydata() for line in (*lines(ax), *lines(ax, ":"))])
        assert low < drawn.min() and drawn.max() < high, chosen
        assert drawn.min() < 0, chosen


def test_a_region_for_a_measure_of_the_map_alone_is_refused():
    for given in (OVERLAPS, OVERLAPS[0].to_dataframe()):
        with pytest.raises(InputError, match="not of a region"):
            plots.plot_overlap_by_layer(given, axes()[0], measure="peaks", region="mug")


def test_a_step_without_a_value_leaves_a_sample_out_of_its_layer_alone_in_tables_too():
    layout = layout_of(16)
    rows = np.stack([softmax_rows(layout, 12, 2, seed=seed) for seed in range(2)], axis=2)
    steps = np.concatenate([rows, np.zeros((*rows.shape[:3], 1))], axis=3)
    steps[0, :, 1, :] = 0  # the second row of the first layer looks at the generated token alone
    steps[0, :, 1, -1] = 1
    found = overlap(trajectory(steps, layout, GRID, sample_id="s9"), GRID, BOXES)
    for given in (found, found.to_dataframe()):
        ax = plots.plot_overlap_by_layer(given, axes()[0])
        assert "all samples (n = 0 to 1 by layer, 0 to 1 undefined left out)" in legend_texts(ax)
        for line in (*lines(ax), *lines(ax, ":")):
            assert np.isnan(line.get_ydata()).tolist() == [True] + [False] * 11


def test_a_sample_counts_in_every_layer_where_it_has_a_value():
    rows = TRAJECTORIES[0].image_attention[:, :, 0]
    gone = overlap(np.where(np.arange(12)[:, None, None] == 3, 0, rows), GRID, BOXES, sample_id="s9")
    ax = plots.plot_overlap_by_layer([*OVERLAPS, gone], axes()[0])
    table = np.array([one.by_layer("cosine") for one in (*OVERLAPS, gone)])
    assert np.argwhere(np.isnan(table)).tolist() == [[4, 3]]
    assert lines(ax)[0].get_ydata() == pytest.approx(np.nanmean(table, axis=0))
    assert "all samples (n = 4 to 5 by layer, 0 to 1 undefined left out)" in legend_texts(ax)


def test_samples_without_a_box_are_left_out_of_the_line_and_counted():
    unseen = overlap(TRAJECTORIES[0], GRID, [Box("mug", (0, 0, 10, 10))])
    ax = plots.plot_overlap_by_layer([*OVERLAPS, unseen], axes()[0])
    mean = np.mean([one.values("cosine")[:, HEAD_MEAN] for one in OVERLAPS], axis=0)
    assert lines(ax)[0].get_ydata() == pytest.approx(mean)
    assert "all samples (n = 4, 1 undefined left out)" in legend_texts(ax)


def test_marks_that_do_not_fit_the_samples_are_refused():
    for wrong in ([True], {"s0": True}, [True] * 9):
        with pytest.raises(InputError, match="right-or-wrong"):
            plots.plot_overlap_by_layer(OVERLAPS, axes()[0], correct=wrong)


def test_nothing_or_two_models_can_not_be_drawn_on_one_axis():
    shallow = [replace(one, sample_id="shallow") for one in make_trajectories(1, 6)]
    mixed = pd.concat([one.to_dataframe() for one in [*TRAJECTORIES, *shallow]])
    for wrong in ([], [*TRAJECTORIES, *shallow], mixed, mixed.head(0)):
        with pytest.raises(InputError, match="one model"):
            plots.plot_share_by_layer(wrong, axes()[0])
