"""The commands `python -m probes heads ...`: functional heads, from activations to what they do."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import Parser
from probes.commands.heads_collect import add_collect
from probes.commands.heads_edit import add_mask, add_steer
from probes.commands.heads_find import add_compare, add_find
from probes.commands.heads_sha import add_sha

HEADS = """Functional heads: which attention heads serve which step of a spatial question, and do answers hang on them?

The tools of "Attention in Space". Questions are taken apart into steps, each labelled with one or more of eight
functions: spatial and relational; low_level and high_level (what things look like, what they are); information, recall,
math and decision.

  collect   what every head puts out at the tokens of answers, kept in a folder
  find      heads scored and selected from such a folder, each function by layer, with nulls
  compare   how far scorers, or models, agree
  mask      the answers without heads that were found, beside random and other heads
  steer     the answers with these heads strengthened, beside the same controls
  sha       the questions with boxes drawn and objects hidden: does it find more heads, and answer better?

examples:
  python -m probes heads collect --n 200 --out out/heads
  python -m probes heads find out/heads --out out/heads-found
  python -m probes heads mask out/heads-found --function spatial --out out/heads-masked
  python -m probes heads sha --n 100 --out out/sha
"""


def add_heads(commands: Any) -> None:
    """Add the commands `heads ...`."""
    parser = commands.add_parser(
        "heads",
        help="which heads serve which function: collect, find, compare, mask, steer, sha",
        description=HEADS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    own = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser, required=True)
    for add in (add_collect, add_find, add_compare, add_mask, add_steer, add_sha):
        add(own)
