"""Hook points: the tree of them for a stack of blocks, and the names that a filter stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import nn

from interp.errors import HookError
from interp.hooks.point import Point
from interp.hooks.rows import Pass, PassPoint, RowHookPoint


class BlockPoints(nn.Module):
    """The hook points of one transformer block."""

    def __init__(self) -> None:
        """Make the residual-stream points and the attention's."""
        super().__init__()
        self.hook_resid_pre, self.hook_resid_mid, self.hook_resid_post = PassPoint(), PassPoint(), PassPoint()
        self.hook_attn_out, self.hook_mlp_out = PassPoint(), PassPoint()
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
        self.add_module(name, PassPoint())


class ProjectorPoints(nn.Module):
    """The hook points where the photo enters the language model: its tokens, and what is added to them between blocks.

    The second are of models with DeepStack alone, one for each of the first blocks, behind which it is added.
    """

    def __init__(self, n_deepstack: int) -> None:
        """Make the point of the tokens, and one for each block behind which features are added."""
        super().__init__()
        self.hook_out = PassPoint()
        self.deepstack = nn.ModuleList([OnePoint("hook_out") for _ in range(n_deepstack)])


@dataclass(frozen=True)
class ModelPoints:
    """The hook points of a whole model, by the part of it that they show.

    Attributes:
        blocks: the blocks of the language model.
        vision: the blocks of the vision tower.
        projector: the image tokens as the language model receives them.
        deepstack: the features of the photo that are added at its tokens behind each of the first blocks, if any.
        final_norm: the language model's last norm.
        unembed: the logits.
    """

    blocks: nn.ModuleList
    vision: nn.ModuleList
    projector: PassPoint
    deepstack: tuple[PassPoint, ...]
    final_norm: PassPoint
    unembed: PassPoint

    def follow(self, now: Pass) -> None:
        """Let the points of the language model know the pass that it is in: an object that is kept up to date."""
        inside = [point for point in self.blocks.modules() if isinstance(point, PassPoint)]
        for point in (*inside, *self.image, self.final_norm, self.unembed):
            point.now = now

    def join(self, joined: bool) -> None:
        """Say whether what is put on a point will be heard."""
        for point in self.every:
            point.joined = joined

    @property
    def image(self) -> tuple[PassPoint, ...]:
        """All that the language model receives of the photo."""
        return self.projector, *self.deepstack

    @property
    def every(self) -> list[Point]:
        """All of them."""
        inside = [*points_in(self.blocks), *points_in(self.vision)]
        return [*inside, *self.image, self.final_norm, self.unembed]


def points_in(tower: nn.Module) -> list[Point]:
    """The hook points of some blocks."""
    return [point for point in tower.modules() if isinstance(point, Point)]


def matching(known: Iterable[str], names: str | Iterable[str] | Callable[[str], bool]) -> list[str]:
    """The hook names that a name, several of them or a filter stand for.

    Raises:
        HookError: one of them matches nothing; a name that does not exist is told with the nearest ones.
    """
    if callable(names):
        found = [name for name in known if names(name)]
        if not found:
            raise HookError("the names filter matches no hook point: list(vlm.hook_dict) has all names")
        return found
    wanted, every = [names] if isinstance(names, str) else list(names), list(known)
    for name in wanted:
        _check_name(every, name)
    if not wanted:
        raise HookError("no hook point is named: list(vlm.hook_dict) has all names")
    return wanted


def _check_name(names: list[str], name: str) -> None:
    """Refuse a hook name that does not exist."""
    from difflib import get_close_matches

    if name not in names:
        near = get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "list(vlm.hook_dict) has all names"
        raise HookError(f"no hook point is named {name!r}: {hint}")


class AttentionPoints(nn.Module):
    """The hook points of one attention module, in the order in which they fire."""

    def __init__(self) -> None:
        """Make one hook point per tensor."""
        super().__init__()
        self.hook_q, self.hook_k, self.hook_v = PassPoint(), PassPoint(), PassPoint()
        self.hook_rot_q, self.hook_rot_k = PassPoint(), PassPoint()
        self.hook_attn_logits, self.hook_attn_scores = RowHookPoint(), RowHookPoint()
        self.hook_pattern = RowHookPoint()
        self.hook_z = PassPoint()

    @property
    def on_rows(self) -> tuple[RowHookPoint, ...]:
        """The points that see attention rows."""
        return self.hook_attn_logits, self.hook_attn_scores, self.hook_pattern

    @property
    def in_attention(self) -> tuple[Point, ...]:
        """The points that see what the attention function is given and gives back."""
        return (self.hook_rot_q, self.hook_rot_k, *self.on_rows, self.hook_z)
