"""Prompter: samples put to a model in batches, and what it answers and attends to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

if TYPE_CHECKING:
    from interp.model.generation import GeneratedAttention, Generation
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs


def prepare_samples(vlm: HookedVLM, samples: Sequence[Sample], prompt: str, *, system: str | None = None) -> VLMInputs:
    """One batch of samples; with `paper`, a sample whose own prompt differs from the usual one is asked with that."""
    questions, style = questions_of(vlm, samples, prompt)
    return vlm.prepare([sample.image for sample in samples], questions, prompt=style, system=system)


def questions_of(vlm: HookedVLM, samples: Sequence[Sample], prompt: str) -> tuple[list[str], str]:
    """What a batch of samples is asked, and the prompt style that this is written for."""
    from interp.prompt.templates import paper_prompt

    if prompt != "paper" or not any("paper_prompt" in sample.meta for sample in samples):
        return [sample.question for sample in samples], prompt
    image = vlm.family.wrapped_image.format(vlm.processor.image_token)
    whole = [str(sample.meta.get("paper_prompt", paper_prompt(sample.question))) for sample in samples]
    return [text.replace("<image>", image) for text in whole], "raw"


def batches(samples: Sequence[Sample], size: int) -> Iterator[list[int]]:
    """Places of the samples that are measured together, always the same for the same samples.

    The longest questions come first: what does not fit into memory fails at once, and the time left is rather
    promised too long than too short.
    """
    order = sorted(range(len(samples)), key=lambda place: -len(samples[place].question))
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass(frozen=True, eq=False)
class Prompter:
    """How samples are asked."""

    vlm: HookedVLM
    prompt: str
    max_new_tokens: int
    neutral_prompt: str | None = None

    def answers(self, samples: Sequence[Sample]) -> tuple[Generation, tuple[GeneratedAttention, ...], VLMInputs]:
        """Answers, last prompt rows, and what was asked."""
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        answer, rows = self.vlm.generate_with_cache(inputs, self.max_new_tokens, query_rows="last")
        return answer, rows, inputs

    def neutral(self, samples: Sequence[Sample]) -> list[Float[np.ndarray, "layer head token"]]:
        """Attention over the image under the neutral prompt, [layer head token] of each sample."""
        import torch

        inputs = self.vlm.prepare(
            [sample.image for sample in samples], [self.neutral_prompt or ""] * len(samples), prompt=self.prompt
        )
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(self.vlm.cfg.n_layers)]
        with torch.no_grad():
            _, cache = self.vlm.run_with_cache(inputs, names_filter=names, logits_to_keep=1)
        rows = np.stack([cache[name][:, :, 0].float().cpu().numpy() for name in names], axis=1)
        return [own[..., layout.image_positions] for own, layout in zip(rows, inputs.layouts, strict=True)]
