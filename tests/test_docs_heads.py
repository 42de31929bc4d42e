"""The page of functional heads: what its script measures stands between its marks, and what needs no run holds."""

import re

import pytest
from measured_page import block, check_marks, script

from probes.heads.found.asked import SCORERS
from probes.heads.functions import FUNCTIONS


@pytest.fixture(scope="module")
def page(repo):
    return (repo / "docs" / "probes" / "heads.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def maker(repo):
    """The script of the page."""
    with script(repo, "heads_page") as module:
        yield module


def test_every_mark_has_its_end_and_is_filled(page):
    check_marks(page)


def test_the_numbers_are_of_the_embedded_weights_and_of_as_many_questions_as_it_says(page, maker):
    assert f"weights `{maker.weights()}`" in block(page, "model"), "the embedded model has changed: run `make docs`"
    asked = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| (\d+) \|", block(page, "functions"), re.MULTILINE))
    assert asked == dict.fromkeys(FUNCTIONS, str(maker.QUESTIONS))


def test_every_scorer_is_on_the_page(page):
    missing = [name for name in SCORERS if f"`{name}`" not in page]
    assert not missing


def test_every_picture_of_the_page_is_there_and_small(page, repo):
    names = re.findall(r"\(\.\./images/heads/([\w-]+\.png)\)", page)
    folder = repo / "docs" / "images" / "heads"
    assert len(names) > 4 and set(names) == {path.name for path in folder.iterdir()}
    assert max((folder / name).stat().st_size for name in names) < 120_000
