"""The command `python -m probes retrain`."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from interp.cli import add_debug_option

RETRAIN = """Retrain: does a normalising projector help? Small models are trained with it and without, and measured.

Each seed has one vision tower, which is trained first and then frozen for all arms; each arm trains its projector and
a language model on it. What the folder holds already is kept: a killed command goes on where it was, and arms and
seeds can be added. Training takes hours on a few cores, not minutes.

example:
  python -m probes retrain --out out/retrain --arms plain,normalised,scaled --seeds 3 --workers 2
"""


def add_retrain(commands: Any) -> None:
    """Add the command `retrain`."""
    from probes.retraining.budget import Budget

    parser = commands.add_parser(
        "retrain",
        help="small models trained with a normalising projector and without, compared",
        description=RETRAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="out/retrain", help="folder for runs and results (default: %(default)s)")
    parser.add_argument(
        "--arms", default="plain,normalised,scaled", help="arms, the first is compared with (default: %(default)s)"
    )
    parser.add_argument("--seeds", type=int, default=3, help="runs of each arm, seeds 0 and up (default: 3)")
    parser.add_argument("--workers", type=int, default=1, help="trainings side by side, a thread each (default: 1)")
    parser.add_argument("--scenes", type=int, default=400, help="held-out scenes a kind of question (default: 400)")
    parser.add_argument(
        "--probes", type=int, default=100, help="scenes for RoPE sensitivity and residual norms (default: 100)"
    )
    group = parser.add_argument_group("budget, the same for all runs")
    for name, value in asdict(Budget()).items():
        flag = "--" + name.replace("_", "-")
        group.add_argument(flag, type=type(value), default=value, help="(default: %(default)s)")
    add_debug_option(parser)
    parser.set_defaults(command=retrain_command)


def retrain_command(options: argparse.Namespace) -> int:
    """Run `retrain`."""
    from interp.model.provenance import run_record
    from interp.store.folder import OutputFolder
    from probes.retraining.budget import Budget
    from probes.retraining.findings import sentences, summary_of
    from probes.retraining.measure import Scenes
    from probes.retraining.runs import TrainingPlan
    from probes.retraining.study import retrain

    budget = Budget(**{name: getattr(options, name) for name in asdict(Budget())})
    plan = TrainingPlan(tuple(name.strip() for name in options.arms.split(",")), options.seeds, budget)
    scenes = Scenes(options.scenes, min(options.scenes, options.probes))
    folder, made = OutputFolder(options.out), run_record()
    found = retrain(options.out, plan, scenes, workers=options.workers)
    written = [
        folder.write_table("comparison.parquet", found.to_dataframe()),
        folder.write_table("training.parquet", found.training),
        folder.write_figure("comparison.png", found.plot()[0].figure),
        folder.write_json("summary.json", {**summary_of(found), "settings": {**made, **found.settings}}),
    ]
    for sentence in sentences(found):
        print(sentence)
    print(f"written to {folder.path}: {', '.join(path.name for path in written)}")
    return 0
