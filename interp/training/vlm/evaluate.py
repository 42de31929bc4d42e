"""Measure the embedded VLM on held-out scenes and write its model card: `python -m interp.training.vlm.evaluate`."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import AutoProcessor, BatchFeature, LlavaForConditionalGeneration, LlavaProcessor

from interp.cli import Parser, add_debug_option, run
from interp.datasets.synthetic.quartets import WORDS, quartets
from interp.datasets.synthetic.shapes import KINDS, shapes
from interp.errors import InputError, ModelError
from interp.objects.sample import Sample
from interp.prompt.templates import paper_prompt
from interp.stats.intervals import Interval, wilson
from interp.store.progress import ProgressBar
from interp.zoo import embedded_path

SCENES, SEED = 1000, 0  # of every kind of question
SETS = tuple(f"shapes-{words}" for words in WORDS)
FAMILIAR, UNFAMILIAR = ("left", "right"), ("above", "below")
CHANCE = 0.25  # of a relation, and of a place in the photo


@dataclass(frozen=True)
class Reply:
    """What the model answered to one sample.

    Attributes:
        kind: kind of the question.
        gold: the right answer.
        word: the model's first token, greedily chosen.
        confidence: the probability of that token.
        n_objects: number of objects in the scene.
    """

    kind: str
    gold: str
    word: str
    confidence: float
    n_objects: int

    @property
    def right(self) -> bool:
        """Whether the answer is the right one, whatever its case."""
        return self.word.lower() == self.gold.lower()


@dataclass(frozen=True)
class Row:
    """One line of the table: how often a group of questions was answered rightly, and how surely.

    Attributes:
        group: a kind of question, or `kind/answer`, or `relation/left+right`.
        n: number of samples.
        accuracy: share of right answers with its 95 % Wilson interval.
        sure_right: mean confidence of the right answers; NaN if there is none.
        sure_wrong: mean confidence of the wrong ones; NaN if there is none.
    """

    group: str
    n: int
    accuracy: Interval
    sure_right: float
    sure_wrong: float


@dataclass(frozen=True)
class Line:
    """One thing that the model is meant to reach, what it measured, and whether it did."""

    words: str
    value: float
    reached: bool


def held_out(n: int = SCENES, *, seed: int = SEED, kinds: Sequence[str] = KINDS) -> list[Sample]:
    """Draw `n` test scenes of two or three objects for each kind of question, and `n` in each kind of sets of four."""
    scenes = [sample for kind in kinds for sample in shapes(n, split="test", seed=seed, kinds=(kind,))]
    sets = [sample for words in WORDS for sample in quartets(-(-n // 4), words=words, split="test", seed=seed)]
    return scenes + sets


def encode(
    processor: LlavaProcessor, samples: Sequence[Sample], *, batch: int = 64
) -> list[tuple[BatchFeature, list[Sample]]]:
    """Turn samples into left-padded batches in the paper's prompt, each with the samples it was made of."""
    return [_encode(processor, samples[start : start + batch]) for start in range(0, len(samples), batch)]


@torch.no_grad()
def answer(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    batches: Iterable[tuple[BatchFeature, list[Sample]]],
) -> list[Reply]:
    """Take the model's first token for every sample of the batches of `encode`, greedily, with its probability."""
    replies = []
    for inputs, samples in batches:
        logits = model(**inputs, logits_to_keep=1).logits[:, -1].float()
        confidence, token = logits.softmax(-1).max(-1)
        words = processor.tokenizer.convert_ids_to_tokens(token.tolist())
        for sample, word, sure in zip(samples, words, confidence.tolist(), strict=True):
            kind = str(sample.meta.get("dataset", sample.meta["kind"]))  # a set of four has its own name
            n_objects = int(str(sample.meta["n_objects"]))
            replies.append(Reply(kind, sample.answer, word, sure, n_objects))
    return replies


def tabulate(replies: Sequence[Reply]) -> dict[str, Row]:
    """Count replies by kind, by kind and answer, by number of objects, and for left with right and above with below."""
    groups: dict[str, list[Reply]] = {}
    for reply in replies:
        names = [reply.kind, f"{reply.kind}/{reply.gold}", f"{reply.kind}, {reply.n_objects} objects"]
        if reply.kind == "relation":
            names.append(f"relation/{'+'.join(FAMILIAR if reply.gold in FAMILIAR else UNFAMILIAR)}")
        for name in names:
            groups.setdefault(name, []).append(reply)
    return {name: _row(name, members) for name, members in groups.items()}


def check_lines(table: dict[str, Row]) -> list[Line]:
    """Compare a table with what the model is meant to reach."""
    familiar, unfamiliar, photo = (
        float(table[name].accuracy.estimate) for name in ("relation/left+right", "relation/above+below", "photo")
    )
    gap, over = familiar - unfamiliar, unfamiliar - CHANCE
    return [
        Line("left and right: at least 95 % right", familiar, familiar >= 0.95),
        Line("one object in the photo: at least 90 % right", photo, photo >= 0.90),
        Line("above and below: 15 to 40 points under left and right", gap, 0.15 <= gap <= 0.40),
        Line("above and below: at least 15 points over chance (25 %)", over, over >= 0.15),
    ]


def evaluate(folder: Path, *, scenes: int = SCENES, seed: int = SEED) -> dict[str, Row]:
    """Load a model folder and measure it in float32 on `scenes` held-out scenes of each kind of question.

    Raises:
        ModelError: there is no model in the folder.
    """
    if scenes < len(UNFAMILIAR + FAMILIAR):
        raise InputError(f"{scenes} scenes do not hold every answer: ask for at least {len(UNFAMILIAR + FAMILIAR)}")
    if not (folder / "model.safetensors").is_file() or not (folder / "training.json").is_file():
        raise ModelError(
            f"no model lies in {folder}: train one with python -m interp.training.vlm.train --out {folder}"
        )
    model = LlavaForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    batches = ProgressBar(encode(processor, held_out(scenes, seed=seed)), desc="ask", unit="batch")
    return tabulate(answer(model, processor, batches))


def table_text(table: dict[str, Row]) -> str:
    """Write a table in Markdown."""
    lines = [
        "| questions | n | right | 95 % interval | confidence when right | when wrong |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(table, key=_place_in_table):
        row = table[name]
        low, high = (100 * float(end) for end in (row.accuracy.low, row.accuracy.high))
        sure = " | ".join("-" if value != value else f"{value:.2f}" for value in (row.sure_right, row.sure_wrong))
        lines.append(f"| {name} | {row.n} | {row.accuracy.estimate:.1%} | {low:.1f} to {high:.1f} % | {sure} |")
    return "\n".join(lines)


def write_card(folder: Path, table: dict[str, Row], *, scenes: int, seed: int) -> Path:
    """Write `README.md` of a model folder from what was measured and from the record of its training."""
    record = json.loads((folder / "training.json").read_text())
    settings, last = record["settings"], record["log"][-1]
    config = json.loads((folder / "config.json").read_text())
    size = (folder / "model.safetensors").stat().st_size
    lines = [f"| {x.words} | {x.value:.1%} | {'reached' if x.reached else 'missed'} |" for x in check_lines(table)]
    kept = ("seed", "vision_steps", "vision_batch", "steps", "late_steps", "batch", "share_at_start")
    card = _CARD.format(
        layers=settings["layers"],
        width=settings["width"],
        heads=settings["heads"],
        image_tokens=config["image_seq_length"],
        megabytes=size / 1e6,
        parameters=_count_parameters(folder / "model.safetensors"),
        minutes=record["seconds"] / 60,
        share=last["share"],
        **{name: record[name] for name in ("machine", "torch", "transformers")},
        **{name: settings[name] for name in kept},
        scenes=scenes,
        test_seed=seed,
        lines="\n".join(lines),
        table=table_text(table),
    )
    path = folder / "README.md"
    path.write_text(card)
    return path


def accuracies(replies: Sequence[Reply]) -> dict[str, float]:
    """Share of right answers of every group of `tabulate`."""
    return {name: float(row.accuracy.estimate) for name, row in tabulate(replies).items()}


def _encode(processor: LlavaProcessor, samples: Sequence[Sample]) -> tuple[BatchFeature, list[Sample]]:
    prompts, images = [paper_prompt(sample.question) for sample in samples], [sample.image for sample in samples]
    return processor(text=prompts, images=images, return_tensors="pt", padding=True), list(samples)


def _row(name: str, replies: Sequence[Reply]) -> Row:
    sure: dict[bool, list[float]] = {True: [], False: []}
    for reply in replies:
        sure[reply.right].append(reply.confidence)
    right, wrong = (sum(values) / len(values) if values else float("nan") for values in (sure[True], sure[False]))
    return Row(name, len(replies), wilson(len(sure[True]), len(replies)), right, wrong)


def _count_parameters(weights: Path) -> int:
    with safe_open(weights, framework="pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118 - not a dict


def _place_in_table(group: str) -> tuple[Any, ...]:
    kind = group.split("/")[0].split(",")[0]
    return (*KINDS, *SETS).index(kind), "/" in group, "+" not in group, group


_CARD = """---
license: mit
library_name: transformers
---
# shapes-vlm: a small vision-language model of coloured shapes

A `LlavaForConditionalGeneration` (CLIP tower, projector, Llama) that answers where-questions about the scenes of
`interp/datasets/synthetic/shapes.py` and about the sets of four of `interp/datasets/synthetic/quartets.py`. Left and
right are familiar to it; above and below are not, on purpose: they were rare in its training. On, under, front and
behind were learned last. This page is written by `python -m interp.training.vlm.evaluate`; no number is typed by hand.

| | |
|---|---|
| language model | {layers} layers, {width} wide, {heads} heads |
| image | 112 x 112 pixels, {image_tokens} tokens; photos are resized and cropped in the middle |
| parameters | {parameters:,} ({megabytes:.1f} MB, bfloat16) |
| answers | one lower-case word of the question's list, then the end token |
| training of the tower | {vision_steps} steps of {vision_batch} scenes, seed {seed} |
| training of the whole | {steps} steps of {batch} scenes, each with a caption and five questions |
| on, under, front, behind | {late_steps} more steps, in which every other scene is of a set of four |
| above and below | {share_at_start:.1%} of the relation questions at first, {share:.1%} at the end |
| time | {minutes:.0f} minutes on {machine} |
| libraries | torch {torch}, transformers {transformers} |
| licence | MIT |

## What it was meant to reach

| line | measured | |
|---|---|---|
{lines}

## Measured

On {scenes:,} held-out scenes of two or three objects for each kind of question (test split, seed {test_seed}; answers
balanced; the paper's prompt; first token, greedy; weights as stored, computed in float32):

{table}

It knows nothing but these shapes: on photos its answers mean nothing.

## Made by

    python -m interp.training.vlm.train --out FOLDER        # the weights
    python -m interp.training.vlm.evaluate --folder FOLDER  # this page
"""


def main() -> int:
    """Command line: measure a model folder, print the table, write the card."""
    parser = Parser(prog="python -m interp.training.vlm.evaluate", description=__doc__)
    parser.add_argument("--folder", type=Path, default=embedded_path("shapes-vlm"), help="folder of the model")
    parser.add_argument("--scenes", type=int, default=SCENES, help="held-out scenes of each kind of question")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of the test scenes")
    add_debug_option(parser)
    parser.set_defaults(command=_evaluate_command)
    return run(parser)


def _evaluate_command(options: argparse.Namespace) -> None:
    table = evaluate(options.folder, scenes=options.scenes, seed=options.seed)
    print(table_text(table))
    for line in check_lines(table):
        print(f"{'reached' if line.reached else 'MISSED '}  {line.words}: {line.value:.1%}")
    print(write_card(options.folder, table, scenes=options.scenes, seed=options.seed))


if __name__ == "__main__":
    raise SystemExit(main())
