"""The command `python -m probes normalise`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import add_asked, add_length, asked_data, asked_photo, is_study

NORMALISE = """Normalise: what a question is answered when image tokens are made longer or shorter, where they enter the
language model of a trained model.

Nothing is trained: this is no method of the paper "Beyond Semantics", whose normalising projector is trained with the
whole model, but the control beside it. At each dose: the answer, its confidence, attention on the image, RoPE
sensitivity, and what permuting the tokens changes. Dose 1 is the untouched model. Over a data set, accuracy, PSI, RoPE
sensitivity and confidence by dose, with intervals, and how far each is from the untouched model.

examples:
  python -m probes normalise photo.jpg "Where is the mug in the photo?" --scales 0.25 0.5 2 4
  python -m probes normalise --dataset 2ds-style --n 120 --target-norms 1.0126 --out out/normalise-2ds
"""


SCALES = (0.25, 0.5, 1.0, 2.0, 4.0)


def add_normalise(commands: Any) -> None:
    """Add the command `normalise`."""
    parser = commands.add_parser(
        "normalise",
        help="answers with image tokens made longer and shorter, without training (no method of the paper)",
        description=NORMALISE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scales",
        type=float,
        nargs="*",
        default=list(SCALES),
        help="every token's length times these; 1, untouched, is added (default: 0.25 0.5 1 2 4)",
    )
    parser.add_argument("--clips", type=float, nargs="*", default=[], help="tokens cut to at most these lengths")
    parser.add_argument("--target-norms", type=float, nargs="*", default=[], help="tokens brought to these lengths")
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="how many permutations at each dose, seeds 0 and up; of a data set 5 at least (default: 5)",
    )
    add_length(parser)
    add_asked(parser, out="out/normalise")
    parser.set_defaults(command=normalise_command)


def normalise_command(options: argparse.Namespace) -> int:
    """Run `normalise`."""
    from interp.errors import InputError
    from probes.position.dose_answers import read_doses

    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: give at least 1 permutation")
    read_doses(options.scales, options.clips, options.target_norms)  # refused before a model is loaded
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _of_dataset(options: argparse.Namespace) -> int:
    from probes.position.dose import dose_response
    from probes.position.report.dose import dose_findings
    from probes.study.findings import tell_findings

    data = asked_data(options)
    found = dose_response(
        data.vlm,
        data.samples,
        options.scales,
        clips=options.clips,
        target_norms=options.target_norms,
        seeds=range(options.seeds),
        max_new_tokens=options.max_new_tokens,
        **data.how,
    )
    tell_findings(data.folder, dose_findings(found))
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    from interp.model.record import record
    from interp.numeric import percentage
    from interp.plots.style import figure_of
    from probes.position.dose_answers import UNTOUCHED, DoseMeasurement, read_doses

    doses = read_doses(options.scales, options.clips, options.target_norms)
    folder, vlm, inputs = asked_photo(options)
    work = DoseMeasurement.of(
        vlm, doses, range(options.seeds), prompt=options.prompt, max_new_tokens=options.max_new_tokens
    )
    work.order.check_inputs(inputs)
    (found,) = work.ask(inputs)
    table = found.to_dataframe()
    kinds = dict.fromkeys(dose.kind for dose in found.doses if dose != UNTOUCHED)
    written = [
        folder.write_table("normalise.parquet", table),
        *(folder.write_figure(f"normalise_{kind}.png", figure_of(found.draw(kind=kind)[0])) for kind in kinds),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": found.texts[found.doses.index(UNTOUCHED)],
                "changed_at": [str(dose) for dose in found.changed],
                "out_of_range": [str(dose) for dose in found.out_of_range],
                "settings": record(vlm, **work.recorded()),
            },
        ),
    ]
    for dose, row in zip(found.doses, table.itertuples(), strict=True):
        print(
            f"{dose}{' (untouched)' if dose == UNTOUCHED else ''}: {row.text!r}, confidence "
            f"{percentage(row.confidence, 2, of=1)}, attention on the image {percentage(row.image_mass, 2, of=1)}, "
            f"|delta g_V| {row.abs_delta_g_v:.3g}, the same under "
            f"{percentage(row.agreeing, 0)}% of {options.seeds} permutations"
        )
    for dose in found.out_of_range:
        print(f"{dose}: left out, as it leaves the range of {str(vlm.dtype).removeprefix('torch.')}")
    print("nothing was trained: this is no method of the paper")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
