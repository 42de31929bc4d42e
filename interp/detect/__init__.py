"""Where the objects of a question are: detectors, boxes by hand, and the matching of words to labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from interp.boxes import Boxes
from interp.detect.batching import detect_many, find_many
from interp.detect.coco import COCO_NAMES, read_coco_boxes, read_yolo_folder
from interp.detect.given import GivenBoxes, GroundTruth, read_yolo_labels
from interp.detect.huggingface import TransformersDetector
from interp.detect.onnx import OnnxDetector
from interp.detect.words import Found, Match, find_objects, match_words, objects_asked
from interp.detect.yolo import YoloDetector
from interp.errors import InputError

if TYPE_CHECKING:
    from PIL import Image

__all__ = [
    "COCO_NAMES",
    "Detector",
    "Found",
    "GivenBoxes",
    "GroundTruth",
    "Match",
    "OnnxDetector",
    "TransformersDetector",
    "YoloDetector",
    "detect_many",
    "find_many",
    "find_objects",
    "load_detector",
    "match_words",
    "objects_asked",
    "read_coco_boxes",
    "read_yolo_folder",
    "read_yolo_labels",
]

GROUND_TRUTH = "ground-truth"
"""The name under which `load_detector` gives the boxes that the samples themselves carry."""

YOLO_SUFFIXES = (".pt", ".safetensors", ".yaml")


@runtime_checkable
class Detector(Protocol):
    """Anything that finds objects in an image.

    A detector may also have `detect_batch(images, words)`, which gives the same boxes for several images (`words` a
    list for each, or None), and `settings`, a mapping of all that its boxes depend on besides image and words; then
    `detect_many` can detect in batches and keep what it found.

    Attributes:
        name: goes into results.
        labels: the classes that it can find; empty for one that takes any words.
    """

    name: str
    labels: tuple[str, ...]

    def detect(self, image: Image.Image, words: Sequence[str] | None = None) -> Boxes:
        """Find objects.

        Args:
            image: the photo.
            words: what to look for; None for everything.

        Returns:
            Boxes in pixels of `image`, with labels out of `labels` (out of `words` where `labels` is empty).
        """
        ...


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
    path = Path(name).expanduser()
    if str(name) == GROUND_TRUTH:
        if confidence is not None:
            raise InputError(f"{GROUND_TRUTH} has no confidence: leave it out, or name a detector")
        return GroundTruth()
    if path.suffix == ".onnx":
        return OnnxDetector(path, **options)
    if path.is_dir() or (str(name).count("/") == 1 and path.suffix not in YOLO_SUFFIXES):
        return TransformersDetector(name, download=download, **options)
    return YoloDetector(name, download=download, **options)
