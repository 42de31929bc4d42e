"""Loading a detector by what a user calls it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interp.detect.huggingface import TransformersDetector
from interp.detect.onnx.detector import OnnxDetector
from interp.detect.yolo.detector import YoloDetector
from interp.errors import InputError
from interp.objects.detector import GROUND_TRUTH, Detector
from interp.objects.given import GroundTruth
from interp.store.names import given_path


def photo_detector(
    detector: str | Path | Detector | None, *, download: bool = False, device: str = "cpu"
) -> Detector | None:
    """The detector to look through one photo with, loaded unless it is already.

    Raises:
        InputError: `ground-truth` is asked for, which a photo alone does not have.
        DetectorError: it can not be loaded; see `interp.detect.load_detector`.
    """
    if isinstance(detector, (str, Path)) and str(detector) == GROUND_TRUTH:
        raise InputError(
            f"{GROUND_TRUTH} stands for boxes that the samples of a data set carry, and a photo alone carries none: "
            "name a detector, or give the boxes by hand"
        )
    return loaded(detector, download=download, device=device)


def loaded(detector: Any, *, download: bool = False, device: str = "cpu") -> Any:
    """A detector that can look: one that is given by name or weights is loaded, see `interp.detect.load_detector`.

    Raises:
        DetectorError: it can not be loaded.
    """
    if not isinstance(detector, (str, Path)):
        return detector
    return load_detector(detector, download=download, device=device)


YOLO_SUFFIXES = (".pt", ".safetensors", ".yaml")


def load_detector(
    name: str | Path, *, confidence: float | None = None, download: bool = False, device: str = "cpu"
) -> Detector:
    """Load a detector by what a user calls it.

    Args:
        name: `ground-truth`, the boxes that samples carry; an `.onnx` file; a folder or hub name (`owner/model`) of
            transformers; else what `YoloDetector` takes: a `.pt` or `.safetensors` file, `shapes-detector`, or the name
            of a published checkpoint.
        confidence: lowest confidence of a box; each kind's own by default.
        download: whether published weights may be fetched.
        device: where it runs.

    Raises:
        DetectorError: it can not be loaded.
        InputError: a confidence that is not between 0 and 1, or one for the ground truth.

    Example:
        >>> load_detector("shapes-detector").labels[:2]  # doctest: +SKIP
        ('red circle', 'red square')
    """
    options: dict[str, Any] = {"device": device} | ({} if confidence is None else {"confidence": confidence})
    path = given_path(name)
    if str(name) == GROUND_TRUTH:
        if confidence is not None:
            raise InputError(f"{GROUND_TRUTH} has no confidence: leave it out, or name a detector")
        return GroundTruth()
    if path.suffix == ".onnx":
        return OnnxDetector(path, **options)
    if path.is_dir() or (str(name).count("/") == 1 and path.suffix not in YOLO_SUFFIXES):
        return TransformersDetector(name, download=download, **options)
    return YoloDetector(name, download=download, **options)
