"""The command `python -m probes order`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import add_asked, add_length, asked_data, asked_photo, is_study

ORDER = """Order: what a question is answered when the contents of the image tokens change places, and when there are
fewer of them.

The vision tower runs once; the language model runs again with its image tokens permuted, once for each seed, and
pooled to so many rows and columns. Over a data set, the position sensitivity index (PSI) is what share of its right
answers a model loses, with intervals, by relation.

examples:
  python -m probes order photo.jpg "Where is the mug in the photo?" --seeds 5 --sides 4 2 1
  python -m probes order --dataset 2ds-style --n 300 --sides 4 2 1 --out out/order-2ds
"""


def add_order(commands: Any) -> None:
    """Add the command `order`."""
    parser = commands.add_parser(
        "order",
        help="answers with image tokens permuted and pooled",
        description=ORDER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=5,
        help="how many permutations, seeds 0 and up; of a data set 5 at least (default: 5)",
    )
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[], help="rows and columns of image tokens to pool to, such as 4 2 1"
    )
    parser.add_argument(
        "--within",
        choices=("all", "rows", "columns", "boxes", "outside"),
        default="all",
        help="which contents change places: all, those of one row or one column among each other, or those inside or "
        "outside the boxes of a data set's objects (default: %(default)s)",
    )
    add_length(parser)
    add_asked(parser, out="out/order")
    parser.set_defaults(command=order_command)


def order_command(options: argparse.Namespace) -> int:
    """Run `order`."""
    from interp.errors import InputError

    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: give at least 1 permutation")
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _of_dataset(options: argparse.Namespace) -> int:
    from probes.position.order import psi
    from probes.position.report.order import order_findings
    from probes.study.findings import tell_findings

    data = asked_data(options)
    asked = {"seeds": range(options.seeds), "sides": options.sides, "within": options.within}
    found = psi(data.vlm, data.samples, **asked, max_new_tokens=options.max_new_tokens, **data.how)
    tell_findings(data.folder, order_findings(found))
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    from interp.errors import InputError
    from interp.model.record import record
    from interp.numeric import percentage
    from interp.plots.style import figure_of
    from probes.position.order_answers import OrderMeasurement

    if options.within in ("boxes", "outside"):
        raise InputError(f"--within {options.within}: one photo has no boxes; ask a data set, or use interp's Python")
    folder, vlm, inputs = asked_photo(options)
    work = OrderMeasurement.of(
        vlm,
        range(options.seeds),
        options.sides,
        within=options.within,
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
    )
    work.check_inputs(inputs)
    (found,) = work.ask(inputs)
    written = [
        folder.write_table("order.parquet", found.to_dataframe()),
        folder.write_figure("order.png", figure_of(found.plot())),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": found.texts[0],
                "agreeing": found.agreeing,
                "settings": record(vlm, **work.recorded()),
            },
        ),
    ]
    print(f"answer: {found.texts[0]!r}, with confidence {percentage(found.confidence[0], 2, of=1)}")
    print(
        f"the same under {percentage(found.agreeing, 0)}% of {options.seeds} permutations of {found.image_tokens[0]} "
        "image tokens"
    )
    for side, text, sure in list(zip(found.orders, found.texts, found.confidence, strict=True))[1 + options.seeds :]:
        print(f"pooled to {side}: {text!r}, with confidence {percentage(sure, 2, of=1)}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
