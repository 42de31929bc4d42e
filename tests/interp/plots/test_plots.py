"""Figures: what is drawn is what was measured, in the photo's own pixels, and nothing global is touched."""

from dataclasses import replace
from itertools import combinations

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import square_grid
from made_up_plots import BOXES, GRID, MAPS, OVERLAPS, PHOTO, SIZE, TRAJECTORIES, axes, legend_texts, lines
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from interp import plots
from interp.errors import InputError
from interp.image.boxes import Box
from interp.image.grid import ImageGrid
from interp.maps.trajectory import NORMALISATIONS
from interp.plots.canvas import canvas
from interp.plots.maps import LABELS
from interp.stats.intervals import wilson

ALPHAS = pd.DataFrame(
    [
        {"alpha": alpha, "relation": relation, "correct": (index + place) % 3 > 0}
        for place, alpha in enumerate((0.0, 0.5, 1.0, 2.0))
        for relation in ("left", "above")
        for index in range(10)
    ]
)

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
    ax.figure.draw_without_rendering()
    places = [text.get_window_extent() for text in ax.texts]
    assert not any(one.overlaps(other) for index, one in enumerate(places) for other in places[:index])


@pytest.mark.parametrize("size", [(120, 80), (30, 300), (300, 30)])
def test_no_name_of_a_box_leaves_the_photo_at_any_resolution_however_long_it_is(size, tmp_path):
    names = ["a mug of the green kind that stands behind the other one, " * 3, "two\nlines", "it costs $5 to $6", "mug"]
    edges = ((0.1, 0.1, 0.3, 0.3), (0.7, 0.0, 1.0, 1.0), (0.4, 0.45, 0.6, 0.55), (0.9, 0.9, 1.0, 1.0))
    boxes = [Box(name, tuple(np.array([*size, *size]) * box)) for name, box in zip(names, edges, strict=True)]
    [ax] = plots.plot_heatmaps(Image.new("RGB", size), square_grid(size, 4, seen=(0, 0, *size)), MAPS[:1], boxes=boxes)
    for dpi in (50, 100, 231):
        ax.figure.set_dpi(dpi)
        ax.figure.draw_without_rendering()
        frame = ax.get_window_extent().padded(0.01)
        for text in ax.texts:
            extent = text.get_window_extent()
            assert frame.contains(*extent.min) and frame.contains(*extent.max), (dpi, text.get_text())
        shown = [text.get_text() for text in ax.texts]
        assert shown[0].endswith("...") and names[0].startswith(shown[0][:-3])
        if size == SIZE:
            assert shown[1:] == ["two lines", *names[2:]]


def test_maps_share_one_scale_from_zero_unless_each_is_asked_for():
    shared = overlays(plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3)))
    assert {image.get_clim() for image in shared} == {(0, MAPS.max())}
    each = overlays(plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=axes(3), scale="each"))
    assert [image.get_clim()[1] for image in each] == pytest.approx(MAPS.max(axis=1))


@pytest.mark.parametrize(
    ("normalisation", "words"),
    [
        ("image", "share of the image's attention"),
        ("keys", "share of all attention"),
        ("no-sinks", "sinks out"),
        ("relative", "neutral prompt"),
    ],
)
def test_a_colour_bar_names_the_normalisation(normalisation, words):
    given = axes(3)
    plots.plot_heatmaps(PHOTO, GRID, MAPS, axes=given, normalisation=normalisation)
    bars = [ax for ax in given[0].figure.axes if ax not in given]
    assert len(bars) == 1 and words in bars[0].get_ylabel() and bars[0].get_ylabel().startswith("attention per token")
    assert ("spread evenly" in bars[0].get_ylabel()) == (normalisation in ("image", "relative"))
    assert tuple(LABELS) == NORMALISATIONS and len(set(LABELS.values())) == len(LABELS)


def test_a_colour_bar_says_what_the_values_are_of():
    given = axes(1)
    plots.plot_heatmaps(PHOTO, GRID, MAPS[:1], axes=given, values_are="attention per patch")
    [bar] = [ax for ax in given[0].figure.axes if ax not in given]
    assert "attention per patch,\nshare of the image's attention" in bar.get_ylabel()
    assert "token" not in bar.get_ylabel()


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
    [drawn] = overlays(plots.plot_heatmaps(PHOTO, grid, np.array([[0.4, 0.2, 0.6]]), axes=axes(1)))
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


@pytest.mark.parametrize(
    "name", ["layer 17 (0-based), " * 4, "第十七层，" * 9, "ชั้น " * 3], ids=["latin", "chinese", "thai"]
)
def test_a_long_title_runs_into_no_other_map(name):
    for panels in (
        plots.plot_heatmaps(PHOTO, GRID, MAPS, titles=[name] * 3),
        plots.plot_before_after(PHOTO, GRID, *MAPS[:2], titles=(name, name)),
    ):
        figure = panels[0].figure
        figure.draw_without_rendering()
        drawn = [one for one in figure.findobj(Text) if one.get_text() in {ax.get_title(loc="left") for ax in panels}]
        extents = [one.get_window_extent() for one in drawn if one.get_text()]
        assert len(extents) == 3 and not any(one.overlaps(other) for one, other in combinations(extents, 2))


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
