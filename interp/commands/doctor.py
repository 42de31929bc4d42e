"""The command `doctor`: what is installed here, what is missing or broken, and the line that mends it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from interp.cli import add_debug_option

if TYPE_CHECKING:
    from interp.commands.installation import Part

DOCTOR = """Look over this installation: Python, the libraries and the versions that are proved, devices and memory, the
embedded models, optional parts, and the environment variables that change what happens.

Nothing is installed, changed, or asked of the network. The exit code is 1 if something that is needed is missing or
broken; what is optional only says what it is for.

examples:
  python -m interp doctor
  python -m interp doctor --json > installation.json
"""

MARKS = {"fine": "  ", "note": "- ", "broken": "! "}


def add_doctor(commands: Any) -> None:
    """Add the command `doctor`."""
    parser = commands.add_parser("doctor", help="what is missing or broken here", description=DOCTOR)
    parser.add_argument("--json", action="store_true", help="print data instead of text")
    add_debug_option(parser)
    parser.set_defaults(command=doctor_command)


def doctor_command(options: argparse.Namespace) -> int:
    """Run `doctor`."""
    import json
    from dataclasses import asdict

    from interp.commands.installation import look

    parts = look()
    holds = all(part.state != "broken" for part in parts)
    if options.json:
        print(json.dumps({"holds": holds, "parts": [asdict(part) for part in parts]}, indent=2))
    else:
        print(describe(parts))
    return 0 if holds else 1


def describe(parts: Sequence[Part]) -> str:
    """The parts as text, group by group: `!` before what is broken, `-` before what is worth to know."""
    lines: list[str] = []
    width = max(len(part.name) for part in parts)
    group = ""
    for part in parts:
        if part.group != group:
            group = part.group
            lines += ["", group]
        lines.append(f"{MARKS[part.state]}{part.name:<{width}}  {part.said}")
        if part.mend:
            lines.append(f"  {'':<{width}}  -> {part.mend}")
    broken = [part.name for part in parts if part.state == "broken"]
    verdict = f"missing or broken: {', '.join(broken)}" if broken else "everything that is needed is there"
    return "\n".join([*lines[1:], "", verdict])
