"""The command `python -m probes amplify`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from interp.cli import add_model_options
from probes.commands.asking import AskedData, add_data, asked_data, fitting, tell_left_out

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interp.objects.sample import Sample

TRAINING = "axis-probe"
"""The folder inside `--out` that the training of directions is kept in."""

AMPLIFY = """Amplify: is a question about two things answered better when what image tokens hold along a position
probe's directions is made larger, without training ("The Dual Mechanisms", section 5.4)?

Every item is asked with its options in both orders and is right only if both answers are. All items are asked again at
every alpha, along the probe's directions and along random ones of the same length: what is corrected, what is broken,
and the net of both, with intervals. Alpha is chosen on one half of the items and reported on the other; the paper's own
way of counting stands beside. Samples with another relation than left, right, above or below are left out.

examples:
  python -m probes amplify --dataset shapes --n 200 --out out/amplify
  python -m probes amplify --dataset coco-two --folder data --directions axes.npz --wording qwen --axes both
"""


def add_amplify(commands: Any) -> None:
    """Add the command `amplify`."""
    parser = commands.add_parser(
        "amplify",
        help="answers with a position probe's directions made larger in the image tokens",
        description=AMPLIFY,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--directions",
        metavar="FILE",
        help="the directions, from probes.save_directions; samples that they were trained on are left out (default: an "
        "axis probe is trained on one half of the samples, and the other half is asked)",
    )
    parser.add_argument(
        "--alphas", type=float, nargs="+", default=list(range(1, 16)), help="how much (default: 1 to 15)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="how many random directions, seeds 0 and up (default: 3)")
    parser.add_argument(
        "--mode",
        choices=("rescale", "additive"),
        default="rescale",
        help="what tokens hold already made larger, as in the released code, or the same added to each, as printed in "
        "the paper (default: %(default)s)",
    )
    parser.add_argument(
        "--axes",
        choices=("query", "both"),
        default="query",
        help="directions of the axis that is asked about, or of both (default: %(default)s)",
    )
    parser.add_argument(
        "--wording",
        choices=("where_in_relation", "qwen", "gemma"),
        default="where_in_relation",
        help="how it is asked; the paper's wordings are qwen and gemma (default: %(default)s)",
    )
    add_data(parser)
    parser.add_argument("--out", default="out/amplify", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=amplify_command)


def amplify_command(options: argparse.Namespace) -> int:
    """Run `amplify`."""
    from interp.errors import InputError
    from probes.mechanisms.amplify.answers import read_alphas, read_plan
    from probes.mechanisms.amplify.directions import load_directions, save_directions
    from probes.mechanisms.amplify.report import amplify_findings
    from probes.mechanisms.amplify.study import amplify
    from probes.mechanisms.scenes.wordings import two_sided
    from probes.study.findings import tell_findings

    if options.dataset is None:
        raise InputError("no data set is named: give --dataset NAME")
    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: give at least 1 random direction")
    read_alphas(options.alphas)
    given = load_directions(options.directions) if options.directions else None
    data = asked_data(options, parts=("", TRAINING))
    read_plan(data.vlm, options.alphas, range(options.seeds), axes=options.axes, wording=options.wording)
    samples = two_sided(data.samples)
    if gone := len(data.samples) - len(samples):
        why = "as they do not ask on which side of the other one of two things lies"
        tell_left_out(data.how, gone, f"of {len(data.samples)} samples", why)
    directions, trained_on = given or _trained(data, samples, options.axes)
    samples = _with_directions(data.how, samples, directions)
    found = amplify(
        data.vlm,
        samples,
        directions,
        alphas=options.alphas,
        seeds=range(options.seeds),
        mode=options.mode,
        axes=options.axes,
        wording=options.wording,
        trained_on=trained_on,
        on_trained="exclude",
        **data.how,
    )
    tell_findings(data.folder, amplify_findings(found))
    save_directions(data.folder.path / "directions.npz", directions, trained_on)
    return 0


def _trained(data: AskedData, samples: list[Sample], axes: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Directions of an axis probe on one half of the samples, and the ids of these; the others are asked.

    Raises:
        InputError: one half has fewer than two groups, or directions of both axes are asked for, and one half does not
            give them; before the first pass.
    """
    import numpy as np

    from interp.errors import InputError
    from interp.numeric import agree, counted
    from interp.stats.draws import halves
    from probes.mechanisms.probe.axis import axis_probe, box_tokens, side_of
    from probes.mechanisms.scenes.sides import SIDES
    from probes.mechanisms.scenes.wordings import axis_of
    from probes.study.run import groups_of

    each = np.array([axis_of(one) for one in samples], dtype=object)
    groups = groups_of(samples)
    part = halves(groups, each, seed=data.how["seed"])
    if min(len(set(groups[part == side])) for side in (0, 1)) < 2:
        raise InputError(
            f"{counted(len(samples), 'sample')} {agree(len(samples), 'lies', 'lie')} in "
            f"{counted(len(set(groups)), 'group')}: one half of the groups trains directions and the other is asked, "
            "and each needs at least two: give more samples, or --directions"
        )
    half = [one for one, at in zip(samples, part, strict=True) if at == 0]
    own = fitting(half, side_of, "samples to train directions on", data.how)
    if axes == "both":
        read = {axis_of(one) for one in own if not box_tokens(one, data.vlm.grid_of(one.image))[1]}
        if missing := sorted(set(SIDES) - read):
            raise InputError(
                f"--axes both: none of the {len(own)} samples to train directions on shows the {missing[0]} axis: "
                "leave --axes out, give --directions of both, or ask more samples"
            )
    found = axis_probe(data.vlm, own, **{**data.how, "out": data.folder.path / TRAINING})
    return dict(found.weights), tuple(one.id for one in half)


def _with_directions(how: dict[str, Any], samples: list[Sample], directions: Mapping[str, Any]) -> list[Sample]:
    """The samples on whose axis there are directions; how many others are left out is told.

    Raises:
        InputError: there is none.
    """
    from interp.errors import InputError
    from probes.mechanisms.scenes.wordings import axis_of

    kept = [one for one in samples if axis_of(one) in directions]
    if not kept:
        asked = " and ".join(sorted({axis_of(one) for one in samples}))
        raise InputError(f"directions are there for the {' and '.join(directions)} axis, and {asked} is asked about")
    if gone := len(samples) - len(kept):
        tell_left_out(
            how, gone, f"of {len(samples)} samples", f"as directions are for the {next(iter(directions))} axis alone"
        )
    return kept
