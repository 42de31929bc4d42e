"""The command `python -m probes norms`."""

from __future__ import annotations

import argparse
from typing import Any

from probes.commands.asking import add_asked, asked_data, asked_photo, is_study

NORMS = """Norms: how long the image's tokens are beside the words', where the model receives them and at every depth.

An image far longer than the words can hide from itself where its tokens are. Of one photo, every token is written; over
a data set, quartiles of all tokens, and the mean of the samples' ratios by depth with an interval that draws whole
groups. The paper's own definition and its last depth stand beside ours, by name.

examples:
  python -m probes norms photo.jpg "Where is the mug in the photo?"
  python -m probes norms --dataset shapes --n 200 --out out/norms-shapes
"""


def add_norms(commands: Any) -> None:
    """Add the command `norms`."""
    parser = commands.add_parser("norms", help="how long image and words are, by depth", description=NORMS)
    add_asked(parser, out="out/norms")
    parser.set_defaults(command=norms_command)


def norms_command(options: argparse.Namespace) -> int:
    """Run `norms`."""
    return _of_dataset(options) if is_study(options) else _of_photo(options)


def _of_dataset(options: argparse.Namespace) -> int:
    from probes.position.norms_study import study_norms
    from probes.position.report.norms import norms_findings
    from probes.study.findings import tell_findings

    data = asked_data(options)
    tell_findings(data.folder, norms_findings(study_norms(data.vlm, data.samples, **data.how)))
    return 0


def _of_photo(options: argparse.Namespace) -> int:
    from interp.model.record import record
    from interp.plots.style import figure_of
    from probes.position.norms_study import NormsMeasurement

    folder, vlm, inputs = asked_photo(options)
    work = NormsMeasurement.of(vlm, prompt=options.prompt)
    (tokens,), (stream,) = work.measure(inputs, ["0"])
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
                "settings": record(vlm, **work.recorded()),
            },
        ),
    ]
    received = quartiles[quartiles["definition"] == "received"].set_index("group")["median"]
    print(f"median norm of a token: {received['image']:.3g} of the image, {received['text']:.3g} of the words")
    depths = sorted({0, len(ratio) // 2, len(ratio) - 1})
    print(f"image over words: {', '.join(f'{ratio[depth]:.3g} at depth {depth}' for depth in depths)}")
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
