"""The self-check on load: hooks see attention, edits move the output, and nobody listening changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from torch import Tensor

from interp.errors import HookError, ModelError

if TYPE_CHECKING:
    from interp.hooked_vlm import HookedVLM
    from interp.inputs import VLMInputs

_PASSED: set[tuple[str, ...]] = set()
_N_TOKENS = 8


def check_on_load(vlm: HookedVLM) -> None:
    """Prove, on eight text tokens and one small image, that this model's hooks are real.

    Checked in the first, middle and last layer of the language model, and in the first of the vision tower: attention
    rows sum to one, an edit of them moves the output, and an unhooked run is bit-equal to the model without hooks.
    Remembered for the process, per model class, tower, library version and attention implementation.

    Raises:
        ModelError: one of them does not hold.
    """
    implementations = vlm._wiring.implementations.names
    vision = vlm.model.config.vision_config.model_type
    text = vlm.model.config.get_text_config().model_type
    key = (type(vlm.model).__name__, text, vision, transformers.__version__, str(vlm.dtype), *implementations)
    if key in _PASSED:
        return
    with torch.no_grad():
        _check_text(vlm)
        _check_vision(vlm)
    _PASSED.add(key)


def _check_text(vlm: HookedVLM) -> None:
    """The language model, on tokens that are not the image's."""
    image = getattr(vlm.model.config, "image_token_id", None)
    ids = [token for token in range(3, 3 + 2 * _N_TOKENS) if token != image and token < vlm.cfg.d_vocab][:_N_TOKENS]
    tokens = torch.tensor([ids], device=vlm.device)

    def run() -> Tensor:
        return vlm.model(input_ids=tokens, use_cache=False).logits

    last = vlm.cfg.n_layers - 1
    _check(vlm, run, [f"blocks.{layer}." for layer in sorted({0, last // 2, last})])


def _check_vision(vlm: HookedVLM) -> None:
    """The vision tower, on one small image, as far as the language model."""
    ramp = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    pixels = _vision_tensors(vlm, vlm.prepare(ramp, "Where?", prompt="paper"))
    _check(vlm, lambda: _image_features(vlm, pixels), ["vision.blocks.0."])


def _vision_tensors(vlm: HookedVLM, inputs: VLMInputs) -> dict[str, Tensor]:
    """What of a batch the vision tower takes."""
    taken = signature(vlm.model.model.get_image_features).parameters
    return {name: value for name, value in inputs.tensors.items() if name in taken}


def _image_features(vlm: HookedVLM, pixels: dict[str, Tensor]) -> Tensor:
    """What the projector makes of a batch, [image_token d_model]: one row for each image placeholder."""
    made = vlm.model.model.get_image_features(**pixels, return_dict=True).pooler_output
    parts = made if isinstance(made, (list, tuple)) else [made]
    return torch.cat([part.reshape(-1, part.shape[-1]) for part in parts])


def _check(vlm: HookedVLM, run: Callable[[], Tensor], blocks: list[str]) -> None:
    untouched = run()
    with vlm.paused():
        plain = run()
    if not bool(plain.isfinite().all()):
        raise ModelError(_failed(vlm, f"its own output in {vlm.dtype} is not finite"))
    if not torch.equal(untouched, plain):
        raise ModelError(_failed(vlm, "an unhooked run differs from the model without hooks"))
    for block in blocks:
        name = f"{block}attn.hook_pattern"
        seen: list[Tensor] = []

        def shift(pattern: Tensor, *, hook: Any, seen: list[Tensor] = seen) -> Tensor:
            seen.append(pattern)
            return torch.nn.functional.one_hot(torch.zeros_like(pattern[..., 0]).long(), pattern.shape[-1]).to(pattern)

        try:
            moved = _under(vlm, name, shift, run)
        except HookError as error:
            raise ModelError(_failed(vlm, str(error))) from None
        if len(seen) != 1:
            raise ModelError(_failed(vlm, f"{name} fired {len(seen)} times in one run"))
        if not torch.allclose(seen[0].sum(-1), torch.ones_like(seen[0].sum(-1)), atol=1e-4):
            raise ModelError(_failed(vlm, f"rows of {name} do not sum to one"))
        if torch.equal(moved, untouched):
            raise ModelError(_failed(vlm, f"an edit of {name} does not reach the output"))


def _under(vlm: HookedVLM, name: str, function: Callable[..., Any], run: Callable[[], Tensor]) -> Tensor:
    with vlm.hooks([(name, function)], query_rows=[-1]):
        return run()


def _failed(vlm: HookedVLM, what: str) -> str:
    return (
        f"self-check of {type(vlm.model).__name__} failed: {what}; its results could not be trusted "
        "(self_check=False loads it all the same, and says so in every result)"
    )
