"""The command `python -m probes rope`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import add_asked, asked_data, asked_photo, is_study

ROPE = """RoPE sensitivity: how much attention on the image depends on where the image tokens stand.

The keys of the image are moved on by some positions, in each layer and head by itself, and what the query row then
gives to the image is compared with what it gave before. Over a data set, means by layer and head with intervals that
draw whole groups. Where positions have three streams (M-RoPE), `--axis height` moves one of them, and `--axis each`
measures all of them together and then each by itself, in a pass for each.

examples:
  python -m probes rope photo.jpg "Where is the mug in the photo?"
  python -m probes rope photo.jpg "Where is the mug in the photo?" --delta 4 --query-row appended_eos
  python -m probes rope --dataset shapes --n 200 --out out/rope-shapes
  python -m probes rope --dataset shapes --n 50 --model Qwen/Qwen2.5-VL-3B-Instruct --axis each --out out/rope-axes
"""


def add_rope(commands: Any) -> None:
    """Add the command `rope`."""
    parser = commands.add_parser("rope", help="what moving the image's positions does, by head", description=ROPE)
    parser.add_argument("--delta", type=float, default=1.0, help="positions to move by (default: %(default)s)")
    parser.add_argument(
        "--query-row",
        default="last",
        help="last (prompt row), appended_eos (as the paper's code) or a position; of a data set a negative one, which "
        "counts from the end (default: %(default)s)",
    )
    parser.add_argument(
        "--axis",
        help="time, height or width, in models with positions of three streams; each, for all of them and then one at "
        "a time; without it all of them as one",
    )
    add_asked(parser, out="out/rope")
    parser.set_defaults(command=rope_command)


def rope_command(options: argparse.Namespace) -> int:
    """Run `rope`."""
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _asked(options: argparse.Namespace) -> dict[str, Any]:
    return {"delta": options.delta, "query_row": _row(options.query_row), "axis": options.axis}


def _of_dataset(options: argparse.Namespace) -> int:
    from probes.position.report.rope import rope_findings
    from probes.position.rope_study import study_rope
    from probes.study.findings import tell_findings

    data = asked_data(options)
    tell_findings(data.folder, rope_findings(study_rope(data.vlm, data.samples, **_asked(options), **data.how)))
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    import numpy as np
    import pandas as pd

    from interp.model.record import record
    from interp.plots.style import figure_of
    from probes.position.rope_study import RopeMeasurement
    from probes.position.rope_summary import mean_rope_sensitivity

    folder, vlm, inputs = asked_photo(options)
    work = RopeMeasurement.of(vlm, **_asked(options), prompt=options.prompt)
    (every,) = work.measure(inputs)
    found = every[0]
    summary = mean_rope_sensitivity([found])
    curves = summary.by_layer()
    written = [
        folder.write_table("rope.parquet", pd.concat([one.to_dataframe() for one in every], ignore_index=True)),
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
                "settings": record(vlm, **work.recorded()),
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
