"""The page of ScalingVis and AdaptVis says what the code says, and what stands on it can be run."""

import re
import shlex
import sys

import pytest

from adaptvis.__main__ import build_parser as adaptvis_parser
from adaptvis.paper.published import PRESETS, published_numbers
from interp.__main__ import build_parser as interp_parser
from interp.datasets import BENCHMARKS

PARSERS = {"adaptvis": adaptvis_parser, "interp": interp_parser}


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "adaptvis.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker(repo):
    """The module that writes the page."""
    pytest.importorskip("jinja2")
    sys.path.insert(0, str(repo / "docs" / "scripts"))
    try:
        import adaptvis_page
    finally:
        sys.path.remove(str(repo / "docs" / "scripts"))
    return adaptvis_page


def commands(page):
    """Every command of ours on the page, in its tables, text and blocks."""
    joined = page.replace("\\\n", " ")
    return sorted(set(re.findall(r"python -m (adaptvis|interp) ([^`\n]+)", joined)))


def cells(page, name):
    """The lines of all tables that begin with a cell."""
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("|")]
    lines = [[cell.strip() for cell in row] for row in rows]
    return [line for line in lines if line[0].strip("`") == name]


def test_what_needs_no_run_is_on_the_page_as_the_code_has_it(page, maker):
    parts = re.compile(r"## Measured on the embedded model.*(?=## From Python)", re.DOTALL)
    assert parts.sub("", page) == parts.sub("", maker.render_adaptvis([])), "run `make docs`"
    assert parts.search(page)


def test_every_setting_of_the_authors_is_on_the_page(page):
    for name, one in PRESETS.items():
        wanted = [one.alpha, one.alpha_unsure, one.alpha_sure, one.threshold]
        found = [line[1:5] for line in cells(page, name) if line[-1] == ", ".join(BENCHMARKS[name].options)]
        assert [[float(cell) for cell in line] for line in found] == [wanted]


def test_every_published_number_is_on_the_page_at_its_place(page, maker):
    known = published_numbers()
    for measures in (("accuracy", "paper_f1"), ("pair", "set")):
        table = maker.published_table(measures)
        some = known[known["measure"].isin(measures)]
        shown = sum(cell == cell and cell != "" for cell in table.iloc[:, 3:].to_numpy().ravel())
        assert shown == len(some) > 0
        assert maker.markdown_table(table) in page


def test_the_numbers_are_of_the_embedded_weights(page, maker):
    assert f"weights `{maker.weights()}`" in page, "the embedded model has changed since: run `make docs`"


def test_each_measured_set_has_every_policy_by_relation(page, maker):
    for name in maker.spoken_sets():
        part = page.split(f"### {name}\n")[1].split("\n#")[0]
        (heads,) = cells(part, "relation")
        policies = ["ScalingVis", "AdaptVis", "additive control", "tempered control", "VCD", "DoLa"]
        assert heads[1:3] == ["n", "baseline %"] and sorted(heads[3:]) == sorted(policies)
        for relation in ("all", "left", "right", *(BENCHMARKS[name].options or ("above", "below"))):
            (line,) = cells(part, relation)
            assert all(re.fullmatch(r"[+-][\d.]+ \[[+-][\d.]+, [+-][\d.]+\]", cell) for cell in line[3:])


def test_a_cell_with_a_bar_does_not_break_its_table(maker):
    import pandas as pd

    assert maker.markdown_table(pd.DataFrame([{"a": "x|y", "b": 1}])) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


def test_every_command_on_the_page_is_one_that_its_parser_takes(page):
    found = commands(page)
    assert len(found) > 10
    for module, arguments in found:
        options = PARSERS[module]().parse_args(shlex.split(arguments))
        assert callable(options.command), arguments


def test_the_example_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "docs/adaptvis.md", "exec"), {})
    assert list((tmp_path / "out").glob("*/report.html"))
    assert "Answer(text=" in capsys.readouterr().out
