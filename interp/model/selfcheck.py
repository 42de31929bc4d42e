"""The self-check on load: each mechanism is run once, and proved before anything is built on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from einops import rearrange
from torch import Tensor

from interp.compat import cache_in, cache_name
from interp.errors import HookError, ModelError
from interp.hooks.cache import Keep
from interp.intervene.base import Untouched
from interp.intervene.image_hooks import image_points
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.generation import same_positions
from interp.model.prefix import Prefix

if TYPE_CHECKING:
    from interp.hooks.rows import QueryRows
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs

_PASSED: set[tuple[str, ...]] = set()
_N_TOKENS = 8
_HIDDEN = ScaleImageLogits(-30.0, mode="add")
"""Takes the image from the last prompt row, which moves the logits of any model far beyond rounding."""


def check_on_load(vlm: HookedModel) -> None:
    """Prove, on eight text tokens and one small image, that this model's hooks are real.

    * The language model's first, middle and last layer, and the tower's first: an unhooked run is bit-equal to the
      model without hooks, attention rows sum to one, an edit of them moves the output.
    * One token on a KV cache: it is known for a decoded one, sees the keys before it, is moved by an edit, and says
      what a pass of all tokens says.
    * One step on a shared prefill, where the family has it: an edited one says what the edited pass of the whole
      prompt says.
    * What is added to image tokens behind the first blocks, in models with DeepStack: each of it is seen once and moves
      the output, and given back without the tower it makes the same output, to the bit.

    Remembered for the process, per model class, towers, library version, numbers' type and attention implementation.

    Raises:
        ModelError: one of them does not hold; it names the claim, and which versions of the libraries are proved.
    """
    implementations = vlm.implementations
    vision = vlm.model.config.vision_config.model_type
    text = vlm.model.config.get_text_config().model_type
    key = (type(vlm.model).__name__, text, vision, transformers.__version__, str(vlm.dtype), *implementations)
    if key in _PASSED:
        return
    with torch.no_grad(), same_positions(vlm.model):
        _check_text(vlm)
        _check_step(vlm)
        image = vlm.prepare(np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3), "Where?", prompt="paper")
        _check_vision(vlm, image)
        _check_prefix(vlm, image)
        _check_deepstack(vlm, image)
    _PASSED.add(key)


def _check_text(vlm: HookedModel) -> None:
    """The language model, on tokens that are not the image's."""
    tokens = _tokens(vlm)
    last = vlm.cfg.n_layers - 1
    _check(
        vlm,
        "a pass",
        lambda: vlm.model(input_ids=tokens, use_cache=False).logits,
        [f"blocks.{layer}." for layer in sorted({0, last // 2, last})],
        rows=[-1],
    )


def _check_step(vlm: HookedModel) -> None:
    """The last of the tokens on a cache of those before it."""
    tokens, claim = _tokens(vlm), "a cached decode step"

    def step() -> Tensor:
        begun = vlm.model(input_ids=tokens[:, :-1], use_cache=True)
        kept = {cache_name(vlm.model): cache_in(begun)}
        return vlm.model(input_ids=tokens[:, -1:], use_cache=True, **kept).logits[:, -1]

    rows = _check(vlm, claim, step, [f"blocks.{vlm.cfg.n_layers - 1}."], rows="decoded")
    if rows.shape[-2:] != (1, _N_TOKENS):
        raise _failed(vlm, claim, f"its row has the shape {tuple(rows.shape)} where it sees {_N_TOKENS} keys")
    if "prefix" not in vlm.family.refusals:  # there, earlier tokens do not see later ones
        before, whole = vlm.model(input_ids=tokens, use_cache=False).logits[:, -2:].unbind(1)
        _check_near(vlm, claim, step(), whole, before, "says something else than a pass of all tokens")


def _check_vision(vlm: HookedModel, inputs: VLMInputs) -> None:
    """The vision tower, on one small image, as far as the language model."""
    pixels = _vision_tensors(vlm, inputs)
    _check(vlm, "the vision tower", lambda: _image_features(vlm, pixels), ["vision.blocks.0."], rows=[-1])


def _check_prefix(vlm: HookedModel, inputs: VLMInputs) -> None:
    """An edited step on a shared prefill, beside the edited pass of the whole prompt."""
    claim = "a step on a shared prefill"
    if "prefix" in vlm.family.refusals:
        return
    untouched, step = Prefix(vlm, inputs).step([Untouched(), _HIDDEN]).logits
    if torch.equal(untouched, step):
        raise _failed(vlm, claim, "an edit does not reach the output")
    with vlm.intervene(_HIDDEN, inputs):
        whole = vlm(inputs, logits_to_keep=1).logits[:, -1]
    _check_near(vlm, claim, step, whole, untouched, "says something else than the edited pass of the whole prompt")


def _check_deepstack(vlm: HookedModel, inputs: VLMInputs) -> None:
    """What a model adds to its image tokens behind the first blocks, seen, silenced, and given back."""
    claim = "features of the photo behind the projector"
    points = image_points(vlm.cfg)
    if len(points) == 1:
        return

    def run(given: VLMInputs, *hooks: Any) -> Tensor:
        return vlm.run_with_hooks(given, fwd_hooks=hooks, logits_to_keep=1).logits

    untouched, kept = run(inputs), dict[str, Tensor]()
    blind = replace(inputs, tensors={name: own for name, own in inputs.tensors.items() if name != "pixel_values"})
    try:
        run(inputs, (points, Keep(kept)))
        for name in points[1:]:
            if name not in kept:
                raise _failed(vlm, claim, f"{name} does not fire")
            if torch.equal(run(inputs, (name, lambda tensor, hook: torch.zeros_like(tensor))), untouched):
                raise _failed(vlm, claim, f"an edit of {name} does not reach the output")
        given_back = run(blind, (points, lambda tensor, hook: kept[hook.name]))
    except HookError as error:
        raise _failed(vlm, claim, str(error)) from None
    if not torch.equal(given_back, untouched):
        raise _failed(vlm, claim, "given back, they make another output than the run with pixels")


def _tokens(vlm: HookedModel) -> Tensor:
    """A few ids that stand for text [1 pos]."""
    image = getattr(vlm.model.config, "image_token_id", None)
    ids = [token for token in range(3, 3 + 2 * _N_TOKENS) if token != image and token < vlm.cfg.d_vocab][:_N_TOKENS]
    return torch.tensor([ids], device=vlm.device)


def _vision_tensors(vlm: HookedModel, inputs: VLMInputs) -> dict[str, Tensor]:
    """What of a batch the vision tower takes."""
    taken = signature(vlm.model.model.get_image_features).parameters
    return {name: value for name, value in inputs.tensors.items() if name in taken}


def _image_features(vlm: HookedModel, pixels: dict[str, Tensor]) -> Tensor:
    """What the projector makes of a batch, [image_token d_model]: one row for each image placeholder."""
    made = vlm.model.model.get_image_features(**pixels, return_dict=True).pooler_output
    parts = made if isinstance(made, (list, tuple)) else [made]
    return torch.cat([rearrange(part, "... d_model -> (...) d_model") for part in parts])


def _check(
    vlm: HookedModel, claim: str, run: Callable[[], Tensor], blocks: Sequence[str], *, rows: QueryRows
) -> Tensor:
    """An untouched run, and one with edited attention in each block; the rows that the last of them showed."""
    untouched = run()
    with vlm.paused():
        plain = run()
    if not bool(plain.isfinite().all()):
        raise _failed(vlm, claim, f"its own output in {vlm.dtype} is not finite")
    if not torch.equal(untouched, plain):
        raise _failed(vlm, claim, "an unhooked run differs from the model without hooks")
    for block in blocks:
        name = f"{block}attn.hook_pattern"
        seen: list[Tensor] = []

        def shift(pattern: Tensor, *, hook: Any, seen: list[Tensor] = seen) -> Tensor:
            seen.append(pattern)
            return torch.nn.functional.one_hot(torch.zeros_like(pattern[..., 0]).long(), pattern.shape[-1]).to(pattern)

        try:
            with vlm.hooks([(name, shift)], query_rows=rows):
                moved = run()
        except HookError as error:
            raise _failed(vlm, claim, str(error)) from None
        if len(seen) != 1:
            raise _failed(vlm, claim, f"{name} fired {len(seen)} times in one run")
        if not torch.allclose(seen[0].sum(-1), torch.ones_like(seen[0].sum(-1)), atol=1e-4):
            raise _failed(vlm, claim, f"rows of {name} do not sum to one")
        if torch.equal(moved, untouched):
            raise _failed(vlm, claim, f"an edit of {name} does not reach the output")
    return seen[0]


def _check_near(vlm: HookedModel, claim: str, found: Tensor, wanted: Tensor, far: Tensor, what: str) -> None:
    """Refuse logits that rounding does not bring to the wanted ones; `far` are those of another row or another edit."""
    room = 0.01 if vlm.dtype in (torch.float32, torch.float64) else 0.25
    apart, effect = ((found.float() - other.float()).abs().max() for other in (wanted, far))
    if not bool(apart <= room * effect):
        raise _failed(vlm, claim, f"it {what}, by {float(apart):.2g}; what it must not say is {float(effect):.2g} away")


def _failed(vlm: HookedModel, claim: str, what: str) -> ModelError:
    from interp.model.versions import standing

    return ModelError(
        f"self-check of {type(vlm.model).__name__} failed, {claim}: {what}; its results could not be trusted "
        f"(self_check=False loads it all the same, and says so in every result). {standing()}"
    )
