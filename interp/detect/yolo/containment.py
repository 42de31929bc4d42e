"""Import and call ultralytics so that it stays offline, unpickles nothing unknown, and leaves the process as it was.

Left alone, ultralytics unpickles checkpoints, turns a mistyped path into a download, installs packages on demand,
sends usage events, writes settings to the home folder, and replaces global options of numpy, torch, Pillow and cv2.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from interp.errors import DetectorError

ENVIRONMENT = {
    "ULTRALYTICS_SAFE_LOAD": "1",
    "YOLO_OFFLINE": "1",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}

# Read once by ultralytics when it is imported; set again around each call for a process that imported it before us.
_SWITCHES = (
    ("ultralytics.nn.tasks", "SAFE_LOAD", True),
    ("ultralytics.utils.checks", "AUTOINSTALL", False),
    ("ultralytics.utils.checks", "ONLINE", False),
)


def load_ultralytics() -> ModuleType:
    """Import ultralytics contained: offline, weights-only, nothing installed, settings in a folder of this process.

    Returns:
        The `ultralytics` package, with its `YOLO` class already loaded.

    Raises:
        DetectorError: ultralytics is not installed, or too old to load weights without unpickling them.
    """
    if sys.modules.get("ultralytics") is None:
        _import_contained()
    package = sys.modules["ultralytics"]
    tasks = importlib.import_module("ultralytics.nn.tasks")
    safe = getattr(tasks, "_SafeLoad", None)
    if not hasattr(tasks, "SAFE_LOAD") or not getattr(safe, "SUPPORTED", False):
        raise DetectorError(
            f"ultralytics {package.__version__} on this torch can not load weights without unpickling them: "
            "pip install -U 'spatial-lens[yolo]'"
        )
    return package


@contextmanager
def contained() -> Iterator[ModuleType]:
    """Give ultralytics to the body of a `with`; whatever it changed in the process is put back at the end.

    Raises:
        DetectorError: ultralytics is not installed, or too old.

    Example:
        >>> with contained() as ultralytics:  # doctest: +SKIP
        ...     model = ultralytics.YOLO("weights.pt")
    """
    package = load_ultralytics()
    with _process_restored(), _switches_set():
        yield package


def _import_contained() -> None:
    try:
        with _process_restored():
            folder = tempfile.mkdtemp(prefix="spatial-lens-ultralytics-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            os.environ.update(ENVIRONMENT, YOLO_CONFIG_DIR=folder)
            package = importlib.import_module("ultralytics")
            package.settings.update({"sync": False})
            _ = package.YOLO  # loads the engine while the process is being watched
    except ImportError as error:
        raise DetectorError(
            f"YOLO detectors need ultralytics, which can not be imported ({error}): pip install 'spatial-lens[yolo]'"
        ) from error


@contextmanager
def _switches_set() -> Iterator[None]:
    events = importlib.import_module("ultralytics.utils.events").events
    places: list[tuple[Any, str, object]] = [
        (importlib.import_module(module), name, value) for module, name, value in _SWITCHES
    ]
    places.append((events, "enabled", False))
    places.append((logging.getLogger("ultralytics"), "disabled", True))  # what matters comes as an exception
    before = [(where, name, getattr(where, name)) for where, name, _ in places]
    try:
        for where, name, value in places:
            setattr(where, name, value)
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)


@contextmanager
def _process_restored() -> Iterator[None]:
    """Put back what ultralytics is known to change: environment, print options, patched functions, thread counts."""
    import numpy as np
    import torch
    from PIL import Image

    environment = dict(os.environ)
    numpy_print, torch_print = np.get_printoptions(), vars(torch._tensor_str.PRINT_OPTS).copy()
    patched = [(torch, "save", torch.save), (Image, "open", Image.open), *_cv2_functions()]
    threads = torch.get_num_threads()
    cv2_threads = _cv2_threads()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        for where, name, function in patched:
            setattr(where, name, function)
        np.set_printoptions(**numpy_print)
        vars(torch._tensor_str.PRINT_OPTS).update(torch_print)
        torch.set_num_threads(threads)
        if cv2_threads is not None:
            sys.modules["cv2"].setNumThreads(cv2_threads)  # type: ignore[attr-defined]
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def _cv2_functions() -> list[tuple[ModuleType, str, object]]:
    """List the cv2 functions that ultralytics replaces on Windows."""
    cv2 = _cv2()
    return [] if cv2 is None else [(cv2, name, getattr(cv2, name)) for name in ("imread", "imwrite", "imshow")]


def _cv2_threads() -> int | None:
    cv2 = _cv2()
    return None if cv2 is None else cv2.getNumThreads()


def _cv2():  # noqa: ANN202 - cv2 carries no types
    try:
        return importlib.import_module("cv2")
    except ImportError:
        return None
