"""Study: arms trained, measured and set against each other, in one folder that a killed command goes on with."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.store.folder import OutputFolder
from interp.store.names import given_path
from probes.retraining.arms import load_arm
from probes.retraining.comparison import ArmComparison, compare_arms
from probes.retraining.measure import ModelMeasures, Scenes, measure_model
from probes.retraining.runs import RUNS, TrainingPlan, begin, check_workers, pool, train_all
from probes.retraining.train import RECORD, one_thread

if TYPE_CHECKING:
    from collections.abc import Mapping


def retrain(
    out: str | Path,
    plan: TrainingPlan | None = None,
    scenes: Scenes | None = None,
    *,
    workers: int = 1,
    progress: bool = True,
) -> ArmComparison:
    """Train what a folder lacks, measure what it lacks, and set the arms against each other.

    Every arm of a seed stands on the same frozen vision tower, begins with the same language model and the same two
    layers of the projector, and sees the same scenes: only what follows these two layers differs. See `train_arm` for
    the training, `ArmComparison` for the measures, `probes.retraining.arms` for the arms.

    Args:
        out: the folder; the same call goes on with it, after a kill too.
        plan: what to train; three arms, three seeds each, by default.
        scenes: on what to measure.
        workers: processes that train or measure side by side, each on one thread.
        progress: print how far each training is, and show bars of the measuring where it has one process.

    Example:
        >>> found = retrain("out/retrain", TrainingPlan(("plain", "normalised"), seeds=2), workers=2)
        >>> found.value("normalised", "psi", "relation", against="plain", interval="t over seeds")

    Raises:
        InputError: a plan or a number of scenes that compares nothing, or a folder that holds something else.
    """
    plan, scenes = plan or TrainingPlan(), scenes or Scenes()
    plan.check()
    scenes.check()
    train_all(plan, out, workers=workers, progress=progress)
    measures = measure_all(plan, scenes, out, workers=workers, progress=progress)
    records = {model: _record(given_path(out), model) for model in plan.models()}
    return compare_arms(
        measures, {model: one["log"] for model, one in records.items()}, settings=_settings(scenes, records)
    )


def read_comparison(out: str | Path) -> ArmComparison:
    """Read what `python -m probes retrain` wrote.

    Raises:
        InputError: the folder holds no finished comparison.
    """
    import pandas as pd

    folder = given_path(out)
    names = ("comparison.parquet", "training.parquet", "summary.json")
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise InputError(
            f"{str(folder)!r} holds no {absent[0]}: finish it with python -m probes retrain --out {folder}"
        )
    measures, training = (pd.read_parquet(folder / name) for name in names[:2])
    summary = json.loads((folder / names[2]).read_text(encoding="utf-8"))
    models = [(run["arm"], run["seed"]) for run in summary["settings"]["runs"]]
    return ArmComparison(
        arms=tuple(dict.fromkeys(arm for arm, _ in models)),
        seeds=len({seed for _, seed in models}),
        measures=measures,
        training=training,
        left_out=pd.DataFrame(summary["left_out"], columns=["measure", "part", "why"]),
        settings=summary["settings"],
    )


def measure_all(
    plan: TrainingPlan, scenes: Scenes, out: str | Path, *, workers: int = 1, progress: bool = True
) -> dict[tuple[str, int], ModelMeasures]:
    """Measure what a folder of trained models lacks.

    Raises:
        InputError: the folder holds other measures.
        ModelError: a model is not there.
    """
    scenes.check()
    check_workers(workers)
    folder = OutputFolder(out)
    begin(folder, plan.budget)
    with pool(workers) as measurers:
        asked = {
            model: measurers.submit(_measure, *model, scenes, folder.path, progress and workers == 1)
            for model in plan.models()
        }
        return {model: found.result() for model, found in asked.items()}


def _measure(arm: str, seed: int, scenes: Scenes, out: Path, progress: bool) -> ModelMeasures:
    """Measure one model."""
    from interp.model.hooked_vlm import HookedVLM

    with one_thread():
        vlm = HookedVLM.wrap(*load_arm(arm, out / RUNS / f"{arm}-{seed}"))
        return measure_model(vlm, scenes, out / "measures" / f"{arm}-{seed}", progress=progress)


def _record(out: Path, model: tuple[str, int]) -> Mapping[str, Any]:
    """What was written down of the training of a model."""
    return json.loads((out / RUNS / f"{model[0]}-{model[1]}" / RECORD).read_text(encoding="utf-8"))


def _settings(scenes: Scenes, records: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, Any]:
    """What made the numbers."""
    first = next(iter(records.values()))
    return {
        "scenes": asdict(scenes),
        **{name: first[name] for name in ("budget", "machine", "torch", "transformers")},
        "runs": [
            {"arm": arm, "seed": seed} | {name: one[name] for name in ("seconds", "start", "end")}
            for (arm, seed), one in records.items()
        ],
    }
