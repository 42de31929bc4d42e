"""The notebooks run from top to bottom, and what is stored in them is what they do."""

import importlib
import os
import re
import shlex
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def texts(notebook):
    """What the cells printed, and how many pictures each drew."""
    said = []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            streams = "".join(out.text for out in cell.outputs if out.output_type == "stream" and out.name == "stdout")
            pictures = sum("image/png" in out.get("data", {}) for out in cell.outputs)
            said.append((streams, pictures))
    return said


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_says_what_is_stored_in_it(path, tmp_path, monkeypatch):
    monkeypatch.delenv("MPLBACKEND")  # the kernel draws into the notebook
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    NotebookClient(fresh, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert [pictures for _, pictures in texts(fresh)] == [pictures for _, pictures in texts(stored)]
    assert sum(pictures for _, pictures in texts(stored)) >= 6
    # Numbers may differ in the last digit on another machine; the words may not, with the versions that they are of.
    if "PROVING_VERSIONS" not in os.environ:
        assert [words(said) for said, _ in texts(fresh)] == [words(said) for said, _ in texts(stored)]
    assert not any(out.output_type == "error" for cell in stored.cells for out in cell.get("outputs", []))


def words(said):
    return [word for word in said.split() if word.isalpha()]


def test_there_is_a_first_notebook_and_it_names_no_path_of_this_machine():
    assert [path.stem for path in NOTEBOOKS][:1] == ["01_where_does_it_look"]
    for path in NOTEBOOKS:
        assert str(Path(__file__).parent.parent) not in path.read_text()


def prose(path):
    """The text of a notebook, without its code and its outputs."""
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_that_every_link_of_a_notebook_leads_to_a_file_or_to_a_place_in_it(path):
    text = re.sub(r"^```.*?^```", "", prose(path), flags=re.MULTILINE | re.DOTALL)
    places = re.findall(r'<a id="([^"]+)"></a>\n## ', text)
    links = re.findall(r"\]\(([^()#\s]*)(?:#([^()\s]*))?\)", text)
    assert len(places) == len(set(places))
    assert [anchor for target, anchor in links if not target] == places, (
        "the contents name every section once, in order"
    )
    for target in {target for target, _ in links if target and not target.startswith("https://")}:
        assert (path.parent / target).is_file(), f"{target} is not there"


def test_that_every_command_in_the_notebooks_is_one_that_its_parser_takes():
    joined = "\n".join(prose(path).replace("\\\n", " ") for path in NOTEBOOKS)
    found = re.findall(r"python -m (adaptvis|interp|probes) ([^`\n#]+)", joined)
    assert len(found) > 2
    for module, arguments in found:
        parser = importlib.import_module(f"{module}.__main__").build_parser()
        assert callable(parser.parse_args(shlex.split(arguments)).command), arguments


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_that_a_notebook_is_stored_as_it_ran_and_is_small(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert path.stat().st_size < 3_000_000
