"""An overlap study at its boundaries: no method is named without its number, and no rounding says all or none."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_up_overlap import made_up_study
from made_up_plots import legend_texts
from matplotlib.figure import Figure
from said import check_form

from interp.overlap.figures.association import plot_auroc_by_layer
from interp.overlap.figures.layer_by_head import plot_layer_by_head
from interp.overlap.figures.partial_effect import plot_partial_effect
from interp.overlap.figures.study import plot_coverage, plot_lift_by_layer, plot_overlap_by_answer
from interp.overlap.measures import bounds_of
from interp.overlap.report.coverage import coverage_cautions
from interp.overlap.report.sections import Photos, cautions_of, lead, sections
from interp.overlap.report.write import draw_overlap_study, tables_of
from interp.overlap.study.examine import examine_overlap
from interp.stats.layer_choice import direction

METHODS = re.compile(r"Wilson|[Bb]ootstrap|\b[Bb]ands\b|interval of each layer|leaves out zero|brackets|% CI")
FIGURES = ("coverage", "overlap_by_answer", "lift", "auroc", "partial_effect")


def sections_of(study, *, figures=FIGURES, **how):
    """The sections of a report by title, and all that the page says before them."""
    found = examine_overlap(study, n_draws=100, **how)
    cautions = cautions_of(study, found, None)
    parts = sections(
        study, found, tables_of(study, found), dict.fromkeys(figures), cautions=cautions, photos=Photos("not drawn.")
    )
    for line in (lead(study, found), *cautions, *(line for part in parts for line in part.text)):
        check_form(line)
    return {part.title: part for part in parts}, [lead(study, found), *cautions]


def all_that_is_said(parts):
    return [line for part in parts.values() for line in (*part.text, part.caption)]


@pytest.mark.parametrize("groups", [1, 2])
def test_where_no_number_has_an_interval_no_method_of_intervals_is_named(groups):
    study = made_up_study(40, effect=1.0, group=[f"photo {place % groups}" for place in range(40)])
    parts, top = sections_of(study)
    for line in (*all_that_is_said(parts), *top):
        assert not METHODS.search(line), line
    independent, _ = sections_of(made_up_study(40, effect=1.0, group=[str(place) for place in range(40)]))
    named = " ".join(all_that_is_said(independent))
    for method in ("Wilson's", "bootstraps", "bands of 95 %", "interval of each layer", "leaves out zero", "brackets"):
        assert method in named
    assert "those of groups are worth" not in named and "groups of like make-up" not in named


@pytest.mark.parametrize("how", [{"missing": 40}, {"right": True}, {"right": False}])
def test_where_nothing_can_be_compared_nothing_was_tested(how):
    study = made_up_study(40, **how)
    parts, _ = sections_of(study)
    tried = parts["What was tried, and what it was corrected for"].text
    assert tried[0] == "No layer or head was tested: no right answer can be compared with a wrong one."
    assert parts["Does overlap go with right answers?"].caption == ""
    assert not any("family-wise" in line or re.search(r"\b0 cells", line) for line in all_that_is_said(parts))
    drawn = parts["Does attention lie on the objects?"].caption
    answers = {"missing": "", "right": "right" if how.get("right") else "wrong"}[next(iter(how))]
    assert not answers or drawn.startswith(f"Mean over {answers} answers with bands")


def test_where_no_sample_has_all_boxes_it_is_said_once_and_no_empty_figure_is_drawn():
    study = made_up_study(40, missing=40)
    figures = draw_overlap_study(study, examine_overlap(study, n_draws=20))
    assert "overlap_by_answer" not in figures and "coverage" in figures
    parts, _ = sections_of(study, figures=tuple(figures))
    said = parts["Does attention lie on the objects?"].text
    assert len(said) == 2 and said[1] == "In no sample is the cosine defined, so nothing is set against a null."
    empty = plot_overlap_by_answer(study, Figure().subplots())
    assert [text.get_text() for text in empty.texts] == ["not defined in any sample"]


@pytest.mark.parametrize(
    ("found", "parts"),
    [
        ({"all": 40, "absent": 40}, ["in only 40 of 80 questions: 40 rightly say that something is not there."]),
        ({"all": 1, "absent": 1}, ["in only 1 of 2 questions: 1 rightly says that something is not there."]),
        ({"all": 1, "unread": 7}, ["in only 1 of 8 questions: no object could be read off 7."]),
        ({"absent": 3, "unread": 2}, ["in none of 5 questions: 3 rightly say", "and no object could be read off 2."]),
        ({"none": 9, "all": 1}, ["only 1 has boxes of all, 10.0 %"]),
        ({"some": 30}, ["none has boxes of all, 0.0 %", "nothing is measured of all objects together."]),
        ({"all": 20}, []),
    ],
)
def test_of_coverage_only_what_there_is_is_said(found, parts):
    kinds = [kind for kind, count in found.items() for _ in range(count)]
    study = made_up_study(len(kinds), found=kinds, group=[str(place) for place in range(len(kinds))])
    said = " ".join(coverage_cautions(study.samples))
    assert all(part in said for part in parts) and bool(said) == bool(parts), said
    assert not re.search(r"\b0 rightly|off 0\b|\b0 have\b|in only 0\b", said)
    check_form(said)


@pytest.mark.parametrize(
    ("options", "told", "untold"),
    [
        ("left|right", ["the option that it names first"], "without options"),
        ("", ["The questions list no options", "the words of the right answer"], "names first"),
        (["", "yes|no"] * 20, ["names first", "Of 20 without options, one is right when"], "list no options"),
    ],
)
def test_the_rule_by_which_answers_are_right_is_that_of_the_questions(options, told, untold):
    parts, _ = sections_of(made_up_study(40, options=options))
    said = parts["What was asked"].text[0]
    assert all(part in said for part in told) and untold not in said, said


def test_one_answer_is_right_and_none_are():
    study = made_up_study(40, right=np.arange(40) == 3)
    assert "1 of 40 answers is right, 2.5 %" in sections_of(study)[0]["What was asked"].text[0]


def test_almost_all_are_not_called_all():
    study = made_up_study(2001, n_layers=1, layer=0, n_heads=1, normalisations=("image",), right=np.arange(2001) > 0)
    analysis = examine_overlap(study, n_draws=20)
    assert "right: >99.9 % [95 % CI " in lead(study, analysis) and "right: >99.9 % [" in analysis.describe()
    assert direction(0.9961, "mass") == "a higher mass goes with wrong answers in >99 % of the choices"
    assert direction(0.0039, "mass") == "a higher mass goes with right answers in >99 % of the choices"
    assert direction(0.0, "mass") == "a higher mass goes with right answers"


def test_relations_whose_names_hold_commas_are_told_apart():
    objects = ["mug|table" if place < 20 else "mug" for place in range(40)]
    right = [place % 4 != 0 if place < 20 else place % 2 == 0 for place in range(40)]
    study = made_up_study(40, relation="left", objects=objects, right=np.array(right) | (np.arange(40) < 20))
    _, top = sections_of(study)
    assert any("in left, two objects: these say nothing inside relations." in line for line in top)
    relations = np.array(["left", "right"] * 20)
    both = made_up_study(40, relation=relations, objects=objects, right=(np.arange(40) < 20) | (relations == "right"))
    assert any("in left, two objects; right, two objects; " in line for line in sections_of(both)[1])


def test_groups_that_are_few_among_the_measured_are_said_to_be_few():
    groups = [f"pair {place % 2 if place < 20 else place}" for place in range(40)]
    study = made_up_study(40, group=groups)
    for values in study.measures.values():
        values[20:] = np.nan
    _, top = sections_of(study)
    few = (
        "Where the cosine is defined, samples lie in 2 groups: what is drawn by group has no interval of fewer than 3."
    )
    assert few in top
    assert not any("samples lie in" in line.lower() for line in sections_of(made_up_study(40))[1])


@pytest.mark.parametrize("measured", [1, 2, 3, 11, 12, 40])
def test_few_samples_that_share_no_group_are_said_to_be_few(measured):
    for group in ("", [str(place) for place in range(40)]):
        study = made_up_study(40, group=group)
        for values in study.measures.values():
            values[measured:] = np.nan
        told = [line for line in sections_of(study)[1] if line.startswith("Where the cosine is defined, there ")]
        count = "is only 1 sample" if measured == 1 else f"are only {measured} samples"
        says = (
            "fewer than 3 have no interval but that of a share." if measured < 3 else "intervals are as wide as so few"
        )
        assert len(told) == (measured < 12) and all(f"there {count}: {says}" in line for line in told)


def test_a_study_of_few_samples_says_so():
    top = sections_of(made_up_study(8, group=[str(place) for place in range(8)]))[1]
    assert "There are only 8 samples: intervals are as wide as so few ask for, and still to be taken with care." in top


@pytest.mark.parametrize(("count", "said"), [(0, "no answer is right, so"), (1, "only 1 answer is right"), (12, "")])
def test_few_right_answers_among_the_measured_are_said_to_be_few(count, said):
    study = made_up_study(60, right=np.arange(60) < 30)
    for values in study.measures.values():
        values[: 30 - count] = np.nan
    _, top = sections_of(study)
    told = [line for line in top[1:] if "answer" in line and "relation" not in line and "All answers" not in line]
    assert told == [] if not said else told[0].startswith(f"Where the cosine is defined, {said}")


@pytest.mark.parametrize(("wrong", "said"), [(4, True), (10, False)])
def test_few_wrong_answers_inside_relations_are_said_to_be_few(wrong, said):
    right = (np.arange(60) >= 20) & (np.arange(60) < 60 - wrong)
    study = made_up_study(60, relation=np.array(["left"] * 20 + ["on"] * 40), right=right)
    told = [line for line in sections_of(study)[1] if line.startswith("Inside relations only")]
    assert told == ([f"Inside relations only {wrong} answers that can be compared are wrong: "
                     "that no difference is detected there means little."] if said else [])  # fmt: skip


@pytest.mark.parametrize("groups", [2, 20])
def test_figures_name_the_level_of_their_intervals_where_they_have_some(groups):
    study = made_up_study(40, group=[f"photo {place % groups}" for place in range(40)])
    for draw in (plot_overlap_by_answer, plot_lift_by_layer):
        assert ("95 % interval" in legend_texts(draw(study, Figure().subplots()))) == (groups > 2)
        assert ("80 % interval" in legend_texts(draw(study, Figure().subplots(), level=0.8))) == (groups > 2)
    assert ("95 % Wilson interval" in plot_coverage(study.samples, Figure().subplots()).get_ylabel()) == (groups > 2)
    found = examine_overlap(study, n_draws=50).pooled
    effect = SimpleNamespace(log_odds=np.ones(6), low=np.zeros(6), high=np.ones(6), separated=np.zeros(6))
    partial = SimpleNamespace(adjusted=effect, unadjusted=effect, beside=(), level=0.8)
    assert "80 % interval" in legend_texts(plot_partial_effect(partial, Figure().subplots()))
    told = "AUROC with its 95 % interval" if groups > 2 else "AUROC (no interval)"
    assert told in legend_texts(plot_auroc_by_layer(found, Figure().subplots()))


def test_bands_and_table_do_not_leave_what_a_measure_can_be_and_have_a_width_where_all_are_alike():
    study = made_up_study(8, right=True, group=[str(place) for place in range(8)])
    study.measures["cosine"][:] = np.where(np.arange(8) == 0, 0.9, 0.01)[:, None, None, None, None]
    study.measures["hit"][:] = 1.0
    means = tables_of(study, examine_overlap(study, n_draws=50))["means"].set_index("measure")
    assert (means.loc["cosine", "low"] == 0).all() and (means.loc["cosine", "high"] < 1).all()
    assert (means.loc["hit", "high"] == 1).all() and means.loc["hit", "low"].tolist() == pytest.approx(
        [0.025 ** (1 / 8)] * 6
    )
    for measure in ("cosine", "hit"):
        corners = (
            plot_overlap_by_answer(study, Figure().subplots(), measure=measure).collections[0].get_paths()[0].vertices
        )
        assert (
            corners[:, 1].min() == means.loc[measure, "low"].min()
            and corners[:, 1].max() == means.loc[measure, "high"].max()
        )
    assert bounds_of("mass", "first minus second", "image") == (-1, 1)
    assert bounds_of("mass", "union", "relative") is None and bounds_of("nss", "union", "image") is None


def test_dots_are_counted_among_the_cells_that_are_defined():
    values = np.full((4, 3), 0.6)
    values[1] = np.nan
    drawn = plot_layer_by_head(values, Figure().subplots(), label="AUROC", null=0.5, marked=values > 0.5)
    assert "corrected p below 0.05: 9 of 9 cells" in legend_texts(drawn)


def test_a_measure_of_which_less_is_better_says_so_and_one_of_the_map_alone_has_no_boxes():
    study = made_up_study(40)
    assert "A lower distance is more overlap." in sections_of(study, measure="distance")[0]["What was asked"].text[1]
    said = sections_of(study, measure="peaks")[0]["What was asked"].text[1]
    assert "region" not in said and "alone, without boxes" in said and "more overlap" not in said
    title = plot_overlap_by_answer(study, Figure().subplots(), measure="peaks").get_title(loc="left")
    assert "boxes" not in title
