"""Threads proved: two of them share a model, one edits, and each gets what it gets alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from interp.intervene.image_logits import ScaleImageLogits
from interp.proof.samples import four_prompts, largest

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

EDIT = ScaleImageLogits(-50.0, mode="add")
"""Takes the image out of the last row's sight, so that an edit that reaches another thread is seen."""

TIMES = 3
LEAD = 0.2
"""Seconds that the editing thread leaves the other one to come in between its hooks and its pass."""

Run = Callable[["HookedVLM", "VLMInputs"], Tensor]


def shared(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of logits in two threads from those of the same runs one after another."""
    inputs = four_prompts(vlm)[1]
    with torch.no_grad():
        alone = {run: [run(vlm, own) for own in inputs] for run in (_plain, _untouched, _edited)}
    moved = largest(ours - own for ours, own in zip(alone[_edited], alone[_untouched], strict=True))
    if not moved >= 1e-3:
        return float("inf"), "the intervention moves nothing, so that nothing is proved"
    apart = [got - alone[_plain][0] for got in _between(vlm, inputs[0])]
    for other in (_plain, _untouched):
        with ThreadPoolExecutor(2) as pool:
            both = {run: pool.submit(_often, vlm, inputs, run) for run in (other, _edited)}
            for run, work in both.items():
                apart += [ours - own for ours, own in zip(work.result(), alone[run] * TIMES, strict=True)]
    return largest(apart), f"{TIMES} times {len(inputs)} prompts in each of two threads"


def _between(vlm: HookedVLM, inputs: VLMInputs) -> list[Tensor]:
    """What a pass of one thread says that comes while another has its hooks on and does not run yet."""
    ready, came = Event(), Event()

    def edit() -> None:
        with vlm.intervene(EDIT, inputs):
            ready.set()
            came.wait(LEAD)
            vlm(inputs)

    def ask() -> Tensor:
        ready.wait()
        said = _plain(vlm, inputs)
        came.set()
        return said

    with ThreadPoolExecutor(2) as pool:
        works = pool.submit(edit), pool.submit(ask)
        works[0].result()
        return [works[1].result()]


def _often(vlm: HookedVLM, inputs: list[VLMInputs], run: Run) -> list[Tensor]:
    return [run(vlm, own) for _ in range(TIMES) for own in inputs]


def _plain(vlm: HookedVLM, inputs: VLMInputs) -> Tensor:
    """Hugging Face's own call, past everything of ours."""
    with torch.no_grad():
        logits: Tensor = vlm.model(**inputs.tensors, use_cache=False).logits[:, -1]
        return logits


def _untouched(vlm: HookedVLM, inputs: VLMInputs) -> Tensor:
    return vlm.generate(inputs, 1).first_logits


def _edited(vlm: HookedVLM, inputs: VLMInputs) -> Tensor:
    return vlm.generate(inputs, 1, intervention=EDIT).first_logits
