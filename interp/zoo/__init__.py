"""The zoo: small models that come with the package, so that everything runs without a download."""

from __future__ import annotations

from pathlib import Path

from interp.errors import ModelError

_HERE = Path(__file__).parent
_PLACES = {"shapes-vlm": _HERE / "vlm" / "weights", "shapes-detector": _HERE / "yolo" / "shapes-detector.safetensors"}

EMBEDDED = ("shapes-vlm",)
"""Vision-language models that can be loaded by name."""

EMBEDDED_DETECTORS = ("shapes-detector",)
"""Detectors that can be loaded by name."""


def embedded_path(name: str) -> Path:
    """Where an embedded model lies: the folder of a VLM, the weights file of a detector.

    Raises:
        ModelError: there is none of that name.
    """
    if name not in _PLACES:
        raise ModelError(f"no embedded model is called {name!r}: use one of {', '.join(_PLACES)}")
    return _PLACES[name]
