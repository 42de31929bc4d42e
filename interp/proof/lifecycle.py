"""A life proved: a model that is copied, set to another attention, trained or compiled is hooked, or refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from interp.compat import checkpoint_activations
from interp.errors import SpatialLensError
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.generation import same_positions
from interp.proof.samples import largest, one_prompt

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

EDIT = ScaleImageLogits(-30.0, mode="add")
"""Takes the image from the last prompt row."""


def lived(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of edited runs and gradients, of a copy that goes through a life, from those of the model.

    The copy shares all weights but those of its last attention. Its logits are compared beside its original, and above
    each attention that transformers has for it; the gradient of an edit that ended before backward, where activations
    are not kept, with the one where they are (as a part of its largest entry). Infinite where a copy of what is hooked,
    a compiled layer or a pass that goes by a point is not refused.
    """
    inputs = one_prompt(vlm)
    with torch.no_grad(), same_positions(vlm.model):
        plain, wanted = _last(vlm, inputs), _last(vlm, inputs, EDIT)
    if not largest([wanted - plain]) >= 1e-3:
        return float("inf"), "an edit moves nothing, so that nothing is proved"
    twin = _twin(vlm)
    with torch.no_grad():
        with vlm.intervene(EDIT, inputs):
            apart = [_last(twin, inputs) - plain]
        apart.append(_last(twin, inputs, EDIT) - wanted)
        above = [kernel for kernel in ("eager", "sdpa") if _set(twin, kernel)]
        for kernel in above:
            _set(twin, kernel)
            apart.append(_last(twin, inputs, EDIT) - wanted)
            if set(twin.implementations) != {kernel}:
                return float("inf"), f"{kernel} attention was set, and is not what runs"
        allowed = [what for what, use in _to_refuse(twin, inputs) if not _is_refused(use)]
    if allowed:
        return float("inf"), f"not refused: {', '.join(allowed)}"
    trained, detail = _gradients(twin, inputs)
    return largest([*apart, *trained]), f"a copy, above {' and '.join(above) or 'its own attention'}, {detail}"


def _last(vlm: HookedVLM, inputs: VLMInputs, edit: ScaleImageLogits | None = None) -> Tensor:
    """Logits of the last row, under an edit if given."""
    return vlm.run_with_hooks(inputs, intervention=edit, logits_to_keep=1).logits[:, -1]


def _twin(vlm: HookedVLM) -> HookedVLM:
    own = {id(weight) for weight in vlm.text_attentions[-1].parameters()}
    with vlm.paused() as model:
        shared = {id(each): each for each in (*model.parameters(), *model.buffers()) if id(each) not in own}
        return type(vlm).wrap(copy.deepcopy(model, shared), vlm.processor, self_check=False)


def _set(vlm: HookedVLM, kernel: str) -> bool:
    """Set an attention, if the family has it."""
    try:
        vlm.model.set_attn_implementation(kernel)
    except (ValueError, ImportError):
        return False
    return True


def _to_refuse(vlm: HookedVLM, inputs: VLMInputs) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is done to a model, in words, and the use of it that has to be refused."""
    attention = vlm.text_attentions[-1]
    yield "a copy of the hooked model", lambda: copy.deepcopy(vlm.model)
    yield "a copy of a hooked layer", lambda: copy.deepcopy(attention)
    yield "a pickled HookedVLM", lambda: pickle.dumps(vlm)
    yield "a pass without the head", lambda: _without_head(vlm, inputs)
    attention.compile(backend="eager")
    yield "hooks on a compiled layer", lambda: _last(vlm, inputs, EDIT)
    attention._compiled_call_impl = None


def _without_head(vlm: HookedVLM, inputs: VLMInputs) -> None:
    with vlm.hooks([("unembed.hook_out", lambda logits, hook: None)]):
        vlm.model.model(**inputs.tensors)


def _is_refused(use: Callable[[], Any]) -> bool:
    try:
        use()
    except SpatialLensError:
        return True
    return False


def _gradients(vlm: HookedVLM, inputs: VLMInputs) -> tuple[list[Tensor], str]:
    """How far gradients at the last attention are apart, with activations kept and not; each by its largest entry."""
    weights = [weight for weight in vlm.text_attentions[-1].parameters() if weight.is_floating_point()]
    if not weights or not vlm.model.supports_gradient_checkpointing:
        return [], "without gradients"
    name, found = f"blocks.{vlm.cfg.n_layers - 1}.attn.hook_attn_logits", []
    for checkpointed in (False, True):
        with _trained(vlm, weights, checkpointed), torch.enable_grad():
            logits = vlm.run_with_hooks(inputs, fwd_hooks=[(name, lambda logits, hook: logits * 0.5)]).logits
            slopes = torch.autograd.grad(logits[:, -1].logsumexp(-1).sum(), weights, allow_unused=True)
        found.append(torch.cat([slope.flatten() for slope in slopes if slope is not None]))
    kept, recomputed = found
    return [(recomputed - kept) / kept.abs().max()], "and its gradients"


@contextmanager
def _trained(vlm: HookedVLM, weights: list[torch.nn.Parameter], checkpointed: bool) -> Iterator[None]:
    """Let layers be in training, and nothing in them, so that nothing is dropped; keep no activations if said so."""
    for weight in weights:
        weight.requires_grad_()
    if checkpointed:
        checkpoint_activations(vlm.model, True)
    layers = [module for module in vlm.model.modules() if hasattr(module, "gradient_checkpointing")]
    for layer in layers:
        layer.training = True
    try:
        yield
    finally:
        for layer in layers:
            layer.training = False
        checkpoint_activations(vlm.model, False)
