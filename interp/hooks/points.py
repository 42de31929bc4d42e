"""Hook points: the tree of them for a stack of blocks, and the names that a filter stands for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, Protocol

from torch import nn

from interp.errors import HookError
from interp.hooks.point import Point
from interp.hooks.rows import Pass, PassPoint, RowHookPoint
from interp.options import nearest


class BlockPoints(nn.Module):
    """The hook points of one transformer block."""

    def __init__(self) -> None:
        """Make the residual-stream points and the attention's."""
        super().__init__()
        self.hook_resid_pre, self.hook_resid_mid, self.hook_resid_post = PassPoint(), PassPoint(), PassPoint()
        self.hook_attn_out, self.hook_mlp_out = PassPoint(), PassPoint()
        self.ln1, self.attn, self.ln2, self.mlp = NormPoints(), AttentionPoints(), NormPoints(), MLPPoints()


class LatePoint(PassPoint):
    """A hook point whose torch hook is on the model only while somebody listens."""

    def __init__(self) -> None:
        """Start joined to nothing."""
        super().__init__()
        self.join: Follows | None = None

    def changed(self) -> None:
        """Note that something was put on or taken off, and let the torch hook follow."""
        super().changed()
        if self.join is not None:
            self.join.follow()


class Follows(Protocol):
    """What has to know that somebody began to listen, or that nobody does any more."""

    def follow(self) -> None:
        """Look who listens."""


class NormPoints(nn.Module):
    """The hook points of a norm: what it divides by, its input divided, and that with gain and bias."""

    def __init__(self) -> None:
        """Make the points."""
        super().__init__()
        self.hook_scale, self.hook_normalized, self.hook_out = LatePoint(), LatePoint(), LatePoint()


class MLPPoints(nn.Module):
    """The hook points of an MLP: its neurons before the activation, the factor of gated ones, and after both."""

    def __init__(self) -> None:
        """Make the points."""
        super().__init__()
        self.hook_pre, self.hook_pre_linear, self.hook_post = LatePoint(), LatePoint(), LatePoint()


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
        embed: the embeddings of the prompt's ids; the photo is put in their place afterwards.
        final_norm: the language model's last norm.
        unembed: the logits.
    """

    blocks: nn.ModuleList
    vision: nn.ModuleList
    projector: PassPoint
    deepstack: tuple[PassPoint, ...]
    embed: LatePoint
    final_norm: NormPoints
    unembed: PassPoint

    def follow(self, now: Pass) -> None:
        """Let the points of the language model know the pass that it is in: an object that is kept up to date."""
        inside = [*self.blocks.modules(), *self.final_norm.modules()]
        for point in (*inside, *self.image, self.embed, self.unembed):
            if isinstance(point, PassPoint):
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
        inside = [point for part in (self.blocks, self.vision, self.final_norm) for point in points_in(part)]
        return [*inside, *self.image, self.embed, self.unembed]


def points_in(part: nn.Module) -> list[Point]:
    """The hook points of some blocks, or of a norm."""
    return [point for point in part.modules() if isinstance(point, Point)]


def matching(
    known: Iterable[str],
    names: str | Iterable[str] | Callable[[str], bool],
    unserved: Mapping[str, str] | None = None,
) -> list[str]:
    """The hook names that a name, several of them or a filter stand for.

    Args:
        known: the names of all hook points.
        names: what is asked for.
        unserved: names of points that other models have, with the reason why this one has none.

    Raises:
        HookError: one of them matches nothing; a name that does not exist is told with the nearest ones.
    """
    if callable(names):
        found = [name for name in known if names(name)]
        if not found:
            raise HookError("the names filter matches no hook point: list(vlm.hook_dict) has all names")
        return found
    wanted = [names] if isinstance(names, str) else list(names) if isinstance(names, Iterable) else [names]
    every = list(known)
    for name in wanted:
        if not isinstance(name, str):
            raise HookError(f"{name!r:.80} is no hook name: give a name, several, or a function that picks names")
        if unserved and name in unserved:
            raise HookError(f"{name} is not offered for this model: {unserved[name]}")
        _check_name(every, name)
    if not wanted:
        raise HookError("no hook point is named: list(vlm.hook_dict) has all names")
    return wanted


def pairs_of(given: Any, what: str) -> list[tuple[Any, Any]]:
    """Pairs of hook names and functions, as they were given.

    Args:
        given: what stands for them; None is no pair.
        what: the name of the option, for the message.

    Raises:
        HookError: it is no list of pairs, such as a pair that stands alone, or a dictionary.
    """
    pairs: Any = [] if given is None else given
    if isinstance(pairs, (str, Mapping)) or not isinstance(pairs, Iterable):
        pairs = (pairs,)
    pairs = list(pairs)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise HookError(
                f"{what} is a list of (name, function) pairs, and {pair!r:.80} is none: {what}=[(name, function)]"
            )
    return [(name, function) for name, function in pairs]


def check_function(hook: Any) -> None:
    """Refuse what can not be called as hook functions are: `function(tensor, hook=point)`.

    Raises:
        HookError: so it is.
    """
    if not callable(hook) or isinstance(hook, type):
        raise HookError(f"{hook!r:.80} is no function: give one that is called as function(tensor, hook=point)")
    try:
        taken = signature(hook)
    except (TypeError, ValueError):  # of some that are written in C it is not known
        return
    try:
        taken.bind(None, hook=None)
    except TypeError as error:
        name = getattr(hook, "__name__", type(hook).__name__)
        raise HookError(
            f"{name}{taken} can not be called as hook functions are, function(tensor, hook=point) ({error}): give it "
            f"the arguments (tensor, hook)"
        ) from None


def _check_name(names: list[str], name: str) -> None:
    """Refuse a hook name that does not exist."""
    if name not in names:
        hint = nearest(name, names) or "list(vlm.hook_dict) has all names"
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
        self.hook_result = LatePoint()

    @property
    def on_rows(self) -> tuple[RowHookPoint, ...]:
        """The points that see attention rows."""
        return self.hook_attn_logits, self.hook_attn_scores, self.hook_pattern

    @property
    def in_attention(self) -> tuple[Point, ...]:
        """The points that see what the attention function is given and gives back."""
        return (self.hook_rot_q, self.hook_rot_k, *self.on_rows, self.hook_z)
