"""Turns: one thread at a time uses a hooked model, so that nobody's run sees what another thread put on."""

from __future__ import annotations

import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR
from time import monotonic
from weakref import WeakSet

from torch import nn

from interp.errors import HookError

PATIENCE = 30.0
"""Seconds that a thread waits for another one that keeps the model and runs nothing on it."""

LONGEST_PASS = 600.0
"""Seconds that a thread waits for a pass of another one to end."""

OUTERMOST = "model"
"""The door of the whole model: a pass through it holds those through its parts."""

LANGUAGE = "language"
"""The door of the language model."""


class Turns:
    """Whose turn it is: a lock for one model, which its own thread may take as often as it likes.

    It is kept by blocks, for as long as hook functions are on, and by passes, each through one door of the model. A
    block may be left in another thread than it was entered in, as a generator's is, and in the middle of anything, as
    a generator's is that nobody refers to any more. Nobody waits forever: who waits for a thread that has ended, or
    that keeps the model and runs nothing, is refused by name, and a pass that was broken off counts as ended.

    Example:
        >>> turns = Turns()
        >>> with turns.block(), turns.block():  # of one thread
        ...     turns.owner is threading.current_thread()
        True
    """

    def __init__(self) -> None:
        """Begin with nobody's turn."""
        self.reset()
        _EVERY.add(self)

    def reset(self) -> None:
        """Make it nobody's turn, whatever was before."""
        self.owner: threading.Thread | None = None  # a thread, since the number of one that has ended is used again
        self._changed = _condition()
        self._blocks: set[object] = set()
        self._passes: dict[str, nn.Module | None] = {}
        self._moved = 0.0

    @contextmanager
    def block(self) -> Iterator[None]:
        """Keep the model for this thread for a while.

        Raises:
            HookError: another thread does not give it back.
        """
        mine, me = object(), threading.current_thread()
        with self._changed:
            self._wait_for_turn(me)
            self._drop_broken_off()
            before = self._passes
            self._blocks.add(mine)
            self._take(me)
        try:
            yield
        except GeneratorExit:  # nobody wants the block any more, which says nothing of the passes
            raise
        except BaseException:
            with self._changed:
                if mine in self._blocks:  # passes that began inside were broken off, and have not said that they ended
                    self._passes = {door: module for door, module in self._passes.items() if door in before}
            raise
        finally:
            with self._changed:
                self._blocks.discard(mine)
                self._drop_broken_off()
                self._give()

    def inside(self) -> bool:
        """Whether a pass through the whole model is under way."""
        return OUTERMOST in self._passes

    def nested(self, door: str, module: nn.Module) -> bool:
        """Whether this thread's call of a module, which runs now, lies in another one of it, or in one of a part."""
        within = {name: of for name, of in self._passes.items() if name == door or name != OUTERMOST}
        running = _running(threading.current_thread()) if within else None  # what passes are within the whole is usual
        if running is None:
            return False
        return running[id(module)] > 1 or any(id(of) in running for name, of in within.items() if name != door)

    def begin_pass(self, door: str, module: nn.Module | None = None) -> None:
        """Keep the model for this thread until the pass through this door ends.

        Args:
            door: the name of the door.
            module: whose call the pass is, so that one can see whether it still runs; None where one can not.

        Raises:
            HookError: another thread does not give it back.
        """
        me = threading.current_thread()
        with self._changed:
            self._wait_for_turn(me)
            self._passes = {**self._passes, door: module}
            self._take(me)

    def end_pass(self, door: str) -> None:
        """End this thread's pass through a door; of no effect where it is another thread's turn."""
        with self._changed:
            if self.owner is threading.current_thread():
                outermost = door == OUTERMOST
                self._passes = {} if outermost else {name: of for name, of in self._passes.items() if name != door}
                self._give()

    def take_from_dead(self) -> None:
        """Make it nobody's turn where the thread whose turn it is has ended, also with its hooks on."""
        with self._changed:
            if self.owner is not None and not self.owner.is_alive():
                self._blocks, self._passes = set(), {}
                self._give()

    # Collecting garbage may leave a block of this same thread between any two steps below, and so give the model away:
    # a thread first says what it keeps the model for, and then, whatever it was before, that it is its turn.

    def _take(self, me: threading.Thread) -> None:
        self.owner = me
        self._moved = monotonic()

    def _give(self) -> None:
        self._moved = monotonic()
        if not self._blocks and not self._passes:
            self.owner = None
            self._changed.notify_all()

    def _wait_for_turn(self, me: threading.Thread) -> None:
        while (owner := self.owner) is not None and owner is not me:
            self._wait(owner)

    def _wait(self, owner: threading.Thread) -> None:
        """Wait a moment, or not at all where there is nothing to wait for; refuse where that is in vain."""
        self._drop_broken_off()
        if not self._blocks and not self._passes:
            self._give()
            return
        left = self._moved + (LONGEST_PASS if self._passes else PATIENCE) - monotonic()
        if not owner.is_alive():
            raise HookError(
                f"thread {owner.name!r} ended while its hooks were on this model: leave vlm.hooks(...) or "
                "vlm.intervene(...) before the thread ends; vlm.unwrap() takes its hooks off, and "
                "HookedVLM.wrap(model, processor) hooks the model again"
            )
        if left <= 0:
            raise HookError(
                f"thread {owner.name!r} keeps this model, {self._kept_for()}: let it leave vlm.hooks(...) or "
                "vlm.intervene(...) first, put the `with` into the thread that runs the model, or give hooks and "
                "interventions to the call itself, as in vlm.generate(inputs, intervention=...); one model serves one "
                "thread at a time"
            )
        self._changed.wait(min(left, 0.2))

    def _kept_for(self) -> str:
        return f"in a pass of over {LONGEST_PASS:.0f} s" if self._passes else "with its hooks on, and runs nothing"

    def _drop_broken_off(self) -> None:
        """Drop passes that nobody runs any more: Ctrl-C and the end of a thread break them off without a word."""
        if not self._passes or self.owner is None:
            return
        if not self.owner.is_alive():
            self._passes = {}
        elif (running := _running(self.owner)) is not None:
            self._passes = {door: of for door, of in self._passes.items() if of is None or id(of) in running}


def _running(thread: threading.Thread) -> Counter[int] | None:
    """How many calls of each module, by id, are on a thread's stack; None where it could not be seen to its end."""
    frame = sys._current_frames().get(thread.ident or 0)
    found: Counter[int] = Counter()
    last = None
    while frame is not None:
        if frame.f_code is _CALL:
            found[id(frame.f_locals[_CALL.co_varnames[0]])] += 1
        last, frame = frame, frame.f_back
    if last is None or last.f_code.co_flags & _STOPS:  # a generator that stopped meanwhile no longer knows its caller
        return None
    return found


_CALL = nn.Module.__call__.__code__
_STOPS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR
_EVERY: WeakSet[Turns] = WeakSet()


def _condition() -> threading.Condition:
    return threading.Condition(threading.RLock())  # its own thread may come again, from a collection of garbage


def _reset_in_child() -> None:
    """Threads do not live on in a forked process: none of them keeps a model there, but for the one that forked."""
    me = threading.current_thread()
    for turns in _EVERY:
        if turns.owner is me:
            turns._changed = _condition()
        else:
            turns.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
