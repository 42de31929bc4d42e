"""The commands of the instrument: `python -m interp analyze PHOTO "question"`, `overlap` and the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interp.cli import Parser, run
from interp.commands.analyze import add_analyze
from interp.commands.datasets import add_datasets
from interp.commands.doctor import add_doctor
from interp.commands.overlap import add_overlap
from interp.commands.selfcheck import add_selfcheck


def add_commands(commands: Any) -> None:
    """Add the commands of the instrument to those of a parser."""
    for add in (add_analyze, add_overlap, add_selfcheck, add_datasets):
        add(commands)


def build_parser() -> Parser:
    """The parser of `python -m interp`."""
    parser = Parser(prog="python -m interp", description="Where does a vision-language model look, and is it there?")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    add_commands(commands)
    add_doctor(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
