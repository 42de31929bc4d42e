"""Cells of CSV: texts that a spreadsheet would run are text, numbers are numbers, and all can be had back."""

import pandas as pd
import pytest

from interp.report.tables import as_text, write_csv
from interp.store.folder import OutputFolder

RUN = ["=1+1", "+1+cmd|'/C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1"]
RUN += ["\uff1d1+1", "'=1", '=HYPERLINK("x")', "-", "+BBox"]


@pytest.mark.parametrize("text", RUN)
def test_that_a_text_which_a_spreadsheet_would_run_is_written_as_text_and_can_be_had_back(tmp_path, text):
    table = pd.DataFrame({"id": [text, "mug"], "value": [-1.5, 2.0]})
    write_csv(OutputFolder(tmp_path), "t", table)
    found = pd.read_csv(tmp_path / "t.csv")
    assert found["id"][0] == f"'{text}" and found["id"][0][1:] == text
    assert found["value"].tolist() == [-1.5, 2.0] and found["id"][1] == "mug"


def test_that_names_of_columns_and_mixed_columns_are_guarded_too(tmp_path):
    table = pd.DataFrame({"=x": ["a"], "mixed": [None]}).assign(mixed=pd.Series(["-5"], dtype=object))
    write_csv(OutputFolder(tmp_path), "t", table)
    assert (tmp_path / "t.csv").read_text() == "'=x,mixed\na,-5\n"


@pytest.mark.parametrize("cell", [None, -1, -0.5, True, "-0.5", "+3", "-inf", "mug", "", "a=b"])
def test_that_what_is_no_formula_stays_as_it_is(cell):
    assert as_text(cell) is cell or as_text(cell) == cell


def test_that_the_table_given_is_not_changed(tmp_path):
    table = pd.DataFrame({"id": ["=1"], "kind": pd.Categorical(["=2"])})
    write_csv(OutputFolder(tmp_path), "t", table)
    assert table["id"][0] == "=1" and (tmp_path / "t.csv").read_text() == "id,kind\n'=1,'=2\n"
