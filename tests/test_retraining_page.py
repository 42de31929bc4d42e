"""The block on retraining says the numbers that lie beside it, and these are those of the folder they came from."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from made_up_models import made_up_comparison

from interp.store.folder import OutputFolder
from probes.retraining.comparison import BOTH
from probes.retraining.findings import lines_of, sentences, summary_of


@pytest.fixture(scope="module")
def page(repo: Path) -> Iterator[ModuleType]:
    """The script that writes the block."""
    pytest.importorskip("jinja2")
    sys.path.insert(0, str(repo / "docs" / "scripts"))
    try:
        import retraining_page

        yield retraining_page
    finally:
        sys.path.remove(str(repo / "docs" / "scripts"))


def test_where_a_page_has_the_block_it_is_what_the_numbers_give(page: ModuleType, repo: Path) -> None:
    for path in (repo / "docs").rglob("*.md"):
        text = path.read_text(encoding="utf-8")
        for own in re.findall(r"<!-- measured: retraining -->\n(.*?)<!-- end: retraining -->", text, re.DOTALL):
            assert own.strip() == page.block().strip(), "write the page anew with docs/scripts/position_page.py"
    assert page.PICTURE.is_file() and page.CURVE.is_file()


def test_every_number_of_the_table_is_one_of_the_file(page: ModuleType) -> None:
    found, text = page.load(), page.block()
    for line in lines_of(found):
        (row,) = [one for one in text.splitlines() if one.startswith(f"| {line.words} |")]
        cells = row.strip("| ").split(" | ")[1 : 1 + len(found.arms)]
        for arm, cell in zip(found.arms, cells, strict=True):
            own = found.value(arm, line.measure, line.part, interval=BOTH)
            told = [float(number) for number in re.findall(r"-?[\d.]+", cell)]
            scale = 100 if line.share else 1
            digits = 1e-5 if line.measure == "delta_alpha_v" else 0.06 if line.share else 6e-3
            assert told == pytest.approx([scale * x for x in (own.estimate, own.low, own.high)], abs=digits)


def test_every_sentence_of_the_findings_stands_in_the_block(page: ModuleType) -> None:
    text = page.block()
    assert all(f"* {sentence}\n" in text for sentence in sentences(page.load()))


def test_the_file_says_budget_seeds_and_versions(page: ModuleType) -> None:
    told = json.loads(page.NUMBERS.read_text(encoding="utf-8"))
    assert {"budget", "scenes", "runs", "torch", "transformers", "level", "draws"} <= set(told["settings"])
    assert len(told["settings"]["runs"]) == len(told["arms"]) * told["seeds"]


def test_numbers_are_taken_over_from_a_folder(page: ModuleType, tmp_path: Path) -> None:
    found, folder = made_up_comparison(), OutputFolder(tmp_path / "out")
    folder.write_table("comparison.parquet", found.to_dataframe())
    folder.write_table("training.parquet", found.training)
    folder.write_json("summary.json", {**summary_of(found), "settings": found.settings})
    again = page.load(page.take_over(folder.path, tmp_path / "numbers.json"))
    assert (again.arms, again.seeds) == (found.arms, found.seeds)
    pd.testing.assert_frame_equal(again.to_dataframe(), found.to_dataframe(), rtol=1e-4, check_dtype=False)
    assert sentences(again) == sentences(found)
