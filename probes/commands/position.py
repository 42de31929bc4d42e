"""The command `python -m probes position`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options
from interp.zoo import EMBEDDED
from probes.commands.asking import add_data, asked_data

POSITION = """Position: what a model does with the order of its image tokens, measured by all tools over one data set.

  norms      how long image tokens are beside words, at every depth
  balance    how attention is divided between image and words
  rope       what happens to attention when the image's positions are moved on
  order      what accuracy is lost when image tokens are permuted (PSI)
  normalise  accuracy, PSI and RoPE sensitivity as image norms are scaled, without training

Each tool keeps its study, tables and page in a folder of its own inside --out; one page says what was found in a
sentence each, with intervals. A run that breaks off goes on with --resume. Without --dataset, the model that comes with
the package is asked about drawn scenes (shapes), and any other about 2ds-style.

examples:
  python -m probes position
  python -m probes position --model llava-hf/llava-1.5-7b-hf --device cuda --n 600 --out out/llava
"""

OWN = {True: "shapes", False: "2ds-style"}
"""The data set that is asked where none is named: of the embedded model, and of others."""

FEW = 200


def add_position(commands: Any) -> None:
    """Add the command `position`."""
    parser = commands.add_parser("position", help="all of these over a data set, on one page", description=POSITION)
    add_data(parser.add_argument_group("data"), n=FEW)
    parser.add_argument(
        "--tools", help="only some of these, with commas between, and those that --out holds already (default: all)"
    )
    parser.add_argument("--out", default="out/position", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=position_command)


def position_command(options: argparse.Namespace) -> int:
    """Run `position`."""
    from interp.cli import names
    from interp.model.record import record
    from interp.store.guard import holds_study
    from probes.position.report.position import TITLE, TOOLS, examine_position
    from probes.study.tools import check_tools, write_tools

    tools = check_tools(names(options.tools) if options.tools else tuple(TOOLS), tuple(TOOLS))
    options.dataset = options.dataset or OWN[options.model in EMBEDDED]
    data = asked_data(options, parts=tuple(TOOLS))
    tools = tuple(name for name in TOOLS if name in tools or holds_study(data.folder.path / name))
    found = examine_position(data.vlm, data.samples, tools, **data.how)
    settings = record(data.vlm, dataset=options.dataset, n=len(data.samples), prompt=options.prompt, seed=options.seed)
    paths = write_tools(data.folder, found, settings, title=TITLE)
    print("\n".join([*found.remarks, *found.few, *found.sentences()]))
    print(f"written to {data.folder.path}: report.html and {len(paths) - 1} more")
    return 0
