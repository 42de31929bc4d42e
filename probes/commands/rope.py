"""The command `python -m probes rope`."""

from __future__ import annotations

import argparse
from typing import Any

from interp.cli import add_model_options, load

ROPE = """RoPE sensitivity: how much attention on the image depends on where the image tokens stand.

The keys of the image are moved on by some positions, in each layer and head by itself, and what the query row then
gives to the image is compared with what it gave before.

examples:
  python -m probes rope photo.jpg "Where is the mug in the photo?"
  python -m probes rope photo.jpg "Where is the mug in the photo?" --delta 4 --query-row appended_eos
"""


def add_rope(commands: Any) -> None:
    """Add the command `rope`."""
    parser = commands.add_parser("rope", help="what moving the image's positions does, by head", description=ROPE)
    parser.add_argument("photo", help="any image file")
    parser.add_argument("question", help="what to ask")
    parser.add_argument("--delta", type=float, default=1.0, help="positions to move by (default: %(default)s)")
    parser.add_argument(
        "--query-row",
        default="last",
        help="last (prompt row), appended_eos (as the paper's code) or a position (default: %(default)s)",
    )
    parser.add_argument("--axis", help="time, height or width, in models with positions of three streams; all of them")
    parser.add_argument("--out", default="out/rope", help="folder for the results (default: %(default)s)")
    add_model_options(parser)
    parser.set_defaults(command=rope_command)


def rope_command(options: argparse.Namespace) -> int:
    """Run `rope`."""
    import numpy as np

    from interp.image.photos import load_image
    from interp.model.record import record
    from interp.plots.style import figure_of
    from interp.store.folder import OutputFolder
    from probes.position.rope import rope_sensitivity
    from probes.position.rope_summary import mean_rope_sensitivity

    image = load_image(options.photo)
    folder = OutputFolder(options.out)
    vlm = load(options)
    inputs = vlm.prepare(image, options.question, prompt=options.prompt)
    asked: dict[str, Any] = {"delta": options.delta, "query_row": _row(options.query_row), "axis": options.axis}
    (found,) = rope_sensitivity(vlm, inputs, **asked)
    summary = mean_rope_sensitivity([found])
    curves = summary.by_layer()
    written = [
        folder.write_table("rope.parquet", found.to_dataframe()),
        folder.write_figure("rope.png", figure_of(summary.draw()[0])),
        folder.write_json(
            "summary.json",
            {
                "question": options.question,
                "delta_alpha_v": curves["delta_alpha_v"].mean(),
                "abs_delta_g_v": curves["abs_delta_g_v"].mean(),
                "delta_alpha_v_by_layer": curves["delta_alpha_v"].to_numpy(),
                "abs_delta_g_v_by_layer": curves["abs_delta_g_v"].to_numpy(),
                "largest_residual": np.abs(found.residual).max(),
                "settings": record(vlm, prompt=options.prompt, **asked),
            },
        ),
    ]
    most = curves["abs_delta_g_v"]
    print(
        f"|delta g_V| per position, mean over heads: {most.mean():.2g} over all layers, most in layer {most.argmax()} "
        f"({most.max():.2g}); attention on the image changes by {curves['delta_alpha_v'].mean():+.2g} on average"
    )
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0


def _row(said: str) -> str | int:
    """A row as the command line has it: a name, or a whole number."""
    try:
        return int(said)
    except ValueError:
        return said
