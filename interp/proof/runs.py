"""Runs proved: generation under hooks, steps on a shared prefill, ragged batches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.intervene.base import Intervention, Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.generation import greedy_settings
from interp.model.prefix import Prefix
from interp.proof.samples import four_prompts, largest

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

NEW_TOKENS = 8

INTERVENTIONS: tuple[Intervention, ...] = (
    Untouched(),
    ScaleImageLogits(0.5),
    ScaleImageLogits(1.5, layers=(0,)),
    ScaleImageLogits(1.0, mode="add"),
    ScaleImageLogits(2.0, mode="temper"),
)


def generated(vlm: HookedVLM) -> tuple[float, str]:
    """Tokens that differ between a generation whose every row is captured and Hugging Face's own."""
    inputs = four_prompts(vlm)[0]
    answer, _ = vlm.generate_with_cache(inputs, NEW_TOKENS)
    settings = greedy_settings(vlm, NEW_TOKENS)
    with torch.no_grad(), vlm.paused():
        before, vlm.model.generation_config = vlm.model.generation_config, settings
        try:
            plain = vlm.model.generate(**inputs.tensors, generation_config=settings).sequences
        finally:
            vlm.model.generation_config = before
    wanted = plain[:, inputs.input_ids.shape[1] :]
    if len(wanted.unique()) < 2:
        return float("inf"), "the model repeats one token, so that nothing is proved"
    if wanted.shape != answer.tokens.shape:
        return float(abs(wanted.shape[1] - answer.tokens.shape[1])), "the answers differ in length"
    return float((wanted != answer.tokens).sum()), f"{wanted.shape[1]} tokens for {len(wanted)} prompts"


def prefixed(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of logits and of the last layer's pattern, of steps on a prefill from whole edited runs."""
    inputs = four_prompts(vlm)[0]
    name = f"blocks.{vlm.cfg.n_layers - 1}.attn.hook_pattern"
    step = Prefix(vlm, inputs).step(INTERVENTIONS, capture=[name])
    moved = largest([step.logits[1:] - step.logits[:1]])
    if not moved >= 1e-3:
        return float("inf"), "the interventions move nothing, so that nothing is proved"
    apart: list[Tensor] = []
    for place, intervention in enumerate(INTERVENTIONS):
        hooks = intervention.hooks(vlm.cfg, inputs.layouts)
        with torch.no_grad():
            output, cache = vlm.run_with_cache(inputs, names_filter=name, fwd_hooks=hooks)
        apart += [output.logits[:, -1] - step.logits[place], cache[name] - step.captured[name][place]]
    return largest(apart), f"{len(INTERVENTIONS)} interventions on {len(inputs)} prompts"


def ragged(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of last-row logits and patterns, of a ragged batch from single runs."""
    batch, singles = four_prompts(vlm)
    with torch.no_grad():
        together, cache = vlm.run_with_cache(batch, names_filter=_patterns(vlm))
        apart: list[Tensor] = []
        for row, inputs in enumerate(singles):
            alone, own = vlm.run_with_cache(inputs, names_filter=_patterns(vlm))
            length = inputs.input_ids.shape[1]
            apart.append(together.logits[row, -1] - alone.logits[0, -1])
            apart += [cache[name][row, ..., -length:] - own[name][0] for name in _patterns(vlm)]
    return largest(
        apart
    ), f"{len(singles)} prompts of {min(len(one.layouts[0]) for one in singles)} to {len(batch.layouts[0])}"


def _patterns(vlm: HookedVLM) -> list[str]:
    return [f"blocks.{layer}.attn.hook_pattern" for layer in range(vlm.cfg.n_layers)]
