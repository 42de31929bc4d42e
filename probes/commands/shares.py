"""The command `python -m probes shares`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options
from probes.commands.asking import add_answer, add_photo, asked_photo

SHARES = """Attention shares: how much of the model's attention system prompt, image and words get, and how widely it
lies over the image.

Heads and layers are averaged, BOS is taken out. An entropy of 1 means that all image tokens get as much, 0 that one has
it all. This is of one photo: over a data set, the same generation gives the balance, so that
`python -m probes balance --dataset NAME` measures both.

examples:
  python -m probes shares photo.jpg "Where is the mug in the photo?"
  python -m probes balance --dataset shapes --n 200
"""


def add_shares(commands: Any) -> None:
    """Add the command `shares`."""
    parser = commands.add_parser(
        "shares",
        help="system prompt, image and words",
        description=SHARES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_photo(parser)
    add_answer(parser)
    parser.add_argument("--out", default="out/shares", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=shares_command)


def shares_command(options: argparse.Namespace) -> int:
    """Run `shares`."""
    import pandas as pd

    from interp.model.record import record
    from interp.numeric import percentage
    from interp.plots.style import figure_of
    from probes.position.balance_measurement import BalanceMeasurement, measure_attention

    folder, vlm, inputs = asked_photo(options)
    asked = {"prompt": options.prompt, "system": options.system, "max_new_tokens": options.max_new_tokens}
    work = BalanceMeasurement.of(vlm, **asked)
    (found,) = measure_attention(vlm, inputs, options.max_new_tokens)
    shares, entropy = found.shares, found.entropy
    written = [
        folder.write_table("shares.parquet", shares.to_dataframe()),
        folder.write_table("entropy.parquet", pd.concat([one.to_dataframe() for one in entropy.values()])),
        folder.write_figure("shares.png", figure_of(shares.plot())),
        folder.write_figure("entropy.png", figure_of(entropy["produced"].plot())),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": found.text,
                "shares": dict(zip(shares.groups, shares.kept, strict=True)),
                "image_share_masked": shares.masked,
                "entropy": {name: one.values.mean() for name, one in entropy.items()},
                "settings": record(vlm, **work.recorded()),
            },
        ),
    ]
    kept = ", ".join(f"{name} {percentage(share, 0)}%" for name, share in zip(shares.groups, shares.kept, strict=True))
    print(f"answer: {found.text!r}")
    if "system" not in shares.groups:
        print("the prompt has no system part: --system TEXT gives one, where the model's template takes it")
    print(f"attention: {kept}; of image and words, the image has {percentage(shares.masked, 0)}%")
    print(f"entropy over the image, mean over tokens: {entropy['produced'].values.mean():.2f}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
