"""Turns: one thread at a time uses a hooked model, so that nobody's run sees what another thread put on."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from weakref import WeakSet

from interp.errors import HookError

PATIENCE = 30.0
"""Seconds that a thread waits for another one that keeps the model and runs nothing on it."""

LONGEST_PASS = 600.0
"""Seconds that a thread waits for a pass of another one to end."""

OUTERMOST = "model"
"""The door of the whole model: a pass through it holds those through its parts."""


class Turns:
    """Whose turn it is: a lock for one model, which its own thread may take as often as it likes.

    It is kept by blocks, for as long as hook functions are on, and by passes, each through one door of the model. A
    block may be left in another thread than it was entered in, as a generator's is. Nobody waits forever: who waits
    for a thread that has ended, or that keeps the model and runs nothing, is refused by name.

    Example:
        >>> turns = Turns()
        >>> with turns.block(), turns.block():  # of one thread
        ...     turns.owner == threading.get_ident()
        True
    """

    def __init__(self) -> None:
        """Begin with nobody's turn."""
        self.reset()
        _EVERY.add(self)

    def reset(self) -> None:
        """Make it nobody's turn, whatever was before."""
        self.owner: int | None = None
        self._changed = threading.Condition(threading.Lock())
        self._thread: threading.Thread | None = None
        self._blocks = 0
        self._passes: frozenset[str] = frozenset()
        self._moved = 0.0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Keep the model for this thread for a while.

        Raises:
            HookError: another thread does not give it back.
        """
        with self._changed:
            self._take()
            self._blocks += 1
            before = self._passes
        try:
            yield
        finally:
            with self._changed:
                self._blocks -= 1
                self._passes = before  # a pass that was broken off inside has not said that it ended
                self._give()

    def inside(self) -> bool:
        """Whether a pass through the whole model is under way."""
        return OUTERMOST in self._passes

    def begin_pass(self, door: str) -> None:
        """Keep the model for this thread until the pass through this door ends.

        Raises:
            HookError: another thread does not give it back.
        """
        with self._changed:
            self._take()
            self._passes |= {door}

    def end_pass(self, door: str) -> None:
        """End this thread's pass through a door; of no effect where it is another thread's turn."""
        with self._changed:
            if self.owner == threading.get_ident():
                self._passes = frozenset() if door == OUTERMOST else self._passes - {door}
                self._give()

    def _take(self) -> None:
        me = threading.get_ident()
        while self.owner is not None and self.owner != me:
            self._wait()
        if self.owner is None:
            self.owner, self._thread = me, threading.current_thread()
        self._moved = monotonic()

    def _give(self) -> None:
        self._moved = monotonic()
        if not self._blocks and not self._passes:
            self.owner = self._thread = None
            self._changed.notify_all()

    def _wait(self) -> None:
        """Wait a moment; refuse where that is in vain."""
        assert self._thread is not None
        left = self._moved + (LONGEST_PASS if self._passes else PATIENCE) - monotonic()
        if not self._thread.is_alive():
            raise HookError(
                f"thread {self._thread.name!r} ended while its hooks were on this model: leave vlm.hooks(...) or "
                "vlm.intervene(...) before the thread ends"
            )
        if left <= 0:
            raise HookError(
                f"thread {self._thread.name!r} keeps this model, with its hooks on, and runs nothing: let it leave "
                "vlm.hooks(...) or vlm.intervene(...) first, or give hooks and interventions to the call itself, as in "
                "vlm.generate(inputs, intervention=...); one model serves one thread at a time"
            )
        self._changed.wait(min(left, 0.2))


_EVERY: WeakSet[Turns] = WeakSet()


def _reset_in_child() -> None:
    """Threads do not live on in a forked process: none of them keeps a model there, but for the one that forked."""
    me = threading.get_ident()
    for turns in _EVERY:
        if turns.owner == me:
            turns._changed = threading.Condition(threading.Lock())
        else:
            turns.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
