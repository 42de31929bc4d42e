"""Runs of a comparison: arms that differ by their projector alone, and trainings that a kill does not change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from interp.errors import InputError, ModelError
from interp.training.vlm.losses import image_tokens
from interp.training.vlm.packs import draw_patch_labels
from probes.position.normalized_projector import constant_norm
from probes.retraining import train
from probes.retraining.arms import ARMS, load_arm, mean_length, prepare_arm
from probes.retraining.budget import Budget
from probes.retraining.runs import TrainingPlan, train_all

BUDGET = Budget(
    layers=6, width=32, heads=2, tower_steps=2, tower_batch=4, steps=4, batch=3, two_objects_until=2,
    checkpoint_every=2, warm_up=2,
)  # fmt: skip


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run is watched on a handful of scenes."""
    monkeypatch.setattr(train, "WATCHED", 8)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every arm was trained once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "WATCHED", 8)
        folder = tmp_path_factory.mktemp("runs") / "out"
        train_all(TrainingPlan(seeds=1, budget=BUDGET), folder)
        return folder


def _record(out: Path, arm: str) -> dict:
    return json.loads((out / "runs" / f"{arm}-0" / "training.json").read_text())


def test_arms_begin_with_one_tower_one_language_model_and_one_pair_of_layers(out: Path) -> None:
    models = {arm: train.fresh_model(arm, BUDGET, 0, out / "runs" / "tower-0" / "tower.pt") for arm in ARMS}
    plain, reader = models["plain"]
    for model, other in models.values():
        for part in ("vision_tower", "language_model"):
            own, first = (getattr(one.model, part).state_dict() for one in (model, plain))
            assert all(torch.equal(own[name], first[name]) for name in first)
        weights = [p for p in model.model.multi_modal_projector.parameters() if p.ndim == 2]
        assert torch.equal(weights[0], plain.model.multi_modal_projector.linear_1.weight)
        assert torch.equal(weights[1], plain.model.multi_modal_projector.linear_2.weight)
        assert all(map(torch.equal, other.places.state_dict().values(), reader.places.state_dict().values()))


def test_another_seed_has_another_language_model(out: Path) -> None:
    tower = out / "runs" / "tower-0" / "tower.pt"
    one, other = (train.fresh_model("plain", BUDGET, seed, tower)[0] for seed in (0, 1))
    assert not torch.equal(one.get_input_embeddings().weight, other.get_input_embeddings().weight)


def test_the_tower_stays_as_it_was_while_projector_and_language_model_learn(out: Path) -> None:
    tower = torch.load(out / "runs" / "tower-0" / "tower.pt", weights_only=True)
    for arm in ARMS:
        fresh, _ = train.fresh_model(arm, BUDGET, 0, out / "runs" / "tower-0" / "tower.pt")
        model, _ = load_arm(arm, out / "runs" / f"{arm}-0")
        trained = model.model.vision_tower.state_dict()
        assert all(torch.equal(trained[name], weight) for name, weight in tower.items())
        projectors = [next(one.model.multi_modal_projector.parameters()) for one in (model, fresh)]
        assert not torch.equal(*projectors)
        assert not torch.equal(model.get_input_embeddings().weight, fresh.get_input_embeddings().weight)


def test_normalised_tokens_have_one_length_from_the_first_step_to_the_last(out: Path) -> None:
    record, norm = _record(out, "normalised"), constant_norm(BUDGET.width).norm
    lengths = [row["image_length"] for row in [record["start"], *record["log"], record["end"]]]
    assert lengths == pytest.approx([norm] * 4, rel=1e-4)
    model, _ = load_arm("normalised", out / "runs" / "normalised-0")
    tokens = image_tokens(model, draw_patch_labels(0, 4, seed=9).pixels).norm(dim=-1)
    torch.testing.assert_close(tokens, torch.full_like(tokens, norm), rtol=1e-4, atol=0)


def test_scaled_tokens_begin_as_long_on_the_mean_as_normalised_ones_and_keep_their_differences(out: Path) -> None:
    scaled, plain = _record(out, "scaled")["start"], _record(out, "plain")["start"]
    assert scaled["image_length"] == pytest.approx(constant_norm(BUDGET.width).norm, rel=1e-4)
    assert plain["image_length"] != pytest.approx(scaled["image_length"], rel=0.05)
    pixels = draw_patch_labels(0, 4, seed=9).pixels
    models = [
        train.fresh_model(arm, BUDGET, 0, out / "runs" / "tower-0" / "tower.pt")[0] for arm in ("plain", "scaled")
    ]
    with torch.no_grad():
        own, times = (image_tokens(model, pixels) for model in models)
    torch.testing.assert_close(times / own, (times / own)[0, 0, 0].expand_as(own), rtol=1e-3, atol=0)


def test_a_scaled_model_is_saved_as_a_plain_llava_with_the_same_image_tokens(
    out: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pixels, seen = draw_patch_labels(0, 4, seed=9).pixels, []

    def save(name: str, model, folder: Path, inner=train.save_arm) -> Path:
        with torch.no_grad():
            seen.append(image_tokens(model, pixels))
        return inner(name, model, folder)

    monkeypatch.setattr(train, "save_arm", save)
    train.train_arm("scaled", BUDGET, 0, out / "runs" / "tower-0" / "tower.pt", tmp_path / "scaled")
    model, _ = load_arm("scaled", tmp_path / "scaled")
    torch.testing.assert_close(image_tokens(model, pixels), seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_killed_run_goes_on_to_the_same_model_to_the_bit(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    steps = iter(range(100))

    def step(*arguments, inner=train.take_step) -> None:
        if next(steps) == stop:
            raise KeyboardInterrupt
        inner(*arguments)

    tower = out / "runs" / "tower-0" / "tower.pt"
    monkeypatch.setattr(train, "take_step", step)
    with pytest.raises(KeyboardInterrupt):
        train.train_arm("normalised", BUDGET, 0, tower, tmp_path / "run")
    monkeypatch.undo()
    monkeypatch.setattr(train, "WATCHED", 8)
    train.train_arm("normalised", BUDGET, 0, tower, tmp_path / "run")
    own, whole = (
        load_arm("normalised", folder)[0].state_dict() for folder in (tmp_path / "run", out / "runs/normalised-0")
    )
    assert all(torch.equal(own[name], whole[name]) for name in whole)
    logs = [
        json.loads((folder / "training.json").read_text())["log"]
        for folder in (tmp_path / "run", out / "runs/normalised-0")
    ]
    assert [{**row, "seconds": 0} for row in logs[0]] == [{**row, "seconds": 0} for row in logs[1]]


def test_a_killed_tower_goes_on_to_the_same_tower_to_the_bit(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget, steps = replace(BUDGET, checkpoint_every=1), iter(range(100))

    def step(*arguments, inner=train.take_step) -> None:
        if next(steps) == 1:
            raise KeyboardInterrupt
        inner(*arguments)

    monkeypatch.setattr(train, "take_step", step)
    with pytest.raises(KeyboardInterrupt):
        train.train_tower(budget, 0, tmp_path / "tower")
    monkeypatch.undo()
    own = torch.load(train.train_tower(budget, 0, tmp_path / "tower"), weights_only=True)
    whole = torch.load(out / "runs" / "tower-0" / "tower.pt", weights_only=True)
    assert all(torch.equal(own[name], whole[name]) for name in whole)


def test_what_is_trained_is_not_trained_again(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "take_step", lambda *_: pytest.fail("a step was taken"))
    found = train_all(TrainingPlan(seeds=1, budget=BUDGET), out)
    assert set(found) == {(arm, 0) for arm in ARMS}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (TrainingPlan(("plain", "calmed"), 1, BUDGET), "no arm 'calmed'"),
        (TrainingPlan(("plain", "plain"), 1, BUDGET), "each once"),
        (TrainingPlan((), 1, BUDGET), "name one or more"),
        (TrainingPlan(("plain",), 0, BUDGET), "1 or more"),
        (TrainingPlan(("plain",), True, BUDGET), "1 or more"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, steps=0)), "steps=0"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, batch=-1)), "batch=-1"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, heads=3)), "width=32 and heads=3"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, layers=5)), "6 layers"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, cool_down=1.5)), "cool_down"),
        (TrainingPlan(("plain",), 1, replace(BUDGET, adam_rate=float("nan"))), "adam_rate"),
    ],
)
def test_a_plan_that_compares_nothing_is_refused_before_anything_is_written(
    plan: TrainingPlan, message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        train_all(plan, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, -1, True, 1.5])
def test_no_process_is_refused(workers: int, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="workers="):
        train_all(TrainingPlan(("plain",), 1, BUDGET), tmp_path / "out", workers=workers)


def test_a_folder_of_another_budget_is_refused_and_the_difference_named(out: Path) -> None:
    with pytest.raises(InputError, match="steps: was 4, now 5"):
        train_all(TrainingPlan(seeds=1, budget=replace(BUDGET, steps=5)), out)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(InputError, match="no study's"):
        train_all(TrainingPlan(seeds=1, budget=BUDGET), tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1, "settings": {}}')
    with pytest.raises(InputError, match="another study"):
        train_all(TrainingPlan(seeds=1, budget=BUDGET), tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="can not be read"):
        train_all(TrainingPlan(seeds=1, budget=BUDGET), tmp_path)


def test_a_run_in_the_place_of_another_is_refused(out: Path) -> None:
    tower = out / "runs" / "tower-0" / "tower.pt"
    with pytest.raises(InputError, match="holds a run of"):
        train.train_arm("scaled", BUDGET, 0, tower, out / "runs" / "plain-0")


def test_a_training_that_runs_away_is_an_error_and_not_a_model(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="ran away"):
        train.train_arm(
            "plain",
            replace(BUDGET, adam_rate=1e30, steps=8, warm_up=1),
            0,
            out / "runs" / "tower-0" / "tower.pt",
            tmp_path / "run",
        )
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_damaged_checkpoint_is_refused_by_its_name(out: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"half")
    with pytest.raises(InputError, match="checkpoint.pt.*remove it"):
        train.train_arm("plain", BUDGET, 0, out / "runs" / "tower-0" / "tower.pt", tmp_path / "run")


def test_a_model_that_was_not_trained_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="train it with"):
        load_arm("plain", tmp_path)


def test_an_unknown_arm_changes_no_model(out: Path) -> None:
    model, _ = train.fresh_model("plain", BUDGET, 0, out / "runs" / "tower-0" / "tower.pt")
    pixels = draw_patch_labels(0, 2, seed=9).pixels
    before = mean_length(model, pixels)
    with pytest.raises(InputError, match="no arm"):
        prepare_arm("calmed", model, pixels)
    assert mean_length(model, pixels) == before
