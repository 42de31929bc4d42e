"""Figures: what is drawn is what was measured, in the photo's own pixels, and nothing global is touched."""

from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import layout_of, softmax_rows, square_grid
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image

from interp import plots
from interp.boxes import Box
from interp.errors import InputError
from interp.grid import ImageGrid
from interp.overlap import HEAD_MEAN, overlap
from interp.plots.canvas import canvas
from interp.stats import wilson
from interp.trajectory import trajectory

SIZE = (120, 80)
GRID = square_grid(SIZE, 4)  # sees x 20 to 100
PHOTO = Image.new("RGB", SIZE, (90, 140, 60))
BOXES = [Box("mug", (25, 10, 50, 40)), Box("table", (30, 45, 95, 75))]
MAPS = np.random.default_rng(0).dirichlet(np.ones(16), size=3).astype(np.float32)
ALPHAS = pd.DataFrame(
    [
        {"alpha": alpha, "relation": relation, "correct": (index + place) % 3 > 0}
        for place, alpha in enumerate((0.0, 0.5, 1.0, 2.0))
        for relation in ("left", "above")
        for index in range(10)
    ]
)


def make_trajectories(n, n_layers=12):
    layout = layout_of(16, pads=1)
    return [
        trajectory(softmax_rows(layout, n_layers, 2, seed=seed), layout, GRID, sample_id=f"s{seed}")
        for seed in range(n)
    ]


TRAJECTORIES = make_trajectories(4)
OVERLAPS = [overlap(one, GRID, BOXES) for one in TRAJECTORIES]


def axes(n=1):
    """Axes of a figure that pyplot does not know."""
    return list(Figure(figsize=(9, 3)).subplots(1, n, squeeze=False).ravel())


DRAWINGS = {
    "share": lambda ax: plots.plot_share_by_layer(TRAJECTORIES, ax),
    "overlap": lambda ax: plots.plot_overlap_by_layer(OVERLAPS, ax),
    "accuracy": lambda ax: plots.plot_accuracy_by_alpha(ALPHAS, ax),
    "balance": lambda ax: plots.plot_balance(np.full((3, 4), 0.5), ax),
    "tokens": lambda ax: plots.plot_token_grid(PHOTO, GRID, ax),
    "photo": lambda ax: plots.plot_photo(PHOTO, GRID, ax, boxes=BOXES),
    "heatmap": lambda ax: plots.plot_heatmaps(PHOTO, GRID, MAPS[:1], boxes=BOXES, axes=None if ax is None else [ax])[0],
}


@pytest.fixture(autouse=True)
def nothing_global(monkeypatch):
    """No figure is shown, no setting changes, and pyplot holds no figure in the end."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot called show"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before
    plt.close("all")


@pytest.mark.parametrize("name", DRAWINGS)
def test_plots_draw_on_the_given_axes_and_leave_pyplot_alone(name):
    import matplotlib.pyplot as plt

    [ax] = axes()
    assert DRAWINGS[name](ax) is ax
    assert plt.get_fignums() == []


@pytest.mark.parametrize("name", DRAWINGS)
def test_plots_make_axes_when_given_none_and_can_be_saved(name, tmp_path):
    DRAWINGS[name](None).figure.savefig(tmp_path / "figure.png", dpi=30)
    assert Image.open(tmp_path / "figure.png").size[0] > 50


def lines(ax, style="-"):
    return [line for line in ax.lines if line.get_linestyle() == style]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


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


def test_a_single_sample_has_no_band():
    assert not plots.plot_share_by_layer(TRAJECTORIES[0], axes()[0]).collections
    assert plots.plot_share_by_layer(TRAJECTORIES, axes()[0]).collections


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


def test_unknown_words_are_refused():
    with pytest.raises(InputError, match="picture"):
        plots.plot_share_by_layer(TRAJECTORIES, axes()[0], parts=("picture",))
    with pytest.raises(InputError, match="iou"):
        plots.plot_overlap_by_layer(OVERLAPS, axes()[0], measure="iou")
    with pytest.raises(InputError, match="colour scale"):
        plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3), scale="minmax")
    with pytest.raises(InputError, match="normalisation"):
        plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3), normalisation="minmax")


def overlays(panels):
    """The map drawn last on each panel, over the photo."""
    return [ax.images[1] for ax in panels]


def value_at(drawn, x, y):
    """The number under a point of the photo."""
    left, right, bottom, top = drawn.get_extent()
    values = drawn.get_array()
    return values[int((y - top) / (bottom - top) * values.shape[0]), int((x - left) / (right - left) * values.shape[1])]


def test_every_token_is_painted_where_it_looked():
    drawn = overlays(plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3)))
    for shares, image in zip(MAPS, drawn, strict=True):
        for value, (x0, y0, x1, y1) in zip(shares, GRID.boxes, strict=True):
            for x, y in (((x0 + x1) / 2, (y0 + y1) / 2), (x0 + 1, y0 + 1), (x1 - 1, y1 - 1)):
                assert value_at(image, x, y) == pytest.approx(value)


def test_what_the_model_never_saw_is_blank_and_hatched():
    [ax] = plots.plot_heatmaps(PHOTO, GRID, MAPS[:1], axes=axes(1))
    assert value_at(overlays([ax])[0], 5, 40) is np.ma.masked
    hatched = [patch.get_bbox().bounds for patch in ax.patches if patch.get_hatch()]
    assert hatched == [(0, 0, 20, 80), (100, 0, 20, 80)]
    assert "33.3% of the photo" in ax.get_xlabel()


def test_a_photo_seen_whole_has_no_hatching():
    [ax] = plots.plot_heatmaps(PHOTO, square_grid(SIZE, 4, seen=(0, 0, 120, 80)), MAPS[:1], axes=axes(1))
    assert not ax.patches and not ax.get_xlabel()


def test_boxes_are_drawn_in_the_pixels_of_the_photo():
    for ax in plots.plot_heatmaps(PHOTO, GRID, MAPS, boxes=BOXES, axes=axes(3)):
        outlines = [patch for patch in ax.patches if isinstance(patch, Rectangle) and not patch.get_hatch()]
        assert [patch.get_bbox().extents.tolist() for patch in outlines] == [list(box.xyxy) for box in BOXES]
        assert [text.get_text() for text in ax.texts] == ["mug", "table"]
        assert ax.get_xlim() == (0, 120) and ax.get_ylim() == (80, 0)


def test_names_of_boxes_do_not_hide_each_other():
    crowd = [
        Box(name, (30 + place, 20 + place, 80 + place, 60 + place))
        for place, name in enumerate(("mug", "cup", "glass", "jar"))
    ]
    [ax] = plots.plot_heatmaps(PHOTO, GRID, MAPS[:1], boxes=crowd, axes=axes(1))
    places = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for index, one in enumerate(places) for other in places[:index])


def test_maps_share_one_scale_from_zero_unless_each_is_asked_for():
    shared = overlays(plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3)))
    assert {image.get_clim() for image in shared} == {(0, MAPS.max())}
    each = overlays(plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3), scale="each"))
    assert [image.get_clim()[1] for image in each] == pytest.approx(MAPS.max(axis=1))


@pytest.mark.parametrize(
    ("normalisation", "words"), [("image", "share of the image's attention"), ("keys", "share of all attention")]
)
def test_a_colour_bar_names_the_normalisation(normalisation, words):
    given = axes(3)
    plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=given, normalisation=normalisation)
    bars = [ax for ax in given[0].figure.axes if ax not in given]
    assert len(bars) == 1 and words in bars[0].get_ylabel()


def test_a_map_of_nothing_can_be_drawn():
    panels = plots.plot_heatmaps(PHOTO, GRID, [np.zeros(16), np.full(16, np.nan)], axes=axes(2), scale="each")
    panels[0].figure.draw_without_rendering()


def test_before_and_after_share_a_scale_and_the_difference_is_centred_on_zero():
    before, after, change = overlays(plots.plot_before_after(PHOTO, GRID, MAPS[0], MAPS[1], axes=axes(3)))
    assert before.get_clim() == after.get_clim() == (0, MAPS[:2].max())
    assert value_at(change, 30, 10) == pytest.approx(MAPS[1][0] - MAPS[0][0])
    low, high = change.get_clim()
    assert low == -high and high == pytest.approx(np.abs(MAPS[1] - MAPS[0]).max())


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (1500, 30), (30, 1500), (5000, 4000)])
def test_photos_of_any_shape_are_drawn_with_all_that_was_seen(size, tmp_path):
    grid = square_grid(size, 4)
    photo = Image.new("L", size, 128)
    panels = plots.plot_heatmaps(photo, grid, MAPS, boxes=[Box("mug", tuple(grid.boxes[5]))], axes=axes(3))
    (x0, y0, x1, y1), frame = grid.seen, canvas(photo, grid).frame
    assert frame[0] <= x0 and frame[1] <= y0 and frame[2] >= x1 and frame[3] >= y1
    assert max(frame[2] - frame[0], frame[3] - frame[1]) <= 2.5 * min(frame[2] - frame[0], frame[3] - frame[1]) + 2
    x, y = (grid.boxes[5][:2] + grid.boxes[5][2:]) / 2
    assert value_at(overlays(panels)[0], x, y) == pytest.approx(MAPS[0][5])
    panels[0].figure.savefig(tmp_path / "figure.png", dpi=30)


def test_views_that_overlap_are_averaged():
    boxes = np.array([[0, 0, 120, 80], [0, 0, 60, 80], [60, 0, 120, 80]])
    grid = ImageGrid(SIZE, boxes, np.zeros(3), np.array([0, 0, 1]), np.array([0, 1, 1]), (0, 0, 120, 80))
    [drawn] = overlays(plots.plot_heatmaps(PHOTO, grid, [[0.4, 0.2, 0.6]], axes=axes(1)))
    assert (value_at(drawn, 30, 40), value_at(drawn, 90, 40)) == pytest.approx((0.3, 0.5))
    plots.plot_token_grid(PHOTO, grid, axes()[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Image.new("RGB", (80, 120)), GRID, MAPS), "EXIF"),
        ((PHOTO, GRID, MAPS[:, :9]), "16 tokens"),
        ((PHOTO, GRID, MAPS[0]), "16 tokens"),
        ((PHOTO, GRID, MAPS[:0]), "16 tokens"),
    ],
)
def test_a_photo_or_map_that_does_not_fit_the_grid_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        plots.plot_heatmaps(*arguments)


def test_titles_and_axes_are_one_per_map():
    with pytest.raises(InputError, match="1 titles"):
        plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3), titles=["layer 17"])
    with pytest.raises(InputError, match="2 axes"):
        plots.plot_before_after(PHOTO, GRID, MAPS[0], MAPS[1], axes=axes(2))


def test_the_token_grid_outlines_every_token_in_the_pixels_of_the_photo():
    ax = plots.plot_token_grid(PHOTO, GRID, axes()[0])
    corners = [path.get_extents().extents.tolist() for path in ax.collections[0].get_paths()]
    assert corners == GRID.boxes.tolist()
    assert [text.get_text() for text in ax.texts] == ["0", "15"]


def test_the_token_grid_of_some_views_outlines_their_tokens_only():
    tiles = replace(GRID, view=np.repeat([0, 1], 8))
    ax = plots.plot_token_grid(PHOTO, tiles, axes()[0], views=[1])
    corners = [path.get_extents().extents.tolist() for path in ax.collections[0].get_paths()]
    assert corners == GRID.boxes[8:].tolist()
    assert [text.get_text() for text in ax.texts] == ["8", "15"]
    with pytest.raises(InputError, match="choose from these"):
        plots.plot_token_grid(PHOTO, tiles, axes()[0], views=[2])


def test_accuracy_lines_are_shares_right_with_wilson_bands():
    ax = plots.plot_accuracy_by_alpha(ALPHAS, axes()[0])
    left, above, everything = lines(ax)
    for line, table in (
        (left, ALPHAS[ALPHAS["relation"] == "left"]),
        (above, ALPHAS[ALPHAS["relation"] == "above"]),
        (everything, ALPHAS),
    ):
        assert line.get_ydata() == pytest.approx(table.groupby("alpha")["correct"].mean().to_numpy())
    band = ax.collections[2].get_paths()[0].vertices
    found = wilson(int(ALPHAS[ALPHAS["alpha"] == 0.5]["correct"].sum()), 20)
    ends = band[np.isclose(band[:, 0], 0.5), 1]
    assert (ends.min(), ends.max()) == pytest.approx((found.low, found.high))
    assert legend_texts(ax) == ["left (n = 10)", "above (n = 10)", "all (n = 20)"]


def test_chance_and_other_policies_are_drawn_as_lines():
    ax = plots.plot_accuracy_by_alpha(ALPHAS, axes()[0], chance=0.25, references={"AdaptVis": 0.9})
    assert {"chance", "AdaptVis: 90.0%"} <= set(legend_texts(ax))


@pytest.mark.parametrize("table", [ALPHAS.drop(columns="alpha"), ALPHAS.head(0), ALPHAS.assign(alpha=np.nan)])
def test_a_table_without_alphas_or_answers_is_refused(table):
    with pytest.raises(InputError, match="columns alpha"):
        plots.plot_accuracy_by_alpha(table, axes()[0])


@pytest.mark.parametrize("values", [np.ones(3), np.full((2, 2), 1.5), np.zeros((0, 4))])
def test_a_balance_outside_zero_to_one_is_refused(values):
    with pytest.raises(InputError, match="balance"):
        plots.plot_balance(values, axes()[0])


def test_a_real_photo_is_drawn_with_its_real_boxes(assets, tmp_path):
    photo = Image.open(assets / "coco128" / "images" / "000000000064.jpg")
    width, height = photo.size
    labels = np.loadtxt(assets / "coco128" / "labels" / "000000000064.txt")[:, 1:] * [width, height, width, height]
    boxes = [
        Box(f"thing {place}", (x - w / 2, y - h / 2, x + w / 2, y + h / 2))
        for place, (x, y, w, h) in enumerate(labels.tolist())
    ]
    grid = square_grid(photo.size, 24)
    shares = grid.union_membership(boxes[-1:])
    panels = plots.plot_heatmaps(photo, grid, [shares / shares.sum()], boxes=boxes, axes=axes(1))
    x, y = boxes[-1].centre
    assert value_at(overlays(panels)[0], x, y) > 0
    panels[0].figure.savefig(tmp_path / "photo.png", dpi=40)
