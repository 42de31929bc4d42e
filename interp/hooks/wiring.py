"""Wiring: joins the tree of hook points to the modules of a Hugging Face model, and takes itself off again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from interp.compat import DEEPSTACK_NAMES, cache_in, deepstack_in
from interp.errors import HookError
from interp.families import Family, Tower
from interp.hooks.attention import SITES
from interp.hooks.batches import check_reached
from interp.hooks.guard import Guard
from interp.hooks.implementations import Implementations
from interp.hooks.links import Links, TorchHook
from interp.hooks.parts import Join, Part
from interp.hooks.passes import Passes, check_parts
from interp.hooks.point import Point
from interp.hooks.points import ModelPoints, points_in
from interp.hooks.rows import Pass, PassPoint, show_packed, visit
from interp.hooks.shape import ModelShape
from interp.hooks.towers import submodule, text_tower, vision_tower
from interp.hooks.turns import LANGUAGE, OUTERMOST


class Wiring:
    """Everything that was attached to one model: torch hooks, attention sites, implementation names.

    Attributes:
        now: the pass that the language model is in, or was in last.
    """

    def __init__(self, model: PreTrainedModel, family: Family, points: ModelPoints, parts: Sequence[Part] = ()) -> None:
        """Remember the model, its points, and its parts with points that are joined late; nothing is attached yet."""
        self.model, self.family, self.points, self.passes = model, family, points, Passes(model)
        self.now = self.passes.now
        self.parts, self.joins = parts, list[Join]()
        points.follow(self.now)
        self.two_way = ModelShape.of(model).two_way
        self.handles: list[RemovableHandle] = []
        self.ids: Tensor | None = None
        self.mask: Any = None
        self.implementations = Implementations(model.config)
        self.guard = Guard(model, points.every, self.implementations, self.now)

    def attach(self) -> None:
        """Attach all hook points; on failure nothing stays behind."""
        self.guard.links = Links(self.model)
        try:
            self.handles += self.guard.doors(OUTERMOST, self.model)
            self._keep(self.model.register_forward_pre_hook(TorchHook(self._note_ids), with_kwargs=True))
            self._keep(self.model.register_forward_hook(TorchHook(self._forget_ids), always_call=True))
            language = self._part(self.family.language)
            self.handles += self.guard.doors(LANGUAGE, language)
            self._keep(language.register_forward_pre_hook(TorchHook(self._begin_pass), with_kwargs=True))
            self._keep(language.register_forward_hook(TorchHook(self._end_pass)))
            self._attach_tower(text_tower(self.model, self.family), self.points.blocks, follows_pass=True)
            inside = [*points_in(self.points.blocks), *points_in(self.points.final_norm)]
            self.handles += self.guard.hearing(inside, LANGUAGE, language)
            tower = vision_tower(self.model, self.family)
            encoder = self._part(tower.blocks.rpartition(".")[0])
            self.handles += self.guard.doors("vision", encoder)
            self._attach_tower(tower, self.points.vision, follows_pass=False)
            self.handles += self.guard.hearing(points_in(self.points.vision), "vision", encoder)
            unembed = self._part(self.family.unembed)
            self._keep(unembed.register_forward_hook(TorchHook(_show_output, self.points.unembed)))
            self.joins = [Join(part, self._part(part.path)) for part in self.parts]
            self.implementations.take()
            self.guard.links.handles = self.handles
            self.guard.checkpoints.attach(self.model)
            self.points.join(True)
        except BaseException:
            self.detach()
            raise

    def detach(self) -> None:
        """Take everything off: afterwards the model is what it was, or what it was changed to since."""
        for handle in self.handles:
            handle.remove()
        for join in self.joins:
            join.remove()
        self.handles, self.joins = [], []
        self.points.join(False)
        self.guard.checkpoints.detach()
        self.implementations.give_back()

    @property
    def text_attentions(self) -> list[nn.Module]:
        """The language model's attention modules, by layer; none while detached."""
        return self.implementations.modules[: len(self.points.blocks)]

    def _keep(self, handle: RemovableHandle) -> None:
        self.handles.append(handle)

    def _part(self, path: str) -> Any:
        """A part of the model that is hooked, and has to stay where it is."""
        found = submodule(self.model, path)
        self.guard.links.follow(path)
        return found

    def _part_of(self, root: nn.Module, at: str, path: str) -> Any:
        """A part below one that is at a path of its own."""
        found = submodule(root, path)
        self.guard.links.follow(f"{at}.{path}")
        return found

    def _note_ids(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the ids that the model is given, and look at them where somebody edits."""
        if torch.compiler.is_compiling():
            self.ids = self.mask = None
            return
        self.ids, self.mask = kwargs.get("input_ids", args[0] if args else None), kwargs.get("attention_mask")
        if self.guard.editing and self.ids is not None:
            cache = cache_in(kwargs)
            if cache is None or not cache.get_seq_length():
                self._check_ids(self.ids.shape[1], 0)

    def _check_ids(self, prompt: int, offset: int) -> None:
        """Refuse other prompts than those that functions which are on were made for."""
        for batch in self.guard.batches:
            if self.ids is not None and batch.length == prompt:
                batch.check_ids(self.ids, self.mask, self.model.config.image_token_id, offset=offset)

    def _check_prompts(self) -> None:
        """Refuse prompts that functions which are on were not made for, or that a cache holds without their edits."""
        now = self.now
        whole = not now.offset and now.length == now.prompt  # which was looked at before the vision tower ran
        if now.offset < now.prompt and not whole:
            self._check_ids(now.prompt, now.offset)
        if (before := self.passes.before) is not None and before.ids is not None:
            for batch in self.guard.batches:
                if batch.number not in before.under and batch.length in (now.prompt, *now.earlier):
                    batch.check_ids(before.ids, None, self.model.config.image_token_id)
        if now.offset:
            check_reached(self.guard.bound, now, self.passes.under)

    def _forget_ids(self, *of_no_interest: Any) -> None:
        self.ids = self.mask = None

    def _begin_pass(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note how many rows the language model is about to compute, and after how many cached ones."""
        embedded = kwargs.get("inputs_embeds")
        rows: Any = kwargs.get("input_ids", args[0] if args else None) if embedded is None else embedded
        cache = cache_in(kwargs)
        compiled = torch.compiler.is_compiling()
        self.passes.begin(rows, self.ids, cache, listening=not compiled and self.guard.listening)
        if compiled or not self.guard.listening:
            return None
        check_parts(self.now, self.two_way, cache)
        if self.guard.editing:
            self.passes.compare(rows, self.ids, cache, frozenset(batch.number for batch in self.guard.batches))
            self._check_prompts()
        shown = self._shown_of_image()
        if not shown or self.now.offset >= self.now.prompt:  # an answer shows no photo
            return None
        if embedded is None or self.ids is None:
            raise HookError(f"{shown[0].name}: which positions are the image's is known from input_ids: give these")
        where = (self.ids == self.model.config.image_token_id).to(embedded.device)
        if not bool(where.any()):
            return None
        self._check_whole(shown[0])
        added = self._show_deepstack(kwargs, embedded, where)
        return args, {**kwargs, "inputs_embeds": self._show_image(embedded, where), **added}

    def _end_pass(self, module: nn.Module, args: Any, output: Any) -> None:
        self.passes.end(output)

    def _check_whole(self, point: PassPoint) -> None:
        """Refuse to show a photo in a pass that may hold a part of it."""
        now = self.now
        if now.offset + now.length < now.prompt:
            raise HookError(
                f"{point.name} shows whole photos, and this pass holds {now.length} of the {now.prompt} positions of "
                "the prompt, perhaps with a part of one: leave out prefill_chunk_size"
            )

    def _shown_of_image(self) -> list[PassPoint]:
        """The points that show what the language model receives of the photo, where somebody listens."""
        return [point for point in self.points.image if point.on]

    def _show_image(self, embedded: Tensor, where: Tensor) -> Tensor:
        """Show what the language model receives at the image positions, [image_token d_model] over the batch."""
        shown, changed = visit(self.points.projector, embedded[where])
        return embedded.masked_scatter(where[..., None], shown) if changed else embedded

    def _show_deepstack(self, given: dict[str, Any], embedded: Tensor, where: Tensor) -> dict[str, Any]:
        """Show what is added at the image positions behind each of the first blocks, zeros where nothing is.

        Returns:
            The arguments that go on in its place; none where it stays.
        """
        points = self.points.deepstack
        if not any(point.on for point in points):
            return {}
        found = deepstack_in(given)
        if found is None:
            raise HookError(
                f"{points[0].name}: the language model is not given {' and '.join(DEEPSTACK_NAMES)}, under which "
                "features of the photo are known: use a proved version of transformers (see spatial-lens doctor)"
            )
        mask, features = found
        if mask is None:  # no photo is given, so that nothing would be added
            mask, features = torch.zeros_like(where), [embedded.new_zeros(0, embedded.shape[-1])] * len(points)
        mask = mask.to(where.device)
        both = mask | where
        own, known = where[both], mask[both][:, None]
        rows = [
            each.new_zeros(len(own), each.shape[-1], device=own.device).masked_scatter(known, each.to(own.device))
            for each in features
        ]
        seen = [visit(point, each[own]) for point, each in zip(points, rows, strict=True)]
        if not any(changed for _, changed in seen):
            return {}
        left = [each.masked_scatter(own[:, None], shown) for each, (shown, _) in zip(rows, seen, strict=True)]
        return dict(zip(DEEPSTACK_NAMES, (both, left), strict=True))

    def _attach_tower(self, tower: Tower, points: Any, *, follows_pass: bool) -> None:
        for place, (block, hooks) in enumerate(zip(self._part(tower.blocks), points, strict=True)):
            at = f"{tower.blocks}.{place}"
            part = partial(self._part_of, block, at)
            attention = part(tower.attention)
            now = self.now if follows_pass else Pass()
            self.implementations.hook(attention, hooks.attn, now, follows_pass=follows_pass)
            self._keep(attention.register_forward_pre_hook(TorchHook(_join_windows), with_kwargs=True))
            self._keep(block.register_forward_pre_hook(TorchHook(_show_input, hooks.hook_resid_pre), with_kwargs=True))
            self._keep(block.register_forward_hook(TorchHook(_show_output, hooks.hook_resid_post), prepend=True))
            self._keep(part(tower.mlp_norm).register_forward_pre_hook(TorchHook(_show_residual, hooks.hook_resid_mid)))
            outs = (tower.attention_out or tower.attention, tower.mlp_out or tower.mlp)
            for path, point, gain in zip(
                outs, (hooks.hook_attn_out, hooks.hook_mlp_out), tower.gains or ("", ""), strict=True
            ):
                added = TorchHook(_show_output, point, gain=partial(getattr, block, gain) if gain else None)
                self._keep(part(path).register_forward_hook(added))
            qkv = (hooks.attn.hook_q, hooks.attn.hook_k, hooks.attn.hook_v)
            each = [qkv] if len(tower.projections) == 1 else [(point,) for point in qkv]
            for path, own in zip(tower.projections, each, strict=True):
                show_heads = TorchHook(_show_heads, own, attention.head_dim)
                projection = self._part_of(attention, f"{at}.{tower.attention}", path)
                self._keep(projection.register_forward_hook(show_heads))


def _join_windows(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Where somebody listens, let windowed attention ask once for all of its windows instead of once for each.

    Towers that take packed patches (Qwen2-VL and its kin) cut queries, keys and values at `cu_seqlens`; the attention
    function then does the cutting itself.
    """
    edges = kwargs.get("cu_seqlens")
    site = SITES.get(module)
    if edges is None or site is None:
        return None
    site.windows = None
    if not any(point.on for point in site.points.in_attention):
        return None
    site.windows = edges.tolist()
    return args, {**kwargs, "cu_seqlens": edges[[0, -1]]}


def _show_output(point: Point, module: nn.Module, args: Any, output: Any, gain: Callable[[], Any] | None = None) -> Any:
    """Show a module's output (or the first of its outputs), times the gain that the block applies to it."""
    if not point.on:
        return None
    first = output[0] if isinstance(output, tuple) else output
    shown = show_packed(point, first) if gain is None else _show_scaled(point, first, gain())
    return (shown, *output[1:]) if isinstance(output, tuple) else shown


def _show_scaled(point: Point, tensor: Tensor, gain: Tensor | float) -> Tensor:
    """Show a tensor times its gain; where it is edited, divide by the gain, as the block multiplies again."""
    before = tensor * gain
    shown, changed = visit(point, before.clone())
    if not changed:
        return tensor
    divided = (shown.double() / gain).to(tensor.dtype)
    if not bool(divided.isfinite().all()):
        raise HookError(f"{point.name} can not be edited: its block multiplies it by a gain that is too small to undo")
    if torch.is_grad_enabled() and shown.requires_grad:
        return divided
    return torch.where(shown == before, tensor, divided)  # what was left alone stays what it was, to the bit


def _show_input(point: Point, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Show a block's input to a hook point."""
    if not point.on:
        return None
    if args:
        return (show_packed(point, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": show_packed(point, kwargs["hidden_states"])}


def _show_residual(point: Point, module: nn.Module, args: tuple[Any, ...]) -> None:
    """Show the residual stream between attention and MLP; an edit is written into it, for the skip connection too."""
    if not point.on:
        return
    stream = args[0] if args[0].ndim > 2 else args[0][None]
    shown, changed = visit(point, stream.clone() if torch.is_grad_enabled() else stream)
    if changed and shown is not stream:
        stream.copy_(shown)


def _show_heads(points: tuple[Point, ...], width: int, module: nn.Module, args: Any, output: Tensor) -> Any:
    """Show a projection's output as [batch pos head d_head]; a fused one as queries, keys and values."""
    if not any(point.on for point in points):
        return None
    parts = rearrange(output, "... (part head d_head) -> part ... head d_head", part=len(points), d_head=width)
    shown = [show_packed(point, part, axes=4) for point, part in zip(points, parts, strict=True)]
    if len(shown) == 1:  # no copy
        return rearrange(shown[0], "... head d_head -> ... (head d_head)")
    return rearrange(shown, "part ... head d_head -> ... (part head d_head)")
