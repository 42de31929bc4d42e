"""Quiet: what other libraries print while they are used, hushed."""

from __future__ import annotations

import os
import sys


def quiet_libraries() -> None:
    """Keep other libraries' progress bars and notices out of a command's output."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # no line for each time the hub was tried again
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1" if not sys.stderr.isatty() else "0")
