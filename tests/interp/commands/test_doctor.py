"""The doctor finds what is missing, too old or broken, says what mends it, and asks no network."""

import json
import shutil
import socket
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version

import pytest
from packaging.requirements import Requirement as Reference

from interp.__main__ import main
from interp.commands import installation
from interp.commands.installation import Part, Requirement, look, read_requirement
from interp.zoo import embedded_path

BLOCK = """
import sys, runpy
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {names}:
            raise {error}
sys.meta_path.insert(0, Hidden())
from interp.__main__ import main
raise SystemExit(main(['doctor', '--json']))
"""


def doctor_without(repo, names, error="ModuleNotFoundError(f'No module named {name!r}')"):
    """What the doctor says, in data, where modules can not be imported."""
    code = BLOCK.format(names=set(names), error=error)
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, timeout=300)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, {part["name"]: Part(**part) for part in json.loads(done.stdout)["parts"]}


def lines_of(repo):
    """Every requirement of pyproject.toml, as the metadata of an installation has it."""
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{line}; extra == "{extra}"' for extra, lines in own for line in lines)]


@pytest.fixture
def installed(repo, monkeypatch):
    """What pyproject.toml describes, with no library loaded; which are broken, and their versions, can be said."""
    lost: dict[str, str] = {}
    versions: dict[str, str] = {}

    def known(name):
        found = versions.get(name) or version("spatial-lens" if name == "spatial-lens" else name)
        if found == "gone":
            raise PackageNotFoundError(name)
        return found

    monkeypatch.setattr(installation, "requires", lambda name: lines_of(repo))
    monkeypatch.setattr(installation, "version", known)
    monkeypatch.setattr(installation, "_unloadable", lambda name, load=None: lost.get(name, ""))
    return lost, versions


def test_every_line_of_pyproject_is_read_as_packaging_reads_it(repo):
    for line in lines_of(repo):
        ours, theirs = read_requirement(line), Reference(line)
        assert ours.name == Reference(line).name
        assert {sign + bound for sign, bound in ours.bounds} == {str(one) for one in theirs.specifier}
        assert theirs.marker is None or theirs.marker.evaluate({"extra": ours.extra})


@pytest.mark.parametrize("here", ["2.11.9", "2.12", "2.12.0+cpu", "2.12.1.dev3", "2.13.0rc1", "3.0", "10.0", "2.9"])
def test_versions_stand_to_bounds_as_packaging_says(here):
    theirs = Reference("x>=2.12,<3").specifier.contains(here, prereleases=True)
    assert installation._within(here, read_requirement("x>=2.12,<3").bounds) == theirs


def test_a_whole_installation_holds(installed):
    parts = {part.name: part for part in look()}
    assert [part.name for part in parts.values() if part.state == "broken"] == []
    assert {"Python", "torch", "cpu", "shapes-vlm", "shapes-detector", "yolo", "browser", "HF_HUB_OFFLINE"} <= set(
        parts
    )
    assert "proved: " in parts["transformers"].said and "threads" in parts["cpu"].said


@pytest.mark.parametrize(
    "here, said, mend",
    [
        ("gone", "is not installed", "pip install 'einops>=0.8.2'"),
        ("0.8.1", "0.8.1 is not einops>=0.8.2", "pip install"),
    ],
)
def test_a_needed_library_that_is_missing_or_too_old_is_broken_and_has_its_line(installed, here, said, mend):
    installed[1]["einops"] = here
    (part,) = (part for part in look() if part.name == "einops")
    assert part.state == "broken" and part.said == said and part.mend.startswith(mend)


def test_a_version_that_nobody_proved_is_worth_a_note_and_no_refusal(installed):
    installed[1]["transformers"] = "9.0.0"
    (part,) = (part for part in look() if part.name == "transformers")
    assert part.state == "note" and "not proved" in part.said


def test_an_extra_that_is_not_there_is_a_note_with_what_it_is_for_and_its_line(installed):
    installed[1]["ultralytics"] = "gone"
    (part,) = (part for part in look() if part.name == "yolo")
    assert part.state == "note" and "YOLO" in part.said and "spatial-lens[yolo]" in part.mend


def test_every_extra_says_what_it_is_for(repo):
    project = tomllib.loads((repo / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(installation.EXTRAS) == set(project["optional-dependencies"])


@pytest.mark.parametrize("keep", [0, 4, 5_000, -1], ids=["empty", "no header", "part of the header", "all but a byte"])
def test_a_model_that_is_cut_off_is_broken(tmp_path, monkeypatch, keep, installed):
    whole = embedded_path("shapes-detector").read_bytes()
    copy = tmp_path / "shapes-detector.safetensors"
    copy.write_bytes(whole[:keep])
    monkeypatch.setattr(installation, "embedded_path", lambda name: copy)
    part = next(part for part in look() if part.group == "embedded models")
    assert part.state == "broken" and copy.name in part.said and part.mend


def test_a_folder_of_a_model_without_weights_or_with_half_a_file_is_broken(tmp_path, monkeypatch, installed):
    folder = tmp_path / "weights"
    shutil.copytree(embedded_path("shapes-vlm"), folder)
    monkeypatch.setattr(installation, "embedded_path", lambda name: folder)
    states = [{part.name: part for part in look()}["shapes-vlm"].state]
    (folder / "config.json").write_text('{"model_type": ')
    states.append({part.name: part for part in look()}["shapes-vlm"].state)
    (folder / "model.safetensors").unlink()
    told = {part.name: part for part in look()}["shapes-vlm"]
    assert states == ["fine", "broken"] and told.state == "broken" and "no weights" in told.said


def test_a_token_is_not_printed(monkeypatch, installed):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in repr(look())
    assert next(part for part in look() if part.name == "HF_TOKEN").said.startswith("set ")


def test_its_text_has_every_part_and_its_exit_code_says_whether_something_needed_is_broken(installed, capsys):
    assert main(["doctor"]) == 0
    assert "everything that is needed is there" in capsys.readouterr().out
    installed[0]["pandas"] = "can not be imported (ImportError: half of it is gone)"
    assert main(["doctor"]) == 1
    said = capsys.readouterr().out
    assert "! pandas" in said and "half of it is gone" in said and "-> pip install --force-reinstall 'pandas" in said
    assert said.rstrip().endswith("missing or broken: pandas")
    assert main(["doctor", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] is False and len(told["parts"]) == len(look())


@pytest.mark.slow
def test_it_runs_where_every_library_is_missing_and_where_one_breaks_as_it_likes(repo):
    needed = {Requirement(one.name, ()).name for one in map(read_requirement, lines_of(repo)) if not one.extra}
    modules = {installation.MODULES.get(name, name.replace("-", "_")) for name in needed}
    code, parts = doctor_without(repo, modules)
    assert code == 1
    assert {name for name, part in parts.items() if part.group == "libraries" and part.state != "broken"} == set()
    assert all("can not be imported (ModuleNotFoundError" in parts[name].said for name in ("torch", "numpy"))
    code, parts = doctor_without(repo, {"torchvision"}, "RuntimeError('operator nms does not exist')")
    assert code == 1 and parts["torchvision"].state == "broken" and "operator nms" in parts["torchvision"].said
    assert parts["numpy"].state == "fine" and parts["cpu"].said


@pytest.mark.slow
def test_nothing_is_asked_of_the_network(monkeypatch):
    asked = []

    def refuse(*given, **named):
        asked.append(given)
        raise OSError("no network")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "create_connection", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    assert look() and asked == []
