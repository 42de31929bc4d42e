"""Wiring: joins the tree of hook points to the modules of a Hugging Face model, and takes itself off again."""

from __future__ import annotations

from collections.abc import Callable
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
from interp.hooks.guard import Guard
from interp.hooks.implementations import Implementations
from interp.hooks.links import Links, TorchHook
from interp.hooks.point import Point
from interp.hooks.points import ModelPoints, points_in
from interp.hooks.rows import Pass, PassPoint, copies, show, visit
from interp.hooks.towers import submodule, text_tower, vision_tower
from interp.hooks.turns import LANGUAGE, OUTERMOST


class Wiring:
    """Everything that was attached to one model: torch hooks, attention sites, implementation names.

    Attributes:
        now: the pass that the language model is in, or was in last.
    """

    def __init__(self, model: PreTrainedModel, family: Family, points: ModelPoints) -> None:
        """Remember the model and its points; nothing is attached yet."""
        self.model, self.family, self.points, self.now = model, family, points, Pass()
        points.follow(self.now)
        self.handles: list[RemovableHandle] = []
        self.ids: Tensor | None = None
        self.implementations = Implementations(model.config)
        self.guard = Guard(model, points.every, self.implementations, self.now)
        self._batch = 0

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
            self._attach_tower(text_tower(self.model, self.family), self.points.blocks, follows_pass=True)
            inside = [*points_in(self.points.blocks), self.points.final_norm]
            self.handles += self.guard.hearing(inside, LANGUAGE, language)
            tower = vision_tower(self.model, self.family)
            encoder = self._part(tower.blocks.rpartition(".")[0])
            self.handles += self.guard.doors("vision", encoder)
            self._attach_tower(tower, self.points.vision, follows_pass=False)
            self.handles += self.guard.hearing(points_in(self.points.vision), "vision", encoder)
            ends = {self.family.final_norm: self.points.final_norm, self.family.unembed: self.points.unembed}
            for path, point in ends.items():
                self._keep(self._part(path).register_forward_hook(TorchHook(_show_output, point)))
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
        self.handles = []
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
        """Note the ids that the model is given, while somebody has to know them."""
        self.ids = None
        if self._shown_of_image() or (not torch.compiler.is_compiling() and self.guard.editing):
            self.ids = kwargs.get("input_ids", args[0] if args else None)
            self._check_prompts(kwargs)

    def _check_prompts(self, kwargs: dict[str, Any]) -> None:
        """Refuse prompts that functions which are on were not made for; what goes on with a cache has no prompt."""
        cache = cache_in(kwargs)
        if self.ids is None or torch.compiler.is_compiling() or (cache is not None and cache.get_seq_length()):
            return
        for batch in self.guard.batches:
            batch.check_ids(self.ids, kwargs.get("attention_mask"), self.model.config.image_token_id)

    def _forget_ids(self, *of_no_interest: Any) -> None:
        self.ids = None

    def _begin_pass(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Note how many rows the language model is about to compute, and after how many cached ones."""
        embedded = kwargs.get("inputs_embeds")
        rows: Any = kwargs.get("input_ids", args[0] if args else None) if embedded is None else embedded
        cache = cache_in(kwargs)
        self.now.length = rows.shape[1]
        self.now.offset = 0 if cache is None else int(cache.get_seq_length())
        if self.now.offset == 0:
            self.now.prompt = self.now.length
        if torch.compiler.is_compiling():  # and nobody listens, or the pass would have been refused
            return None
        self._note_copies(rows)
        shown = self._shown_of_image()
        if not shown or (self.now.length == 1 and self.now.offset >= self.now.prompt):  # an answer shows no photo
            return None
        if embedded is None or self.ids is None:
            raise HookError(f"{shown[0].name}: which positions are the image's is known from input_ids: give these")
        where = (self.ids == self.model.config.image_token_id).to(embedded.device)
        if not bool(where.any()):
            return None
        added = self._show_deepstack(kwargs, embedded, where)
        return args, {**kwargs, "inputs_embeds": self._show_image(embedded, where), **added}

    def _shown_of_image(self) -> list[PassPoint]:
        """The points that show what the language model receives of the photo, where somebody listens."""
        return [point for point in self.points.image if point.on]

    def _note_copies(self, rows: Tensor) -> None:
        """Note which rows of a prompt are copies of each other; later passes have them in the same order.

        Only an edit asks for it, and ids, where they are known, tell other prompts apart before the embeddings do.
        """
        first = self.now.offset == 0
        if first or len(rows) != self._batch:
            known = self.ids is not None and self.ids.shape == rows.shape[:2]
            given = (self.ids, rows) if known else (rows,)
            self.now.copies = copies(*given) if first and self.guard.editing else frozenset({1})
            self._batch = len(rows)

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


def _show(point: Point, tensor: Tensor, *, axes: int = 3) -> Tensor:
    """Show a tensor of so many axes, a packed one as a batch of one; return what goes on in its place."""
    return show(point, tensor) if tensor.ndim == axes else show(point, tensor[None])[0]


def _show_output(point: Point, module: nn.Module, args: Any, output: Any, gain: Callable[[], Any] | None = None) -> Any:
    """Show a module's output (or the first of its outputs), times the gain that the block applies to it."""
    if not point.on:
        return None
    first = output[0] if isinstance(output, tuple) else output
    shown = _show(point, first) if gain is None else _show_scaled(point, first, gain())
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
        return (_show(point, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": _show(point, kwargs["hidden_states"])}


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
    shown = [_show(point, part, axes=4) for point, part in zip(points, parts, strict=True)]
    if len(shown) == 1:  # no copy
        return rearrange(shown[0], "... head d_head -> ... (head d_head)")
    return rearrange(shown, "part ... head d_head -> ... (part head d_head)")
