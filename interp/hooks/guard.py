"""Guard: no pass through a hooked model goes by its hooks in silence, or meets those of another thread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformer_lens.hook_points import HookPoint

from interp.errors import HookError
from interp.hooks.attention import SITES
from interp.hooks.batches import Batch, OfBatch
from interp.hooks.implementations import Implementations
from interp.hooks.links import Links, TorchHook
from interp.hooks.rows import Point, only_reads
from interp.hooks.turns import OUTERMOST, Turns


class Guard:
    """Stands at the doors of a model: the whole of it, its language model and its vision tower.

    A pass waits for the turn of its thread. Where somebody listens, a model that was changed since it was hooked is
    refused, as is a pass inside a compiled graph.
    """

    def __init__(self, model: nn.Module, points: Sequence[HookPoint], implementations: Implementations) -> None:
        """Remember whom to listen to; nobody stands at any door yet."""
        self.points, self.implementations = points, implementations
        self.turns, self.links = Turns(), Links(model)
        self._listening, self._editing, self._changes = False, False, -1
        self._bound: list[OfBatch] = []
        self._batches: list[Batch] = []
        # these run as they stand where the model is compiled, and not in its graph
        self._enter_from_graph = torch.compiler.disable(self._enter)
        self._leave_from_graph = torch.compiler.disable(self.turns.end_pass)

    def doors(self, door: str, module: nn.Module) -> list[RemovableHandle]:
        """Stand at one more door."""
        return [
            module.register_forward_pre_hook(TorchHook(self._before, door)),
            module.register_forward_hook(TorchHook(self._after, door), always_call=True),
        ]

    @property
    def listening(self) -> bool:
        """Whether any function is on any point."""
        self._look()
        return self._listening

    @property
    def editing(self) -> bool:
        """Whether any function that is on may edit; others have promised to read alone."""
        self._look()
        return self._editing

    @property
    def bound(self) -> list[OfBatch]:
        """The functions that are on and were made for a batch."""
        self._look()
        return self._bound

    @property
    def batches(self) -> list[Batch]:
        """What these were made for, each once."""
        self._look()
        return self._batches

    def _look(self) -> None:
        if Point.changes != self._changes:
            self._changes = Point.changes
            self._listening = any(point.fwd_hooks or point.bwd_hooks for point in self.points)
            on = [handle.user_hook for point in self.points for handle in point.fwd_hooks]
            self._editing = any(not only_reads(hook) for hook in on)
            self._bound = [hook for hook in on if isinstance(hook, OfBatch)]
            self._batches = list({id(hook.batch): hook.batch for hook in self._bound}.values())

    def hearing(self, modules: Sequence[nn.Module], tower: nn.Module) -> list[RemovableHandle]:
        """Refuse a pass of a tower in which an attention that is listened to asks for nothing."""
        calls: list[int] = []
        return [
            tower.register_forward_pre_hook(TorchHook(self._note_calls, modules, calls)),
            tower.register_forward_hook(TorchHook(self._check_heard, modules, calls)),
        ]

    def _note_calls(self, modules: Sequence[nn.Module], calls: list[int], *of_no_interest: Any) -> None:
        if not torch.compiler.is_compiling():
            calls[:] = [SITES[module].calls for module in modules] if self.listening else []

    def _check_heard(self, modules: Sequence[nn.Module], noted: list[int], *of_no_interest: Any) -> None:
        """Refuse the pass if need be.

        Raises:
            HookError: it was not heard.
        """
        if torch.compiler.is_compiling():
            return
        for module, calls in zip(modules, noted, strict=False):
            site = SITES[module]
            if site.calls == calls and any(point.has_hooks() for point in site.points.in_attention):
                raise HookError(
                    f"{str(site.points.hook_z.name).rpartition('.')[0]}: hooks are on, but {type(module).__name__} did "
                    "not attend through transformers' attention interface: undo what replaced its forward"
                )

    def _before(self, door: str, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            self._enter_from_graph(door)
        else:
            self._enter(door, module)

    def _after(self, door: str, *of_no_interest: Any) -> None:
        if torch.compiler.is_compiling():
            self._leave_from_graph(door)
        else:
            self.turns.end_pass(door)

    def _enter(self, door: str, module: nn.Module | None = None) -> None:
        """Begin a pass through the door of a module; None inside a graph."""
        self.turns.begin_pass(door, module)
        try:
            self.implementations.follow()
            if self.listening and module is None:
                raise HookError(
                    "hooks are on, but the model runs inside a graph of torch.compile, where they are not heard: call "
                    "the model that is not compiled, and give generate disable_compile=True"
                )
            if self.listening and (door == OUTERMOST or not self.turns.inside()):
                self.links.check()
        except BaseException:
            self.turns.end_pass(door)
            raise
