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

examples:
  python -m probes ablate --out out/ablate
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
    add_scenes(parser, out="out/ablate")
    parser.set_defaults(command=ablate_command, all_pairs=True)


def ablate_command(options: argparse.Namespace) -> int:
    """Run `ablate`."""
    from probes.mechanisms.ablation import ablate_ordering
    from probes.mechanisms.ordered_photos import photos_of_lines
    from probes.mechanisms.report.ablation import ablation_findings
    from probes.study.findings import tell_findings

    asked = asked_pairs(options)
    photos = photos_of_lines(asked.vlm, [pair.clean for pair in asked.pairs])
    tell_findings(asked.folder, ablation_findings(ablate_ordering(asked.vlm, photos, **asked.how)))
    return 0
