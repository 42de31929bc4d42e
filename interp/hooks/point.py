"""Point: a hook point of TransformerLens that knows what listens to it, torch's own hooks too, and whether it fired."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor
from transformer_lens.hook_points import HookPoint

from interp.errors import HookError, ModelError
from interp.hooks.links import HOW_TO_COPY

OFF = "this HookedVLM was unwrapped, or is paused: hook the model again with HookedVLM.wrap(model, processor)"

_FORWARD = ("_forward_pre_hooks", "_forward_hooks")
_BACKWARD = ("_backward_pre_hooks", "_backward_hooks")
_FLAGS = ("_forward_pre_hooks_with_kwargs", "_forward_hooks_with_kwargs", "_forward_hooks_always_called")
_NAMED = ("fwd_hooks", "bwd_hooks")


class Point(HookPoint):
    """A hook point that is called where anything listens: functions put on by name, or hooks of torch.

    Attributes:
        changes: how often something was put on or taken off, on all points together.
        on: whether anything listens.
        reached: how often a pass came by while something listened.
        joined: whether the point is joined to a model now, so that what is put on will be heard.
        check: called with the point when it fires, in a pass that backward may follow.
    """

    changes = 0
    joined = True
    check: Callable[[Point], None] | None = None

    def __init__(self) -> None:
        """Begin with nothing that listens."""
        super().__init__()
        self.on, self.reached = False, 0
        self._functions: tuple[list[Any], list[Any]] | None = None
        for name in (*_FORWARD, *_BACKWARD):
            setattr(self, name, _Listeners(self))

    @property
    def forward_functions(self) -> list[Any]:
        """What is called with the tensor."""
        return self._heard_by()[0]

    @property
    def backward_functions(self) -> list[Any]:
        """What waits for its gradient."""
        return self._heard_by()[1]

    def has_hooks(self, *args: Any, **kwargs: Any) -> bool:
        """Whether anything listens; of a direction or a level, whether anything that was put on by name does."""
        return super().has_hooks(*args, **kwargs) if args or kwargs else self.on

    def remove_hooks(self, *args: Any, **kwargs: Any) -> None:
        """Take off what was put on by name, see TransformerLens; at once where there is nothing, as at most points."""
        if any(self.__dict__[name] for name in _NAMED):
            super().remove_hooks(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """Give the tensor on, and note that a pass came by."""
        self.came_by()
        if self.check is not None:
            self.check(self)
        return x

    def layer(self) -> int:
        """The 0-based block that it is in, of the language model or of the vision tower.

        Raises:
            HookError: it is in none.
        """
        behind = f".{self.name}".rpartition(".blocks.")[2] if ".blocks." in f".{self.name}" else ""
        if not behind:
            raise HookError(f"{self.name} is in no block")
        return int(behind.partition(".")[0])

    def came_by(self) -> None:
        """Note that a pass came by."""
        self.__dict__["reached"] += 1  # as a module of torch sets its attributes ten times as slowly

    def hooks_on(self) -> dict[str, Any]:
        """What is on now, to be put back later."""
        kept = {name: OrderedDict(self.__dict__[name]) for name in (*_FORWARD, *_BACKWARD, *_FLAGS)}
        return {**kept, **{name: list(self.__dict__[name]) for name in _NAMED}}

    def exchange(self, hooks: dict[str, Any]) -> dict[str, Any]:
        """Put what was on before, or nothing, in place of what is on; returns what to give back."""
        before = {name: self.__dict__[name] for name in hooks}
        self.__dict__.update(hooks)
        self.changed()
        return before

    def changed(self) -> None:
        """Note that something was put on or taken off."""
        Point.changes += 1
        self._functions = None
        self.on = any(self.__dict__[name] for name in (*_FORWARD, *_BACKWARD))

    def register_backward_hook(self, hook: Callable[..., Any]) -> NoReturn:
        """Not offered: on a point, which computes nothing, it would hear of another module's gradient.

        Raises:
            HookError: always.
        """
        raise HookError(f"register_backward_hook is not offered by {self.name}: use register_full_backward_hook")

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be copied or pickled: a copy would hear nothing.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"hook points of a HookedVLM can not be copied, pickled or saved: {HOW_TO_COPY}")

    def _heard_by(self) -> tuple[list[Any], list[Any]]:
        if self._functions is None:
            named = ([handle.user_hook for handle in self.fwd_hooks], [handle.user_hook for handle in self.bwd_hooks])
            ids = {handle.hook.id for handle in (*self.fwd_hooks, *self.bwd_hooks)}
            self._functions = tuple(  # type: ignore[assignment]
                own + [hook for kept in places for key, hook in self.__dict__[kept].items() if key not in ids]
                for own, places in zip(named, (_FORWARD, _BACKWARD), strict=True)
            )
        return self._functions  # type: ignore[return-value]


def nothing() -> dict[str, Any]:
    """What `Point.exchange` takes for a point on which nothing is to be."""
    empty: dict[str, Any] = {name: OrderedDict() for name in (*_FORWARD, *_BACKWARD, *_FLAGS)}
    return {**empty, **{name: [] for name in _NAMED}}


class _Listeners(OrderedDict):  # type: ignore[type-arg]
    """Torch's own record of the hooks on a point, which tells the point what is written into it."""

    def __init__(self, point: Point) -> None:
        super().__init__()
        self._point = point

    def __setitem__(self, key: int, hook: Any) -> None:
        if not self._point.joined:
            raise ModelError(OFF)
        super().__setitem__(key, hook)
        self._point.changed()

    def __delitem__(self, key: int) -> None:
        super().__delitem__(key)
        self._point.changed()

    def clear(self) -> None:
        super().clear()
        self._point.changed()
