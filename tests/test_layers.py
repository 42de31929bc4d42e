"""The rooms lie in layers: the contract holds, and fails on what it is there for, wherever an import hides."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("interp", "adaptvis", "probes")
PLANTED = {
    "upwards, in a function": ("interp/image/boxes.py", "\n\ndef later():\n    from interp.model import hooked_vlm\n"),
    "upwards, for a type": (
        "interp/stats/auroc.py",
        "\nif TYPE_CHECKING:\n    from interp.overlap.study.result import OverlapStudy\n",
    ),
    "a circle among siblings": ("interp/image/boxes.py", "\n\ndef later():\n    from interp.image import grid\n"),
    "out of interp": ("interp/answers/scoring.py", "\nimport adaptvis.policy.policies\n"),
    "from one package to the other": ("probes/position/balance.py", "\nimport adaptvis.policy.policies\n"),
    "a room without a layer": ("interp/attic/__init__.py", '"""An attic."""\n'),
}


def lint(folder):
    """What the contract says of the packages in a folder."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture
def copied(repo, tmp_path):
    """The packages' code, to plant imports in."""
    pytest.importorskip("importlinter")
    for package in PACKAGES:
        shutil.copytree(
            repo / package, tmp_path / package, ignore=shutil.ignore_patterns("*.safetensors", "__pycache__")
        )
    shutil.copy(repo / "pyproject.toml", tmp_path)
    return tmp_path


def test_no_import_goes_upwards_and_there_is_no_circle(copied):
    done = lint(copied)
    assert done.returncode == 0 and "0 broken" in done.stdout, done.stdout


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_import_breaks_the_contract(where, copied):
    name, code = PLANTED[where]
    (copied / name).parent.mkdir(exist_ok=True)
    with (copied / name).open("a") as file:
        file.write(code)
    done = lint(copied)
    assert done.returncode == 1, done.stdout


FACADES = {
    "interp/model/hooked_vlm.py": "interp",  # `vlm.explore`: the page stands on this class
    "interp/overlap/report/write.py": "interp",  # all figures of a report, `interp.plots`, among them overlap's own
}
"""Who may import names from a facade, whose own imports the contract can not see, as they are made when first used."""


def test_nobody_else_reaches_upwards_through_a_facade(repo):
    lazy = {
        ".".join(path.parent.relative_to(repo).parts)
        for package in PACKAGES
        for path in (repo / package).rglob("__init__.py")
        if "export_lazily" in path.read_text(encoding="utf-8")
    }
    assert {"interp", "interp.plots", "adaptvis", "probes"} <= lazy
    found = {}
    for path in (path for package in PACKAGES for path in (repo / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = [node.module] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in set(named) & lazy:
                found[path.relative_to(repo).as_posix()] = module
    assert found == FACADES


def test_every_folder_with_code_is_a_package(repo):
    folders = {path.parent for package in PACKAGES for path in (repo / package).rglob("*.py")}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_only_the_few_files_that_everybody_uses_are_loose(repo):
    loose = {path.stem for path in (repo / "interp").glob("*.py")}
    assert loose == {
        "__init__",
        "__main__",
        "_lazy",
        "cli",
        "compat",
        "errors",
        "layers",
        "numeric",
        "options",
        "quiet",
        "reprs",
    }


def test_no_file_is_over_400_lines(repo):
    folders = [*PACKAGES, "tests", "docs"]
    long = {
        str(path.relative_to(repo)): lines
        for folder in folders
        for path in (repo / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long


def test_the_page_of_the_architecture_is_as_its_script_writes_it(repo, tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    monkeypatch.syspath_prepend(str(repo / "docs" / "scripts"))
    from architecture_page import write_architecture

    written = write_architecture(tmp_path / "architecture.md", tmp_path / "images" / "architecture" / "rooms.png")
    page = repo / "docs" / "architecture.md"
    assert written.read_text(encoding="utf-8") == page.read_text(encoding="utf-8"), (
        "run docs/scripts/architecture_page.py"
    )
    assert (repo / "docs" / "images" / "architecture" / "rooms.png").is_file()
