"""The one attention function: the model's own kernel for the output, hook points for the rows that are asked for.

transformers calls it with post-RoPE queries, keys and values for every attention module whose configuration names it.
A module that nobody listens to is passed on, untouched, to the implementation that it had before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from weakref import WeakSet, ref

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from interp.errors import HookError, ModelError
from interp.hooks.links import HOW_TO_COPY, carries_hooks
from interp.hooks.point import Point
from interp.hooks.points import AttentionPoints
from interp.hooks.rows import Pass, as_index, as_range, show, visit
from interp.hooks.shared_keys import KeyValues, SharedKeyValues, SharedLayer

KEY_PREFIX = "spatial_lens_"
SUPPORTED = ("sdpa", "eager")


@dataclass
class Site:
    """One attention module of a hooked model: its points, what it ran before, and the pass it is in."""

    module: Callable[[], Any]
    """A weak reference to the module."""
    points: AttentionPoints
    previous: Callable[..., tuple[Tensor, Any]]
    now: Pass
    follows_pass: bool
    """Whether `now` is kept by the language model's own passes; a vision tower sees its whole input at once."""
    returns_weights: bool
    """Whether the previous implementation gives weights back."""
    shared: SharedLayer | None = None
    """Where the keys and values of a shared prompt are, while only those behind it are passed; else None."""
    windows: list[int] | None = None
    """Edges of the windows of a packed sequence, where attention asks once for all of them; else None."""

    def runs(self, module: nn.Module, implementation: str) -> None:
        """From now on, attend by the implementation of this name."""
        self.previous, self.returns_weights = _previous_of(module, implementation), implementation == "eager"

    def run_previous(
        self,
        module: Any,
        query: Float[Tensor, "batch head row d_head"],
        key: Float[Tensor, "batch kv_head key d_head"],
        value: Float[Tensor, "batch kv_head key d_head"],
        mask: Any,
        **kwargs: Any,
    ) -> Any:
        """Attend as the model did before, window by window if there are windows: the very calls it would have made."""
        if self.windows is None:
            return self.previous(module, query, key, value, mask, **kwargs)
        lengths = [end - start for start, end in zip(self.windows[:-1], self.windows[1:], strict=True)]
        parts = zip(*(tensor.split(lengths, dim=2) for tensor in (query, key, value)), strict=True)
        return torch.cat([self.previous(module, *part, mask, **kwargs)[0] for part in parts], dim=1), None


class Sites:
    """The sites of hooked attention modules, each kept by its module: torch.compile can read that, and no weak dict."""

    def __init__(self) -> None:
        """Begin with none."""
        self.modules: WeakSet[Any] = WeakSet()

    def get(self, module: nn.Module) -> Site | None:
        """The site of a module; None where it is not hooked, or only looks so since it is a replica of one that is."""
        site: Site | None = getattr(module, "_spatial_lens_site", None)
        return site if site is not None and site.module() is module else None

    def __getitem__(self, module: nn.Module) -> Site:
        """The site of a hooked module."""
        site = self.get(module)
        assert site is not None
        return site

    def __contains__(self, module: nn.Module) -> bool:
        """Whether a module is hooked."""
        return self.get(module) is not None

    def put(self, module: nn.Module, site: Site) -> None:
        """Let a module keep its site."""
        object.__setattr__(module, "_spatial_lens_site", site)
        self.modules.add(module)

    def drop(self, module: nn.Module) -> None:
        """Forget the site of a module."""
        module.__dict__.pop("_spatial_lens_site", None)
        self.modules.discard(module)


SITES = Sites()


def hooked_attention(
    module: Any,
    query: Float[Tensor, "batch head row d_head"],
    key: Float[Tensor, "batch kv_head key d_head"],
    value: Float[Tensor, "batch kv_head key d_head"],
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch row head d_head"], Any]:
    """Attend as transformers asks: query [batch head row d_head], key and value [batch kv_head key d_head].

    Returns:
        The mixed values [batch row head d_head], and the weights that the previous implementation returns (if any).
    """
    site = SITES.get(module)
    if site is None:  # a model that shares this configuration but is not hooked
        if carries_hooks(module):
            raise ModelError(
                f"this {type(module).__name__} is a copy of a hooked one, and no hook hears it: {HOW_TO_COPY}"
            )
        return _previous_of(module, module.config._attn_implementation)(
            module, query, key, value, attention_mask, **kwargs
        )
    points = site.points
    query = _visit_heads(points.hook_rot_q, query)
    key = _visit_heads(points.hook_rot_k, key)
    if not site.follows_pass:
        site.now.length = site.now.prompt = query.shape[2]
    seen = KeyValues(key, value) if site.shared is None else site.shared.seen(key, value)
    edited = _edited_rows(site, module, query, seen, attention_mask, kwargs)
    weights: Tensor | None
    if edited is not None and len(edited.rows) == query.shape[2]:
        out, weights = _by_row(edited.z).contiguous(), edited.pattern if site.returns_weights else None
    elif isinstance(seen, SharedKeyValues):
        out, weights = _attend(module, query, seen, attention_mask, kwargs), None
    else:
        out, weights = site.run_previous(module, query, key, value, attention_mask, **kwargs)
        if edited is not None:
            out = edited.written_over(out)
            weights = None if weights is None else edited.in_weights(weights)
    return show(points.hook_z, out), weights


def listens(points: AttentionPoints) -> bool:
    """Whether somebody hooked a point that sees attention rows."""
    return any(point.on for point in points.on_rows)


@dataclass
class EditedRows:
    """Edited attention for rows of this pass: pattern [batch head row key] over the keys at hand, z [.. row d_head]."""

    rows: range | list[int]
    pattern: Float[Tensor, "batch head row key"]
    z: Float[Tensor, "batch head row d_head"]

    def written_over(self, out: Float[Tensor, "batch row head d_head"]) -> Float[Tensor, "batch row head d_head"]:
        """Put these rows in place of the kernel's; out of place when a gradient has to flow through both."""
        z = _by_row(self.z).to(out.dtype)
        if torch.is_grad_enabled() and (z.requires_grad or out.requires_grad):
            return out.index_copy(1, torch.tensor(list(self.rows), device=out.device), z)
        out[:, as_index(self.rows)] = z
        return out

    def in_weights(self, weights: Float[Tensor, "batch head row key"]) -> Float[Tensor, "batch head row key"]:
        """The weights that the kernel returned, with these rows in place of its own."""
        index = torch.tensor(list(self.rows), device=weights.device)
        return weights.index_copy(2, index, self.pattern.to(weights.dtype))


def _edited_rows(
    site: Site,
    module: nn.Module,
    query: Tensor,
    seen: KeyValues | SharedKeyValues,
    mask: Tensor | None,
    kwargs: dict[str, Any],
) -> EditedRows | None:
    """Show logits, scores and pattern of the rows asked for to their hooks; None where nothing was edited."""
    points = site.points
    if not listens(points):
        return None
    wanted = set().union(*(point.wanted(site.now) for point in points.on_rows))
    for point in points.on_rows:
        point.came_by()  # also where nobody wants rows of this pass
    if not wanted:
        return None
    rows = as_range(sorted(wanted))
    for point in points.on_rows:
        point.rows, point.now = rows, site.now
    if kwargs.get("s_aux") is not None:
        raise HookError(f"{points.hook_pattern.name}: attention with learned sinks is not supported yet")
    gone = site.now.offset + site.now.length - seen.length if site.follows_pass else 0
    keys = seen.length + min(gone, 0)  # a static cache gives more keys back than were written
    logits = attention_logits(query[:, :, as_index(rows)], seen, kwargs.get("scaling"), kwargs.get("softcap"))
    logits = logits[..., :keys]
    visible, bias = _visibility(mask, rows, query, keys, _is_causal(module, kwargs))
    if site.windows is not None:
        visible = _same_window(site.windows, rows, query.device)
    if gone > 0:  # a sliding window has dropped the first keys
        logits, visible, bias = _with_gone_keys(gone, logits, visible, bias)
    logits, edited = visit(points.hook_attn_logits, logits)
    scores = logits if bias is None else logits + bias
    scores = scores if visible is None else scores.masked_fill(~visible, -torch.inf)
    scores, changed = visit(points.hook_attn_scores, scores)
    if changed and visible is not None:
        scores = scores.masked_fill(~visible, -torch.inf)
    edited |= changed
    if not edited and not points.hook_pattern.on:
        return None
    pattern, changed = visit(points.hook_pattern, _softmax(scores, visible))
    if not (edited or changed):
        return None
    if kwargs.get("dropout"):
        raise HookError("attention rows can not be edited under dropout: call .eval() on the model first")
    editing = set().union(*(point.wanted(site.now, readers=False) for point in points.on_rows))
    pattern = torch.nn.functional.pad(pattern[..., max(gone, 0) :], (0, seen.length - keys))
    return _written(rows, pattern, seen, editing)


def _attend(
    module: nn.Module, query: Tensor, seen: SharedKeyValues, mask: Tensor | None, kwargs: dict[str, Any]
) -> Float[Tensor, "batch row head d_head"]:
    """Attention over shared keys, which no kernel of the model's own knows of."""
    if kwargs.get("s_aux") is not None:
        raise HookError("attention with learned sinks is not supported yet")
    logits = attention_logits(query, seen, kwargs.get("scaling"), kwargs.get("softcap"))
    visible, bias = _visibility(mask, range(query.shape[2]), query, seen.length, _is_causal(module, kwargs))
    scores = logits if bias is None else logits + bias
    scores = scores if visible is None else scores.masked_fill(~visible, -torch.inf)
    return _by_row(seen.mix(_softmax(scores, visible)).to(query.dtype)).contiguous()


def _by_row(z: Float[Tensor, "batch head row d_head"]) -> Float[Tensor, "batch row head d_head"]:
    """What heads mixed, as the output projection takes it."""
    return rearrange(z, "batch head row d_head -> batch row head d_head")


def _softmax(
    scores: Float[Tensor, "batch head row key"], visible: Bool[Tensor, "#batch #head #row key"] | None
) -> Float[Tensor, "batch head row key"]:
    """The pattern of scores; a padding row, which sees nothing, gets no weight rather than NaN."""
    pattern = scores.softmax(-1)
    return pattern if visible is None else pattern.masked_fill(~visible.any(-1, keepdim=True), 0.0)


def _written(
    rows: range | list[int], pattern: Tensor, seen: KeyValues | SharedKeyValues, edited: set[int]
) -> EditedRows:
    """The rows that somebody may have edited; those that were only read stay the kernel's own."""
    if edited != set(rows):
        places = [place for place, row in enumerate(rows) if row in edited]
        rows, pattern = as_range([rows[place] for place in places]), pattern[:, :, places]
    return EditedRows(rows, pattern, seen.mix(pattern).to(seen.value.dtype))


def attention_logits(
    query: Float[Tensor, "batch head row d_head"],
    seen: KeyValues | SharedKeyValues,
    scaling: float | None,
    softcap: float | None = None,
) -> Float[Tensor, "batch head row key"]:
    """Scaled, soft-capped dot products in at least fp32, before any mask: the papers' A."""
    logits = seen.dots(query) * (query.shape[3] ** -0.5 if scaling is None else scaling)
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def _visibility(
    mask: Tensor | None, rows: range | list[int], query: Tensor, keys: int, causal: bool
) -> tuple[Bool[Tensor, "#batch #head row key"] | None, Tensor | None]:
    """Which keys the rows may see, and what the mask adds to their logits, from the mask that the model was given."""
    if mask is None:
        if not causal or query.shape[2] == 1:
            return None, None
        last_seen = torch.tensor(list(rows), device=query.device) + keys - query.shape[2]
        return (torch.arange(keys, device=query.device) <= last_seen[:, None])[None, None], None
    part = mask[:, :, as_index(rows), :keys]
    if part.dtype == torch.bool:
        return part, None
    visible = part > torch.finfo(part.dtype).min / 2
    return visible, part.masked_fill(~visible, 0.0)


def _with_gone_keys(gone: int, logits: Tensor, visible: Tensor | None, bias: Tensor | None) -> tuple[Any, Any, Any]:
    """Put keys that the cache has dropped before those that are there, so that a key's place is its position.

    Their logits are not known any more: minus infinity, as for what can not be seen.
    """
    seen = torch.ones_like(logits[:1, :1], dtype=torch.bool) if visible is None else visible
    pad = partial(torch.nn.functional.pad, pad=(gone, 0))
    return pad(logits, value=-torch.inf), pad(seen, value=False), None if bias is None else pad(bias)


def _same_window(windows: list[int], rows: range | list[int], device: torch.device) -> Bool[Tensor, "1 1 row key"]:
    """Which keys lie in the window of each row."""
    edges = torch.tensor(windows[1:], device=device)
    own = torch.bucketize(torch.arange(windows[-1], device=device), edges, right=True)
    return (own[list(rows), None] == own)[None, None]


def _is_causal(module: nn.Module, kwargs: dict[str, Any]) -> bool:
    """Whether a missing mask means causal attention, by the rule that transformers' SDPA follows."""
    given = kwargs.get("is_causal")
    return bool(getattr(module, "is_causal", True) if given is None else given)


def _visit_heads(
    point: Point, tensor: Float[Tensor, "batch head pos d_head"]
) -> Float[Tensor, "batch head pos d_head"]:
    """Show a [batch head pos d_head] tensor as [batch pos head d_head]; a copy, so that a KV cache stays its own."""
    if not point.on:
        return tensor
    shown, changed = visit(point, rearrange(tensor, "batch head pos d_head -> batch pos head d_head").clone())
    return rearrange(shown, "batch pos head d_head -> batch head pos d_head") if changed else tensor


def _previous_of(module: Any, implementation: str) -> Callable[..., tuple[Tensor, Any]]:
    """The function that `module` runs under the given implementation name."""
    name = implementation.removeprefix(KEY_PREFIX)
    if name == "eager":
        return sys.modules[type(module).__module__].eager_attention_forward  # type: ignore[attr-defined]
    return ALL_ATTENTION_FUNCTIONS[name]


def hook_attention(module: Any, points: AttentionPoints, now: Pass, *, follows_pass: bool) -> str:
    """Send one attention module through its points; return the name of the implementation that it had.

    Raises:
        ModelError: the module runs a kernel whose masks can not be read, or is hooked already.
    """
    if module in SITES:
        raise ModelError("this model is hooked already: call .unwrap() on the other HookedVLM first")
    before = module.config._attn_implementation
    if before is not None and before.startswith(KEY_PREFIX):
        if any(other.config is module.config for other in SITES.modules):
            raise ModelError(
                "this model shares its configuration object with a hooked model: build it from copy.deepcopy(config)"
            )
        # a configuration that was copied from a hooked model's
        before = module.config._attn_implementation_internal = before.removeprefix(KEY_PREFIX)
    check_implementation(before)
    previous = _previous_of(module, before)
    SITES.put(module, Site(ref(module), points, previous, now, follows_pass, before == "eager"))
    return before


def check_implementation(name: str | None) -> None:
    """Refuse an attention implementation whose masks can not be read.

    Raises:
        ModelError: it is such a one.
    """
    if name not in SUPPORTED:
        raise ModelError(
            f"attention implementation {name!r} is not supported: load the model with attn_implementation='sdpa', or "
            "call model.set_attn_implementation('sdpa')"
        )


@contextmanager
def sharing(modules: Sequence[nn.Module], layers: Sequence[Any]) -> Iterator[None]:
    """Let attention modules find the shared prompt in the cache layers that they use, where there is one."""
    sites = [SITES[module] for module in modules]
    for site, layer in zip(sites, layers, strict=True):
        site.shared = layer if isinstance(layer, SharedLayer) else None
    try:
        yield
    finally:
        for site in sites:
            site.shared = None


def unhook_attention(module: nn.Module) -> None:
    """Forget the module's points."""
    SITES.drop(module)


for _name in SUPPORTED:  # a private name per implementation, each with the mask that the implementation expects
    AttentionInterface.register(KEY_PREFIX + _name, hooked_attention)
    AttentionMaskInterface.register(KEY_PREFIX + _name, ALL_MASK_ATTENTION_FUNCTIONS[_name])
