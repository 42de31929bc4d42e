"""Parts: hook points on norms, MLPs, output projections and embeddings, joined to the model while somebody listens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from interp.errors import HookError
from interp.families import Family, Tower
from interp.hooks.links import TorchHook
from interp.hooks.norms import show_norm
from interp.hooks.point import Point
from interp.hooks.points import LatePoint, ModelPoints
from interp.hooks.rows import show, show_packed, visit
from interp.hooks.towers import submodule


@dataclass(frozen=True)
class Part:
    """A module of the model, and the points that show what is in it.

    Attributes:
        path: where it is, from the model.
        points: what it shows.
        register: puts a torch hook on the module that shows it.
    """

    path: str
    points: tuple[LatePoint, ...]
    register: Callable[[nn.Module], RemovableHandle]


class Join:
    """The torch hook of a part: it is on the module while somebody listens to a point of the part, and no longer."""

    def __init__(self, part: Part, module: nn.Module) -> None:
        """Begin to follow the points."""
        self.part, self.module = part, module
        self.handle: RemovableHandle | None = None
        for point in part.points:
            point.join = self
        self.follow()

    def follow(self) -> None:
        """Put the torch hook on, or take it off, as somebody listens or nobody does."""
        heard = any(point.on for point in self.part.points)
        if heard and self.handle is None:
            self.handle = self.part.register(self.module)
        elif not heard and self.handle is not None:
            self.handle.remove()
            self.handle = None

    def remove(self) -> None:
        """Take it off for good."""
        for point in self.part.points:
            point.join = None
        if self.handle is not None:
            self.handle.remove()


def find_parts(model: nn.Module, family: Family, towers: tuple[Tower, Tower], points: ModelPoints) -> Parts:
    """All parts of a model; points of parts that it does not have are taken from the tree of points.

    Args:
        model: the model.
        family: its family.
        towers: the blocks of its language model and of its vision tower.
        points: the points, which have no names yet.
    """
    found = Parts([_after(f"{family.language}.embed_tokens", points.embed, show_embedded)], {})
    found.joined.append(_norm_part(family.final_norm, points.final_norm))
    for tower, blocks, prefix in zip(towers, (points.blocks, points.vision), ("blocks", "vision.blocks"), strict=True):
        for place, block in enumerate(submodule(model, tower.blocks)):
            for wanted in _parts_of_block(tower, f"{tower.blocks}.{place}", block, blocks[place]):
                found.add(wanted, f"{prefix}.{place}")
    return found


@dataclass(frozen=True)
class Parts:
    """The parts that a model has, and why it does not have others.

    Attributes:
        joined: those that it has.
        unserved: by hook name, why there is no such point.
    """

    joined: list[Part]
    unserved: dict[str, str]

    def add(self, wanted: _Wanted, block: str) -> None:
        """Add a part, or take its points from the block where it has no such part."""
        if wanted.part is not None:
            self.joined.append(wanted.part)
            return
        owner = wanted.owner
        for name in wanted.names:
            delattr(owner, name)
            self.unserved[f"{block}.{wanted.at}.{name}"] = wanted.why


@dataclass(frozen=True)
class _Wanted:
    """Points of a block under `at`, with their part, or why there is none."""

    owner: Any
    at: str
    names: tuple[str, ...]
    part: Part | None
    why: str = ""


def _parts_of_block(tower: Tower, at: str, block: nn.Module, points: Any) -> Iterator[_Wanted]:
    for name, path in (("ln1", tower.attention_norm), ("ln2", tower.mlp_norm)):
        owner = getattr(points, name)
        part = _norm_part(f"{at}.{path}", owner) if _has(block, path) else None
        yield _Wanted(owner, name, NORM_POINTS, part, f"{type(block).__name__} has no {path}")
    attention = submodule(block, tower.attention)
    shown = TorchHook(show_result, points.attn.hook_result, attention.head_dim)
    output = Part(
        f"{at}.{tower.attention}.{tower.output}",
        (points.attn.hook_result,),
        lambda module: module.register_forward_hook(shown),
    )
    why = f"{type(attention).__name__} has no {tower.output}"
    yield _Wanted(points.attn, "attn", ("hook_result",), output if _has(attention, tower.output) else None, why)
    yield from _parts_of_mlp(tower, f"{at}.{tower.mlp}", submodule(block, tower.mlp), points.mlp)


def _parts_of_mlp(tower: Tower, at: str, mlp: nn.Module, points: Any) -> Iterator[_Wanted]:
    kind = type(mlp).__name__
    lacking = [path for path in (*tower.mlp_in, tower.mlp_down) if not _has(mlp, path)]
    if lacking:
        yield _Wanted(points, "mlp", MLP_POINTS, None, f"{kind} has no {lacking[0]}")
        return
    first, last = (submodule(mlp, path) for path in (tower.mlp_in[0], tower.mlp_down))
    fused = len(tower.mlp_in) == 1 and getattr(first, "out_features", 0) == 2 * getattr(last, "in_features", 0)
    if fused:
        both = points.hook_pre, points.hook_pre_linear
        hook = TorchHook(show_halves, both)
        part = Part(f"{at}.{tower.mlp_in[0]}", both, lambda module: module.register_forward_hook(hook))
        yield _Wanted(points, "mlp", ("hook_pre", "hook_pre_linear"), part)
    else:
        yield _Wanted(points, "mlp", ("hook_pre",), _after(f"{at}.{tower.mlp_in[0]}", points.hook_pre, show_after))
        gated = len(tower.mlp_in) == 2
        part_ = _after(f"{at}.{tower.mlp_in[1]}", points.hook_pre_linear, show_after) if gated else None
        yield _Wanted(points, "mlp", ("hook_pre_linear",), part_, f"{kind} is not gated")
    into = TorchHook(show_before, points.hook_post)
    down = Part(f"{at}.{tower.mlp_down}", (points.hook_post,), lambda module: module.register_forward_pre_hook(into))
    yield _Wanted(points, "mlp", ("hook_post",), down)


NORM_POINTS = ("hook_scale", "hook_normalized", "hook_out")
MLP_POINTS = ("hook_pre", "hook_pre_linear", "hook_post")


def _has(root: nn.Module, path: str) -> bool:
    try:
        return isinstance(root.get_submodule(path), nn.Module)
    except AttributeError:
        return False


def _norm_part(path: str, points: Any) -> Part:
    own = tuple(getattr(points, name) for name in NORM_POINTS)
    hook = TorchHook(show_norm, points)
    return Part(path, own, lambda module: module.register_forward_hook(hook))


def _after(path: str, point: LatePoint, shows: Callable[..., Any]) -> Part:
    hook = TorchHook(shows, point)
    return Part(path, (point,), lambda module: module.register_forward_hook(hook))


def show_embedded(point: Point, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
    """Show the embeddings of a whole prompt; models also look up single tokens, which is not a pass."""
    return show(point, output) if output.ndim == 3 else None


def show_after(point: Point, module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """Show a module's output."""
    return show_packed(point, output)


def show_before(point: Point, module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Any, ...]:
    """Show a module's input."""
    return show_packed(point, args[0]), *args[1:]


def show_halves(points: tuple[Point, ...], module: nn.Module, args: Any, output: Tensor) -> Tensor:
    """Show the two halves of a fused projection, what is activated and what that is multiplied with."""
    parts = output.chunk(2, -1)
    shown = [show_packed(point, part) for point, part in zip(points, parts, strict=True)]
    return torch.cat(shown, -1)


def show_result(point: Point, d_head: int, module: nn.Module, args: Any, output: Tensor) -> Tensor | None:
    """Show what each head adds [batch pos head d_model]; their sum, and the bias if there is one, is the output."""
    by_head = rearrange(
        plain_weight(module, str(point.name)), "d_model (head d_head) -> head d_head d_model", d_head=d_head
    )
    z = rearrange(args[0], "... (head d_head) -> ... head d_head", d_head=d_head)
    result = einsum(z, by_head, "... head d_head, head d_head d_model -> ... head d_model")
    batched = result if result.ndim == 4 else result[None]
    shown, changed = visit(point, batched.clone())
    if not changed:
        return None
    return output + (shown - batched).sum(-2).view_as(output).to(output)


def plain_weight(module: Any, name: str) -> Float[Tensor, "out in"]:
    """The weight of a linear module that computes with it as it is.

    Raises:
        HookError: its weight is quantised, offloaded, or beside adapters.
    """
    plain = isinstance(module, nn.Linear) and type(module).forward is nn.Linear.forward
    if not plain or not module.weight.is_floating_point():
        raise HookError(
            f"{name} needs a plain weight, and {type(module).__name__} computes with a quantised one or with adapters: "
            "load the model without a quantization_config, or merge its adapters"
        )
    if module.weight.is_meta:
        raise HookError(f"{name} needs a weight that was offloaded: load the model onto one device")
    return module.weight
