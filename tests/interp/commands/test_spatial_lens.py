"""`spatial-lens` has every command of every package, says plainly what it could not load, and starts without torch."""

import subprocess
import sys
from importlib.metadata import EntryPoint, version

import pytest
from entry_points import declared

from adaptvis.__main__ import build_parser as adaptvis_parser
from interp.__main__ import build_parser as interp_parser
from interp.commands import spatial_lens
from interp.commands.spatial_lens import GROUP, build_parser
from interp.model.provenance import run_record
from probes.__main__ import build_parser as probes_parser

OWN = {"doctor", "completion"}
COMMANDS = {"analyze", "overlap", "selfcheck", "datasets", "answer", "evaluate", "demo", "probes"}


@pytest.fixture
def points(monkeypatch):
    """What is declared is what `spatial-lens` finds, too."""
    found = declared()
    monkeypatch.setattr(spatial_lens, "entry_points", lambda group: found if group == GROUP else [])
    return found


def commands_of(parser):
    """The parsers of a parser's commands, by name."""
    (found,) = (action.choices for action in parser._actions if action.dest == "==SUPPRESS==" and action.choices)
    return found


def options_of(parser):
    """What a command takes: the flags and names of its arguments."""
    return {(action.dest, *action.option_strings) for action in parser._actions}


def test_every_command_of_every_package_is_there_with_the_same_options(points):
    found = commands_of(build_parser())
    assert set(found) == COMMANDS | OWN
    for parser in (interp_parser(), adaptvis_parser()):
        for name, command in commands_of(parser).items():
            assert options_of(found[name]) == options_of(command)
            assert found[name].description == command.description
    below = commands_of(found["probes"])
    assert {name: options_of(command) for name, command in below.items()} == {
        name: options_of(command) for name, command in commands_of(probes_parser()).items()
    }


def test_a_usage_error_names_the_command_as_it_was_called(points, capsys):
    for arguments, named in (
        (["analyze"], "spatial-lens analyze"),
        (["probes", "balance", "--batch", "x"], "spatial-lens probes balance"),
    ):
        with pytest.raises(SystemExit, match="2"):
            spatial_lens.main(arguments)
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ") and line.endswith(f"(see {named} --help)")


def test_a_run_is_recorded_as_the_command_that_was_typed(points, monkeypatch):
    parser, told = build_parser(), {}
    commands_of(parser)["datasets"].set_defaults(command=lambda options: told.update(run_record()))
    monkeypatch.setattr(spatial_lens, "build_parser", lambda: parser)
    assert spatial_lens.main(["datasets", "vsr"]) == 0
    assert told["command"] == "spatial-lens datasets vsr"


@pytest.mark.parametrize(
    "value, said",
    [
        ("no_such_package.door:add_commands", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("interp.cli:add_commands", "AttributeError"),
        ("interp.cli:numbers", "AttributeError: "),
    ],
    ids=["missing", "without the function", "with a function that fails"],
)
def test_a_broken_package_costs_one_line_and_no_other_command(value, said, capsys):
    points = [point for point in declared() if point.name != "adaptvis"] + [EntryPoint("adaptvis", value, GROUP)]
    door = build_parser(points)
    assert set(commands_of(door)) == (COMMANDS | OWN) - {"answer", "evaluate", "demo"}
    with pytest.raises(SystemExit, match="2"):
        door.parse_args(["answer", "photo.jpg", "Where?"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "invalid choice: 'answer'" in line
    assert "the commands of adaptvis did not load" in line and said in line and "spatial-lens doctor" in line
    assert "adaptvis did not load" in door.format_help()
    assert callable(door.parse_args(["datasets"]).command)


def test_without_any_entry_point_it_says_how_to_install_and_the_doctor_is_in(capsys):
    door = build_parser([])
    assert set(commands_of(door)) == OWN
    with pytest.raises(SystemExit, match="2"):
        door.parse_args(["analyze"])
    assert "pip install -e ." in capsys.readouterr().err


def test_the_version_is_that_of_the_installation(points, capsys):
    with pytest.raises(SystemExit, match="0"):
        spatial_lens.main(["--version"])
    assert capsys.readouterr().out == f"spatial-lens {version('spatial-lens')}\n"


def test_the_help_needs_no_library_but_python_itself(repo):
    """So it is there in a blink, and where a library is missing."""
    code = (
        "import sys; from importlib.metadata import EntryPoint; from interp.commands.spatial_lens import build_parser\n"
        f"points = [EntryPoint(*one) for one in {[(point.name, point.value, point.group) for point in declared()]}]\n"
        "door = build_parser(points); door.format_help(); assert not door.lost, door.lost\n"
        "print(*{name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True)
    others = {name for name in done.stdout.split() if not name.startswith("_")}
    assert others == {"interp", "adaptvis", "probes"}
