"""Wiring: joins the tree of hook points to the modules of a Hugging Face model, and takes itself off again."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformer_lens.hook_points import HookPoint
from transformers import PreTrainedModel

from interp.attention import KEY_PREFIX, AttentionPoints, hook_attention, unhook_attention
from interp.errors import HookError, ModelError
from interp.families import Family, Tower
from interp.rows import Pass, show, visit


class BlockPoints(nn.Module):
    """The hook points of one transformer block."""

    def __init__(self) -> None:
        """Make the residual-stream points and the attention's."""
        super().__init__()
        self.hook_resid_pre, self.hook_resid_mid, self.hook_resid_post = HookPoint(), HookPoint(), HookPoint()
        self.hook_attn_out, self.hook_mlp_out = HookPoint(), HookPoint()
        self.attn = AttentionPoints()


class TowerPoints(nn.Module):
    """The hook points of a stack of blocks."""

    def __init__(self, n_blocks: int) -> None:
        """Make one set of points per block."""
        super().__init__()
        self.blocks = nn.ModuleList([BlockPoints() for _ in range(n_blocks)])


class OnePoint(nn.Module):
    """A module of the tree with a single hook point, under the name that TransformerLens users expect."""

    def __init__(self, name: str) -> None:
        """Make the point."""
        super().__init__()
        self.add_module(name, HookPoint())


def submodule(root: nn.Module, path: str) -> Any:
    """The module at a dotted attribute path.

    Raises:
        ModelError: there is none.
    """
    try:
        return reduce(getattr, path.split("."), root)
    except AttributeError:
        raise ModelError(
            f"{type(root).__name__} has no {path!r}, where its family keeps a part of the model: it is not supported"
        ) from None


class Wiring:
    """Everything that was attached to one model: torch hooks, attention sites, implementation names."""

    def __init__(
        self,
        model: PreTrainedModel,
        family: Family,
        points: tuple[Any, Any, dict[str, HookPoint]],
        now: Pass,
    ) -> None:
        """Remember the model and the points of its text and vision blocks and its ends; nothing is attached yet."""
        self.model, self.family, self.points, self.now = model, family, points, now
        self.handles: list[RemovableHandle] = []
        self.modules: list[nn.Module] = []
        self.implementations: dict[int, tuple[Any, str]] = {}

    def attach(self) -> None:
        """Attach all hook points; on failure nothing stays behind."""
        text, vision, ends = self.points
        try:
            language = submodule(self.model, self.family.language)
            self._keep(language.register_forward_pre_hook(self._begin_pass, with_kwargs=True))
            self._attach_tower(self.family.text, text, follows_pass=True)
            self._attach_tower(vision_tower(self.model, self.family), vision, follows_pass=False)
            for path, point in ends.items():
                self._keep(submodule(self.model, path).register_forward_hook(partial(_show_output, point)))
            for config, before in self.implementations.values():
                config._attn_implementation_internal = KEY_PREFIX + before
        except BaseException:
            self.detach()
            raise

    def detach(self) -> None:
        """Take everything off: afterwards the model is what it was."""
        for handle in self.handles:
            handle.remove()
        for module in self.modules:
            unhook_attention(module)
        for config, before in self.implementations.values():
            config._attn_implementation_internal = before
        self.handles, self.modules, self.implementations = [], [], {}

    def _keep(self, handle: RemovableHandle) -> None:
        self.handles.append(handle)

    def _begin_pass(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note how many rows the language model is about to compute, and after how many cached ones."""
        embedded = kwargs.get("inputs_embeds")
        rows: Any = kwargs.get("input_ids", args[0] if args else None) if embedded is None else embedded
        cache = kwargs.get("past_key_values")
        self.now.length = rows.shape[1]
        self.now.offset = 0 if cache is None else int(cache.get_seq_length())
        if self.now.offset == 0:
            self.now.prompt = self.now.length

    def _attach_tower(self, tower: Tower, points: Any, *, follows_pass: bool) -> None:
        for block, hooks in zip(submodule(self.model, tower.blocks), points, strict=True):
            attention = submodule(block, tower.attention)
            before = hook_attention(
                attention, hooks.attn, self.now if follows_pass else Pass(), follows_pass=follows_pass
            )
            self.modules.append(attention)
            self.implementations[id(attention.config)] = (attention.config, before)
            self._keep(block.register_forward_pre_hook(partial(_show_input, hooks.hook_resid_pre), with_kwargs=True))
            self._keep(block.register_forward_hook(partial(_show_output, hooks.hook_resid_post), prepend=True))
            self._keep(attention.register_forward_hook(partial(_show_output, hooks.hook_attn_out)))
            self._keep(submodule(block, tower.mlp).register_forward_hook(partial(_show_output, hooks.hook_mlp_out)))
            norm = submodule(block, tower.mlp_norm)
            self._keep(norm.register_forward_pre_hook(partial(_show_residual, hooks.hook_resid_mid)))
            for path, point in (
                (tower.query, hooks.attn.hook_q),
                (tower.key, hooks.attn.hook_k),
                (tower.value, hooks.attn.hook_v),
            ):
                show = partial(_show_heads, point, attention.head_dim)
                self._keep(submodule(attention, path).register_forward_hook(show))


def vision_tower(model: PreTrainedModel, family: Family) -> Tower:
    """Where the vision tower's blocks live, by the kind of tower.

    Raises:
        ModelError: the family does not know this kind of tower.
    """
    kind = model.config.vision_config.model_type
    if kind not in family.vision:
        raise ModelError(
            f"vision tower {kind!r} is not supported in the {family.name} family: it knows {', '.join(family.vision)}"
        )
    return family.vision[kind]


def _show_output(point: HookPoint, module: nn.Module, args: Any, output: Any) -> Any:
    """Show a module's output (or the first of its outputs) to a hook point."""
    if not point.has_hooks():
        return None
    first = output[0] if isinstance(output, tuple) else output
    if isinstance(first, Tensor) and point.name == "projector.hook_out":
        shown = show(point, first.reshape(-1, first.shape[-1])).reshape(first.shape)
    else:
        shown = show(point, first)
    return (shown, *output[1:]) if isinstance(output, tuple) else shown


def _show_input(point: HookPoint, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Show a block's input to a hook point."""
    if not point.has_hooks():
        return None
    if args:
        return (show(point, args[0]), *args[1:]), kwargs
    return args, {**kwargs, "hidden_states": show(point, kwargs["hidden_states"])}


def _show_residual(point: HookPoint, module: nn.Module, args: tuple[Any, ...]) -> None:
    """Show the residual stream between attention and MLP; an edit is written into it, for the skip connection too."""
    if not point.has_hooks():
        return
    stream = args[0]
    shown, changed = visit(point, stream.clone() if torch.is_grad_enabled() else stream)
    if changed and shown is not stream:
        stream.copy_(shown)


def _show_heads(point: HookPoint, width: int, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
    """Show a projection's output as [batch pos head d_head]."""
    if not point.has_hooks():
        return None
    return show(point, output.view(*output.shape[:-1], -1, width)).reshape(output.shape)


def check_name(known: Callable[[], list[str]], name: str) -> None:
    """Refuse a hook name that does not exist, naming the nearest ones.

    Raises:
        HookError: always, unless the name is known.
    """
    from difflib import get_close_matches

    names = known()
    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "list(vlm.hook_dict) has all names"
        raise HookError(f"no hook point is named {name!r}: {hint}")
