"""The command line of ScalingVis and AdaptVis: `python -m adaptvis answer PHOTO "question"`, `evaluate` and `demo`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adaptvis.commands.answer import add_answer
from adaptvis.commands.demo import add_demo
from adaptvis.commands.evaluate import add_evaluate
from interp.cli import Parser, run


def add_commands(commands: Any) -> None:
    """Add the commands of ScalingVis and AdaptVis to those of a parser."""
    for add in (add_answer, add_demo, add_evaluate):
        add(commands)


def build_parser() -> Parser:
    """The parser of `python -m adaptvis`."""
    parser = Parser(prog="python -m adaptvis", description="Interventions on a model's attention to the image.")
    add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
