"""The command `python -m probes heads collect`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.heads_items import add_items, add_tokens, asked_items

COLLECT = """Collect: what every attention head puts out at the tokens of answers, item by item, kept in a folder.

Steps are asked, and answered by the model itself, greedily, or with the right answers forced. Kept is, of every layer
and head, the mean over the chosen tokens of what the head mixes before the output projection (z), or of what it adds to
the residual stream. How much room that takes is told first. A run that breaks off goes on with --resume, to the very
same numbers. python -m probes heads find then scores the heads.

questions, one of:
  nothing named   questions about drawn scenes, one step of each of the eight functions
  --steps FILE    stepped questions of CogVSR's form, with images, or CogQA's, of text alone (with --image)
  --dataset NAME  a benchmark or a folder of photos; no function is known of its questions

examples:
  python -m probes heads collect --n 200 --out out/heads
  python -m probes heads collect --steps cogvsr.json --images photos --model Qwen/Qwen2.5-VL-3B-Instruct \\
      --device cuda --store float16 --out out/heads-qwen
  python -m probes heads collect --dataset shapes --n 100 --answers reference --out out/heads-shapes
"""


def add_collect(commands: Any) -> None:
    """Add the command `heads collect`."""
    parser = commands.add_parser(
        "collect",
        help="what every head puts out at the tokens of answers",
        description=COLLECT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--answers", choices=("own", "reference"), default="own",
        help="whose answers are read: the model's own, or the right ones, forced (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--read", choices=("z", "write", "write_norm"), default="z",
        help="z; what each head adds to the residual stream; or the length of that (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--store", choices=("float32", "float16"), default="float32",
        help="what numbers are kept as (default: %(default)s)",
    )  # fmt: skip
    add_tokens(parser)
    add_items(parser, out="out/heads")
    parser.set_defaults(command=collect_command)


def collect_command(options: argparse.Namespace) -> int:
    """Run `heads collect`."""
    from probes.heads.activations.collect import collect_heads
    from probes.heads.found.collected import collected_findings
    from probes.study.findings import tell_findings

    asked = asked_items(options)
    chosen = ("answers", "tokens", "k", "alignment", "read", "store", "max_new_tokens")
    how = {name: getattr(options, name) for name in chosen}
    heads = collect_heads(asked.vlm(), asked.items, **how, **asked.how)
    tell_findings(asked.folder, collected_findings(heads, seed=options.seed))
    return 0
