"""The page of the mechanisms: what its script measures stands between its marks, and what needs no run holds."""

import re

import pytest
from measured_page import block, check_marks, script


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "probes" / "mechanisms.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker(repo):
    """The script of the page."""
    with script(repo, "mechanisms_page") as module:
        yield module


def test_every_mark_has_its_end_and_is_filled(page):
    check_marks(page)


def test_what_needs_no_run_is_on_the_page_as_the_code_has_it(page, maker):
    for name, fresh in maker.unmeasured_blocks():
        assert block(page, name) == fresh.strip(), "run docs/scripts/mechanisms_page.py"


def test_the_numbers_are_of_the_embedded_weights_and_of_as_many_pairs_as_it_says(page, maker):
    assert f"weights `{maker.weights()}`" in block(page, "model"), "the embedded model has changed: run `make docs`"
    assert f"on {maker.PAIRS} pairs" in block(page, "model") and f"on {maker.N} scenes" in block(page, "model")
    assert f"Of {4 * maker.PAIRS} pairs" in block(page, "interchange")


def test_the_planted_models_are_told_apart_on_the_page(page, maker):
    told = dict(re.findall(r"^\| `(planted-\w+)` \| ([\w ]+) \|", block(page, "planted"), re.MULTILINE))
    assert told == {
        "planted-encoder": "vision encoder",
        "planted-language": "language model",
        "planted-blind": "not told",
    }


def test_every_picture_of_the_page_is_there_and_small(page, repo):
    names = re.findall(r"\(\.\./images/mechanisms/([\w-]+\.png)\)", page)
    folder = repo / "docs" / "images" / "mechanisms"
    assert len(names) > 6 and set(names) == {path.name for path in folder.iterdir()}
    assert max((folder / name).stat().st_size for name in names) < 120_000


def test_a_slot_that_is_shown_is_spelt_with_its_neighbours(maker):
    assert maker.runs_of([0, 1, 2, 5, 7, 8]) == "0 to 2, 5, 7 to 8" and maker.runs_of([]) == "none"
