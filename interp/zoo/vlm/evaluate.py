"""Measure the embedded VLM on held-out scenes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from interp.datasets.questions import paper_prompt
from interp.datasets.sample import Sample


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


@torch.no_grad()
def answer_samples(
    model: LlavaForConditionalGeneration, processor: LlavaProcessor, samples: Sequence[Sample], *, batch: int = 64
) -> list[Reply]:
    """Ask plain transformers batches, left-padded, for the first token of each answer."""
    replies = []
    for start in range(0, len(samples), batch):
        part = samples[start : start + batch]
        inputs = processor(
            text=[paper_prompt(s.question) for s in part],
            images=[s.image for s in part],
            return_tensors="pt",
            padding=True,
        )
        logits = model(**inputs, logits_to_keep=1).logits[:, -1].float()
        confidence, token = logits.softmax(-1).max(-1)
        words = processor.tokenizer.convert_ids_to_tokens(token.tolist())
        for sample, word, sure in zip(part, words, confidence.tolist(), strict=True):
            meta = sample.meta
            replies.append(Reply(str(meta["kind"]), sample.answer, word, sure, int(str(meta["n_objects"]))))
    return replies


def accuracies(replies: Sequence[Reply]) -> dict[str, float]:
    """Share of right answers by kind, and by kind and answer."""
    groups: dict[str, list[bool]] = {}
    for reply in replies:
        for name in (reply.kind, f"{reply.kind}/{reply.gold}"):
            groups.setdefault(name, []).append(reply.right)
    return {name: sum(right) / len(right) for name, right in groups.items()}
