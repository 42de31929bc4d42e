"""Parsing: JSON and arrays of files that others wrote, whose faults are all told in one way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def parse_json(text: str | bytes) -> Any:
    """What a JSON text holds.

    Raises:
        ValueError: it is none, or is nested deeper than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply to be read") from None


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        OSError: it can not be read.
        ValueError: it holds no JSON, or is a pipe or a device, which might be waited for without end.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ValueError("it is a pipe or a device")
    return parse_json(path.read_text(encoding="utf-8"))


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file, by name; nothing in it is unpickled.

    Raises:
        OSError: it can not be read.
        ValueError: it is no such file, or a damaged one.
    """
    import numpy as np

    if path.exists() and not path.is_file():
        raise ValueError("it is no file")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}
    except OSError:
        raise
    except Exception as error:  # a damaged archive makes its readers raise nearly anything, memory errors too
        raise ValueError(f"it is no NPZ file, or a damaged one ({type(error).__name__})") from error
