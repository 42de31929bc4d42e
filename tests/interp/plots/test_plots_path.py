"""Photos of a study: the path of attention is that of naive loops, films show every layer, galleries keep to a rule."""

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up import square_grid
from made_up_overlap import made_up_study
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from PIL import Image

from interp import plots
from interp.errors import InputError
from interp.image.boxes import Box
from interp.overlap.study.means import right_of
from interp.plots.film import PathFilm
from interp.plots.gallery import KINDS, Look, choose_cases
from interp.plots.path import attention_path, mass_by_layer
from interp.plots.style import in_short

SIZE = (120, 80)
GRID = square_grid(SIZE, 4)  # sees x 20 to 100
PHOTO = Image.fromarray(np.random.default_rng(3).integers(0, 255, (80, 120, 3), dtype=np.uint8))
MUG, TABLE = Box("mug", (25, 10, 50, 40)), Box("table", (30, 45, 95, 75))
MAPS = np.random.default_rng(0).dirichlet(np.full(16, 0.4), size=12).astype(np.float32)
STUDY = made_up_study(missing=4)
HOSTILE = "<script>alert('$\\frac$')</script> & $x_" + "y" * 60


def axes(n=2):
    """Axes of a figure that pyplot does not know."""
    return list(Figure(figsize=(10, 4)).subplots(1, n, squeeze=False).ravel())


@pytest.fixture(autouse=True)
def nothing_global(monkeypatch):
    """No figure is shown and no setting changes."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot called show"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def naive_centroid(weights):
    x = y = total = 0.0
    for weight, (x0, y0, x1, y1) in zip(weights, GRID.boxes, strict=True):
        x, y, total = x + weight * (x0 + x1) / 2, y + weight * (y0 + y1) / 2, total + weight
    return x / total, y / total


def naive_mass(weights, box):
    inside = sum(weight * GRID.membership(box)[token] for token, weight in enumerate(weights))
    return inside / sum(weights)


def test_the_path_is_the_mean_of_token_centres_weighted_by_attention_whatever_its_sum():
    path = attention_path(7 * MAPS, GRID)
    assert path == pytest.approx(np.array([naive_centroid(one) for one in MAPS]), abs=1e-4)


def test_all_attention_on_one_token_puts_the_centroid_into_its_middle():
    path = attention_path(np.eye(16), GRID)
    assert path == pytest.approx((GRID.boxes[:, :2] + GRID.boxes[:, 2:]) / 2)


def test_even_attention_has_its_centroid_in_the_middle_of_what_was_seen():
    assert attention_path(np.ones((1, 16)), GRID)[0] == pytest.approx((60, 40))


def test_mass_is_the_share_inside_the_box_and_even_attention_gives_its_area():
    mass, even = mass_by_layer(3 * MAPS, GRID, [TABLE])
    assert mass == pytest.approx([naive_mass(one, TABLE) for one in MAPS], abs=1e-6)
    assert even == pytest.approx(TABLE.area / (80 * 80), abs=1e-6)
    assert mass_by_layer(np.ones((1, 16)), GRID, [TABLE])[0] == pytest.approx(even)


def test_two_boxes_of_one_object_count_once_where_they_overlap():
    assert mass_by_layer(MAPS, GRID, [TABLE, TABLE])[0] == pytest.approx(mass_by_layer(MAPS, GRID, [TABLE])[0])


def line_of(ax):
    return next(one for one in ax.collections if isinstance(one, LineCollection))


def test_the_line_goes_from_centroid_to_centroid_and_is_coloured_by_layer():
    left, _ = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], [TABLE], axes=axes())
    path, line = attention_path(MAPS, GRID), line_of(left)
    assert np.array(line.get_segments()) == pytest.approx(np.stack([path[:-1], path[1:]], axis=1))
    assert line.get_array().tolist() == [layer + 0.5 for layer in range(11)]
    assert line.get_clim() == (0, 11)
    points, rings = (one for one in left.collections if isinstance(one, PathCollection))
    assert np.asarray(points.get_offsets()) == pytest.approx(path) and points.get_array().tolist() == list(range(12))
    assert np.asarray(rings.get_offsets()) == pytest.approx(path[[6]])  # of 12 layers, the paper's is 6
    assert {"0", "11", "mug", "table"} <= {text.get_text() for text in left.texts}


def test_the_colour_bar_says_that_it_counts_layers_from_zero():
    given = axes()
    plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], axes=given)
    [bar] = [ax for ax in given[0].figure.axes if ax not in given]
    assert "0-based, of 12" in bar.get_ylabel()
    assert "image's attention" in given[0].get_xlabel() and "image's attention" in given[1].get_ylabel()


def test_boxes_are_outlined_in_pixels_of_the_photo():
    left, _ = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], [TABLE], axes=axes())
    outlines = [patch for patch in left.patches if isinstance(patch, Rectangle) and not patch.get_hatch()]
    assert [patch.get_bbox().extents.tolist() for patch in outlines] == [list(MUG.xyxy), list(TABLE.xyxy)]
    assert left.get_xlim() == (0, 120) and left.get_ylim() == (80, 0)


def test_each_object_has_its_curve_and_its_line_of_even_attention():
    _, right = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], [TABLE], axes=axes())
    solid = [line for line in right.lines if line.get_linestyle() == "-"]
    dashed = [line for line in right.lines if line.get_linestyle() == "--"]
    for drawn, chance, box in zip(solid, dashed, (MUG, TABLE), strict=True):
        mass, even = mass_by_layer(MAPS, GRID, [box])
        assert drawn.get_ydata() == pytest.approx(mass) and chance.get_ydata()[0] == pytest.approx(even)
    names = [text.get_text() for text in right.get_legend().get_texts()]
    assert {"mug (first)", "table (second)", "even attention"} <= set(names)
    assert "0-based" in right.get_xlabel()


def test_a_question_about_one_object_has_one_curve():
    _, right = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], axes=axes())
    assert [line.get_label() for line in right.lines if line.get_linestyle() == "-"] == ["mug (first)"]


def test_a_model_of_one_layer_and_layers_without_attention_can_be_drawn(tmp_path):
    plots.plot_attention_path(PHOTO, GRID, MAPS[:1], [MUG], axes=axes())[0].figure.savefig(tmp_path / "one.png")
    silent = np.vstack([MAPS[:2], np.zeros((1, 16)), MAPS[2:4]])
    left, _ = plots.plot_attention_path(PHOTO, GRID, silent, [MUG], axes=axes())
    left.figure.savefig(tmp_path / "silent.png")
    assert np.isnan(attention_path(silent, GRID)[2]).all()
    assert "no attention" in all_texts(film_at(2, silent).figure)


def film_at(layer, maps=MAPS, **options):
    film = PathFilm(PHOTO, GRID, maps, [MUG], [TABLE], **options)
    film.frame(layer)
    return film


def all_texts(figure):
    return "\n".join(text.get_text() for text in figure.findobj(Text) if text.get_visible())


@pytest.mark.parametrize("n_layers", [1, 5])
def test_the_animation_has_one_frame_a_layer_loops_and_is_small(tmp_path, n_layers):
    maps = np.random.default_rng(1).dirichlet(np.full(16, 0.4), size=n_layers)
    path = plots.save_path_gif(tmp_path / "path.gif", PHOTO, GRID, maps, [MUG], [TABLE], milliseconds=300)
    with Image.open(path) as film:
        assert film.n_frames == n_layers and film.size == PathFilm(PHOTO, GRID, maps, [MUG], [TABLE]).frame(0).size
        if n_layers > 1:
            assert film.info["loop"] == 0
            durations = []
            for place in range(n_layers):
                film.seek(place)
                durations.append(film.info["duration"])
            assert set(durations) == {300}
    assert path.stat().st_size < 2_000_000


def test_a_large_noisy_photo_and_many_tokens_stay_below_the_limit(tmp_path):
    noise = Image.fromarray(np.random.default_rng(5).integers(0, 255, (360, 480, 3), dtype=np.uint8))
    grid = square_grid((480, 360), 24)
    maps = np.random.default_rng(1).dirichlet(np.full(576, 0.1), size=32)
    box = Box("mug", (120, 80, 200, 160))
    path = plots.save_path_gif(tmp_path / "path.gif", noise, grid, maps, [box])
    assert path.stat().st_size < 2_000_000
    with Image.open(path) as film:
        assert film.n_frames == 32
    with pytest.raises(InputError, match="allow more"):
        plots.save_path_gif(tmp_path / "small.gif", noise, grid, maps[:2], [box], most_bytes=2_000)
    assert not (tmp_path / "small.gif").exists()


def test_each_frame_shows_its_own_layer_on_one_scale():
    film = PathFilm(PHOTO, GRID, MAPS, [MUG], [TABLE])
    scales = set()
    for layer in (0, 6, 11):
        film.frame(layer)
        shown = film.overlay.get_array()
        for token, (x0, y0, x1, y1) in enumerate(GRID.boxes):
            left, right, bottom, top = film.overlay.get_extent()
            row = int(((y0 + y1) / 2 - top) / (bottom - top) * shown.shape[0])
            column = int(((x0 + x1) / 2 - left) / (right - left) * shown.shape[1])
            assert shown[row, column] == pytest.approx(MAPS[layer, token], abs=1e-6)
        scales.add(film.overlay.get_clim())
        said = all_texts(film.figure)
        assert f"layer {layer} of 0 to 11" in said and (", the paper's" in said) is (layer == 6)
        assert f"mug (first): {naive_mass(MAPS[layer], MUG):.1%}" in said
        assert f"table (second): {naive_mass(MAPS[layer], TABLE):.1%}" in said
    assert len(scales) == 1 and min(scales)[0] == 0


def test_frames_of_different_layers_differ():
    film = PathFilm(PHOTO, GRID, MAPS, [MUG], [TABLE])
    assert np.asarray(film.frame(0)).tolist() != np.asarray(film.frame(1)).tolist()
    assert np.array_equal(film.frame(0), film.frame(0))


@pytest.mark.parametrize("size", [(120, 80), (80, 200), (400, 100)])
def test_no_text_of_a_frame_is_cut_off(size):
    photo, grid = Image.new("RGB", size, "grey"), square_grid(size, 4)
    long = Box("a label that goes on and on for longer than any", tuple(grid.boxes[5]))
    film = PathFilm(photo, grid, np.tile(MAPS, (4, 1)), [long], [MUG], title="Where is it? " * 12)
    film.frame(26)
    drawn, (width, height) = film.figure.get_tightbbox(), film.figure.get_size_inches()
    assert drawn.x0 >= -0.01 and drawn.y0 >= -0.01 and drawn.x1 <= width + 0.01 and drawn.y1 <= height + 0.01


def test_words_of_strangers_are_drawn_as_they_stand():
    box = Box(HOSTILE, MUG.xyxy)
    panels = plots.plot_attention_path(PHOTO, GRID, MAPS, [box], axes=axes(), title=HOSTILE)
    film = PathFilm(PHOTO, GRID, MAPS[:2], [box], [box], title=HOSTILE)
    film.frame(1)
    for figure, at_least in ((panels[0].figure, 3), (film.figure, 5)):
        figure.draw_without_rendering()
        said = [text for text in figure.findobj(Text) if "alert" in text.get_text()]
        assert len(said) >= at_least
        assert not any(text.get_parse_math() for text in said)
        assert all("".join(text.get_text().split()).startswith("<script>alert('$") for text in said)
    assert "".join(panels[0].get_title(loc="left").split()) == "".join(HOSTILE.split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"maps": MAPS[:, :9]}, "16 tokens"),
        ({"maps": MAPS[:0]}, "16 tokens"),
        ({"maps": MAPS[0]}, "16 tokens"),
        ({"maps": -MAPS}, "negative"),
        ({"image": Image.new("RGB", (80, 120))}, "EXIF"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, change, message):
    given = {"image": PHOTO, "grid": GRID, "maps": MAPS, "first": [MUG], **change}
    with pytest.raises(InputError, match=message):
        plots.plot_attention_path(**given)
    with pytest.raises(InputError, match=message):
        plots.save_path_gif(tmp_path / "path.gif", **given)
    assert not list(tmp_path.iterdir())


def test_axes_times_and_layers_that_do_not_exist_are_refused(tmp_path):
    with pytest.raises(InputError, match="neither object"):
        plots.plot_attention_path(PHOTO, GRID, MAPS, [])
    with pytest.raises(InputError, match="3 axes"):
        plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], axes=axes(3))
    with pytest.raises(InputError, match="milliseconds"):
        plots.save_path_gif(tmp_path / "path.gif", PHOTO, GRID, MAPS, [MUG], milliseconds=1)
    with pytest.raises(InputError, match="layers 0 to 11"):
        PathFilm(PHOTO, GRID, MAPS, [MUG]).frame(12)


def cosine():
    return STUDY.values("cosine")[:, 3, -1]


def test_the_gallery_chooses_by_overlap_and_answer_alone():
    values, table = cosine(), STUDY.samples
    cases = choose_cases(table, values, each=2)
    assert [case.kind for case in cases] == [kind for kind in KINDS for _ in range(2)]
    right, known = right_of(table), np.isfinite(values)
    for kind, best in (("highest overlap, right", right), ("highest overlap, yet wrong", ~right)):
        expected = sorted(np.flatnonzero(best & known), key=lambda place: -values[place])[:2]
        assert [case.id for case in cases if case.kind == kind] == [table["id"][place] for place in expected]
    for kind, worst in (("lowest overlap, wrong", ~right), ("lowest overlap, yet right", right)):
        expected = sorted(np.flatnonzero(worst & known), key=lambda place: values[place])[:2]
        assert [case.id for case in cases if case.kind == kind] == [table["id"][place] for place in expected]
    assert all(case.sureness == table.set_index("id")["confidence"][case.id] for case in cases)


def test_the_order_of_the_table_and_ties_change_nothing():
    shuffled = STUDY.samples.sample(frac=1, random_state=3)
    values = pd.Series(cosine().round(1), index=STUDY.samples["id"])
    own = choose_cases(STUDY.samples, values.to_numpy(), each=3)
    assert own == choose_cases(shuffled, values[shuffled["id"]].to_numpy(), each=3)


def test_no_sample_comes_twice_and_a_kind_without_samples_has_no_case():
    few = made_up_study(3, right=True)
    cases = choose_cases(few.samples, few.values("cosine")[:, 3, -1], each=3)
    assert len(cases) == 3 == len({case.id for case in cases}) and {case.right for case in cases} == {True}


@pytest.mark.parametrize("overlap", [np.full(60, np.nan), np.ones(3)], ids=["undefined", "short"])
def test_a_gallery_without_overlap_is_refused(overlap):
    with pytest.raises(InputError, match="one overlap per sample"):
        choose_cases(STUDY.samples, overlap)


def looks(cases, label="mug"):
    rng = np.random.default_rng(0)
    box = Box(label, (25, 10, 50, 40))
    return {case.id: Look(PHOTO, GRID, rng.dirichlet(np.ones(16)).astype(np.float32), (box,)) for case in cases}


def test_the_gallery_draws_each_case_with_answer_gold_sureness_and_the_rule():
    cases = choose_cases(STUDY.samples, cosine())
    shown = looks(cases)
    panels = plots.plot_gallery(cases, shown, layer=3, measure="cosine", axes=axes(4))
    top = max(look.attention.max() for look in shown.values())
    for panel, case in zip(panels, cases, strict=True):
        assert panel.get_title(loc="left") == case.kind
        below = panel.get_xlabel()
        assert f"gold '{case.gold}'" in below and f"sure {case.sureness:.2f}" in below and case.id in below
        assert panel.images[1].get_clim() == (0, pytest.approx(top))
        painted = panel.images[1].get_array()
        for value, (x0, y0, x1, y1) in zip(shown[case.id].attention, GRID.boxes, strict=True):
            row, column = int((y0 + y1) / 2 / 80 * painted.shape[0]), int((x0 + x1) / 2 / 120 * painted.shape[1])
            assert painted[row, column] == pytest.approx(value)
        assert [text.get_text() for text in panel.texts] == ["mug"]
    said = " ".join(panels[0].figure._supxlabel.get_text().split())
    assert "Chosen by overlap alone" in said and "cosine, layer 3 (0-based)" in said


LONG = (
    "Where is the small green mug with the chipped handle in relation to the old oak table? Answer with left or right."
)


def test_the_gallery_says_what_was_asked_up_to_the_question_mark(tmp_path):
    study = made_up_study(8, question=LONG)
    cases = choose_cases(study.samples, study.values("cosine")[:, 3, -1])
    panels = plots.plot_gallery(cases, looks(cases), layer=3)
    panels[0].figure.savefig(tmp_path / "gallery.png")
    for panel, case in zip(panels, cases, strict=True):
        asked, said = panel.get_xlabel().split("\nsaid ")
        assert " ".join(asked.split()) == LONG.split(" Answer")[0] and max(map(len, asked.splitlines())) <= 30
        assert said.startswith(f"'{case.answer}'")


def test_a_question_too_long_for_its_place_ends_in_dots():
    assert in_short(LONG * 2, 20, 2) == "Where is the small\ngreen mug with the..."
    assert in_short("Is it there? Is it?", 30) == "Is it there?" and in_short("The mug", 30) == "The mug"


def test_path_and_film_say_question_and_answer_as_they_stand():
    asked = {"question": f"{HOSTILE}? Answer.", "answer": "$left$", "title": "a title"}
    panels = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], axes=axes(), **asked)
    film = PathFilm(PHOTO, GRID, MAPS[:2], [MUG], **asked)
    for text in (panels[0]._left_title, film.figure._suptitle):
        assert "".join(text.get_text().split()) == "".join(f"{HOSTILE}?said'$left$'atitle".split())
        assert not text.get_parse_math()
    film.frame(0)


def test_a_gallery_of_hostile_words_is_drawn_as_they_stand(tmp_path):
    study = made_up_study(8, text="$x$ <script>", gold="$x_$", id=[f"$a_{place}$" for place in range(8)])
    cases = choose_cases(study.samples, study.values("cosine")[:, 3, -1])
    panels = plots.plot_gallery(cases, looks(cases, "$\\oops$"), layer=3)
    panels[0].figure.savefig(tmp_path / "gallery.png")
    assert "<script>" in panels[0].get_xlabel()


def test_a_gallery_without_something_to_draw_is_refused():
    cases = choose_cases(STUDY.samples, cosine())
    for wrong in (lambda: plots.plot_gallery([], {}, layer=3), lambda: plots.plot_gallery(cases, {}, layer=3)):
        with pytest.raises(InputError, match="a look for each"):
            wrong()
    with pytest.raises(InputError, match="3 axes"):
        plots.plot_gallery(cases, looks(cases), layer=3, axes=axes(3))
    flat = {case.id: Look(PHOTO, GRID, np.ones(9)) for case in cases}
    with pytest.raises(InputError, match="16 tokens"):
        plots.plot_gallery(cases, flat, layer=3)


@pytest.mark.parametrize("sign", ["n", "杯", "ก", "\N{REPLACEMENT CHARACTER}"])
def test_a_long_question_of_any_script_runs_into_no_neighbour(sign):
    words = " ".join([sign * 9] * 12) + "?"
    left, right = plots.plot_attention_path(PHOTO, GRID, MAPS, [MUG], [TABLE], question=words, answer=sign * 60)
    left.figure.draw_without_rendering()
    titles = [ax.get_title(loc="left") for ax in (left, right)]
    drawn = {one.get_text(): one.get_window_extent() for one in left.figure.findobj(Text)}
    assert drawn[titles[0]].x1 <= drawn[titles[1]].x0
