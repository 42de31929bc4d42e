"""Guard: no pass through a hooked model goes by its hooks in silence, or meets those of another thread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from interp.errors import HookError
from interp.hooks.batches import Batch, OfBatch
from interp.hooks.checkpoints import Checkpoints
from interp.hooks.implementations import Implementations
from interp.hooks.links import Links, TorchHook
from interp.hooks.point import Point
from interp.hooks.rows import ROW_POINTS, Pass, only_reads
from interp.hooks.turns import LANGUAGE, OUTERMOST, Turns
from interp.store.signals import check_stopped


class Guard:
    """Stands at the doors of a model: the whole of it, its language model and its vision tower.

    A pass waits for the turn of its thread. Where somebody listens, a model that was changed since it was hooked is
    refused, as is a pass inside a compiled graph.
    """

    def __init__(self, model: nn.Module, points: Sequence[Point], implementations: Implementations, now: Pass) -> None:
        """Remember whom to listen to; nobody stands at any door yet."""
        self.points, self.implementations = points, implementations
        self.turns, self.links = Turns(), Links(model)
        self.checkpoints = Checkpoints(now, on=lambda: self.on, turn=self.turns.block)
        self._editing, self._changes = False, -1
        self._passes = {OUTERMOST: 0, LANGUAGE: 0}
        self._on: list[Point] = []
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
        return bool(self.on)

    @property
    def on(self) -> list[Point]:
        """The points that something listens to."""
        self._look()
        return self._on

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
            self._on = [point for point in self.points if point.on]
            on = [function for point in self._on for function in point.forward_functions]
            self._editing = any(not only_reads(hook) for hook in on)
            self._bound = [hook for hook in on if isinstance(hook, OfBatch)]
            self._batches = list({id(hook.batch): hook.batch for hook in self._bound}.values())

    @contextmanager
    def heard(self, points: Iterable[Point]) -> Iterator[None]:
        """See to it that all of these points are reached meanwhile, if what they are in is run at all.

        Raises:
            HookError: one of them was not.
        """
        before, passes = {point: point.reached for point in points}, dict(self._passes)
        yield
        ran = {door for door, count in self._passes.items() if count > passes[door]}
        if not ran:
            return
        silent = [str(point.name) for point, was in before.items() if point.on and point.reached == was]
        if OUTERMOST not in ran:
            silent = [name for name in silent if not name.startswith(("vision.", "projector."))]
        if silent:
            raise HookError(
                f"{', '.join(silent[:4])}{', ...' if silent[4:] else ''}: hooks were on, and never fired: what was run "
                "did not come by (the vision tower and the projector are run with a photo, the logits with the whole "
                "model, nothing behind stop_at_layer). Leave these names out, or run what they are in"
            )

    def stopped(self) -> None:
        """Count a pass that ended where it was asked to: what is behind its end was not reached."""
        self._passes[OUTERMOST] += 1

    def hearing(self, points: Iterable[Point], door: str, tower: nn.Module) -> list[RemovableHandle]:
        """Refuse a pass through a door that went by a point behind it that is listened to."""
        own, noted = frozenset(points), dict[Point, int]()
        return [
            tower.register_forward_pre_hook(TorchHook(self._note_reached, own, noted)),
            tower.register_forward_hook(TorchHook(self._check_reached, door, noted), always_call=True),
        ]

    def _note_reached(self, own: frozenset[Point], noted: dict[Point, int], *of_no_interest: Any) -> None:
        if torch.compiler.is_compiling():
            return
        noted.clear()
        for point in self.on:
            if point in own:
                noted[point] = point.reached
                point.check = self.checkpoints.check if torch.is_grad_enabled() else None

    def _check_reached(self, door: str, noted: dict[Point, int], tower: nn.Module, args: Any, output: Any) -> None:
        """Refuse the pass if need be; one that was broken off has no output.

        Raises:
            HookError: it went by a point.
        """
        if torch.compiler.is_compiling():
            return
        for point in noted:
            point.check = None
        if output is None:
            return
        if door in self._passes and not self.turns.inside():
            self._passes[door] += 1
        for point, reached in noted.items():
            if point.reached == reached and point.on:
                attends = str(point.name).endswith(_IN_ATTENTION)
                did_not = "did not attend through transformers' attention interface" if attends else "went by them"
                raise HookError(
                    f"{point.name}: hooks are on, but {type(tower).__name__} {did_not}: undo what replaced the forward "
                    "of its modules"
                )

    def _before(self, door: str, module: nn.Module, args: Any) -> None:
        if torch.compiler.is_compiling():
            self._enter_from_graph(door)
        else:
            self._enter(door, module)

    def _after(self, door: str, module: nn.Module, args: Any, output: Any) -> None:
        if torch.compiler.is_compiling():
            self._leave_from_graph(door)
            return
        if door == OUTERMOST and output is not None:  # it was not broken off
            self._passes[door] += 1
        self.turns.end_pass(door)

    def _enter(self, door: str, module: nn.Module | None = None) -> None:
        """Begin a pass through the door of a module; None inside a graph."""
        check_stopped()
        if module is not None and self.listening and self.turns.nested(door, module):
            raise HookError(
                "a function that runs inside a pass of this model ran the same model or a part of it, while hooks are "
                "on: run it before or after that pass, or a second one, which HookedVLM.wrap makes of a copy"
            )
        self.turns.begin_pass(door, module)
        try:
            self.implementations.follow()
            if torch.is_grad_enabled() and module is not None and (module.training or self.listening):
                self.checkpoints.follow()
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


_IN_ATTENTION = ("hook_rot_q", "hook_rot_k", "hook_z", *ROW_POINTS)
