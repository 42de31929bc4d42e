"""The wheel holds the code, the data and both licences, and says so in its metadata."""

import shutil
import subprocess
import sys
import tomllib
import zipfile

import pytest

PACKAGES = ("interp", "adaptvis", "probes")


@pytest.fixture(scope="module")
def wheel(repo, tmp_path_factory):
    """A wheel built from a copy of the sources, without network."""
    pytest.importorskip("setuptools", minversion="77", reason="building the wheel needs setuptools 77 or newer")
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(repo / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repo / name, source / name)
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-q",
        "-w",
        out,
        source,
    ]
    subprocess.run(build, check=True, capture_output=True)
    with zipfile.ZipFile(next(out.glob("*.whl"))) as archive:
        yield archive


def test_every_file_of_the_packages_is_in_the_wheel(wheel, repo):
    tracked = {
        path.relative_to(repo).as_posix()
        for name in PACKAGES
        for path in (repo / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked - set(wheel.namelist()) == set()


def test_the_wheel_declares_and_carries_both_licences(wheel):
    names = wheel.namelist()
    metadata = wheel.read(next(name for name in names if name.endswith(".dist-info/METADATA"))).decode()
    assert "License-Expression: MIT AND AGPL-3.0-only" in metadata
    carried = [name for name in names if ".dist-info/licenses/" in name]
    assert any(name.endswith("licenses/LICENSE") for name in carried)
    detector = next(name for name in carried if name.endswith("interp/zoo/yolo/LICENSE"))
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in wheel.read(detector).decode()


def test_the_wheel_is_typed_and_ships_no_tests(wheel):
    names = set(wheel.namelist())
    assert {f"{name}/py.typed" for name in PACKAGES} <= names
    assert not [name for name in names if name.startswith(("tests/", "notebooks/", "docs/"))]


def test_every_third_party_import_is_declared(repo):
    from test_imports import imported_packages

    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    declared = [*project["dependencies"], *extras["yolo"], *extras["onnx"]]
    names = {entry.split(">")[0].replace("-", "_") for entry in declared}
    modules = {{"pillow": "PIL"}.get(name, name) for name in names}
    ours = {*PACKAGES, *sys.stdlib_module_names}
    used = {name for package in PACKAGES for path in (repo / package).rglob("*.py") for name in imported_packages(path)}
    assert used - ours - modules == set()
