"""Train the embedded VLM on two cores: its eyes alone, then the whole model on packs of questions, then late words.

Run `python -m interp.training.vlm.train --out FOLDER`; the same seed gives the same start and the same scenes. On one
thread that is the same model, bit for bit; more threads add in an order of their own. A run that was interrupted goes
on from its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from einops import rearrange
from torch import Tensor, nn
from transformers import LlavaForConditionalGeneration

from interp.cli import Parser, add_debug_option, run
from interp.datasets.synthetic.quartets import WORDS, quartets
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.objects.sample import Sample
from interp.planted.build import add_late_words, build_model, build_processor
from interp.store.progress import ProgressBar
from interp.training.vlm.evaluate import accuracies, answer, encode
from interp.training.vlm.familiarity import Familiarity
from interp.training.vlm.losses import PackReader, PatchReader, image_tokens, pack_attention, plain_attention
from interp.training.vlm.optimizers import keep_freed_memory, make_optimizers, set_rates, take_step
from interp.training.vlm.packs import UNFAMILIAR, Pack, draw_late_packs, draw_packs, draw_patch_labels


@dataclass(frozen=True)
class Settings:
    """Everything that decides what the trained model becomes."""

    seed: int = 0
    layers: int = 12
    width: int = 128
    heads: int = 4
    vision_steps: int = 700
    vision_batch: int = 64
    steps: int = 1800
    late_steps: int = 400
    late_rate: float = 0.4  # of the rates of the second stage
    late_share: float = 0.10  # of above and below among the other relation questions when the third stage begins
    late_most: float = 0.2  # at most so many there, as every other scene has none of them
    late_fall: float = 0.6  # of that share when above and below are over their band
    batch: int = 16
    two_objects_until: int = 300  # step; afterwards scenes of two or three
    muon_rate: float = 0.02  # of the matrices inside transformer layers
    adam_rate: float = 1.5e-3  # of all the rest
    warm_up: int = 30  # steps
    cool_down: float = 0.5  # share of a stage's steps in which the rates fall linearly to zero
    share_at_start: float = 0.04  # of above and below among the relation questions
    validate_every: int = 100  # steps
    choose_from: float = 0.7  # share of the second stage's steps after which states compete to be the model
    choose_every: int = 20  # steps
    threads: int = 2


def train(settings: Settings, out: Path) -> Path:
    """Train a model and write it to `out` as a standard transformers folder.

    Args:
        settings: what to train.
        out: folder of the finished model; the checkpoint lies in its subfolder `checkpoint` until then.

    Returns:
        `out`, with the model in bfloat16, its processor, and `training.json` (settings, log, seconds, machine).

    Raises:
        InputError: the checkpoint in `out` comes from other settings.
    """
    torch.set_num_threads(settings.threads)
    keep_freed_memory()
    run = _Run(settings, out)
    run.see()
    run.speak()
    run.relate()
    return run.save()


class _Run:
    """One training run: the model, its optimiser, and how far it is."""

    def __init__(self, settings: Settings, out: Path) -> None:
        self.settings, self.out = settings, out
        self.model = build_model(seed=settings.seed, layers=settings.layers, width=settings.width, heads=settings.heads)
        self.processor = build_processor()
        self.eyes = PatchReader(self.model, self.processor)
        self.words = PackReader(self.model)
        self.optimizers = make_optimizers(self._eyes())
        self.familiarity = Familiarity(settings.share_at_start)
        self.seen = self.spoken = self.related = 0  # finished steps of the three stages
        self.seconds = 0.0
        self.log: list[dict[str, float]] = []
        self.chosen: dict[str, Any] = {"miss": math.inf}
        self.validation = encode(self.processor, validation_samples(settings.seed))
        self.late_validation = encode(self.processor, late_validation_samples(settings.seed))
        self._resume()

    def see(self) -> None:
        """Stage one: every patch learns to name what it shows, in the words of the language model."""
        settings = self.settings
        bar = ProgressBar(
            range(self.seen, settings.vision_steps), initial=self.seen, total=settings.vision_steps, desc="see"
        )
        started = time.monotonic()
        for step in bar:
            self._set_rates(step, settings.vision_steps)
            batch = draw_patch_labels(step * settings.vision_batch, settings.vision_batch, seed=2 * settings.seed + 1)
            losses = self.eyes(batch)
            self._step(sum(losses.values()))
            if (step + 1) % settings.validate_every == 0:
                bar.write(f"see {step + 1} " + " ".join(f"{name} {loss:.3f}" for name, loss in losses.items()))
        self.seconds += time.monotonic() - started
        if self.seen < settings.vision_steps or not self.seen:
            self.seen = max(settings.vision_steps, 1)
            calm_image_tokens(self.model, draw_patch_labels(0, 256, seed=2 * settings.seed + 1).pixels)
            self.optimizers = make_optimizers(self._mouth())
            self._checkpoint()

    def speak(self) -> None:
        """Stage two: captions and answers, first about two objects, then about two or three."""
        if not self.related:
            self._talk("spoken", self.settings.steps, self._packs)

    def relate(self) -> None:
        """Stage three: every other scene is of a set of four, and is asked about in words that are new."""
        settings = self.settings
        if not self.related and settings.late_steps:
            self.model.load_state_dict(self.chosen.get("model", self.model.state_dict()))
            add_late_words(self.model, seed=settings.seed)
            self.optimizers, self.chosen = make_optimizers(self._mouth()), {"miss": math.inf}
            self.familiarity.share = settings.late_share
        self.familiarity.most, self.familiarity.fall = settings.late_most, settings.late_fall
        self._talk("related", settings.late_steps, self._late_packs, rate=settings.late_rate)

    def _talk(self, stage: str, steps: int, packs: Callable[[int], Pack], *, rate: float = 1.0) -> None:
        """Train on packs until `steps` of a stage are done.

        In every other batch the words of the questions are blind to the image. What the model says of above and below
        swings while their share is steered, so late states compete, and the one nearest to the aim is kept.
        """
        settings, start = self.settings, getattr(self, stage)
        late = settings.choose_from * steps
        bar = ProgressBar(range(start, steps), initial=start, total=steps, desc=stage)
        started = time.monotonic()
        with pack_attention(self.model):
            for step in bar:
                self._set_rates(step, steps, rate=rate)
                losses = self.words(packs(step), blind=step % 2 == 1)
                self._step(sum(losses.values()))
                bar.set_postfix({name: f"{loss:.2f}" for name, loss in losses.items()}, refresh=False)
                done = step + 1
                setattr(self, stage, done)
                steers = done % settings.validate_every == 0 or done == steps
                competes = done > late and (steers or done % settings.choose_every == 0)
                if steers or competes:
                    now = time.monotonic()
                    self.seconds, started = self.seconds + now - started, now
                    found = self._validate(losses, bar)
                    if competes:
                        self._compete(*found)
                    if steers:
                        self.familiarity.update(*found)
                        self._checkpoint()

    def save(self) -> Path:
        """Write the chosen state in bfloat16 (to be run in float32), the processor, and the record of the run."""
        if "model" in self.chosen:
            self.model.load_state_dict(self.chosen["model"])
        self.model.to(torch.bfloat16).save_pretrained(self.out)
        self.model.config.dtype = torch.float32  # stored small, run exactly, and faster on a CPU
        self.model.config.save_pretrained(self.out)
        self.processor.save_pretrained(self.out)
        record = {
            "settings": asdict(self.settings),
            "seconds": round(self.seconds),
            "machine": f"{self.settings.threads} CPU cores ({platform.machine()})",
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "chosen_step": self.chosen.get("step", self.spoken + self.related),
            "log": self.log,
        }
        (self.out / "training.json").write_text(json.dumps(record, indent=1) + "\n")
        shutil.rmtree(self.out / "checkpoint", ignore_errors=True)
        return self.out

    def _packs(self, step: int) -> Pack:
        settings = self.settings
        n_objects = (2,) if step < settings.two_objects_until else (2, 3)
        return draw_packs(
            step * settings.batch,
            settings.batch,
            seed=2 * settings.seed,
            n_objects=n_objects,
            unfamiliar_share=self.familiarity.share,
        )

    def _late_packs(self, step: int) -> Pack:
        settings = self.settings
        return draw_late_packs(
            step * settings.batch, settings.batch, seed=2 * settings.seed, unfamiliar_share=self.familiarity.share
        )

    def _eyes(self) -> nn.Module:
        """What stage one trains: tower, projector, the words' embeddings, the readers."""
        inner = self.model.model
        words = self.model.get_input_embeddings()
        return nn.ModuleList([inner.vision_tower, inner.multi_modal_projector, words, self.eyes.places])

    def _mouth(self) -> nn.Module:
        """What stages two and three train: the language model and the readers."""
        return nn.ModuleList([self.model.model.language_model, self.words.places])

    def _step(self, loss: Tensor) -> None:
        take_step(self.optimizers, loss)

    def _set_rates(self, step: int, steps: int, *, rate: float = 1.0) -> None:
        settings = self.settings
        full = settings.muon_rate * rate, settings.adam_rate * rate
        set_rates(self.optimizers, full, step, steps, warm_up=settings.warm_up, cool_down=settings.cool_down)

    def _compete(self, familiar: float, unfamiliar: float) -> None:
        """Keep this state if it is nearer to the aim than the one kept so far, or as near and later."""
        miss = self.familiarity.miss(familiar, unfamiliar)
        if miss <= self.chosen["miss"] and math.isfinite(miss):
            state = {name: weight.clone() for name, weight in self.model.state_dict().items()}
            self.chosen = {"miss": miss, "step": self.spoken + self.related, "model": state}

    def _validate(self, losses: Mapping[str, Tensor], bar: ProgressBar) -> tuple[float, float]:
        """Log the accuracies on validation scenes; return those of left and right, and of above and below."""
        with plain_attention(self.model):
            table = accuracies(answer(self.model, self.processor, self.validation))
            late = accuracies(answer(self.model, self.processor, self.late_validation)) if self.related else {}
        familiar = (table["relation/left"] + table["relation/right"]) / 2
        unfamiliar = sum(table[f"relation/{word}"] for word in UNFAMILIAR) / 2
        row = {
            "step": self.spoken + self.related,
            "share": self.familiarity.share,
            "left_right": familiar,
            "above_below": unfamiliar,
        }
        row |= {kind: table[kind] for kind in ("photo", "color", "shape")} | late
        row |= {name: loss.item() for name, loss in losses.items()} | {"seconds": self.seconds}
        self.log.append({name: round(float(value), 4) for name, value in row.items()})
        bar.write(" ".join(f"{name} {value:.3f}" for name, value in row.items()))
        return familiar, unfamiliar

    def _checkpoint(self) -> None:
        folder = self.out / "checkpoint"
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            "settings": asdict(self.settings),
            "model": self.model.state_dict(),
            "words": self.words.places.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "share": self.familiarity.share,
            "chosen": self.chosen,
            "seen": self.seen,
            "spoken": self.spoken,
            "related": self.related,
            "seconds": self.seconds,
            "log": self.log,
        }
        torch.save(state, folder / "new.pt")
        (folder / "new.pt").replace(folder / "state.pt")

    def _resume(self) -> None:
        path = self.out / "checkpoint" / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        if state["settings"] != asdict(self.settings):
            raise InputError(f"{path} comes from other settings: give another --out, or remove it")
        if state["related"]:
            add_late_words(self.model)
        self.model.load_state_dict(state["model"])
        self.words.places.load_state_dict(state["words"])
        self.optimizers = make_optimizers(self._mouth())
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.familiarity.share, self.chosen = state["share"], state["chosen"]
        self.seen, self.spoken, self.related = state["seen"], state["spoken"], state["related"]
        self.seconds, self.log = state["seconds"], state["log"]


def validation_samples(seed: int) -> list[Sample]:
    """Draw the scenes on which a run is watched: 256 relations, 96 places in the photo, 64 colours and shapes each."""
    counts = {"relation": 256, "photo": 96, "color": 64, "shape": 64}
    return [s for kind, n in counts.items() for s in shapes(n, split="val", seed=seed, kinds=(kind,))]


def late_validation_samples(seed: int) -> list[Sample]:
    """Draw the sets of four on which the third stage is watched: 24 of each kind."""
    return [sample for words in WORDS for sample in quartets(24, words=words, split="val", seed=seed)]


@torch.no_grad()
def calm_image_tokens(model: LlavaForConditionalGeneration, pixels: np.ndarray) -> None:
    """Subtract the mean image token from all, and scale what is left to a norm of about 4.

    The tower learns to read patches off tokens a hundred times as large as the words, most of it one shared direction;
    what the language model's layers write would drown in it. The two changes go into the projector's last layer.

    Args:
        model: the model whose projector is changed.
        pixels: uint8 [picture height width rgb], the pictures over which mean and norm are taken.
    """
    image = rearrange(image_tokens(model, pixels), "picture patch d_model -> (picture patch) d_model")
    mean = image.mean(0)
    scale = 4 / (image - mean).norm(dim=-1).mean()
    last = model.model.multi_modal_projector.linear_2
    last.bias.sub_(mean).mul_(scale)
    last.weight.mul_(scale)


def main() -> int:
    """Command line of the training: every field of `Settings` is an option."""
    parser = Parser(prog="python -m interp.training.vlm.train", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the trained model")
    for name, value in asdict(Settings()).items():
        parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    add_debug_option(parser)
    parser.set_defaults(command=_train_command)
    return run(parser)


def _train_command(options: argparse.Namespace) -> None:
    print(train(Settings(**{name: getattr(options, name) for name in asdict(Settings())}), options.out))


if __name__ == "__main__":
    raise SystemExit(main())
