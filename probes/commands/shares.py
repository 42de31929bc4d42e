"""The command `python -m probes shares`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

SHARES = """Attention shares: how much of the model's attention system prompt, image and words get, and how widely it
lies over the image.

Heads and layers are averaged, BOS is taken out. An entropy of 1 means that all image tokens get as much, 0 that one has
it all.

example:
  python -m probes shares photo.jpg "Where is the mug in the photo?"
"""


def add_shares(commands: Any) -> None:
    """Add the command `shares`."""
    what = "system prompt, image and words"
    parser = commands.add_parser("shares", help=what, description=SHARES)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument(
        "--max-new-tokens", type=int, default=10, help="length of the answer at most (default: %(default)s)"
    )
    parser.add_argument("--out", default="out/shares", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=shares_command)


def shares_command(options: argparse.Namespace) -> int:
    """Run `shares`."""
    import pandas as pd

    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.plots.style import figure_of
    from interp.store.folder import OutputFolder
    from probes.position.shares import ALIGNMENTS, attention_entropy, modality_shares

    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    vlm = load(options)
    inputs = vlm.prepare(image, options.question, prompt=options.prompt)
    answer, (rows,) = vlm.generate_with_cache(inputs, options.max_new_tokens)
    shares = modality_shares(rows.pattern, rows.layout)
    known = ALIGNMENTS if len(rows.tokens) > 1 else ALIGNMENTS[:1]
    entropies = {name: attention_entropy(rows, alignment=name) for name in known}
    written = [
        folder.write_table("shares.parquet", shares.to_dataframe()),
        folder.write_table("entropy.parquet", pd.concat([one.to_dataframe() for one in entropies.values()])),
        folder.write_figure("shares.png", figure_of(shares.plot())),
        folder.write_figure("entropy.png", figure_of(entropies["produced"].plot())),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "answer": answer.texts[0],
                "shares": dict(zip(shares.groups, shares.kept, strict=True)),
                "image_share_masked": shares.masked,
                "entropy": {name: one.values.mean() for name, one in entropies.items()},
                "settings": record(vlm, prompt=options.prompt, max_new_tokens=options.max_new_tokens),
            },
        ),
    ]
    kept = ", ".join(f"{name} {share:.0%}" for name, share in zip(shares.groups, shares.kept, strict=True))
    print(f"answer: {answer.texts[0]!r}")
    print(f"attention: {kept}; of image and words, the image has {shares.masked:.0%}")
    print(f"entropy over the image, mean over tokens: {entropies['produced'].values.mean():.2f}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
