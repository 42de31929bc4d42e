"""The command `python -m probes interchange`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import fitting
from probes.commands.scenes import add_scenes, asked_pairs

INTERCHANGE = """Interchange: in which layers, and at which tokens, does the model keep what its answer hangs on?

Each pair is a question about a photo and a counterfactual, such as the same three objects in reverse order. The run of
the first goes on with what the run of the second has at chosen tokens and one layer slot (0: input of block 0, l:
output of block l - 1). Told is how probable each outcome's word then is, slot by slot, with intervals, and beside it
the same with as many random image tokens patched. Only pairs count of which the model gets both sides right.

examples:
  python -m probes interchange --positions strip --out out/strip
  python -m probes interchange --positions object --model Qwen/Qwen2-VL-7B-Instruct --scenes squares --out out/object
  python -m probes interchange --positions last --slots 0 4 8 12
"""


def add_interchange(commands: Any) -> None:
    """Add the command `interchange`."""
    parser = commands.add_parser(
        "interchange",
        help="activations of a counterfactual run patched in, slot by slot",
        description=INTERCHANGE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--positions",
        default="strip",
        metavar="SET",
        help="which tokens: last, object, strip, background, outer_strip, all_image, random_same_size or words "
        "(default: %(default)s); last asks about pairs of five items",
    )
    parser.add_argument("--slots", type=int, nargs="+", help="layer slots, or layers inside (default: all)")
    parser.add_argument(
        "--hook",
        default="resid_pre",
        help="what is patched: resid_pre (the residual stream at slots) or, inside layers, resid_mid, attn_out, "
        "mlp_out, q, k, v, z (default: %(default)s)",
    )
    parser.add_argument("--no-control", action="store_true", help="leave out the random tokens: half the time")
    add_scenes(parser, out="out/interchange")
    parser.set_defaults(command=interchange_command)


def interchange_command(options: argparse.Namespace) -> int:
    """Run `interchange`."""
    from probes.mechanisms.interchange.measurement import CONTROL, InterchangeMeasurement, check_hook, read_slots
    from probes.mechanisms.interchange.report import interchange_findings
    from probes.mechanisms.interchange.sweep import interchange
    from probes.mechanisms.tokens.token_sets import read_set
    from probes.study.findings import tell_findings

    read_set(options.positions)
    check_hook(options.hook)
    control = None if options.no_control or options.positions == CONTROL else CONTROL
    asked = asked_pairs(
        options,
        kind="last" if options.positions == "last" else "reversed",
        check=lambda vlm: read_slots(vlm, options.slots, options.hook, sets=(options.positions, control)),
    )
    how = {"slots": options.slots, "hook": options.hook, "control": control, "keep_wrong": options.all_pairs}
    pairs = asked.pairs
    if asked.photos:
        how_checked = {name: how[name] for name in ("slots", "hook", "control")}
        work = InterchangeMeasurement.of(asked.vlm, pairs, options.positions, prompt=options.prompt, **how_checked)
        pairs = fitting(pairs, lambda pair: work.check([pair.clean], progress=False), "pairs", asked.how)
    found = interchange(asked.vlm, pairs, options.positions, **how, **asked.how)
    tell_findings(asked.folder, interchange_findings(found))
    return 0
