"""The command `python -m probes norms`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

NORMS = """Norms: how long the image's tokens are beside the words', where the model receives them and at every depth.

An image far longer than the words can hide from itself where its tokens are.

example:
  python -m probes norms photo.jpg "Where is the mug in the photo?"
"""


def add_norms(commands: Any) -> None:
    """Add the command `norms`."""
    parser = commands.add_parser("norms", help="how long image and words are, by depth", description=NORMS)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument("--out", default="out/norms", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=norms_command)


def norms_command(options: argparse.Namespace) -> int:
    """Run `norms`."""
    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.plots.style import figure_of
    from interp.store.folder import OutputFolder
    from probes.position.residual_norms import residual_norms
    from probes.position.token_norms import token_norms

    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    vlm = load(options)
    inputs = vlm.prepare(image, options.question, prompt=options.prompt)
    ((tokens,), (stream,)) = token_norms(vlm, inputs), residual_norms(vlm, inputs)
    quartiles, ratio = tokens.quartiles(), stream.image_over_text()
    written = [
        folder.write_table("token_norms.parquet", tokens.to_dataframe()),
        folder.write_table("token_norm_quartiles.parquet", quartiles),
        folder.write_table("residual_norms.parquet", stream.to_dataframe()),
        folder.write_table("norm_ratios.parquet", stream.ratios_to_dataframe()),
        folder.write_figure("token_norms.png", figure_of(tokens.plot())),
        folder.write_figure("residual_norms.png", figure_of(stream.plot()[0])),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "ratio_by_depth": ratio,
                "ratio_by_depth_paper": stream.image_over_text("paper"),
                "after_final_norm": stream.after_final_norm,
                "settings": record(vlm, prompt=options.prompt),
            },
        ),
    ]
    received = quartiles[quartiles["definition"] == "received"].set_index("group")["median"]
    print(f"median norm of a token: {received['image']:.3g} of the image, {received['text']:.3g} of the words")
    depths = sorted({0, len(ratio) // 2, len(ratio) - 1})
    print(f"image over words: {', '.join(f'{ratio[depth]:.3g} at depth {depth}' for depth in depths)}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
