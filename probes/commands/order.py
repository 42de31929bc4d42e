"""The command `python -m probes order`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

ORDER = """Order: what a question is answered when the contents of the image tokens change places, and when there are
fewer of them.

The vision tower runs once; the language model runs again with its image tokens permuted, once for each seed, and
pooled to so many rows and columns.

example:
  python -m probes order photo.jpg "Where is the mug in the photo?" --seeds 5 --sides 4 2 1
"""


def add_order(commands: Any) -> None:
    """Add the command `order`."""
    parser = commands.add_parser(
        "order",
        help="answers with image tokens permuted and pooled",
        description=ORDER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument("--seeds", type=int, default=5, help="how many permutations, seeds 0 and up (default: 5)")
    parser.add_argument(
        "--sides", type=int, nargs="*", default=[], help="rows and columns of image tokens to pool to, such as 4 2 1"
    )
    parser.add_argument(
        "--within",
        choices=("all", "rows", "columns"),
        default="all",
        help="whether contents keep their row or column (default: %(default)s)",
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    parser.add_argument("--out", default="out/order", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=order_command)


def order_command(options: argparse.Namespace) -> int:
    """Run `order`."""
    from interp.errors import InputError
    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.plots.style import figure_of
    from interp.store.folder import OutputFolder
    from probes.position.order_answers import OrderMeasurement

    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: give at least 1 permutation")
    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    vlm = load(options)
    work = OrderMeasurement.of(
        vlm,
        range(options.seeds),
        options.sides,
        within=options.within,
        prompt=options.prompt,
        max_new_tokens=options.max_new_tokens,
    )
    inputs = vlm.prepare(image, options.question, prompt=options.prompt)
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
    print(f"answer: {found.texts[0]!r}, with confidence {found.confidence[0]:.2f}")
    print(
        f"the same under {found.agreeing:.0%} of {options.seeds} permutations of {found.image_tokens[0]} image tokens"
    )
    for side, text, sure in list(zip(found.orders, found.texts, found.confidence, strict=True))[1 + options.seeds :]:
        print(f"pooled to {side}: {text!r}, with confidence {sure:.2f}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
