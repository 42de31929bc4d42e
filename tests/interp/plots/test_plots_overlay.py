"""Maps over a photo: the photo stays to be seen where there is little attention, and colour bars show what is drawn."""

import numpy as np
import pytest
from made_up import square_grid
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from interp import plots
from interp.errors import InputError
from interp.plots.canvas import canvas
from interp.plots.gallery import Case, Look
from interp.plots.overlay import MOST, colour_bar, lay_over, over_photo
from interp.plots.style import DIVERGING, SEQUENTIAL
from interp.stats.intervals import wilson

SIZE = (80, 80)
GRID = square_grid(SIZE, 4, seen=(0, 0, 80, 80))
COLOURS = {
    "red": (215, 45, 45),
    "blue": (50, 85, 215),
    "yellow": (220, 205, 45),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
}
ONE = np.eye(16, dtype=np.float32)[5]  # all attention on one token


def rendered(figure):
    """What a figure looks like, int [row column rgb]."""
    screen = FigureCanvasAgg(figure)
    screen.draw()
    return np.asarray(screen.buffer_rgba())[..., :3].astype(int)


def seen_at(ax, x, y):
    """The colour that is drawn at a point of the photo."""
    column, row = ax.transData.transform((x, y))
    pixels = rendered(ax.figure)
    return pixels[len(pixels) - 1 - int(row), int(column)]


def path_of(photo, ax):
    """A photo under the path of attention."""
    from interp.image.boxes import Box

    axes = [ax, ax.figure.add_axes((0.9, 0.1, 0.1, 0.2))]
    return plots.plot_attention_path(photo, GRID, [ONE], [Box("mug", (70, 70, 79, 79))], axes=axes)


DRAWN = {
    "heat map": lambda photo, ax: plots.plot_heatmaps(photo, GRID, [ONE], axes=[ax]),
    "gallery": lambda photo, ax: plots.plot_gallery(
        [Case("any", "s", 0.5, True, 0.9, "left", "left")], {"s": Look(photo, GRID, ONE)}, layer=0, axes=[ax]
    ),
    "difference": lambda photo, ax: lay_over(ax, canvas(photo, GRID), ONE, Normalize(-1, 1), DIVERGING),
    "path": path_of,
}


@pytest.mark.parametrize("colour", COLOURS.values(), ids=COLOURS)
@pytest.mark.parametrize("drawn", DRAWN.values(), ids=DRAWN)
def test_where_there_is_no_attention_the_photo_keeps_its_colours(drawn, colour):
    ax = Figure(figsize=(4, 4)).subplots()
    drawn(Image.new("RGB", SIZE, colour), ax)
    found = seen_at(ax, 70, 10)
    assert np.abs(found - colour).max() <= 50
    strongest = np.flatnonzero(np.array(colour) == max(colour))
    assert found.max() - found.min() >= (max(colour) - min(colour)) / 2 and found.argmax() in strongest


@pytest.mark.parametrize(("shade", "side"), [(0, 0.25), (255, 0.75)], ids=["dark", "light"])
@pytest.mark.parametrize(("colours", "low"), [(SEQUENTIAL, 0.0), (DIVERGING, -1.0)])
def test_a_colour_bar_shows_the_colours_as_they_lie_over_a_dark_and_a_light_photo(colours, low, shade, side):
    shares = np.linspace(low, 1, 16, dtype=np.float32)
    ax = Figure(figsize=(4, 4)).subplots()
    drawn = lay_over(ax, canvas(Image.new("RGB", SIZE, (shade,) * 3), GRID), shares, Normalize(low, 1), colours)
    bar = colour_bar(drawn, [ax], "attention")
    for share, (x0, y0, x1, y1) in list(zip(shares, GRID.boxes, strict=True))[1:-1]:
        column, row = bar.ax.transAxes.transform((side, (share - low) / (1 - low)))
        pixels = rendered(ax.figure)
        in_bar = pixels[len(pixels) - 1 - int(row), int(column)]
        assert np.abs(in_bar - seen_at(ax, (x0 + x1) / 2, (y0 + y1) / 2)).max() <= 8


def test_a_map_covers_more_of_the_photo_the_more_attention_there_is_and_never_all():
    one_sided, two_sided = (over_photo(name)(np.linspace(0, 1, 257))[:, 3] for name in (SEQUENTIAL, DIVERGING))
    assert one_sided[0] == two_sided[128] == 0 and one_sided[-1] == two_sided[0] == two_sided[-1] == MOST < 1
    assert (np.diff(one_sided) >= 0).all() and (np.diff(two_sided[128:]) >= 0).all()
    np.testing.assert_allclose(two_sided, two_sided[::-1], atol=1e-9)


@pytest.mark.parametrize(
    ("options", "says"), [({}, "one scale for these 3 maps"), ({"scale": "each"}, "scale of this map alone")]
)
def test_a_colour_bar_says_which_maps_share_its_scale(options, says):
    panels = list(Figure(figsize=(9, 3)).subplots(1, 3))
    plots.plot_heatmaps(Image.new("RGB", SIZE), GRID, np.tile(ONE, (3, 1)), axes=panels, **options)
    bars = [ax.get_ylabel() for ax in panels[0].figure.axes if ax not in panels]
    assert bars and all(says in bar for bar in bars)


def test_titles_and_answers_that_others_wrote_are_drawn_as_they_stand():
    panels = list(Figure(figsize=(9, 3)).subplots(1, 3))
    plots.plot_before_after(Image.new("RGB", SIZE), GRID, ONE, ONE, titles=("$x_$", "said $\\frac$"), axes=panels)
    [strip] = plots.plot_one_flip({"only": ["$x_$", "b"]}, "$x_$", "$\\frac$", Figure().subplots()).figure.axes
    for ax in (panels[0], strip):
        ax.figure.draw_without_rendering()
    assert [text.get_text() for text in strip.texts] == ["$x_$", "b"]


def test_flips_by_layer_are_drawn_as_they_are_given():
    import pandas as pd

    rows = [{"kind": kind, "layer": layer, "n": 9, "share": layer / 4 + (kind == "b") / 8, "low": 0.0, "high": 1.0}
            for kind in "ab" for layer in range(3)]  # fmt: skip
    ax = plots.plot_flips_by_layer(pd.DataFrame(rows[::-1]), references={"control": wilson(1, 4)})
    drawn = {line.get_label(): list(line.get_ydata()) for line in ax.lines}
    assert drawn == {"b": [0.125, 0.375, 0.625], "a": [0.0, 0.25, 0.5], "control: 25%": [0.25, 0.25]}
    for wrong in (pd.DataFrame(rows).drop(columns="share"), pd.DataFrame(rows).head(0)):
        with pytest.raises(InputError, match="one per window"):
            plots.plot_flips_by_layer(wrong)
    with pytest.raises(InputError, match="each layer and kind"):
        plots.plot_one_flip({"a": ["x"], "b": ["x", "y"]}, "x", "y")


def test_changed_answers_are_shares_with_the_control_beside_them():
    import pandas as pd

    rows = pd.DataFrame({"alpha": [0.0, 0.0, 1.0, 1.0], "changed": [True, False, False, False]})
    ax = plots.plot_changed_by_alpha(rows, Figure().subplots(), control=rows.assign(changed=True))
    curves = {line.get_label(): list(line.get_ydata()) for line in ax.lines if len(line.get_ydata()) == 2}
    assert curves["all (n = 2)"] == [0.5, 0.0] and curves["amount of attention alone (n = 2)"] == [1.0, 1.0]
    with pytest.raises(InputError, match="columns alpha"):
        plots.plot_changed_by_alpha(rows, Figure().subplots(), control=rows.drop(columns="changed"))
