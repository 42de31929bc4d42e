"""The wheel holds the code, the data and both licences, and says so in its metadata."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version

import pytest
from imported import imported_packages
from packaging.requirements import Requirement
from packaging.version import Version

from interp.datasets.synthetic.shapes import shapes

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


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The wheel unpacked where nothing else of the project lies, first on the path of whoever runs there."""
    place = tmp_path_factory.mktemp("installed")
    wheel.extractall(place)
    shapes(1, kinds=("relation",))[0].image.save(place / "photo.png")
    return place


def run_installed(place, *arguments):
    """A command of the installed package, in whose folder nothing of the sources is found; what it printed."""
    env = {**os.environ, "PYTHONPATH": str(place), "PYTHONWARNINGS": "default"}
    done = subprocess.run([sys.executable, *arguments], cwd=place, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    ours = [line for line in done.stderr.splitlines() if re.search(r"(interp|adaptvis|probes)/.*Warning: ", line)]
    assert [line for line in ours if re.search("Future|Deprecat", line)] == []
    return done.stdout + done.stderr


ASKED = ("Where is the red circle? Answer with left, right, top or bottom.",)


def test_the_installed_package_is_the_one_that_runs(installed):
    code = "import interp, adaptvis, probes; print(interp.__file__, adaptvis.__file__, probes.__file__)"
    assert run_installed(installed, "-c", code).split() == [
        str(installed / name / "__init__.py") for name in ("interp", "adaptvis", "probes")
    ]


DOOR = "import sys; from {module} import {name}; raise SystemExit({name}(sys.argv[1:]))"


def test_its_one_command_finds_those_of_all_packages(wheel, installed):
    """What pip makes of `[project.scripts]` is a file that imports and calls what it names."""
    names = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    (module, name) = re.search(
        r"\[console_scripts\]\nspatial-lens = ([\w.]+):(\w+)", wheel.read(names).decode()
    ).groups()
    door = DOOR.format(module=module, name=name)
    said = run_installed(installed, "-c", door)
    for command in ("analyze", "overlap", "selfcheck", "datasets", "answer", "evaluate", "demo", "probes", "doctor"):
        assert re.search(rf"^    {command}\b", said, re.MULTILINE), command
    assert "did not load" not in said
    assert "usage: spatial-lens probes balance" in run_installed(installed, "-c", door, "probes", "balance", "--help")
    assert "controlled-a" in run_installed(installed, "-c", door, "datasets")


@pytest.mark.slow
@pytest.mark.compat
@pytest.mark.parametrize(
    "command, written",
    [
        (("interp", "selfcheck", "tiny-llava"), ()),
        (("interp", "analyze", "photo.png", *ASKED), ("heatmaps.png", "summary.json")),
        (("interp", "overlap", "--dataset", "shapes", "--n", "24"), ("report.html", "overlap.parquet")),
        (("adaptvis", "evaluate", "--dataset", "shapes", "--n", "24", "--policy", "scaling"), ("report.html",)),
        (("adaptvis", "demo", "--scenes", "200"), ("report.html", "results.parquet")),
    ],
    ids=lambda given: given[1] if len(given) > 1 and given[0] in PACKAGES else "",
)
def test_its_commands_run_and_warn_of_nothing_that_will_break(installed, command, written):
    """No deprecation of our own use of a library reaches whoever runs a command."""
    module, *arguments = command
    out = () if arguments[0] == "selfcheck" else ("--out", "results")
    shutil.rmtree(installed / "results", ignore_errors=True)
    said = run_installed(installed, "-m", module, *arguments, *out)
    own_words = [line for line in said.splitlines() if "site-packages" not in line]  # libraries among themselves
    assert [line for line in own_words if "deprecated" in line] == []
    assert [name for name in written if not (installed / "results" / name).is_file()] == []


def declared(repo, *extra):
    """What users of the package are told to install, with these extras."""
    project = tomllib.loads((repo / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    own = (one for name in extra for one in extras[name])
    return [Requirement(line) for line in (*project["dependencies"], *own)]


@pytest.mark.skipif(
    os.environ.get("PROVING_VERSIONS") != "floor", reason="these are not the lowest versions: make floor"
)
def test_the_lowest_versions_are_those_that_are_declared(repo):
    """A bound that another library's bound overrules was never installed, and promises what nobody saw."""
    lowest = {one.name: Version(next(iter(one.specifier)).version) for one in declared(repo, "yolo", "onnx")}
    assert {name: Version(version(name).partition("+")[0]) for name in lowest} == lowest


@pytest.mark.skipif("PROVING_VERSIONS" in os.environ, reason="these are not the locked versions")
def test_the_lock_is_within_the_declared_ranges_and_names_no_registry(repo):
    lines = (repo / "constraints.txt").read_text().splitlines()
    locked = {}
    for line in lines:
        assert line.startswith("#") or Requirement(line)
        assert "://" not in line
        if not line.startswith("#"):
            locked.setdefault(Requirement(line).name, []).append(next(iter(Requirement(line).specifier)).version)
    extras = tomllib.loads((repo / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = declared(repo, *extras)
    assert {one.name for one in wanted} - set(locked) == set(), "what `make lock` would add"
    assert [str(one) for one in wanted if not all(pin in one.specifier for pin in locked[one.name])] == []


def test_every_third_party_import_is_declared(repo):
    names = {one.name.replace("-", "_") for one in declared(repo, "yolo", "onnx")}
    called = {"pillow": "PIL", "protobuf": "google", "scikit_learn": "sklearn"}
    modules = {called.get(name, name) for name in names}
    ours = {*PACKAGES, *sys.stdlib_module_names, "peft", "lmms_eval"}  # an extra, and a harness that asks for us
    used = {name for package in PACKAGES for path in (repo / package).rglob("*.py") for name in imported_packages(path)}
    assert used - ours - modules == set()
