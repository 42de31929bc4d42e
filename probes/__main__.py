"""The command line of the probes: `python -m probes balance PHOTO "question"`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from interp.cli import Parser, add_model_options, load, run

BALANCE = """Cross-modality balance: how each layer and head divides its attention between the image and the words.

1 means that a head looks at the image only, 0 at the words only; BOS and system prompt are left out.

example:
  python -m probes balance photo.jpg "Where is the mug in the photo?"
"""


def build_parser() -> Parser:
    """The parser of `python -m probes`."""
    parser = Parser(prog="python -m probes", description="Diagnostic tools on a model's attention and activations.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    one = commands.add_parser("balance", help="image against words, by layer and head", description=BALANCE)
    one.add_argument("photo", help="any image file")
    one.add_argument("question", help="what to ask")
    one.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    one.add_argument("--out", default="out/balance", help="folder for the results (default: %(default)s)")
    add_model_options(one)
    one.set_defaults(command=balance_command)
    return parser


def balance_command(options: argparse.Namespace) -> int:
    """Run `balance`."""
    from interp.images import load_image
    from interp.output import OutputFolder, record
    from interp.plots.style import figure_of
    from probes.balance import cross_modality_balance

    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    vlm = load(options)
    inputs = vlm.prepare(image, options.question, prompt=options.prompt)
    answer, (rows,) = vlm.generate_with_cache(inputs, options.max_new_tokens)
    balance = cross_modality_balance(rows.pattern, rows.layout)
    written = [
        folder.write_table("balance.parquet", balance.to_dataframe()),
        folder.write_figure("balance.png", figure_of(balance.plot())),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": answer.texts[0],
                "balance_by_layer": balance.values.mean(-1),
                "settings": record(vlm, prompt=options.prompt, max_new_tokens=options.max_new_tokens),
            },
        ),
    ]
    means = balance.values.mean(-1)
    print(f"answer: {answer.texts[0]!r}")
    print(
        f"balance, mean over heads: highest {means.max():.2f} in layer {means.argmax()}, "
        f"lowest {means.min():.2f} in layer {means.argmin()}"
    )
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point."""
    return run(build_parser(), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
