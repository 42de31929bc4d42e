"""The command `spatial-lens`: the commands of every package in one place, found by their entry points.

A package adds its commands by a function `add_commands(commands)` that it names under `GROUP` in its pyproject.toml;
so this door needs to know none of them, and one that is broken takes no other with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

from interp.cli import Parser, run
from interp.commands.completion import add_completion
from interp.commands.doctor import add_doctor

GROUP = "spatial_lens.commands"
DISTRIBUTION = "spatial-lens"

DESCRIPTION = """See and change where a vision-language model looks when it answers a spatial question.

`spatial-lens COMMAND --help` has examples. The commands of one package are also those of `python -m interp`,
`python -m adaptvis` and `python -m probes`, with the same options.
"""


class Door(Parser):
    """A parser that says which packages' commands could not be had where one is asked for that it does not know."""

    lost: tuple[str, ...] = ()

    def error(self, message: str) -> Any:
        """Say what is wrong, and what is not there, on one line, with exit code 2."""
        super().error("; ".join((message, *self.lost)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


def build_parser(points: Iterable[EntryPoint] | None = None) -> Door:
    """The parser of `spatial-lens`.

    Args:
        points: where commands come from; what is installed under `GROUP` by default.
    """
    door = Door(prog="spatial-lens", description=DESCRIPTION)
    door.add_argument("--version", action="version", version=f"%(prog)s {installed_version()}")
    commands = door.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    found = sorted(entry_points(group=GROUP) if points is None else points, key=_order)
    door.lost = tuple(said for point in found if (said := _add(point, commands)))
    if not found:
        door.lost = ("no package has registered commands: install this one (pip install -e .)",)
    add_doctor(commands)
    add_completion(commands, door)
    door.epilog = "\n".join(door.lost)
    return door


def installed_version() -> str:
    """The version of this toolkit, as it is installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "of no version: it runs from a folder and is not installed"


def _order(point: EntryPoint) -> tuple[bool, str]:
    """The instrument first, then by name."""
    return point.name != "interp", point.name


def _add(point: EntryPoint, commands: Any) -> str:
    """Add the commands of one package; what to say where that fails, however it does."""
    try:
        point.load()(commands)
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        return f"the commands of {point.name} did not load ({said}): spatial-lens doctor says what is missing or broken"
    return ""
