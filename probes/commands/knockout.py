"""The command `python -m probes knockout`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options
from probes.commands.asking import add_data, asked_data, fitting
from probes.mechanisms.knockout.arms import ARMS

KNOCKOUT = """Knock-out: which way does what is in the image take to the answer?

Edges of attention between parts of the prompt are cut before the softmax, in windows of layers: from the objects' image
tokens to the last prompt token (with as many random image tokens and words as controls), from the image to the text
behind it, from the image and from that text to the last prompt token. Told is what the probability of the right answer
loses, and the accuracy, with intervals. Answers have to be one token of the model.

examples:
  python -m probes knockout --dataset shapes --n 100 --out out/knockout
  python -m probes knockout --dataset 2ds-style --width 3 --arms "image->text" "image->last"
"""


def add_knockout(commands: Any) -> None:
    """Add the command `knockout`."""
    parser = commands.add_parser(
        "knockout",
        help="attention cut between image, objects, text and the last token",
        description=KNOCKOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--width",
        type=int,
        help="cut in every window of so many consecutive layers (default: five named windows, and all layers)",
    )
    parser.add_argument(
        "--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM",
        help=f"what to cut, of {', '.join(ARMS)} (default: all); the first needs a data set with boxes",
    )  # fmt: skip
    add_data(parser)
    parser.add_argument("--out", default="out/knockout", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=knockout_command)


def knockout_command(options: argparse.Namespace) -> int:
    """Run `knockout`."""
    from interp.errors import InputError
    from probes.mechanisms.knockout.measurement import KnockoutMeasurement
    from probes.mechanisms.knockout.report import knockout_findings
    from probes.mechanisms.knockout.study import study_knockout
    from probes.study.findings import tell_findings

    if options.dataset is None:
        raise InputError("no --dataset is named: give one, such as --dataset shapes")
    data = asked_data(options)
    work = KnockoutMeasurement.of(data.vlm, options.width, arms=options.arms, prompt=options.prompt, seed=options.seed)
    samples = fitting(data.samples, work.check_objects, "samples", data.how)
    found = study_knockout(data.vlm, samples, options.width, arms=options.arms, **data.how)
    tell_findings(data.folder, knockout_findings(found))
    return 0
