"""Train the embedded detector on synthetic scenes: `python -m interp.training.yolo.train`."""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange

from interp.cli import Parser, add_debug_option, run
from interp.datasets.synthetic.shapes import NAMES, SIDE, draw_scene, scene_rng
from interp.detect.yolo.containment import contained
from interp.zoo import embedded_path

if TYPE_CHECKING:
    import torch

NAME = "shapes-detector"
CONFIG = embedded_path(NAME).with_suffix(".yaml")
STEPS, BATCH, WARMUP = 1500, 32, 100
LEARNING_RATE, WEIGHT_DECAY, MAX_NORM = 2e-3, 5e-4, 10.0
EMA_DECAY, EMA_RAMP = 0.998, 200  # steps over which the running average forgets the random start
OBJECTS = (1, 2, 2, 3, 3, 4)  # how many objects the scenes have, in turn


def train(*, folder: Path, steps: int = STEPS, seed: int = 0, device: str = "cpu") -> Path:
    """Train from scratch and write `shapes-detector.safetensors` (float16) beside its yaml.

    Every scene of the training split is seen once; the loss is ultralytics' own detection loss, the optimiser AdamW
    under a cosine schedule, and what is kept is the exponential average of the weights.

    Args:
        folder: where the two files go; made where it does not exist.
        steps: optimiser steps of 32 scenes each.
        seed: the seed of the scenes and of the initial weights.
        device: torch device to train on.

    Returns:
        The path of the weights.

    Raises:
        DetectorError: ultralytics is not installed.
    """
    import torch

    from interp.store.progress import ProgressBar

    with contained():
        torch.manual_seed(seed)
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        model = build_model().to(device).train()
        average = build_model().to(device)
        average.load_state_dict(model.state_dict())
        optimizer = torch.optim.AdamW(_parameter_groups(model), lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, steps))
        began = time.perf_counter()
        progress = ProgressBar(range(steps), desc="training the detector", unit="step", mininterval=2)
        for step in progress:
            batch = {key: value.to(device) for key, value in make_batch(seed, step * BATCH, BATCH).items()}
            loss = model(batch)[0].sum() / BATCH
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
            _update_average(average, model, step)
            progress.set_postfix(loss=f"{loss.item():.3f}", refresh=False)
        facts = {"steps": steps, "batch": BATCH, "seed": seed, "seconds": round(time.perf_counter() - began)}
        return _save(average, folder, {**facts, **_machine(device)})


def build_model() -> Any:
    """Build the untrained network that the yaml describes, with ultralytics' default loss weights."""
    from ultralytics.cfg import get_cfg
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils import YAML

    model: Any = DetectionModel(YAML.load(str(CONFIG)), verbose=False)
    model.args = get_cfg()
    return model


def make_batch(seed: int, start: int, count: int) -> dict[str, torch.Tensor]:
    """Draw `count` training scenes from index `start` on.

    Returns:
        What ultralytics' loss reads: `img` float32 [scene rgb 128 128] in 0..1, and for every object `batch_idx`
        [object], `cls` [object 1] and `bboxes` [object 4] (centre, width and height as fractions of the side).
    """
    import torch

    scenes = [
        draw_scene(scene_rng("train", seed, index), n_objects=OBJECTS[index % len(OBJECTS)])
        for index in range(start, start + count)
    ]
    photos = rearrange([scene.pixels for scene in scenes], "scene height width rgb -> scene rgb height width")
    pixels = torch.from_numpy(photos).float() / 255
    which = [number for number, scene in enumerate(scenes) for _ in scene.objects]
    boxes = torch.from_numpy(np.concatenate([scene.boxes.xyxy for scene in scenes]) / SIDE).float()
    labels = [NAMES.index(item.name) for scene in scenes for item in scene.objects]
    return {
        "img": torch.nn.functional.interpolate(pixels, size=(128, 128), mode="bilinear"),
        "batch_idx": torch.tensor(which, dtype=torch.float32),
        "cls": torch.tensor(labels, dtype=torch.float32)[:, None],
        "bboxes": torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], dim=1),
    }


def _parameter_groups(model: torch.nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim <= 1]  # biases and norms are not decayed
    return [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors, "weight_decay": 0.0}]


def _rate(step: int, steps: int) -> float:
    warmup = min(1.0, (step + 1) / WARMUP)
    return warmup * (0.01 + 0.99 * (1 + math.cos(math.pi * step / steps)) / 2)


def _update_average(average: torch.nn.Module, model: torch.nn.Module, step: int) -> None:
    keep = EMA_DECAY * (1 - math.exp(-(step + 1) / EMA_RAMP))
    current = model.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.mul_(keep).add_(current[name].detach(), alpha=1 - keep)


def _save(model: torch.nn.Module, folder: Path, facts: dict[str, object]) -> Path:
    """Write the floating-point weights in half precision, with class names and facts of the training as metadata."""
    import torch
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.safetensors"
    tensors = {
        name: value.to("cpu", torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if value.dtype.is_floating_point
    }
    partial = path.with_suffix(".partial")
    partial.write_bytes(save(tensors, metadata={"names": json.dumps(NAMES), "training": json.dumps(facts)}))
    os.replace(partial, path)
    if CONFIG.resolve() != (folder / CONFIG.name).resolve():
        shutil.copyfile(CONFIG, folder / CONFIG.name)
    return path


def _machine(device: str) -> dict[str, object]:
    import torch
    import ultralytics

    versions = {"torch": str(torch.__version__), "ultralytics": ultralytics.__version__}
    return {"device": device, "threads": torch.get_num_threads(), "machine": platform.machine(), **versions}


def main() -> int:
    """Read the command line and train."""
    parser = Parser(prog="python -m interp.training.yolo.train", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/zoo/yolo"), help="folder of the weights (%(default)s)")
    parser.add_argument("--steps", type=int, default=STEPS, help="optimiser steps (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of scenes and initial weights (%(default)s)")
    parser.add_argument("--device", default="cpu", help="torch device (%(default)s)")
    add_debug_option(parser)
    parser.set_defaults(command=_train_command)
    return run(parser)


def _train_command(options: argparse.Namespace) -> None:
    path = train(folder=options.out, steps=options.steps, seed=options.seed, device=options.device)
    print(f"wrote {path} ({path.stat().st_size / 1e6:.2f} MB)")


if __name__ == "__main__":
    raise SystemExit(main())
