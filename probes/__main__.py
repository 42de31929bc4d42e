"""The command line of the probes: `python -m probes balance PHOTO "question"`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interp.cli import Parser, run
from probes.commands.ablate import add_ablate
from probes.commands.amplify import add_amplify
from probes.commands.balance import add_balance
from probes.commands.heads import add_heads
from probes.commands.ids import add_ids
from probes.commands.interchange import add_interchange
from probes.commands.knockout import add_knockout
from probes.commands.lens import add_lens
from probes.commands.mechanisms import add_mechanisms
from probes.commands.normalise import add_normalise
from probes.commands.norms import add_norms
from probes.commands.order import add_order
from probes.commands.position import add_position
from probes.commands.probe import add_probe
from probes.commands.retrain import add_retrain
from probes.commands.rope import add_rope
from probes.commands.shares import add_shares

WHAT = "Diagnostic tools on a model's attention and activations."


def add_commands(commands: Any) -> None:
    """Add the commands of the probes to those of a parser."""
    add_balance(commands)
    add_norms(commands)
    add_rope(commands)
    add_order(commands)
    add_normalise(commands)
    add_shares(commands)
    add_position(commands)
    add_retrain(commands)
    add_ablate(commands)
    add_knockout(commands)
    add_mechanisms(commands)
    add_probe(commands)
    add_interchange(commands)
    add_amplify(commands)
    add_lens(commands)
    add_ids(commands)
    add_heads(commands)


def add_probes(commands: Any) -> None:
    """Add the command `probes`, whose own commands these are: what `spatial-lens` takes."""
    parser = commands.add_parser(
        "probes",
        help="diagnostic tools: norms, balance, rope, order, position; interchange, probe, mechanisms; heads; more",
        description=WHAT,
    )
    add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser, required=True))


def build_parser() -> Parser:
    """The parser of `python -m probes`."""
    parser = Parser(prog="python -m probes", description=WHAT)
    add_commands(parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser))
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
