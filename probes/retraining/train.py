"""Train one model of a comparison: the tower once a seed, then an arm's projector and the language model on top of it.

On one thread the same budget, arm and seed give the same model, bit for bit, also where a run was killed and goes on.
"""

from __future__ import annotations

import json
import math
import pickle
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from interp.datasets.synthetic.shapes import KINDS, shapes
from interp.errors import InputError, ModelError
from interp.planted.build import build_model, build_processor
from interp.store.folder import OutputFolder
from interp.store.signals import check_stopped
from interp.training.vlm.evaluate import accuracies, answer, encode
from interp.training.vlm.losses import PackReader, PatchReader, pack_attention, plain_attention
from interp.training.vlm.muon import Float32Muon
from interp.training.vlm.optimizers import keep_freed_memory, make_optimizers, set_rates, take_step
from interp.training.vlm.packs import Pack, draw_packs, draw_patch_labels
from probes.retraining.arms import find_arm, mean_length, prepare_arm, save_arm, word_lengths
from probes.retraining.budget import Budget

RECORD, TOWER, CHECKPOINT = "training.json", "tower.pt", "checkpoint.pt"
BALANCED = 0.5  # share of above and below among the relation questions
ALWAYS = ("caption", "answer", "color", "shape", "column", "row")  # losses that every batch has
WATCHED = 160  # validation scenes of each kind of question


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, as several add in an order of their own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def train_tower(budget: Budget, seed: int, out: Path, *, progress: bool = True) -> Path:
    """Let a tower learn to read patches, through a projector that is thrown away afterwards.

    Args:
        budget: how long, and how wide.
        seed: which tower.
        out: a folder for it.
        progress: print a line each time that losses are written down.

    Returns:
        The file of the tower's weights.

    Raises:
        InputError: the folder holds a run of another budget or seed.
    """
    target, run = out / TOWER, _Run(out, {"budget": asdict(budget), "seed": seed, "stage": "tower"}, progress)
    if run.is_done():
        return target
    model = build_model(seed=2 * seed + 1, layers=budget.layers, width=budget.width, heads=budget.heads)
    reader, inner = PatchReader(model, build_processor()), model.model
    trained = [inner.vision_tower, inner.multi_modal_projector, model.get_input_embeddings(), reader.places]
    run.begin(nn.ModuleList(trained), make_optimizers(nn.ModuleList(trained), muon=Float32Muon))
    while run.step < budget.tower_steps:
        first = run.step * budget.tower_batch
        losses = reader(draw_patch_labels(first, budget.tower_batch, seed=2 * seed + 1))
        run.advance(losses, budget, budget.tower_steps)
    OutputFolder(out).write(TOWER, lambda path: torch.save(inner.vision_tower.state_dict(), path))
    run.finish({})
    return target


@one_thread()
def train_arm(arm: str, budget: Budget, seed: int, tower: Path, out: Path, *, progress: bool = True) -> Path:
    """Train a projector and a language model on a frozen tower, on captions and answers.

    Every arm of a seed begins with the same tower, the same language model, the same two layers of the projector, and
    sees the same scenes in the same order. The tower is frozen, as CLIP is in LLaVA's training. In every other batch
    the words of the questions are blind to the image.

    Args:
        arm: one of `probes.retraining.arms.ARMS`.
        budget: how long, and how wide.
        seed: which run.
        tower: what `train_tower` wrote for this seed.
        out: a folder for it.
        progress: print a line each time that losses are written down.

    Returns:
        `out`, with the model, its processor and `training.json`.

    Raises:
        InputError: there is no such arm, or the folder holds a run of another budget, arm or seed.
    """
    find_arm(arm)
    run = _Run(out, {"budget": asdict(budget), "seed": seed, "stage": arm}, progress)
    if run.is_done():
        return out
    model, reader = fresh_model(arm, budget, seed, tower)
    start = _lengths(model, seed)
    run.begin(trained := _trained(model, reader), make_optimizers(trained, muon=Float32Muon))
    watched = encode(build_processor(), [s for kind in KINDS for s in _watched(kind, seed)])
    with pack_attention(model):
        while run.step < budget.steps:
            losses = reader(_packs(budget, seed, run.step), blind=run.step % 2 == 1)
            if run.advance(losses, budget, budget.steps):
                with plain_attention(model):
                    right = accuracies(answer(model, build_processor(), watched))
                run.note({f"right_{kind}": right[kind] for kind in KINDS} | _lengths(model, seed))
    with plain_attention(model):
        end = _lengths(model, seed)
        save_arm(arm, model, out)
    build_processor().save_pretrained(out)
    run.finish({"start": start, "end": end})
    return out


def fresh_model(arm: str, budget: Budget, seed: int, tower: Path) -> tuple[LlavaForConditionalGeneration, PackReader]:
    """A model of an arm before its first step, and what reads its losses; alike for all arms but for the projector."""
    model = build_model(seed=2 * seed, layers=budget.layers, width=budget.width, heads=budget.heads)
    reader = PackReader(model, trains_projector=True)
    model.model.vision_tower.load_state_dict(torch.load(tower, weights_only=True))
    model.model.vision_tower.requires_grad_(False)
    return prepare_arm(arm, model, _pictures(seed)), reader


class _Run:
    """How far one training is, with what it takes to go on after a kill, in a folder of its own."""

    def __init__(self, out: Path, made_from: Mapping[str, Any], progress: bool) -> None:
        """Look at the folder.

        Raises:
            InputError: it holds another run.
        """
        self.out, self.made_from, self.progress = OutputFolder(out), dict(made_from), progress
        self.step, self.seconds = 0, 0.0
        self.log: list[dict[str, float]] = []
        self.losses: dict[str, list[float]] = {}  # of the steps since the last line of the log
        self._refuse_other()

    def is_done(self) -> bool:
        """Whether the training ended, and its record was written last of all."""
        return (self.out.path / RECORD).is_file()

    def begin(self, trained: nn.Module, optimizers: tuple[torch.optim.Optimizer, ...]) -> None:
        """Take over what is trained, and go on from the checkpoint if there is one."""
        keep_freed_memory()
        self.trained, self.optimizers = trained, optimizers
        path = self.out.path / CHECKPOINT
        if path.is_file():
            state = _read_checkpoint(path)
            self.trained.load_state_dict(state["trained"])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds, self.log = state["step"], state["seconds"], state["log"]
        self.started = time.monotonic()

    def advance(self, losses: Mapping[str, Tensor], budget: Budget, steps: int) -> bool:
        """Take one step; True where it is time to write down how things stand, by `note`, or at the end."""
        check_stopped()
        rates = budget.muon_rate, budget.adam_rate
        set_rates(self.optimizers, rates, self.step, steps, warm_up=budget.warm_up, cool_down=budget.cool_down)
        take_step(self.optimizers, sum(losses.values(), torch.zeros(())))
        self.step += 1
        for name, loss in losses.items():
            self._keep(name, loss.item())
        due = self.step % budget.checkpoint_every == 0 or self.step == steps
        if due and self.made_from["stage"] == "tower":
            self.note({})
        return due

    def _keep(self, name: str, loss: float) -> None:
        """Keep a loss for the log; that of objects is undefined in a batch that names none.

        Raises:
            ModelError: a loss that every batch has is not finite.
        """
        if math.isfinite(loss):
            self.losses.setdefault(name, []).append(loss)
        elif name in ALWAYS:
            raise ModelError(
                f"the loss {name!r} of {self.out.path.name} is {loss} at step {self.step}: the training ran away; "
                "begin anew in another --out, with a smaller --muon-rate or --adam-rate"
            )

    def note(self, more: Mapping[str, float]) -> None:
        """Write down the mean losses since the last time and what else is known, and a checkpoint."""
        now = time.monotonic()
        self.seconds, self.started = self.seconds + now - self.started, now
        means = {name: sum(values) / len(values) for name, values in self.losses.items()}
        row = {"step": float(self.step), **means, **more, "seconds": round(self.seconds, 1)}
        self.log, self.losses = [*self.log, row], {}
        if self.progress:
            print(self.out.path.name, " ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
        state = {
            "made_from": self.made_from,
            "trained": self.trained.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
        }
        self.out.write(CHECKPOINT, lambda path: torch.save(state, path))

    def finish(self, more: Mapping[str, Any]) -> None:
        """Write the record, which says that all else is there, and drop the checkpoint."""
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        machine = f"{torch.get_num_threads()} thread of {platform.machine()}"
        record = {**self.made_from, **more, "seconds": self.seconds, "machine": machine, **versions, "log": self.log}
        self.out.write_json(RECORD, record)
        (self.out.path / CHECKPOINT).unlink(missing_ok=True)

    def _refuse_other(self) -> None:
        done, half = self.out.path / RECORD, self.out.path / CHECKPOINT
        found: Mapping[str, Any] = {}
        if done.is_file():
            found = json.loads(done.read_text(encoding="utf-8"))
        elif half.is_file():
            found = _read_checkpoint(half)["made_from"]
        then = {name: found.get(name, self.made_from[name]) for name in self.made_from}
        if then != self.made_from:
            raise InputError(f"{str(self.out.path)!r} holds a run of {then}: give another --out, or remove it")


def _read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        InputError: it is no checkpoint of this training, or damaged.
    """
    try:
        state = torch.load(path, weights_only=True)
        return {name: state[name] for name in ("made_from", "trained", "optimizers", "step", "seconds", "log")}
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{str(path)!r} can not be read ({str(error)[:200]}): remove it, and this run begins anew"
        ) from error


def _trained(model: LlavaForConditionalGeneration, reader: PackReader) -> nn.ModuleDict:
    """What the second stage trains."""
    inner = model.model
    parts = {"projector": inner.multi_modal_projector, "language": inner.language_model, "places": reader.places}
    return nn.ModuleDict(parts)


def _packs(budget: Budget, seed: int, step: int) -> Pack:
    n_objects = (2,) if step < budget.two_objects_until else (2, 3)
    return draw_packs(step * budget.batch, budget.batch, seed=2 * seed, n_objects=n_objects, unfamiliar_share=BALANCED)


def _watched(kind: str, seed: int) -> list[Any]:
    return shapes(WATCHED if kind == "relation" else WATCHED // 4, split="val", seed=seed, kinds=(kind,))


def _pictures(seed: int) -> Any:
    """Training pictures over which lengths are taken; uint8 [picture height width rgb]."""
    return draw_patch_labels(0, 64, seed=2 * seed + 1).pixels


def _lengths(model: LlavaForConditionalGeneration, seed: int) -> dict[str, float]:
    """How long image tokens and words are, in the middle, and the longest word."""
    mean, largest = word_lengths(model)
    return {"image_length": mean_length(model, _pictures(seed)), "word_length": mean, "longest_word": largest}
