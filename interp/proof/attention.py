"""Attention proved: an untouched run, captured rows and edited logits, against plain, eager and naive attention."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from einops import einsum, repeat
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

from interp.hooks.towers import submodule, text_tower, vision_tower
from interp.proof.samples import largest, one_prompt

if TYPE_CHECKING:
    from interp.families import Tower
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

REFERENCE = "spatial_lens_reference"

MOST_ROUNDING = 1e-3
"""Largest difference of two fp32 kernels, as a part of the largest value, that rounding can explain."""

Attend = Callable[..., tuple[Tensor, Tensor]]
"""`(module, query, key, value, attention_mask, **kwargs) -> (mixed values, pattern)`, as transformers calls it."""


def untouched(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of the logits of a run that nobody listens to from those of the model without hooks."""
    inputs = one_prompt(vlm)
    with torch.no_grad():
        hooked = vlm(inputs).logits
        with vlm.paused():
            plain = vlm.model(**inputs.tensors, use_cache=False).logits
    return largest([hooked - plain]), f"logits of {hooked.shape[1]} positions"


def own_rounding(vlm: HookedVLM) -> tuple[float, float]:
    """How far transformers' own eager and SDPA attention are apart on this model without us: logits, residual streams.

    What a trained model makes of rounding depends on its weights: where activations are large, so is this. A difference
    above `MOST_ROUNDING` of the largest value is a fault of one of the two and no rounding: it counts as 0.
    """
    inputs, seen = one_prompt(vlm), []
    configs = {id(module.config): module.config for module in vlm.model.modules() if hasattr(module, "config")}
    with torch.no_grad(), vlm.paused():
        before = [(config, config._attn_implementation) for config in configs.values()]
        try:
            for kernel in ("eager", "sdpa"):
                vlm.model.set_attn_implementation(kernel)
                seen.append(vlm.model(**inputs.tensors, use_cache=False, output_hidden_states=True))
        except (ValueError, ImportError):  # a family without one of the two: nothing to compare
            return 0.0, 0.0
        finally:
            for config, kernel in before:
                config._attn_implementation = kernel
    eager, fused = seen
    return _rounding([eager.logits], [fused.logits]), _rounding(eager.hidden_states, fused.hidden_states)


def _rounding(some: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """The largest difference of tensors that should be equal, if rounding can explain it; else 0."""
    apart = largest(one - other for one, other in zip(some, others, strict=True))
    return apart if apart <= MOST_ROUNDING * largest(some) else 0.0


def captured_rows(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of all captured rows, in every layer of both towers, from the family's own eager attention."""
    inputs = one_prompt(vlm)
    kept: dict[nn.Module, list[Tensor]] = {}

    def keeping(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any) -> Any:
        eager = sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
        out, weights = eager(module, query, key, value, attention_mask, **kwargs)
        kept.setdefault(module, []).append(weights)
        return out, weights

    with torch.no_grad():
        with vlm.paused(), _attending(vlm, keeping):
            vlm.model(**inputs.tensors, use_cache=False)
        _, cache = vlm.run_with_cache(inputs, query_rows="all", names_filter=lambda name: name.endswith("hook_pattern"))
    apart: list[Tensor] = []
    for prefix, tower in _towers(vlm):
        for layer, module in enumerate(_attentions(vlm, tower)):
            captured = cache[f"{prefix}blocks.{layer}.attn.hook_pattern"]
            apart.append(captured - _stitched(kept[module]))
    return largest(apart), f"patterns of {len(apart)} layers, all rows"


def edited_logits(vlm: HookedVLM) -> tuple[float, str]:
    """Largest difference of the output after an edit of the logits from that of naive attention.

    Three edits, each of two heads: all rows of the first, a middle and the last layer of the language model; its last
    rows alone, which are written over what the kernel made; all rows of the first layer of the tower.
    """
    inputs = one_prompt(vlm)
    last = vlm.cfg.n_layers - 1
    text = [f"blocks.{layer}.attn.hook_attn_logits" for layer in sorted({0, last // 2, last})]
    few = range(inputs.input_ids.shape[1] - 3, inputs.input_ids.shape[1])
    cases = [(text, None), (text, few), (["vision.blocks.0.attn.hook_attn_logits"], None)]
    found = [_edited(vlm, inputs, names, rows) for names, rows in cases]
    least = min(moved for _, moved in found)
    if not least >= 1e-3:
        return float("inf"), "an edit moves nothing, so that nothing is proved"
    return largest(torch.tensor(off) for off, _ in found), f"logits, moved by {least:.2g} or more"


def _edited(vlm: HookedVLM, inputs: VLMInputs, names: list[str], rows: range | None) -> tuple[float, float]:
    """How far the logits are off those of naive attention under the same edit, and how far the edit moves them."""
    towers = dict(_towers(vlm))
    modules = {_attentions(vlm, towers["vision." if name.startswith("v") else ""])[_layer(name)] for name in names}
    with torch.no_grad():
        with vlm.paused(), _attending(vlm, _naive(modules, rows)):
            wanted = vlm.model(**inputs.tensors, use_cache=False).logits
        ours = vlm.run_with_hooks(
            inputs,
            fwd_hooks=[(names, lambda logits, hook: _edit(logits, rows))],
            query_rows="all" if rows is None else list(rows),
        ).logits
        still = vlm(inputs).logits
    return largest([ours - wanted]), largest([wanted - still])


def _edit(logits: Tensor, rows: range | None = None) -> Tensor:
    """An edit that differs by head, row and key; a softmax can tell from which place on the diagonal it was taken.

    The logits are those of all rows, or of `rows` alone.
    """
    key = torch.arange(logits.shape[-1], device=logits.device)
    row = key if rows is None else torch.tensor(list(rows), device=logits.device)
    edited = logits.clone()
    edited[:, 0] *= 0.5
    edited[:, -1] += torch.sin(0.1 * row[:, None] + 0.2 * key)
    return edited


def _naive(edited: set[Any], rows: range | None) -> Attend:
    """Attention in its textbook form, logits of the `edited` modules edited before the mask: all rows, or `rows`."""

    def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **kwargs: Any) -> Any:
        shared = query.shape[1] // key.shape[1]
        by_head = "batch kv_head key d_head -> batch (kv_head shared) key d_head"
        # laid out alike whether heads share keys or not, since rounding hangs on it
        key, value = (repeat(each, by_head, shared=shared).contiguous() for each in (key, value))
        scaling = kwargs.get("scaling") or query.shape[-1] ** -0.5
        logits = einsum(query, key, "batch head row d_head, batch head key d_head -> batch head row key") * scaling
        if kwargs.get("softcap"):
            logits = kwargs["softcap"] * torch.tanh(logits / kwargs["softcap"])
        if module in edited and rows is not None:
            logits = logits.index_copy(
                2, torch.tensor(list(rows), device=logits.device), _edit(logits[:, :, list(rows)], rows)
            )
        elif module in edited:
            logits = _edit_window(module, logits)
        if attention_mask is not None:
            logits = logits + attention_mask[..., : key.shape[2]]
        pattern = logits.softmax(-1)
        mixed = einsum(pattern, value, "batch head row key, batch head key d_head -> batch row head d_head")
        return mixed.contiguous(), pattern

    return attend


def _edit_window(module: Any, logits: Tensor) -> Tensor:
    """The edit, on the part of a packed sequence that this call is about."""
    start, whole = getattr(module, "_reference_window", (0, logits.shape[-1]))
    if whole == logits.shape[-1]:
        return _edit(logits)
    own = slice(start, start + logits.shape[-1])
    frame = logits.new_zeros(*logits.shape[:2], whole, whole)
    frame[..., own, own] = logits
    module._reference_window = (own.stop, whole)
    return _edit(frame)[..., own, own]


@contextmanager
def _attending(vlm: HookedVLM, attend: Attend) -> Iterator[None]:
    """Let every attention of the model, which is not hooked now, go through `attend` with eager masks."""
    AttentionInterface.register(REFERENCE, attend)
    AttentionMaskInterface.register(REFERENCE, ALL_MASK_ATTENTION_FUNCTIONS["eager"])
    modules = [module for _, tower in _towers(vlm) for module in _attentions(vlm, tower)]
    configs = {id(module.config): module.config for module in modules}
    before = {key: config._attn_implementation for key, config in configs.items()}
    handles = [module.register_forward_pre_hook(_note_window, with_kwargs=True) for module in modules]
    try:
        for config in configs.values():
            config._attn_implementation_internal = REFERENCE
        yield
    finally:
        for key, config in configs.items():
            config._attn_implementation_internal = before[key]
        for handle in handles:
            handle.remove()
        for module in modules:
            module.__dict__.pop("_reference_window", None)


def _note_window(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Note that the windows of a packed sequence are about to begin."""
    if kwargs.get("cu_seqlens") is not None:
        module.__dict__["_reference_window"] = (0, int(kwargs["cu_seqlens"][-1]))


def _stitched(parts: list[Tensor]) -> Tensor:
    """Patterns [1 head row key] of the windows of a packed sequence as one, nothing between windows."""
    if len(parts) == 1:
        return parts[0]
    heads = range(parts[0].shape[1])
    return torch.stack([torch.block_diag(*(part[0, head] for part in parts)) for head in heads])[None]


def _towers(vlm: HookedVLM) -> list[tuple[str, Tower]]:
    return [("", text_tower(vlm.model, vlm.family)), ("vision.", vision_tower(vlm.model, vlm.family))]


def _attentions(vlm: HookedVLM, tower: Tower) -> list[Any]:
    return [submodule(block, tower.attention) for block in submodule(vlm.model, tower.blocks)]


def _layer(name: str) -> int:
    return int(name.split("blocks.")[1].split(".")[0])
