"""Sentences of evaluation and demo over made-up results, contradicting ones too: each is held against its numbers."""

import re
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from made_up_evaluation import made_up_evaluation
from said import check_form, check_intervals, check_p, made_up_ends, made_up_p

from adaptvis.demo.change import Choice, WrongAnswers
from adaptvis.demo.words import _choice, _compared, _kinds, _share, _times
from adaptvis.report.confidence import calibration_section
from adaptvis.report.figures import draw_evaluation
from adaptvis.report.lead import gain_says, lead
from adaptvis.report.measures import measure_evaluation
from adaptvis.report.sections import sections
from adaptvis.report.setup import RunFacts
from adaptvis.report.tables import test_of as named_test
from interp.answers import calibration
from interp.stats.intervals import DRAWS, Interval, wilson

DISAGREE = "test and interval do not agree"
REMARK = "made-up has random weights, so its answers and maps mean nothing."


@pytest.mark.parametrize("seed", range(200))
def test_a_gain_is_claimed_where_its_corrected_test_and_its_interval_agree(seed):
    rng = np.random.default_rng(seed)
    value, low, high = made_up_ends(rng, spread=0.2)
    others, p = int(rng.integers(1, 5)), made_up_p(rng)
    p_holm = min(1.0, p * others)
    row = {"accuracy": float(rng.random()), "difference": value, "difference_low": low, "difference_high": high}
    row |= {"p": p, "p_holm": p_holm} | {"test": "sign flips of groups" if seed % 2 else "McNemar"}
    said = gain_says(pd.Series(row), others)
    check_form(said)
    check_intervals(said, [(value, low, high)], all_of=True)
    check_p(said, [p, p_holm])
    small, above, below = p_holm < 0.05, low > 0, high < 0
    assert said.startswith(f"{100 * row['accuracy']:.1f} %, a gain")
    before, after, gain = (round(100 * one, 1) for one in (row["accuracy"] - value, row["accuracy"], value))
    assert (" before rounding," in said) == (round(after - before, 1) != gain)
    assert said.endswith(": more than the baseline") == (small and above)
    assert said.endswith(": fewer than the baseline") == (small and below)
    assert (DISAGREE in said) == (small != (above or below))
    assert said.endswith(": no difference was detected") == (not small and not above and not below)
    assert ("sign flips of groups" if seed % 2 else "McNemar") in said
    assert (f"Holm for {others} policies" in said) == (others > 1)


def test_rows_name_the_tests_that_gave_their_p_each_once():
    assert named_test(pd.DataFrame({"test": ["", None, "McNemar"]})) == "McNemar"
    assert named_test(pd.DataFrame({"test": ["McNemar", "sign flips of groups", "McNemar"]})) == (
        "McNemar or sign flips of groups"
    )


CASES = {
    "mixed": {},
    "sets": {"sets": True},
    "all right": {"right": True, "n": 20},
    "all wrong": {"right": False, "n": 20},
    "two questions": {"n": 2},
    "given": {"tuned": False},
    "one question": {"n": 1},
    "one question, one policy": {"n": 1, "names": ("baseline", "scaling")},
    "eleven questions": {"n": 11},
    "one group": {"n": 4, "sets": True},
    "two groups": {"n": 8, "sets": True},
    "many": {"n": 96, "sets": True},
    "policies alone": {"names": ("baseline", "scaling"), "tuned": False},
}


ONE_OF_MANY = re.compile(r"(?<![\d.])1 (samples|groups|settings|answers|scenes|questions|rows|policies|combinations)\b")
METHODS = re.compile(r"Wilson|[Bb]ootstrap|\b[Bb]ands?\b|brackets|% CI|intervals? of 95|95 ?% interval")


@pytest.mark.parametrize("n", [40, 80])
def test_where_samples_share_one_group_or_two_no_method_of_intervals_is_named_on_page_or_axis(n):
    evaluation = made_up_evaluation(n=n, per_group=40, relations=("left", "right"))
    assert_methods(evaluation, there=False)
    assert_methods(made_up_evaluation(n=n, relations=("left", "right")), there=True)


@pytest.mark.parametrize("n", [40, 80])
def test_where_yes_and_no_share_one_group_or_two_no_method_of_intervals_is_named(n):
    how = {"n": n, "options": ("yes", "no"), "relations": ("on", "under"), "dataset": "vsr"}
    names = ("baseline", "scaling")
    assert_methods(made_up_evaluation(names, per_group=40, **how), there=False)
    assert_methods(made_up_evaluation(names, **how), there=True)


def assert_methods(evaluation, *, there):
    """Sections, captions and axes name intervals where there are some, and nowhere else."""
    measured = measure_evaluation(evaluation, dataset=evaluation.test["dataset"].iloc[0])
    figures = draw_evaluation(evaluation, measured)
    run = RunFacts("made-up", "a model", {"prompt": "paper"})
    parts = sections(evaluation, measured, figures, run, change="Not drawn: no model.")
    for part in parts:
        said = " ".join([*part.text, part.caption])
        named = METHODS.search(said)
        assert there or not named, f"{part.title}: {said}"
        assert not there or named or part.title not in NAMED, part.title
    axes = [ax for name, figure in figures.items() if name in BANDED for ax in figure.axes]
    told = [f"{ax.get_xlabel()} {ax.get_ylabel()}" for ax in axes if "unsure" not in ax.get_ylabel()]
    assert told and all(bool(METHODS.search(one)) == there for one in told), told
    plt.close("all")


NAMED = {"Main numbers", "Accuracy by relation", "Yes and no", "Other measures", "Accuracy against alpha"}
NAMED |= {"Threshold and branches", "Which layers carry the change", "Confidence by relation", "Calibration"}
BANDED = {"gains", "accuracy_by_alpha", "additive", "tempered", "thresholds", "layer_windows", "confidence"}
BANDED |= {"reliability"}


def check_few(by, evaluation):
    """Few samples, or groups where samples share them, are said to be few: of all, or else by relation."""
    lines = evaluation.summary[evaluation.summary["policy"] == "baseline"]
    units = lines["groups"].where(lines["groups"] > 0, lines["n"]).to_numpy()
    told = re.findall(r"There (?:is|are) only (\d+)|Samples lie in (\d+)", by["Main numbers"])
    assert [int("".join(one)) for one in told] == [int(count) for count in units[:1] if count < 12]
    gains = evaluation.summary[evaluation.summary["policy"] != "baseline"].iloc[0]
    said = by["Main numbers"]
    assert ("have no interval but that of a share" in said) == (np.isnan(gains.difference_low) and not gains.groups)
    assert ("what is drawn by group has no interval of fewer than 3." in said) == (
        np.isnan(gains.difference_low) and gains.groups > 0
    )
    few, told = int((units[1:] < 12).sum()), re.findall(r"In (\d+) of the (\d+) relation", by["Accuracy by relation"])
    assert told == ([(str(few), str(len(lines) - 1))] if few and units[0] >= 12 else [])


@pytest.mark.parametrize("case", CASES)
def test_every_sentence_of_a_page_has_its_form_and_the_first_its_numbers(case):
    evaluation = made_up_evaluation(**CASES[case])
    measured = measure_evaluation(evaluation)
    run = RunFacts("made-up", "a model", {"prompt": "paper", "remarks": [REMARK]})
    parts = sections(evaluation, measured, {}, run, change="Not drawn: no model.")
    assert parts[0].title == "Read this first" and parts[0].text == (REMARK,)
    first = lead(evaluation, run)
    for line in (first, *(line for part in parts for line in part.text)):
        check_form(line)
    rows = evaluation.summary[evaluation.summary["relation"] == "all"]
    known = [tuple(rows.iloc[0][["accuracy", "low", "high"]])]
    known += [tuple(row) for row in rows[["difference", "difference_low", "difference_high"]].to_numpy()]
    check_intervals(first, known)
    check_p(first, [*rows["p"], *rows["p_holm"]])
    by = {part.title: " ".join(part.text) for part in parts}
    right, n = int(evaluation.rows("baseline")["correct"].sum()), len(evaluation.rows("baseline"))
    assert first.startswith(f"{n} question") and f"Over {n} sample" in by["Calibration"]
    if 0 < right < n:
        assert f"the pairs of {right} right and {n - right} wrong answers" in by["Calibration"]
    check_few(by, evaluation)
    every = [first, *(line for part in parts for line in (*part.text, part.caption))]
    assert not [line for line in every if ONE_OF_MANY.search(line)]
    null = measured.calibration.error_if_calibrated
    if np.isfinite(null.low):
        groups = evaluation.rows("baseline")["group"].nunique()
        part = f"range, as wide as {groups} groups need:" if CASES[case].get("sets") else "of draws"
        ends = f"({100 * null.level:g} % {part} {100 * null.low:.1f} to {100 * null.high:.1f})"
        assert ends in by["Calibration"], "a null's range is not written as an interval"


@pytest.mark.parametrize(("n", "per_group"), [(40, None), (60, 20), (100, 20)])
def test_as_a_part_of_draws_stand_only_ends_that_hold_so_many_of_them(n, per_group, monkeypatch):
    drawn = []
    kept = calibration._error
    monkeypatch.setattr(calibration, "_error", lambda *given: drawn.append(kept(*given)) or drawn[-1])
    evaluation = made_up_evaluation(n=n, per_group=per_group)
    measured = measure_evaluation(evaluation)
    null, draws = measured.calibration.error_if_calibrated, np.array(drawn[-DRAWS:])
    assert draws.mean() == pytest.approx(null.estimate), "these are its draws"
    central = pytest.approx(np.quantile(draws, [0.025, 0.975]))
    assert ((null.low, null.high) == central) == (per_group is None)
    assert per_group is None or ((draws >= null.low) & (draws <= null.high)).mean() > 0.98
    measured = replace(
        measured, calibration=replace(measured.calibration, error_if_calibrated=replace(null, level=0.9))
    )
    told = calibration_section(evaluation, measured, {}).text[0]
    assert ("90 % of draws" in told) == (per_group is None)
    assert (f"90 % range, as wide as {n // 20} groups need: " in told) == (per_group is not None)


@pytest.mark.parametrize("seed", range(40))
def test_what_was_chosen_says_its_gain_with_interval_and_test(seed):
    rng = np.random.default_rng(seed)
    ends, p, alpha = made_up_ends(rng, spread=0.2), made_up_p(rng), float(rng.choice([0.5, 1.0]))
    moved = int(rng.choice([0, 7]))
    tried = int(rng.integers(1, 4))
    said = _choice(Choice(alpha, 0.5, Interval(*ends), p, tried, "McNemar", moved, 9))
    check_form(said)
    assert (f"both for all {tried} alphas" in said) == (tried > 1 and not (alpha == 1 and not moved))
    untold = alpha == 1 and not moved
    assert ("made no answer right or wrong" in said) == untold
    check_intervals(said, [] if untold else [ends], all_of=True)
    check_p(said, [p])
    assert "9 other scenes" in said


def wrong_answers(another, none, n=30, groups=None):
    """So many answers that name another option, then so many that name none, then right ones."""
    kinds = np.array(["another"] * another + ["none"] * none + ["right"] * (n - another - none))
    texts = np.where(kinds == "none", "under", "left")
    table = pd.DataFrame({"text": texts, "named_another": kinds == "another", "named_none": kinds == "none"})
    return WrongAnswers(table if groups is None else table.assign(group=groups))


def test_the_kinds_of_wrong_answers_know_of_the_groups_that_answers_share():
    apart, together = wrong_answers(8, 8), wrong_answers(8, 8, groups=[f"g{place // 8}" for place in range(30)])
    for of_wrong in (False, True):
        assert apart.share("named_none", of_wrong=of_wrong).low == wilson(8, 16 if of_wrong else 30).low
    assert together.share("named_none").low < apart.share("named_none").low
    assert np.isnan(together.share("named_none", of_wrong=True).low), "the wrong ones are of two groups"
    check_form(_kinds(together))


@pytest.mark.parametrize(("another", "none"), [(0, 0), (1, 0), (0, 4), (3, 9)])
def test_wrong_answers_are_told_of_how_many(another, none):
    said = _kinds(wrong_answers(another, none))
    check_form(said)
    if not another + none:
        assert said == "Untouched, no answer is wrong."
        return
    shares = [wilson(count, another + none) for count in (another, none)]
    check_intervals(said, [(one.estimate, one.low, one.high) for one in shares], all_of=True)
    answers = "wrong answer" if another + none == 1 else "wrong answers"
    assert f"Of the {another + none} {answers} untouched, {another} (" in said
    assert f") {'names' if another == 1 else 'name'} another option" in said


def test_a_share_for_readers_who_know_no_brackets_names_the_level_too():
    assert _share(Interval(0.5, 0.4, 0.6)) == "50 % (95 % interval 40 % to 60 %)"
    assert _share(Interval(0.5, 0.4, 0.6, 0.9)) == "50 % (90 % interval 40 % to 60 %)"
    assert _share(Interval(0.002, 0.0011, 0.0042)) == "0.2 % (95 % interval 0.1 % to 0.4 %)", "no width of nothing"
    assert _share(Interval(0.998, np.nan, np.nan)) == ">99 %"
    line = {"lift": 1.31, "lift_low": 1.302, "lift_high": 1.318}
    assert _times(line, {"overlap_by_layer": [line, line]}) == (
        "1.31 (95 % interval for all 2 layers at once 1.30 to 1.32)"
    )


@pytest.mark.parametrize("found", [0, 1, 12_345, 12_346])
def test_scenes_with_both_objects_are_told_as_they_were_counted(found):
    assert _compared(found, found, 99_999) == (
        f"The detector found both objects in {found} of 99999 scenes; all of these are compared."
    )
    assert "; 0 are compared" in _compared(1, 0, 1) and "of 1 scene;" in _compared(1, 0, 1)
