"""The command `python -m probes ablate`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.scenes import add_scenes, asked_pairs

ABLATE = """Ablate: what is answered when the order of items is taken out of the image tokens.

Each item's tokens become those that it has alone in the middle, and all others those of an empty canvas, where they
enter the language model. What is still right then, over chance, the language model finds without the vision tower's
order. As controls, as much is replaced and the order kept, and as many tokens without items are made empty. All scenes
are asked, also those that are answered wrongly, so that accuracies are of all of them.

With --swap, both runs of each pair lose their order, and then the tokens of the side items change places between them,
slot by slot: where that flips the answer, the language model has written order into these tokens.

examples:
  python -m probes ablate --out out/ablate
  python -m probes ablate --swap --out out/ablated-swap
  python -m probes ablate --model Qwen/Qwen2-VL-7B-Instruct --scenes squares --pairs 120 --out out/squares
"""


def add_ablate(commands: Any) -> None:
    """Add the command `ablate`."""
    parser = commands.add_parser(
        "ablate",
        help="answers with the order of items taken out of the image tokens",
        description=ABLATE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--swap", action="store_true", help="swap the side items' tokens of two ablated runs, at every layer slot"
    )
    parser.add_argument(
        "--ordering",
        choices=("removed", "kept"),
        default="removed",
        help="with --swap, what both runs are given: no order, or as a control their own (default: %(default)s)",
    )
    add_scenes(parser, out="out/ablate", sorts=False)
    parser.set_defaults(command=ablate_command)


def ablate_command(options: argparse.Namespace) -> int:
    """Run `ablate`."""
    from interp.errors import InputError

    if options.ordering != "removed" and not options.swap:
        raise InputError(f"--ordering {options.ordering} is about --swap: without it, both are told of")
    return _swap(options) if options.swap else _ask(options)


def _swap(options: argparse.Namespace) -> int:
    from probes.mechanisms.ablation.report import ablated_swap_findings
    from probes.mechanisms.ablation.swap import swap_under_ablation
    from probes.study.findings import tell_findings

    asked = asked_pairs(options, drawn="ablate")
    found = swap_under_ablation(asked.vlm, asked.pairs, ordering=options.ordering, **asked.how)
    tell_findings(asked.folder, ablated_swap_findings(found))
    return 0


def _ask(options: argparse.Namespace) -> int:
    from probes.mechanisms.ablation.ordered_photos import photos_of_lines
    from probes.mechanisms.ablation.ordering import ablate_ordering
    from probes.mechanisms.ablation.report import ablation_findings
    from probes.study.findings import tell_findings

    asked = asked_pairs(options, drawn="ablate")
    photos = photos_of_lines(asked.vlm, [pair.clean for pair in asked.pairs])
    tell_findings(asked.folder, ablation_findings(ablate_ordering(asked.vlm, photos, **asked.how)))
    return 0
