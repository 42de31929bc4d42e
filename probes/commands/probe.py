"""The command `python -m probes probe`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from interp.cli import names
from probes.commands.asking import fitting
from probes.commands.scenes import add_scenes, asked_pairs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interp.objects.sample import Sample
    from probes.mechanisms.scenes.pairs import Pair

PROBE = """Probe: is an object's place in a row or column written into its image tokens, and into the background's too.

Linear probes are trained on the tokens inside the objects' boxes, at each layer of the vision tower, at the projector,
and at each layer of the language model, and read on all patches of photos held out. Three controls stand beside them:
labels dealt anew, a photo of nothing at the same places, and lines of background dealt anew.

examples:
  python -m probes probe
  python -m probes probe --scenes squares --model Qwen/Qwen2-VL-7B-Instruct --axis vertical --recipe paper
"""


def add_probe(commands: Any) -> None:
    """Add the command `probe`."""
    parser = commands.add_parser(
        "probe",
        help="linear probes of objects' places, and their strips over the background",
        description=PROBE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--axis",
        choices=("horizontal", "vertical"),
        default="horizontal",
        help="along which objects are told apart (default: %(default)s)",
    )
    parser.add_argument(
        "--sites",
        default="all",
        help="where, with commas between: vision, projector, language, or names such as blocks.3 (default: all)",
    )
    parser.add_argument(
        "--recipe",
        choices=("logistic", "paper"),
        default="logistic",
        help="how probes are trained: to convergence, or as in the paper (default: %(default)s)",
    )
    parser.add_argument("--shuffles", type=int, default=5, help="how many times labels are dealt anew (default: 5)")
    add_scenes(parser, out="out/probe", sorts=False)
    parser.set_defaults(command=probe_command)


def probe_command(options: argparse.Namespace) -> int:
    """Run `probe`; whether pairs are answered rightly does not matter to a probe, so that all are kept."""
    from interp.errors import InputError
    from interp.store.folder import OutputFolder
    from probes.mechanisms.probe.measurements import ProbeTask
    from probes.mechanisms.probe.position import PARTS, position_probe
    from probes.mechanisms.probe.report import position_probe_findings
    from probes.mechanisms.probe.sites import choose_sites
    from probes.study.findings import tell_findings

    sites = names(options.sites)
    data = asked_pairs(options, parts=PARTS, check=lambda vlm: choose_sites(vlm, sites), says=False)
    samples = scenes_of(data.pairs, options.axis)
    if not samples:
        raise InputError(f"none of the scenes is along the {options.axis} axis: use other scenes, or the other axis")
    if data.photos:
        task = ProbeTask.of(data.vlm, sites=sites, axis=options.axis, prompt=options.prompt)
        samples = fitting(samples, lambda sample: task.tokens_of([sample]), "photos", data.how)
    found = position_probe(
        data.vlm,
        samples,
        axis=options.axis,
        sites=sites,
        recipe=options.recipe,
        shuffles=options.shuffles,
        **data.how,
    )
    tell_findings(OutputFolder(options.out), position_probe_findings(found))
    found.save(OutputFolder(options.out).path / "probes.safetensors")
    return 0


def scenes_of(pairs: Iterable[Pair], axis: str) -> list[Sample]:
    """The photos of all pairs along an axis, each once."""
    from interp.image.photos import load_image

    found: dict[bytes, Sample] = {}
    for pair in pairs:
        if pair.axis == axis:
            for sample in (pair.clean, pair.counterfactual):
                found.setdefault(load_image(sample.image).tobytes(), sample)
    return list(found.values())
