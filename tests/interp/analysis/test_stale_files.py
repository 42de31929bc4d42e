"""What a rerun removes of an earlier analysis: only files such as an analysis writes, whatever a summary says."""

import json

import pytest

from interp.analysis.result import _files_of


@pytest.mark.parametrize("files", [5, None, "abc", {"a": 1}, [[1]], ["..", "", "/etc/passwd", "a/b.png", "\udcff.png"]])
def test_a_summary_that_lists_something_else_names_nothing_to_remove(tmp_path, files):
    (tmp_path / "summary.json").write_text(json.dumps({"files": files}))
    assert _files_of(tmp_path / "summary.json") == set()


def test_of_a_list_only_what_an_analysis_writes_is_taken(tmp_path):
    listed = ["tokens.png", "thesis.docx", "overlap.parquet", "explore.html", ".bashrc", "summary.json"]
    (tmp_path / "summary.json").write_text(json.dumps({"files": listed}))
    assert _files_of(tmp_path / "summary.json") == {"tokens.png", "overlap.parquet", "explore.html"}
