"""Signals: a signal ends a command as Ctrl-C does, also where Python swallows what the signal's handler raises."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_asked: list[int] = []
"""The signals that have asked the command which now runs to end."""

_held: list[None] = []
"""One for each of the steps under way that are not to be broken off in the middle."""


class Stopped(KeyboardInterrupt):
    """A signal asks us to end: what was measured is written, as it is after Ctrl-C.

    Attributes:
        signal: the signal's number.
    """

    def __init__(self, number: int) -> None:
        """Take the signal's number."""
        super().__init__()
        self.signal = number


def check_stopped() -> None:
    """End here if a signal has asked for it.

    Its handler raises too. But Python swallows what is raised while an object is finalised, in the callback of a weak
    reference, or in a function that C code calls, so whatever goes on for long asks here between its steps.

    Raises:
        Stopped: a signal has asked.
    """
    if _asked:
        raise Stopped(_asked[0])


@contextmanager
def signals_held() -> Iterator[None]:
    """Let signals wait that ask a command to end, while steps of a moment are taken that belong together.

    Raises:
        Stopped: one has asked meanwhile; the steps are done.
    """
    _held.append(None)
    try:
        yield
    finally:
        _held.pop()
    check_stopped()


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT end us alike, where nobody has said otherwise (as `nohup` does)."""

    def stop(number: int, frame: Any) -> None:
        _asked.append(number)
        if not _held:
            raise Stopped(number)

    usual = {"SIGTERM": signal.SIG_DFL, "SIGHUP": signal.SIG_DFL, "SIGINT": signal.default_int_handler}
    here = threading.current_thread() is threading.main_thread()
    known = {getattr(signal, name): before for name, before in usual.items() if hasattr(signal, name)}  # some lack one
    ours = {one: before for one, before in known.items() if here and signal.getsignal(one) == before}
    told = sys.unraisablehook

    def untold(swallowed: Any) -> None:
        if not isinstance(swallowed.exc_value, Stopped):  # which is raised again soon
            told(swallowed)

    for one in ours:
        signal.signal(one, stop)
    if ours:
        sys.unraisablehook = untold
    try:
        yield
    finally:
        for one, before in ours.items():
            signal.signal(one, before)
        if ours:
            sys.unraisablehook = told
            _asked.clear()
