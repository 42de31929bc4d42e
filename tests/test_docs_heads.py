"""The page of functional heads: what its script measures stands between its marks, and what needs no run holds."""

import re
from importlib import import_module
from importlib.util import find_spec

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


def test_what_the_page_concludes_is_what_its_tables_say(page):
    rows = [row.split("|") for row in block(page, "layout").splitlines() if row.startswith("| `")]
    gini = [re.search(r"([\d.]+) \(random \S+, ([\d.]+) to", row[3]).groups() for row in rows]
    assert len(gini) == 4 and all(float(value) < float(low) for value, low in gini)  # more even than noise
    verdicts = [row.split("|")[-2].strip() for row in block(page, "removed").splitlines() if re.match(r"\| \d", row)]
    assert len(verdicts) == 5 and "causal" not in verdicts and verdicts[-1] == "not beyond random"
    assert {verdicts[place] for place in (0, 1, 3)} == {"broken"}
    assert "Verdict: no effect" in block(page, "text removed")


def test_every_scorer_is_on_the_page(page):
    missing = [name for name in SCORERS if f"`{name}`" not in page]
    assert not missing


def test_every_picture_of_the_page_is_there_and_small(page, repo):
    names = re.findall(r"\(\.\./images/heads/([\w-]+\.png)\)", page)
    folder = repo / "docs" / "images" / "heads"
    assert len(names) > 4 and set(names) == {path.name for path in folder.iterdir()}
    assert max((folder / name).stat().st_size for name in names) < 120_000


def test_what_docstrings_refer_to_is_on_the_api_page_and_there(repo):
    pages = "".join(path.read_text(encoding="utf-8") for path in (repo / "docs" / "api").glob("*.md"))
    documented = set(re.findall(r"^::: (\S+)$", pages, re.MULTILINE))
    sources = [path.read_text(encoding="utf-8") for path in (repo / "probes" / "heads").rglob("*.py")]
    named = {name for text in sources for name in re.findall(r"`(probes\.heads\.[\w.]+)`", text)}
    assert len(named) > 5
    for name in named:
        home = name if find_spec(name.rpartition(".")[0]).submodule_search_locations else name.rpartition(".")[0]
        assert home in documented, f"{name} is on no page of docs/api"
        assert home == name or hasattr(import_module(home), name.rpartition(".")[2]), f"there is no {name}"
