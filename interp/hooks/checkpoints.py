"""Checkpoints: where backward computes blocks of a pass again, it does so under the hooks that the pass ran under."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from interp.compat import keeps_no_activations
from interp.errors import HookError, ModelError
from interp.hooks.point import Point, nothing
from interp.hooks.rows import Pass


class Checkpoints:
    """The modules of a model that keep no activations for backward where that was asked for (gradient checkpointing).

    transformers gives each of them a function that computes them, then and again in backward; ours stands before it.
    """

    def __init__(
        self, now: Pass, *, on: Callable[[], list[Point]], turn: Callable[[], AbstractContextManager[None]]
    ) -> None:
        """Remember the pass that is kept up to date, how to know what is listened to, and how to have a turn."""
        self.now, self.on, self.turn, self.joined = now, on, turn, False
        self._computing = 0
        self._modules: list[nn.Module] = []

    def attach(self, model: nn.Module) -> None:
        """Know the modules of a model that can do so."""
        self._modules = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]
        self.joined = True

    def follow(self) -> None:
        """Stand before the functions of modules that do so now."""
        for module in self._modules:
            if module.gradient_checkpointing and not isinstance(module._gradient_checkpointing_func, _Checkpoint):
                module._gradient_checkpointing_func = _Checkpoint(module._gradient_checkpointing_func, self)  # type: ignore[assignment, arg-type]

    def detach(self) -> None:
        """Give them their own functions back."""
        for module in self._modules:
            function = module.__dict__.get("_gradient_checkpointing_func")
            if isinstance(function, _Checkpoint):
                module._gradient_checkpointing_func = function.own  # type: ignore[assignment]
        self._modules, self.joined = [], False

    def check(self, point: Point) -> None:
        """Refuse a hook in what backward will compute again without asking us.

        Raises:
            HookError: the point is in such a part.
        """
        if not self._computing and (not torch.is_grad_enabled() or keeps_no_activations()):
            raise HookError(
                f"{point.name}: hooks are on, and what it is in keeps no activations for backward, which would compute "
                "it again without them: take away the checkpoints that are not transformers' own, and "
                "switch these on in their place"
            )

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Say that a module is computed by a checkpoint that we stand before."""
        self._computing += 1
        try:
            yield
        finally:
            self._computing -= 1

    def now_on(self) -> _Then:
        """What a block that is computed now is computed under."""
        return _Then({point: point.hooks_on() for point in self.on()}, replace(self.now))

    @contextmanager
    def as_then(self, then: _Then) -> Iterator[None]:
        """Put what was on in a pass, and the pass, in place of what is on now, for a while.

        Raises:
            ModelError: the model was unwrapped since.
        """
        if not self.joined:
            raise ModelError(
                "backward computes a pass again (gradient checkpointing), and the model was unwrapped, or is paused, "
                "since that pass: call backward() before"
            )
        here = self.now_on()
        if then == here:
            yield
            return
        # backward may run in a thread of its own, and waits for hooks alone: a pass is over when backward begins
        with nullcontext() if then.hooks == here.hooks else self.turn():
            kept = {point: point.exchange(then.hooks.get(point) or nothing()) for point in {*here.hooks, *then.hooks}}
            _set(self.now, then.now)
            try:
                yield
            finally:
                _set(self.now, here.now)
                for point, hooks in kept.items():
                    point.exchange(hooks)


@dataclass(frozen=True)
class _Then:
    """What was on by point, and the pass."""

    hooks: dict[Point, dict[str, Any]]
    now: Pass


class _Checkpoint:
    """What a module calls to be computed without keeping activations: the function that it had, handed ours."""

    def __init__(self, own: Callable[..., Any], checkpoints: Checkpoints) -> None:
        self.own, self.checkpoints = own, checkpoints

    def __call__(self, compute: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return self.own(_Computed(compute, self.checkpoints), *args, **kwargs)


class _Computed:
    """How a module is computed: the first time as it is, and each time after that as it was the first time."""

    def __init__(self, compute: Callable[..., Any], checkpoints: Checkpoints) -> None:
        self.compute, self.checkpoints, self.then = compute, checkpoints, checkpoints.now_on()
        self.again = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.again:
            self.again = True
            with self.checkpoints.computing():
                return self.compute(*args, **kwargs)
        with self.checkpoints.as_then(self.then):
            return self.compute(*args, **kwargs)


def _set(now: Pass, to: Pass) -> None:
    now.__dict__.update(to.__dict__)
