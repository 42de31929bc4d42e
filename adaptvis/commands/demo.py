"""The command `python -m adaptvis demo`: the main job with the embedded models."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

DEMO = """The main job on the embedded models, in about a minute and a half: where the model looks in held-out scenes,
whether the objects are there, which answers change when that look is turned up or down, a scene before and after, and
which layers carry the change. Writes figures, tables, summary.json and report.html.
"""


def add_demo(commands: Any) -> None:
    """Add the command `demo`."""
    parser = commands.add_parser("demo", help="the main job on embedded models", description=DEMO)
    parser.add_argument("--out", default="out/demo", help="folder for the results (default: %(default)s)")
    parser.add_argument(
        "--scenes", type=int, default=300, help="scenes to report on, at least 200 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=demo_command, prompt="paper")


def demo_command(options: argparse.Namespace) -> int:
    """Run `demo`."""
    from adaptvis.demo.demo import run_demo

    run_demo(load(options), options.out, scenes=options.scenes, seed=options.seed, prompt=options.prompt)
    return 0
