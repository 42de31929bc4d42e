"""The command `python -m probes balance`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

BALANCE = """Cross-modality balance: how each layer and head divides its attention between the image and the words.

1 means that a head looks at the image only, 0 at the words only; BOS and system prompt are left out.

example:
  python -m probes balance photo.jpg "Where is the mug in the photo?"
"""


def add_balance(commands: Any) -> None:
    """Add the command `balance`."""
    parser = commands.add_parser("balance", help="image against words, by layer and head", description=BALANCE)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    parser.add_argument("--out", default="out/balance", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=balance_command)


def balance_command(options: argparse.Namespace) -> int:
    """Run `balance`."""
    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.plots.style import figure_of
    from interp.store.folder import OutputFolder
    from probes.position.balance import cross_modality_balance

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
