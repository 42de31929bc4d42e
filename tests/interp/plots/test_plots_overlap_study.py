"""Figures of an overlap study: every line, band, bar and cell stands where the arrays say, with its null beside it."""

from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
from made_up_overlap import made_up_study
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from interp import plots
from interp.errors import InputError
from interp.overlap.figures.association import strongest
from interp.overlap.study.means import NULL_LABELS, right_of
from interp.stats.association import association
from interp.stats.clusters import clustered_mean, group_names, ratio_over_groups
from interp.stats.intervals import wilson
from interp.stats.partial import partial_effect

STUDY = made_up_study(missing=4)
DRAWS = {"n_draws": 200, "n_shuffles": 200}


def ax():
    """Axes of a figure that pyplot does not know."""
    return Figure(figsize=(7, 5)).subplots()


def axes(n):
    return list(Figure(figsize=(4 * n, 4)).subplots(1, n, squeeze=False).ravel())


def association_of(effect, **how):
    study = made_up_study(80, effect=effect)
    return association(study.values("cosine"), study.samples["right"], seed=0, **DRAWS, **how)


FOUND, NOTHING = association_of(3.0), association_of(0.0)


def made_up_effect(middle, separated=()):
    """An effect with intervals that are not even about their middle."""
    middle = np.array(middle)
    held = np.isin(np.arange(len(middle)), separated)
    return SimpleNamespace(log_odds=middle, low=middle - 0.3, high=middle + 0.5, separated=held)


EFFECT = SimpleNamespace(
    level=0.95,
    unadjusted=made_up_effect([0.0, 0.5, 1.2]),
    adjusted=made_up_effect([0.1, 0.2, 9.0], [2]),
    beside=("area", "$x$"),
)
CELLS = np.random.default_rng(0).random((6, 4))

DRAWINGS = {
    "answers": lambda own: plots.plot_overlap_by_answer(STUDY, own),
    "lift": lambda own: plots.plot_lift_by_layer(STUDY, own),
    "coverage": lambda own: plots.plot_coverage(STUDY.samples, own),
    "auroc": lambda own: plots.plot_auroc_by_layer(FOUND, own),
    "cells": lambda own: plots.plot_layer_by_head(CELLS, own, label="mass", marked=CELLS > 0.5),
    "effects": lambda own: plots.plot_partial_effect(EFFECT, own),
}


@pytest.fixture(autouse=True)
def nothing_global(monkeypatch):
    """No figure is shown and no setting changes."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(plt, "show", lambda *_, **__: pytest.fail("a plot called show"))
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("name", DRAWINGS)
def test_plots_draw_where_they_are_told_and_make_axes_that_can_be_saved(name, tmp_path):
    import matplotlib.pyplot as plt

    own = ax()
    assert DRAWINGS[name](own) is own and plt.get_fignums() == []
    DRAWINGS[name](None).figure.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000


def labelled(drawn):
    """Lines by their label; the marks of both answers have a line without a label behind them."""
    return {line.get_label(): line for line in drawn.lines if not line.get_label().startswith("_")}


def curves(drawn, colour):
    """Lines with data in a colour."""
    return [line for line in drawn.lines if to_rgba(line.get_color()) == to_rgba(colour) and len(line.get_xdata())]


def ends_of(band):
    """Low and high of a filled band, by x."""
    vertices = band.get_paths()[0].vertices
    return {x: (vertices[vertices[:, 0] == x, 1].min(), vertices[vertices[:, 0] == x, 1].max())
            for x in np.unique(vertices[:, 0])}  # fmt: skip


def legend_texts(drawn):
    return [text.get_text() for text in drawn.get_legend().get_texts()]


def test_right_and_wrong_answers_are_means_over_their_samples_with_bands_over_groups():
    drawn = plots.plot_overlap_by_answer(STUDY, ax(), measure="mass", seed=4)
    values, right = STUDY.values("mass")[:, :, -1].astype(float), right_of(STUDY.samples)
    known, groups = np.isfinite(values).all(axis=1), STUDY.samples["group"].to_numpy()
    for colour, own, band in zip(("#0072B2", "#D55E00"), (right, ~right), drawn.collections, strict=True):
        [line] = curves(drawn, colour)
        assert line.get_ydata() == pytest.approx(values[own & known].mean(axis=0))
        ends = ends_of(band)
        for layer in range(6):
            exact = clustered_mean(values[own & known, layer], groups[own & known], seed=4)
            assert ends[layer] == pytest.approx((exact.low, exact.high))
    lost = int((right & ~known).sum())
    assert any(f"{lost} undefined left out" in text for text in legend_texts(drawn)) == (lost > 0)


def test_every_null_of_the_study_is_a_line_at_its_mean():
    drawn = plots.plot_overlap_by_answer(STUDY, ax(), measure="mass")
    for name, words in NULL_LABELS.items():
        null = STUDY.values(f"mass_{name}")[:, :, -1]
        assert labelled(drawn)[words].get_ydata() == pytest.approx(np.nanmean(null, axis=0), abs=1e-6)
    assert not set(NULL_LABELS.values()) & set(legend_texts(plots.plot_overlap_by_answer(STUDY, ax(), measure="hit")))


def test_regions_and_normalisations_are_drawn_as_named():
    asked = {"measure": "mass", "region": "first minus second", "normalisation": "keys"}
    drawn = plots.plot_overlap_by_answer(STUDY, ax(), **asked)
    values = STUDY.values("mass", region="first minus second", normalisation="keys")[:, :, -1]
    right = right_of(STUDY.samples) & np.isfinite(values).all(axis=1)
    assert curves(drawn, "#0072B2")[0].get_ydata() == pytest.approx(values[right].mean(axis=0), abs=1e-6)
    assert "first object minus second object" in drawn.get_title(loc="left") and "all keys" in drawn.get_ylabel()
    assert "0-based" in drawn.get_xlabel()
    assert any("paper's layers" in text for text in legend_texts(drawn))


@pytest.mark.parametrize("right", [True, False])
def test_answers_of_one_kind_leave_the_other_line_out_and_say_that_it_is_empty(right):
    drawn = plots.plot_overlap_by_answer(made_up_study(12, right=right), ax())
    assert len(curves(drawn, "#0072B2")) == int(right) and len(curves(drawn, "#D55E00")) == int(not right)
    assert any("(n = 0)" in text for text in legend_texts(drawn))


def test_a_study_without_any_box_is_drawn_as_empty():
    drawn = plots.plot_overlap_by_answer(made_up_study(6, missing=6), ax())
    assert not curves(drawn, "#0072B2")


def test_lift_is_the_mean_over_the_mean_of_the_null_with_one_as_no_lift():
    drawn = plots.plot_lift_by_layer(STUDY, ax(), measure="mass", seed=2)
    values = STUDY.values("mass")[:, :, -1].astype(float)
    known, groups = np.isfinite(values).all(axis=1), group_names(STUDY.samples)
    for (name, words), band in zip(NULL_LABELS.items(), drawn.collections, strict=True):
        null = STUDY.values(f"mass_{name}")[:, :, -1].astype(float)
        assert labelled(drawn)[f"against {words}"].get_ydata() == pytest.approx(
            values[known].mean(axis=0) / null[known].mean(axis=0)
        )
        exact = ratio_over_groups(values[known], null[known], groups[known], seed=2)
        ends = ends_of(band)
        assert [ends[layer] for layer in range(6)] == [
            pytest.approx(pair) for pair in zip(exact.low, exact.high, strict=True)
        ]
    assert labelled(drawn)["no more than the null"].get_ydata() == [1, 1]


@pytest.mark.parametrize("measure", ["lift", "hit", "auroc", "cosmic"])
def test_a_ratio_without_zero_or_null_is_refused(measure):
    with pytest.raises(InputError, match="null"):
        plots.plot_lift_by_layer(STUDY, ax(), measure=measure)


def mixed_samples():
    """Questions about one and about two objects, and of each kind, right and wrong."""
    rows = [("mug", "all"), ("mug", "none"), ("mug|cup", "all"), ("mug|cup", "some"), ("mug|cup", "none")]
    rows += [("dog", "absent"), ("dog|cat", "absent"), ("", "unread")]
    counts = (9, 3, 8, 4, 2, 5, 1, 6)
    every = [row for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    right = np.arange(len(every)) % 3 > 0
    return pd.DataFrame(every, columns=["objects", "found"]).assign(right=right, relation="left")


def test_coverage_draws_questions_about_one_and_about_two_objects_apart():
    samples = mixed_samples()
    found, right, objects = samples["found"], samples["right"].to_numpy(), samples["objects"].str.count(r"\|")
    looked_for = ~found.isin(["absent", "unread"])
    panels = [
        (looked_for & (objects == 0), ("all", "none")),
        (looked_for & (objects == 1), ("all", "some", "none")),
        (np.ones(len(samples), bool), ("absent", "unread")),
    ]
    drawn, start = plots.plot_coverage(samples, ax()), 0
    bars = iter(drawn.containers)
    for of, kinds in panels:
        for own in (np.ones(len(samples), bool), right, ~right):
            one = next(bars)
            places, middle, [stems] = one.lines[0].get_xdata(), one.lines[0].get_ydata(), one.lines[2]
            assert np.round(places).tolist() == list(range(start, start + len(kinds)))
            for kind, share, stem in zip(kinds, middle, stems.get_paths(), strict=True):
                exact = wilson(int((found[of & own] == kind).sum()), int((of & own).sum()))
                assert (share, *stem.vertices[:, 1]) == pytest.approx((exact.estimate, exact.low, exact.high))
        start += len(kinds)
    counts = [int(label.get_text().rpartition("= ")[2]) for label in drawn.get_xticklabels()]
    assert counts == [9, 3, 8, 4, 2, 6, 6]
    heads = [text.get_text() for text in drawn.texts]
    assert heads == ["about one object (n = 12)", "about two objects (n = 14)", "all questions (n = 38)"]


def test_coverage_of_a_study_is_that_of_its_two_objects():
    drawn = plots.plot_coverage(STUDY.samples, ax())
    found = STUDY.samples["found"]
    assert [text.get_text() for text in drawn.get_xticklabels()][:3] == [
        f"{words}\nn = {(found == kind).sum()}"
        for kind, words in (("all", "both found"), ("some", "one found"), ("none", "none found"))
    ]


def test_coverage_of_answers_of_one_kind_can_be_drawn(tmp_path):
    study = made_up_study(5, right=True, missing=5)
    plots.plot_coverage(study.samples, ax()).figure.savefig(tmp_path / "coverage.png")


def test_the_auroc_line_its_interval_and_its_null_are_those_of_the_association():
    drawn = plots.plot_auroc_by_layer(FOUND, ax())
    line = labelled(drawn)["AUROC with its 95 % interval"]
    assert line.get_ydata() == pytest.approx(FOUND.auroc[:, -1])
    null, interval = drawn.collections
    for band, low, high in ((null, FOUND.null_low, FOUND.null_high), (interval, FOUND.low, FOUND.high)):
        ends = ends_of(band)
        assert [ends[layer] for layer in range(6)] == [
            pytest.approx(pair) for pair in zip(low[:, -1], high[:, -1], strict=True)
        ]
    assert labelled(drawn)["chance"].get_ydata() == [0.5, 0.5]
    assert "head mean" in drawn.get_ylabel() and "right" in drawn.get_title(loc="left")


def test_filled_marks_are_the_layers_that_survive_the_correction():
    drawn = plots.plot_auroc_by_layer(FOUND, ax())
    below = FOUND.p_max[:, -1] < 0.05
    assert below.any() and not below.all()
    marks = labelled(drawn)
    assert marks["corrected p below 0.05"].get_xdata().tolist() == np.flatnonzero(below).tolist()
    assert marks["corrected p not below 0.05"].get_xdata().tolist() == np.flatnonzero(~below).tolist()
    nothing = labelled(plots.plot_auroc_by_layer(NOTHING, ax()))
    assert "corrected p below 0.05" not in nothing and "corrected p not below 0.05" in nothing


def test_the_star_is_the_layer_farthest_from_chance_to_either_side():
    drawn = labelled(plots.plot_auroc_by_layer(FOUND, ax()))
    assert drawn["farthest from chance: layer 3"].get_xdata().tolist() == [3]
    bar = drawn["its 95 % interval for all together"]
    assert bar.get_xdata().tolist() == [3, 3]
    assert bar.get_ydata() == pytest.approx([FOUND.low_all[3, -1], FOUND.high_all[3, -1]])
    assert strongest(np.array([0.6, 0.2, np.nan])) == 1


def test_without_wrong_answers_the_auroc_says_that_it_is_not_defined():
    study = made_up_study(10, right=True)
    found = association(study.values("cosine")[:, :, -1], study.samples["right"], seed=0, **DRAWS)
    drawn = plots.plot_auroc_by_layer(found, ax())
    assert "10 right and 0 wrong" in drawn.texts[0].get_text() and not drawn.collections


def test_pooled_and_within_stand_side_by_side_on_one_scale():
    within = association_of(3.0, strata=made_up_study(80).samples["relation"])
    left, right = plots.plot_auroc_pooled_and_within(FOUND, within, axes(2))
    assert left.get_ylim() == right.get_ylim()
    assert labelled(left)["AUROC with its 95 % interval"].get_ydata() == pytest.approx(FOUND.auroc[:, -1])
    assert labelled(right)["AUROC with its 95 % interval"].get_ydata() == pytest.approx(within.auroc[:, -1])
    with pytest.raises(InputError, match="two axes"):
        plots.plot_auroc_pooled_and_within(FOUND, within, axes(1))


def test_the_heat_map_shows_every_cell_and_the_head_mean_apart():
    drawn = plots.plot_layer_by_head(CELLS, ax(), label="mass")
    heads, mean = drawn.images
    assert np.array_equal(heads.get_array(), CELLS[:, :-1]) and np.array_equal(mean.get_array(), CELLS[:, -1:])
    assert heads.get_extent()[1] + 0.5 < mean.get_extent()[0]
    assert tuple(heads.get_extent()[2:]) == tuple(mean.get_extent()[2:]) == (-0.5, 5.5) and heads.origin == "lower"
    assert heads.get_clim() == mean.get_clim() == (0, CELLS.max()) and heads.get_cmap().name == "viridis"
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["0", "1", "2", "mean"]
    assert "0-based" in drawn.get_ylabel() and "0-based" in drawn.get_xlabel()
    bar = next(one for one in drawn.figure.axes if one is not drawn)
    assert bar.get_ylabel() == "mass"


def test_about_a_null_the_colours_diverge_evenly():
    drawn = plots.plot_layer_by_head(CELLS, ax(), label="AUROC", null=0.5)
    low, high = drawn.images[0].get_clim()
    assert low + high == pytest.approx(1.0) and high - 0.5 == pytest.approx(np.abs(CELLS - 0.5).max())
    assert drawn.images[0].get_cmap().name == "RdBu_r"


def test_cells_that_survive_get_a_dot_in_their_middle_and_are_counted():
    marked = np.zeros(CELLS.shape, dtype=bool)
    marked[2, 1] = marked[4, 3] = True
    drawn = plots.plot_layer_by_head(CELLS, ax(), label="AUROC", null=0.5, marked=marked, mark="survives")
    left, right = drawn.images[1].get_extent()[:2]
    assert drawn.lines[0].get_xydata() == pytest.approx(np.array([[1, 2], [(left + right) / 2, 4]]))
    assert "survives: 2 of 24 cells" in legend_texts(drawn)
    nowhere = plots.plot_layer_by_head(CELLS, ax(), label="AUROC", marked=np.zeros_like(marked), mark="survives")
    (handle,) = [one for one in nowhere.get_legend().legend_handles if one.get_label().startswith("survives: 0 of 24")]
    assert handle.get_marker() == "" and not len(nowhere.lines[0].get_xdata())


def test_the_papers_layers_are_framed_on_the_heat_map():
    drawn = plots.plot_layer_by_head(np.ones((32, 5)), ax(), label="mass")
    [frame] = [patch for patch in drawn.patches if isinstance(patch, Rectangle)]
    assert (frame.get_y(), frame.get_y() + frame.get_height()) == (16.5, 18.5)
    assert "paper's layers 17-18 of 32" in legend_texts(drawn)


def test_cells_that_are_not_defined_are_grey_and_named():
    cells = CELLS.copy()
    cells[1, 2] = np.nan
    drawn = plots.plot_layer_by_head(cells, ax(), label="mass")
    assert drawn.images[0].get_array().mask.sum() == 1 and "not defined" in legend_texts(drawn)
    plots.plot_layer_by_head(np.full((6, 4), np.nan), ax(), label="mass", null=0.5).figure.draw_without_rendering()


@pytest.mark.parametrize(
    "wrong",
    [
        {"values": CELLS[0]},
        {"values": CELLS[:, :1]},
        {"values": CELLS[:0]},
        {"values": CELLS / 0.0},
        {"marked": CELLS[0]},
    ],
    ids=["one layer", "one column", "none", "infinite", "marks"],
)
def test_cells_of_another_shape_are_refused(wrong):
    with pytest.raises(InputError, match="cells"):
        plots.plot_layer_by_head(**{"values": CELLS, "label": "mass", **wrong}, ax=ax())


def test_effects_are_drawn_with_the_ends_of_their_intervals_about_no_effect():
    drawn = plots.plot_partial_effect(EFFECT, ax())
    lines = labelled(drawn)
    for name, one, stems in zip(
        ("alone", "beside area, $x$"), (EFFECT.unadjusted, EFFECT.adjusted), drawn.collections, strict=True
    ):
        assert lines[name].get_ydata() == pytest.approx(one.log_odds)
        assert np.abs(lines[name].get_xdata() - np.arange(3)).max() < 0.3
        ends = np.array(stems.get_segments())[:, :, 1]
        assert ends == pytest.approx(np.stack([one.low, one.high], axis=1))
    assert lines["no effect"].get_ydata() == [0, 0]
    assert lines["beside area, $x$: size held by the penalty"].get_ydata().tolist() == [9.0]


def test_a_real_effect_is_drawn_and_the_head_mean_taken():
    study = made_up_study(60, effect=3.0)
    told = partial_effect(study.values("cosine"), study.samples["right"], study.samples[["area_union"]])
    drawn = labelled(plots.plot_partial_effect(told, ax()))
    assert drawn["beside area_union"].get_ydata() == pytest.approx(told.adjusted.log_odds[:, -1])
    assert np.argmax(drawn["alone"].get_ydata()) == 3


def replaced(**changes):
    """The study with other parts, as the plots see it."""
    return SimpleNamespace(measures=STUDY.measures, **{"samples": STUDY.samples, "values": STUDY.values, **changes})


def effect_of(wrong):
    return SimpleNamespace(unadjusted=EFFECT.unadjusted, adjusted=wrong, beside=(), level=0.95)


def test_empty_or_misshapen_input_is_refused():
    empty = replaced(samples=STUDY.samples.head(0), values=lambda *_, **__: np.ones((0, 6, 4)))
    gaps = replaced(samples=STUDY.samples.assign(right=[True, None] * 30))
    for draw, message in (
        (lambda: plots.plot_overlap_by_answer(empty, ax()), "none of them 0"),
        (lambda: plots.plot_overlap_by_answer(STUDY, ax(), measure="cosmic"), "cosmic"),
        (lambda: plots.plot_overlap_by_answer(STUDY, ax(), region="third"), "third"),
        (lambda: plots.plot_overlap_by_answer(STUDY, ax(), normalisation="minmax"), "minmax"),
        (lambda: plots.plot_overlap_by_answer(gaps, ax()), "without gaps"),
        (lambda: plots.plot_lift_by_layer(made_up_study(4, missing=4), ax()), "no sample"),
        (lambda: plots.plot_coverage(STUDY.samples.head(0), ax()), "one row"),
        (lambda: plots.plot_coverage(STUDY.samples.assign(found="both"), ax()), "all, some, none, absent, unread"),
        (lambda: plots.plot_partial_effect(effect_of(made_up_effect([])), ax()), "give one of"),
        (lambda: plots.plot_partial_effect(effect_of(made_up_effect(np.ones((2, 2, 2)))), ax()), "give one of"),
    ):
        with pytest.raises(InputError, match=message):
            draw()
