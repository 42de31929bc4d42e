"""The notebooks run from top to bottom, and what is stored in them is what they do."""

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
    # Numbers may differ in the last digit on another machine; the words may not.
    assert [words(said) for said, _ in texts(fresh)] == [words(said) for said, _ in texts(stored)]
    assert not any(out.output_type == "error" for cell in stored.cells for out in cell.get("outputs", []))


def words(said):
    return [word for word in said.split() if word.isalpha()]


def test_there_is_a_first_notebook_and_it_names_no_path_of_this_machine():
    assert [path.stem for path in NOTEBOOKS][:1] == ["01_where_does_it_look"]
    for path in NOTEBOOKS:
        assert str(Path(__file__).parent.parent) not in path.read_text()
