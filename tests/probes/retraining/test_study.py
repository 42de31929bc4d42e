"""A whole comparison, small: trained, measured and compared by one call and one command, and gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from interp.study.prompter import prepare_samples
from probes.__main__ import main
from probes.position.columns import FILES
from probes.position.order import psi
from probes.position.residual_norms import residual_norms
from probes.position.rope import rope_sensitivity
from probes.retraining import measure, train
from probes.retraining.arms import load_arm
from probes.retraining.budget import Budget
from probes.retraining.findings import sentences
from probes.retraining.measure import PERMUTATIONS, PROMPT, Scenes, measure_model
from probes.retraining.runs import TrainingPlan, train_all
from probes.retraining.study import measure_all, read_comparison, retrain

BUDGET = Budget(
    layers=6, width=32, heads=2, tower_steps=2, tower_batch=4, steps=4, batch=3, two_objects_until=2,
    checkpoint_every=2, warm_up=2,
)  # fmt: skip
PLAN, SCENES = TrainingPlan(("plain", "normalised"), 1, BUDGET), Scenes(8, 8)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two trained and measured models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "WATCHED", 8)
        folder = tmp_path_factory.mktemp("retrain") / "out"
        retrain(folder, PLAN, SCENES, progress=False)
        return folder


@pytest.fixture(scope="module")
def vlm(out: Path) -> HookedVLM:
    """The normalised model."""
    return HookedVLM.wrap(*load_arm("normalised", out / "runs" / "normalised-0"))


def test_what_is_measured_of_a_model_is_what_the_probes_say_of_it(out: Path, vlm: HookedVLM) -> None:
    own = measure_all(PLAN, SCENES, out, progress=False)["normalised", 0]
    samples = SCENES.of("relation")
    found = psi(vlm, samples, range(PERMUTATIONS), prompt=PROMPT, max_new_tokens=2, draws=2, progress=False)
    assert np.array_equal(own.original[own.kinds == "relation"], found.original)
    assert np.array_equal(own.permuted[own.kinds == "relation"], found.permuted)
    inputs = prepare_samples(vlm, samples, PROMPT)
    rope, stream = rope_sensitivity(vlm, inputs), residual_norms(vlm, inputs)
    sizes = [np.abs(one.delta_g_v).mean(axis=1) for one in rope]
    np.testing.assert_allclose(own.abs_delta_g_v, sizes, rtol=1e-4)
    np.testing.assert_allclose(
        own.delta_alpha_v, [one.delta_alpha_v.mean(axis=1) for one in rope], rtol=1e-3, atol=1e-7
    )
    np.testing.assert_allclose(own.ratio, [one.image_over_text() for one in stream], rtol=1e-4)
    assert own.ratio.shape == (8, BUDGET.layers + 1) and own.kinds.tolist() == [
        kind for kind in ("relation", "photo", "color", "shape") for _ in range(8)
    ]


def test_what_is_measured_is_not_measured_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = retrain(out, PLAN, SCENES, progress=False)
    monkeypatch.setattr(HookedVLM, "run_with_hooks", lambda *_, **__: pytest.fail("the model ran"))
    again = retrain(out, PLAN, SCENES, progress=False)
    pd.testing.assert_frame_equal(before.to_dataframe(), again.to_dataframe())


def test_arms_and_seeds_can_be_added_to_a_folder(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "WATCHED", 8)
    more = train_all(TrainingPlan(("plain", "scaled"), 1, BUDGET), out, progress=False)
    assert (more["scaled", 0] / "training.json").is_file()


def test_measures_on_other_scenes_do_not_mix(out: Path) -> None:
    with pytest.raises(InputError, match="holds another study: samples: was 8, now 12"):
        measure_all(PLAN, Scenes(12, 8), out, progress=False)


@pytest.mark.slow
def test_two_processes_train_what_one_trains(out: Path, tmp_path: Path) -> None:
    train_all(PLAN, tmp_path / "two", workers=2, progress=False)
    for arm in PLAN.arms:
        one, other = (load_arm(arm, folder / "runs" / f"{arm}-0")[0].state_dict() for folder in (out, tmp_path / "two"))
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("scenes", [Scenes(7, 7), Scenes(8, 3), Scenes(8, 9), Scenes(True, 8)])
def test_too_few_scenes_are_refused_before_the_first_step(scenes: Scenes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scenes"):
        retrain(tmp_path / "out", PLAN, scenes)
    assert not (tmp_path / "out").exists()


def test_a_model_alone_is_measured_without_a_folder(vlm: HookedVLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure, "KINDS", ("photo", "relation"))
    found = measure_model(vlm, SCENES, progress=False)
    assert set(found.kinds) == {"photo", "relation"} and found.permuted.shape == (16, PERMUTATIONS)


def test_the_command_writes_table_figure_and_summary(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"steps": 4, "tower-steps": 2, "tower-batch": 4, "batch": 3, "two-objects-until": 2, "warm-up": 2}
    options |= {"layers": 6, "width": 32, "heads": 2, "checkpoint-every": 2, "scenes": 8, "probes": 8, "seeds": 1}
    flags = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert main(["retrain", "--out", str(out), "--arms", "plain,normalised", *flags]) == 0
    written = {path.name for path in out.iterdir() if path.is_file()}
    assert written == {name for name in FILES["retrain"] if "/" not in name}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["findings"] and summary["numbers"] and summary["settings"]["budget"]["steps"] == 4
    assert "Normalised beside plain" in capsys.readouterr().out
    read = read_comparison(out)
    assert read.arms == ("plain", "normalised") and read.seeds == 1 and sentences(read) == summary["findings"]
    pd.testing.assert_frame_equal(read.to_dataframe(), pd.read_parquet(out / "comparison.parquet"))
    assert not pd.read_parquet(out / "comparison.parquet").isna().any().any()


def test_the_command_refuses_an_unknown_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["retrain", "--out", str(tmp_path / "out"), "--arms", "plain,calmed"]) != 0
    assert "no arm 'calmed'" in capsys.readouterr().err


def test_a_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no comparison.parquet"):
        read_comparison(tmp_path)
