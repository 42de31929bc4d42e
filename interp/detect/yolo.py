"""YOLO detectors through ultralytics, loaded weights-only and kept offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interp.boxes import Box, Boxes
from interp.detect.words import labels_for
from interp.errors import DetectorError, InputError

if TYPE_CHECKING:
    from PIL import Image


class YoloDetector:
    """Find objects with a YOLO detection model.

    Needs ultralytics (`pip install 'spatial-lens[yolo]'`). The checkpoint is read weights-only, nothing is sent,
    installed or written, and nothing is downloaded unless `download` says so.

    Attributes:
        name: the weights' file name or embedded name; goes into results.
        labels: the classes of the model, in its order.
        confidence: boxes below it are dropped.

    Example:
        >>> detector = YoloDetector("shapes-detector")  # doctest: +SKIP
        >>> detector.detect(draw_scene(7).image).labels  # doctest: +SKIP
        ['green circle', 'red cross']
    """

    def __init__(
        self, weights: str | Path, *, confidence: float = 0.25, download: bool = False, device: str = "cpu"
    ) -> None:
        """Find and load the weights.

        Args:
            weights: path of an ultralytics `.pt` checkpoint, or of a `.safetensors` file with its `.yaml`; or
                `shapes-detector`; or the name of a published checkpoint such as `yolo11n.pt`.
            confidence: lowest confidence of a box, 0 to 1.
            download: whether a published checkpoint may be fetched.
            device: torch device, such as `cpu` or `cuda:0`.

        Raises:
            DetectorError: no ultralytics, no such weights, weights broken or of another kind, or no such device.
            InputError: `confidence` is not between 0 and 1.
        """
        from interp.detect.weights import EMBEDDED, find_weights, load_model

        if not 0 <= confidence <= 1:
            raise InputError(f"confidence {confidence} of the detector must lie between 0 and 1")
        path = find_weights(weights, download=download)
        self.name = str(weights) if str(weights) in EMBEDDED else path.name
        self.confidence = confidence
        self._device = _checked_device(device)
        self._model = load_model(path)
        self.labels: tuple[str, ...] = tuple(str(label) for label in self._model.names.values())

    def detect(self, image: Image.Image, words: Sequence[str] | None = None) -> Boxes:
        """Find objects in an image.

        Args:
            image: a photo of any mode and size; an EXIF rotation must have been applied.
            words: what to look for, matched to `labels`; None for everything.

        Returns:
            Boxes in pixels of `image`, the surest first.

        Raises:
            DetectorError: the model failed on this image.
        """
        from interp.detect.containment import contained
        from interp.detect.weights import one_line

        pixels = np.asarray(image.convert("RGB"))[:, :, ::-1]  # ultralytics reads arrays as blue, green, red
        with contained():
            try:
                (result,) = self._model.predict(
                    np.ascontiguousarray(_widened(pixels, self._input_side)),
                    conf=self.confidence,
                    device=self._device,
                    verbose=False,
                    save=False,
                )
            except Exception as error:
                raise DetectorError(
                    f"detector {self.name} failed on an image of {image.width} x {image.height} pixels "
                    f"({one_line(error)}): check weights and device {self._device!r}"
                ) from error
        found = result.boxes.cpu().numpy()
        boxes = _as_boxes(found.xyxy, found.conf, [self.labels[int(number)] for number in found.cls], image.size)
        if words is not None:
            wanted = labels_for(words, self.labels)
            boxes = [box for box in boxes if box.label in wanted]
        return Boxes(tuple(boxes), source=self.name)

    @property
    def _input_side(self) -> int:
        side = self._model.overrides.get("imgsz", 640)
        return int(min(side) if isinstance(side, (list, tuple)) else side)


def _checked_device(device: str) -> str:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DetectorError(
            f"device {device!r} can not be used for the detector: give cpu or one that is there"
        ) from error
    return device


def _widened(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pad an image so long that its short side would vanish at the model's input size; pixels keep their place."""
    height, width = pixels.shape[:2]
    least = -(-max(height, width) // side)
    return np.pad(pixels, ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0)), mode="edge")


def _as_boxes(xyxy: np.ndarray, confidences: np.ndarray, labels: Sequence[str], size: tuple[int, int]) -> list[Box]:
    """Cut boxes at the edge of the image of (width, height) pixels and drop those that have no area in it."""
    corners = np.clip(xyxy.astype(np.float64), 0, np.array([*size, *size], dtype=np.float64))
    rows = zip(corners.tolist(), confidences.tolist(), labels, strict=True)
    boxes = [(tuple(row), sure, label) for row, sure, label in rows if row[0] < row[2] and row[1] < row[3]]
    boxes.sort(key=lambda item: -item[1])
    return [Box(label, (row[0], row[1], row[2], row[3]), sure) for row, sure, label in boxes]
