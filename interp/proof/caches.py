"""Caches and batches proved: edits are the same however a prompt is run, and in each copy of a sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.compat import cache_in, cache_name
from interp.intervene.base import PerSample
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.generation import greedy_settings, own_settings, same_positions
from interp.proof.samples import four_prompts, largest, one_prompt

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

NEW_TOKENS = 4

WAYS: Mapping[str, Mapping[str, Any]] = {
    "a static cache": {"cache_implementation": "static", "disable_compile": True},
    "no cache": {"use_cache": False},
    "guesses": {"prompt_lookup_num_tokens": 3},
    "chunks": {"prefill_chunk_size": 16},
}
"""Ways to run a prompt in which rows have to mean what they mean with a growing cache."""

HIDING_WAYS = {"prompt": ("guesses", "chunks"), "image": ("chunks",)}
"""Ways that hide keys from rows which see what is behind them, by `ModelShape.two_way`: these are refused."""

HIDDEN = ScaleImageLogits(-5.0, mode="add", rows="generated")

EACH = PerSample(tuple(ScaleImageLogits(alpha, rows="generated") for alpha in (0.2, 0.6, 1.5, 3.0)))


def ways(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of edited logits, of a prompt run in other ways and in two turns from the usual one."""
    inputs = one_prompt(vlm)
    wanted, untouched = _logits(vlm, inputs, edit=HIDDEN), _logits(vlm, inputs)
    if not largest([wanted[0] - untouched[0]]) >= 1e-3:
        return float("inf"), "the intervention moves nothing, so that nothing is proved"
    apart, compared = [torch.zeros(1)], []
    for name, way in WAYS.items():
        if name in HIDING_WAYS.get(vlm.cfg.two_way, ()) or not _offered(vlm, inputs, way):
            continue
        got = _logits(vlm, inputs, edit=HIDDEN, **way)
        apart += [one - other for one, other in zip(got, wanted, strict=True)]
        compared.append(name)
    if "prefix" not in vlm.family.refusals:
        apart.append(_second_turn(vlm, inputs))
        compared.append("a second turn")
    return largest(apart), f"{', '.join(compared)}, from a growing cache"


def copies(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of first logits and scores, of edited beams and returned sequences from single edited runs."""
    batch, singles = four_prompts(vlm)
    beams, drawn = {"num_beams": 2}, {"num_return_sequences": 2, "do_sample": True}
    apart: list[Tensor] = []
    together = _made(vlm, batch, edit=EACH, **beams)
    sampled = _made(vlm, batch, edit=EACH, **drawn)
    for sample, (edit, inputs) in enumerate(zip(EACH.parts, singles, strict=True)):
        alone = _made(vlm, inputs, edit=edit, **beams)
        own = slice(2 * sample, 2 * sample + 2)
        apart += [made.logits[0][own] - alone.logits[0] for made in (together, sampled)]
        apart.append(together.sequences_scores[sample : sample + 1] - alone.sequences_scores)
    return largest(apart), f"2 beams and 2 returned sequences of each of {len(singles)} prompts"


def _made(vlm: HookedVLM, inputs: VLMInputs, *, edit: Any = None, **way: Any) -> Any:
    """What transformers' own generate says, under an intervention or not."""
    settings = greedy_settings(vlm, NEW_TOKENS, min_new_tokens=NEW_TOKENS, output_scores=True, **way)
    with vlm.hooks(intervention=edit, inputs=inputs), torch.no_grad(), own_settings(vlm.model, settings):
        return vlm.model.generate(**inputs.tensors, generation_config=settings)


def _logits(vlm: HookedVLM, inputs: VLMInputs, **under: Any) -> list[Tensor]:
    return list(_made(vlm, inputs, **under).logits)


def _offered(vlm: HookedVLM, inputs: VLMInputs, way: Mapping[str, Any]) -> bool:
    """Whether transformers itself runs a prompt of this model in such a way."""
    try:
        with vlm.paused():
            settings = greedy_settings(vlm, 1, **way)
            with torch.no_grad(), own_settings(vlm.model, settings):
                vlm.model.generate(**inputs.tensors, generation_config=settings)
    except (ValueError, TypeError, AttributeError, NotImplementedError):
        return False
    return True


def _second_turn(vlm: HookedVLM, inputs: VLMInputs) -> Tensor:
    """How far the last row of a prompt that goes on from a cache is from that of one pass."""
    more, ids = inputs.input_ids[:, -3:], inputs.input_ids
    told = {name: own for name, own in inputs.tensors.items() if own.shape == ids.shape}
    longer = {name: torch.cat([own, own[:, -3:]], 1) for name, own in told.items()}
    edit = ScaleImageLogits(-5.0, mode="add")
    columns = inputs.layouts[0].image_positions

    def hide(tensor: Tensor, hook: Any) -> Tensor:
        tensor[..., columns] -= 5.0
        return tensor

    hiding = [(f"blocks.{layer}.attn.hook_attn_logits", hide) for layer in range(vlm.cfg.n_layers)]
    with torch.no_grad(), vlm.hooks(hiding, query_rows="last"):
        whole = vlm.model(**{**inputs.tensors, **longer}, use_cache=False).logits[:, -1]
    with torch.no_grad(), same_positions(vlm.model):
        cache = {cache_name(vlm.model): cache_in(vlm.model(**inputs.tensors, use_cache=True))}
        with vlm.intervene(edit, inputs):
            return vlm.model(input_ids=more, **cache, use_cache=True).logits[:, -1] - whole
