"""The command `python -m probes mechanisms`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import fitting
from probes.commands.scenes import add_scenes, asked_pairs

MECHANISMS = """Mechanisms: does the vision encoder find where things are, or the language model?

All tools of "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models" over lines of three items and their
reverse: position probes in the tower, at the projector and in the language model; strips, objects, background and the
last position swapped slot by slot; the order of items ablated, and swapped under ablation. Each in a folder of its own
with its page; report.html says what is shown, with intervals and tests, and what is not.

examples:
  python -m probes mechanisms --out out/mechanisms
  python -m probes mechanisms --model Qwen/Qwen2-VL-7B-Instruct --scenes squares --out out/squares --resume
"""


def add_mechanisms(commands: Any) -> None:
    """Add the command `mechanisms`."""
    parser = commands.add_parser(
        "mechanisms",
        help="vision encoder or language model: all of these over lines of items, on one page",
        description=MECHANISMS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_scenes(parser, out="out/mechanisms", sorts=False)
    parser.add_argument(
        "--tools",
        help="only some, with commas between, of probe, strip, object, background, last (each swapped), ablate, and "
        "backup, the swap under ablation (default: all)",
    )
    parser.set_defaults(command=mechanisms_command)


def mechanisms_command(options: argparse.Namespace) -> int:
    """Run `mechanisms`."""
    from interp.cli import names
    from probes.mechanisms.dual.report import TITLE, dual_sentences, dual_tools, untold_lines
    from probes.mechanisms.dual.study import TOOLS, check_tokens, dual_mechanisms, folders_of
    from probes.study.tools import check_tools, write_tools

    tools = check_tools(names(options.tools), TOOLS) if options.tools else TOOLS
    ablated = [name for name in tools if name in ("ablate", "backup")]
    asked = asked_pairs(options, parts=folders_of(tools), drawn=" and ".join(ablated), says=tools != ("probe",))
    pairs = asked.pairs
    if asked.photos:
        pairs = fitting(pairs, lambda pair: check_tokens(asked.vlm, [pair], tools, options.prompt), "pairs", asked.how)
    found = dual_mechanisms(asked.vlm, pairs, tools, **asked.how)
    told, every = dual_sentences(found), dual_tools(found)
    untold = untold_lines(every)
    paths = write_tools(asked.folder, every, found.settings, title=TITLE, sentences=told)
    print("\n".join((*every.remarks, *every.few, *told, *untold)))
    print(f"written to {asked.folder.path}: report.html and {len(paths) - 1} more")
    return 0
