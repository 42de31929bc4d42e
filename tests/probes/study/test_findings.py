"""Findings: what a study says is written once, in one order, with what it does not say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from interp.plots.style import figure_of, new_axes
from probes.study.findings import OF_EXTREMES, Drawn, Findings, tell_findings
from probes.study.tools import ToolFindings, write_tools


def findings(left_out: pd.DataFrame | None = None, cautions: tuple[str, ...] = ("Read it so.",)) -> Findings:
    """Made-up findings with one figure and one table."""
    tables = {"numbers": pd.DataFrame({"value": [1.0]})}
    return Findings(
        title="A title",
        sentences=("The first.", "The second."),
        cautions=cautions,
        tables=tables if left_out is None else {**tables, "left_out": left_out},
        shown={"By relation": pd.DataFrame({"relation": ["left"], "PSI": ["–"]})},
        figures={"figure": Drawn("A figure", figure_of(new_axes(None, (2, 2))), "Its caption.")},
        summary={},
        settings={},
    )


MISSING = pd.DataFrame(
    {"relation": ["left", "right", "left"], "measure": ["psi", "psi", "drop"], "why": ["a", "a", "b"]}
)


def test_a_page_says_why_a_measure_is_missing_once_for_all_its_cells():
    (section,) = [one for one in findings(MISSING).sections() if "could not be told" in one.title]
    assert section.table.to_dict("records") == [
        {"measure": "psi", "why": "a", "cells": 2},
        {"measure": "drop", "why": "b", "cells": 1},
    ]


def test_what_tools_leave_out_under_other_names_is_told_too_and_counted_as_they_count():
    lost = pd.DataFrame({"what": ["red", "red", "r2"], "slot": [0, 1, 0], "why": ["a", "a", "b"], "cases": [2, 3, 1]})
    (section,) = [one for one in findings(lost).sections() if "could not be told" in one.title]
    assert section.table.to_dict("records") == [
        {"what": "red", "why": "a", "cases": 5},
        {"what": "r2", "why": "b", "cases": 1},
    ]


def test_a_page_says_whose_score_of_which_function_is_missing():
    lost = pd.DataFrame(
        {"table": ["selected"] * 3, "scorer": ["gaze", "overlap", None], "function": "math", "why": "a"}
    )
    (section,) = [one for one in findings(lost).sections() if "could not be told" in one.title]
    assert section.table["scorer"].tolist() == ["gaze", "overlap", ""] and set(section.table["function"]) == {"math"}


@pytest.mark.parametrize("left_out", [None, MISSING.iloc[:0]])
def test_a_page_of_which_nothing_is_missing_says_nothing_of_it(left_out):
    assert [one.title for one in findings(left_out).sections()] == [
        "What was found", "A figure", "By relation", "What this does not show"
    ]  # fmt: skip


def test_the_page_of_all_tools_says_a_caution_of_several_once(tmp_path):
    from interp.store.folder import OutputFolder

    found = {name: findings(cautions=(OF_EXTREMES, f"Of {name} alone.")) for name in ("norms", "order")}
    write_tools(OutputFolder(tmp_path), ToolFindings(("norms", "order"), found, {}), {}, title="Both")
    page = (tmp_path / "report.html").read_text()
    assert page.count(OF_EXTREMES) == 1 and f"Norms, order: {OF_EXTREMES}" in page
    assert "Norms: Of norms alone." in page and "Order: Of order alone." in page


def test_a_study_of_a_model_out_of_its_domain_records_the_remark_and_its_page_says_it_first():
    from interp.datasets.synthetic.shapes import shapes
    from interp.model.hooked_vlm import HookedVLM
    from probes.position.norms_study import study_norms
    from probes.position.report.norms import norms_findings

    remark = "tiny-llava has random weights, so its answers and maps mean nothing."
    found = norms_findings(study_norms(HookedVLM.from_pretrained("tiny-llava"), shapes(4), progress=False))
    assert found.settings["remarks"] == [remark] and found.remarks == (remark,)
    first = found.sections()[0]
    assert (first.title, first.text) == ("Read this first", (remark,))


FEWER = "Not all numbers are of as many groups. Those of the smallest part are of"


@pytest.mark.parametrize(
    ("groups", "more", "said"),
    [
        ([5, 5], (), "The numbers are of 5 groups, which are few: "),
        ([2], (), "The numbers are of 2 groups: what is drawn by group has no interval of fewer than 3."),
        ([30, 4, 12], (), f"{FEWER} 4 groups, which"),
        ([5, 5, 3], (), "The numbers are of 3 to 5 groups, which are few: "),
        ([5, np.nan, 5], (), "The numbers are of 5 groups, which are few: "),
        ([1, 2], (), "The numbers are of 1 to 2 groups: what is drawn by group has no interval of fewer than 3."),
        ([30, np.nan, 2], (), f"{FEWER} 2 groups: what is drawn by group has no interval of fewer than 3."),
        ([12, 30], (), ""),
        ([np.nan], (), ""),
        ([], (), ""),
        ([], (11,), "The numbers are of 11 groups, which are few: "),
        ([30], (7,), f"{FEWER} 7 groups, which"),
    ],
)
def test_a_page_and_its_command_say_that_groups_are_few(groups, more, said, tmp_path, capsys):
    from interp.store.folder import OutputFolder

    made = findings()
    found = replace(made, tables={**made.tables, "parts": pd.DataFrame({"groups": groups})}, groups=more)
    assert len(found.few) == bool(said) and "".join(found.few).startswith(said)
    assert found.sections()[-1].text == (*found.few, *found.cautions)
    tell_findings(OutputFolder(tmp_path), found)
    assert (said in capsys.readouterr().out) and said in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(("groups", "ends"), [([5, 2], True), ([5, 3], False), ([2, 1], False)])
def test_that_some_of_few_groups_have_no_interval_is_said_once(groups, ends):
    (said,) = replace(findings(), groups=tuple(groups)).few
    assert said.endswith(" Those of fewer than 3 have no interval.") == ends
    assert ("no interval" in said) == (min(groups) < 3) and said.count("no interval") <= 1


def test_the_page_of_all_tools_names_those_whose_groups_are_few(tmp_path):
    from interp.store.folder import OutputFolder

    found = {name: replace(findings(), groups=(n,)) for name, n in (("norms", 5), ("order", 5), ("rope", 30))}
    tools = ToolFindings(tuple(found), found, {})
    assert len(tools.few) == 1 and tools.few[0].startswith("Norms, order: The numbers are of 5 groups, which are few: ")
    write_tools(OutputFolder(tmp_path), tools, {}, title="All")
    assert (tmp_path / "report.html").read_text().count("which are few") == 1


def test_a_page_says_the_level_of_each_table_that_has_intervals_and_a_model_out_of_its_domain_first():
    shown = {"One": pd.DataFrame({"a": ["0.5 [0.4, 0.6]"]}), "Two": pd.DataFrame({"a": ["1"]})}

    def made(**settings):
        return replace(findings(), shown=shown, settings=settings)

    parts = made(level=0.9, remarks=["It knows no photos."]).sections()
    assert parts[0].title == "Read this first" and parts[0].text == ("It knows no photos.",)
    told = [line for part in parts for line in part.text if "Brackets" in line]
    assert told == ["Brackets hold confidence intervals of 90 %."]
    assert made().sections()[0].title == "What was found" and made().level == 0.95
    one = made(remarks=["It knows no photos."])
    tools = ToolFindings(("a", "b", "c"), {"a": one, "b": one, "c": made()}, {})
    assert tools.remarks == ("It knows no photos.",)
    assert replace(tools, found={"c": made()}).remarks == ()
    assert "Brackets" not in " ".join(one.sentences)
