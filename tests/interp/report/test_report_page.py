"""The page of a report: what is long is broken or counted, so that the page stays as wide as a screen."""

import pandas as pd
import pytest
from matplotlib.figure import Figure

from interp.quiet import spell_out
from interp.report.page import Section, render_report

WHY = "these two scorers are not of one model, so that their heads can not be held against each other"


def test_that_columns_of_sentences_are_broken_and_those_of_numbers_are_not():
    table = pd.DataFrame({"value": ["0.25 [0.12, 0.50]", "1"], "why": [WHY, ""]})
    page = render_report("a title", "a lead", [Section("Told", table=table)], {})
    assert f'<td class="words">{WHY}</td>' in page and '<th scope="col" class="words">why</th>' in page
    assert "<td>0.25 [0.12, 0.50]</td>" in page and '<th scope="col">value</th>' in page


def test_that_columns_of_names_are_set_from_the_left_and_those_of_numbers_are_not():
    table = pd.DataFrame({"arm": ["1 head", "all"], "value": ["nan", "-0.25"], "p": ["<0.0001", "–"]})
    page = render_report("a title", "a lead", [Section("Told", table=table)], {})
    assert '<td class="name">1 head</td><td>nan</td><td>&lt;0.0001</td>' in page
    assert '<th scope="col" class="name">arm</th><th scope="col">value</th>' in page


def test_that_cells_of_a_table_of_many_columns_may_be_broken():
    many = pd.DataFrame({f"column {place}": ["0.25 [0.12, 0.50]"] for place in range(9)})
    page = render_report("", "", [Section("Told", table=many)], {})
    assert '<table class="wide">' in page and "<td>0.25 [0.12,\u00a00.50]</td>" in page  # not inside an interval
    assert '<table class="wide">' not in render_report("", "", [Section("Told", table=many.iloc[:, :8])], {})


def test_that_a_long_list_of_records_is_counted():
    arms = [{"name": f"random {place}", "heads": [[place, 0]]} for place in range(30)]
    page = render_report("a title", "a lead", [], {"arms": arms, "resumed": arms[:2]})
    assert "<dt>arms</dt><dd>30, each with name, heads</dd>" in page and "random 29" not in page
    assert "<dt>resumed</dt><dd>name random 0, heads 0, 0, name random 1, heads 1, 0</dd>" in page


def test_that_an_empty_setting_is_told_as_none():
    page = render_report("", "", [], {"sinks": "", "given": {}, "others": [], "seed": 0, "labels": False})
    for name, text in {"sinks": "none", "given": "none", "others": "none", "seed": "0", "labels": "no"}.items():
        assert f"<dt>{name}</dt><dd>{text}</dd>" in page


def test_that_an_empty_table_is_left_out():
    assert "<table>" not in render_report("", "", [Section("Told", table=pd.DataFrame({"why": []}))], {})


@pytest.mark.parametrize("text", ["mug\u202egnp.exe", "a\u2066b", "\x1b[2J", "nul\x00", "right\u200f", "c1\x9b"])
def test_that_no_text_turns_or_breaks_what_stands_beside_it(text):
    table = pd.DataFrame({text: [text], "n": ["1"]})
    html = render_report(text, text, [Section(text, (text,), table=table, caption=text)], {"question": text})
    assert html.count(spell_out(text).replace("<", "&lt;")) >= 6
    assert html == spell_out(html)


def test_a_figure_without_a_caption_has_no_empty_one():
    bare, told = (render_report("t", "l", [Section("One", figure=Figure(), caption=said)], {}) for said in ("", "Two."))
    assert "<figcaption>" not in bare and 'alt="One"' in bare
    assert "<figcaption>Two.</figcaption>" in told and 'alt="Two."' in told
