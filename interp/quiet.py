"""Quiet: what other libraries print, hushed, and what a terminal would take for a command of its own, spelled out."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO

_COMMANDS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""What terminals obey: control characters but tab and line feed, and what turns the direction of writing."""


class StreamError(OSError):
    """Standard output that can not be written, such as on a full disk."""


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and notices out of a command's output."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # no line for each time the hub was tried again
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1" if not sys.stderr.isatty() else "0")


@contextmanager
def clean_streams() -> Iterator[None]:
    """Spell out control characters on their way to standard output and error, whoever wrote them and wherever from."""
    with redirect_stdout(_Clean(sys.stdout)), redirect_stderr(_Clean(sys.stderr)):  # type: ignore[type-var]
        yield


def spell_out(text: str) -> str:
    r"""A text without what a terminal obeys; each such character by its number.

    Example:
        >>> spell_out("mug" + chr(27) + "[2J")
        'mug\\x1b[2J'
    """
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class _Clean:
    """A stream that is written to without what a terminal obeys; progress bars may begin with a carriage return."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lost: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text; letters that the stream's encoding lacks are spelled out too."""
        start = "\r" if text.startswith("\r") else ""
        clean = start + spell_out(text[len(start) :])
        try:
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(clean.encode(encoding, "backslashreplace").decode(encoding))
        except OSError as error:
            self._lost = _lost(error)
            raise self._lost from error
        return len(text)

    def flush(self) -> None:
        """Hand on what was written; a text that could not be, which argparse lets pass, is told here at the latest."""
        if self._lost is not None:
            raise self._lost
        try:
            self._stream.flush()
        except OSError as error:
            raise _lost(error) from error


def _lost(error: OSError) -> OSError:
    return error if isinstance(error, BrokenPipeError) else StreamError(error.errno, error.strerror)
