"""Measure the embedded detector on held-out scenes, write its card: `python -m interp.training.yolo.evaluate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interp.cli import Parser, add_debug_option, run
from interp.datasets.synthetic.shapes import COLORS, NAMES, SHAPES, SIDE, iterate_shapes
from interp.detect.yolo.detector import YoloDetector
from interp.image.boxes import Box, Boxes
from interp.training.yolo.train import NAME, OBJECTS
from interp.zoo import embedded_path

SCENES, SEED = 1000, 0
LINE = 0.97  # the mAP50 that the detector is meant to reach
LOWEST = 0.001  # confidence from which boxes count for average precision
USUAL = 0.25  # confidence at which the detector is used
RECALLS = np.linspace(0, 1, 101)
THRESHOLDS = np.round(np.arange(0.5, 1.0, 0.05), 2)


@dataclass(frozen=True)
class Measures:
    """What was measured; shares in 0..1.

    Attributes:
        scenes: how many scenes.
        objects: how many objects in them.
        map50: mean over classes of average precision at an IoU of 0.5.
        map50_95: the same, averaged over IoU thresholds 0.5 to 0.95 in steps of 0.05.
        worst: the class with the lowest average precision at 0.5, and that value.
        precision: share of boxes at confidence 0.25 that hit an object of their class (IoU 0.5).
        recall: share of objects that such a box hits.
        exact: share of scenes in which every object is hit once and no box is left over.
    """

    scenes: int
    objects: int
    map50: float
    map50_95: float
    worst: tuple[str, float]
    precision: float
    recall: float
    exact: float


def held_out(n: int = SCENES, *, seed: int = SEED) -> list[tuple[object, Boxes]]:
    """Give image and true boxes of `n` test scenes with two or three objects."""
    samples = iterate_shapes(n, split="test", seed=seed, n_objects=(2, 3), kinds=("relation", "photo"))
    return [(sample.image, sample.meta["boxes"]) for sample in samples]  # type: ignore[misc]


def measure(truth: Sequence[Boxes], found: Sequence[Boxes], labels: Sequence[str] = NAMES) -> Measures:
    """Compare found boxes with true ones, scene by scene.

    Args:
        truth: the true boxes of each scene.
        found: the boxes found in each scene, from a confidence near 0 on.
        labels: the classes to average over; one that never occurs is left out.

    Example:
        >>> scene = Boxes((Box("red circle", (10, 10, 40, 40)),))
        >>> measure([scene], [scene]).map50
        1.0
    """
    present = [label for label in labels if any(label in boxes.labels for boxes in truth)]
    found = [_surest_first(boxes) for boxes in found]
    by_class = {label: [average_precision(truth, found, label, iou) for iou in THRESHOLDS] for label in present}
    worst = min(present, key=lambda label: by_class[label][0])
    usual = [Boxes(tuple(box for box in boxes if box.confidence >= USUAL)) for boxes in found]
    hits = [_hits(true, seen, 0.5) for true, seen in zip(truth, usual, strict=True)]
    n_objects, n_boxes, n_hits = sum(map(len, truth)), sum(map(len, usual)), sum(map(sum, hits))
    exact = [sum(hit) == len(true) == len(hit) for true, hit in zip(truth, hits, strict=True)]
    return Measures(
        scenes=len(truth),
        objects=n_objects,
        map50=float(np.mean([values[0] for values in by_class.values()])),
        map50_95=float(np.mean(list(by_class.values()))),
        worst=(worst, by_class[worst][0]),
        precision=n_hits / max(n_boxes, 1),
        recall=n_hits / n_objects,
        exact=float(np.mean(exact)),
    )


def average_precision(truth: Sequence[Boxes], found: Sequence[Boxes], label: str, iou: float = 0.5) -> float:
    """Average precision of one class: precision at 101 recalls, made non-increasing, as COCO computes it."""
    scores, hits = [], []
    for true, seen in zip(truth, found, strict=True):
        mine = _surest_first(seen.named([label]))
        scores += [box.confidence for box in mine]
        hits += _hits(true.named([label]), mine, iou)
    n_true = sum(boxes.labels.count(label) for boxes in truth)
    order = np.argsort(-np.array(scores), kind="stable")
    true_positives = np.cumsum(np.array(hits, dtype=float)[order])
    precision = true_positives / np.arange(1, len(order) + 1)
    best_from_here = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(true_positives / n_true, RECALLS - 1e-9)
    return float(np.append(best_from_here, 0.0)[at].mean())


def _hits(truth: Boxes, found: Boxes, iou: float) -> list[bool]:
    """For each found box in turn, whether it overlaps a true box of its label that is not yet taken."""
    free = list(truth)
    hits = []
    for box in found:
        overlaps = [_iou(box, other) if other.label == box.label else 0.0 for other in free]
        best = int(np.argmax(overlaps)) if overlaps else -1
        hits.append(best >= 0 and overlaps[best] >= iou)
        if hits[-1]:
            free.pop(best)
    return hits


def _surest_first(boxes: Boxes) -> Boxes:
    return Boxes(tuple(sorted(boxes, key=lambda box: -box.confidence)))


def _iou(first: Box, second: Box) -> float:
    across = min(first.xyxy[2], second.xyxy[2]) - max(first.xyxy[0], second.xyxy[0])
    down = min(first.xyxy[3], second.xyxy[3]) - max(first.xyxy[1], second.xyxy[1])
    common = max(across, 0.0) * max(down, 0.0)
    return common / (first.area + second.area - common)


def write_card(folder: Path, measures: Measures) -> Path:
    """Write `README.md` beside the weights, every number of it measured or read from the weights' metadata."""
    from safetensors import safe_open

    weights = folder / f"{NAME}.safetensors"
    with safe_open(weights, framework="np") as file:
        facts = json.loads(file.metadata()["training"])
        parameters = sum(int(np.prod(file.get_slice(name).get_shape())) for name in file.keys())  # noqa: SIM118
    verdict = "reached" if measures.map50 >= LINE else "NOT reached"
    text = _CARD.format(
        **{**facts, **vars(measures)},
        scenes_seen=facts["steps"] * facts["batch"],
        minutes=facts["seconds"] / 60,
        worst_name=measures.worst[0],
        worst_ap=measures.worst[1],
        megabytes=weights.stat().st_size / 1e6,
        parameters=parameters,
        verdict=verdict,
        line=LINE,
        test_seed=SEED,
        usual=USUAL,
        side=SIDE,
        classes=len(NAMES),
        colors=", ".join(COLORS),
        shapes=", ".join(SHAPES),
        objects_least=min(OBJECTS),
        objects_most=max(OBJECTS),
        name=NAME,
    )
    card = folder / "README.md"
    card.write_text(text, encoding="utf-8")
    return card


_CARD = """\
# {name}: a detector of coloured shapes

A small YOLO11 network that finds the shapes of `interp/datasets/synthetic/shapes.py` on canvases of {side} x {side}
pixels, so that every tool of this project can be tried and tested without a download.

**Licence: AGPL-3.0 (see `LICENSE` in this folder), unlike the code around it**, because the network was built and
trained with ultralytics.

| | |
|---|---|
| files | `{name}.safetensors` ({megabytes:.2f} MB, float16), `{name}.yaml` (the network) |
| parameters | {parameters:,} (running statistics of the norms included) |
| classes | {classes}: {colors}, times {shapes} |
| scenes | {scenes_seen:,} of {objects_least} to {objects_most} objects, each seen once |
| training | {steps:,} steps of {batch} scenes, seed {seed} |
| time | {minutes:.0f} minutes on {device} ({machine}), {threads} thread(s) |
| libraries | torch {torch}, ultralytics {ultralytics} |

## Measured

On {scenes:,} held-out scenes of two or three objects ({objects:,} objects; test split, seed {test_seed}):

| measure | value |
|---|---|
| mAP50 | {map50:.4f} (line {line}: {verdict}) |
| mAP50-95 | {map50_95:.4f} |
| lowest average precision of a class at IoU 0.5 | {worst_ap:.4f} ({worst_name}) |
| precision at confidence {usual} | {precision:.4f} |
| recall at confidence {usual} | {recall:.4f} |
| scenes with every object found and nothing else | {exact:.4f} |

It knows nothing but these shapes: on photos its boxes mean nothing.

## Made by

    python -m interp.training.yolo.train --out FOLDER       # the weights
    python -m interp.training.yolo.evaluate --folder FOLDER # this card
"""


def main() -> int:
    """Read the command line, measure, and write the card."""
    parser = Parser(prog="python -m interp.training.yolo.evaluate", description=__doc__)
    here = embedded_path(NAME).parent
    parser.add_argument("--folder", type=Path, default=here, help="folder of weights and card (%(default)s)")
    add_debug_option(parser)
    parser.set_defaults(command=_evaluate_command)
    return run(parser)


def _evaluate_command(options: argparse.Namespace) -> None:
    from interp.store.progress import ProgressBar

    folder = options.folder
    detector = YoloDetector(folder / f"{NAME}.safetensors", confidence=LOWEST)
    scenes = held_out()
    bar = ProgressBar(scenes, desc="detecting", unit="scene")
    found = [detector.detect(image) for image, _ in bar]  # type: ignore[arg-type]
    measures = measure([boxes for _, boxes in scenes], found)
    print(f"mAP50 {measures.map50:.4f}, mAP50-95 {measures.map50_95:.4f}; wrote {write_card(folder, measures)}")


if __name__ == "__main__":
    raise SystemExit(main())
