"""YOLO detectors through ultralytics, loaded weights-only and kept offline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.detect.classes import ClassDetector, Seen
from interp.detect.common import checked_device, checked_share, one_line, places_by, versions
from interp.errors import DetectorError
from interp.image.digests import file_digest

if TYPE_CHECKING:
    from PIL import Image


class YoloDetector(ClassDetector):
    """Find objects with a YOLO detection model; `detect` and `detect_batch` are those of `ClassDetector`.

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
        from interp.detect.yolo.weights import EMBEDDED, find_weights, load_model

        self.confidence = checked_share(confidence)
        path = find_weights(weights, download=download)
        self.name = str(weights) if str(weights) in EMBEDDED else path.name
        self._device = checked_device(device)
        self._model = load_model(path)
        self.labels: tuple[str, ...] = tuple(str(label) for label in self._model.names.values())
        beside = [path.with_suffix(".yaml")] if path.suffix == ".safetensors" else []
        self._digest = file_digest(path, *beside)

    def look(self, photos: Sequence[Image.Image]) -> list[Seen]:
        """What is seen in each photo; those of one size go through the model together.

        Only those, because ultralytics pads a batch of different sizes to a square, which changes what the model sees.
        """
        pixels = [_widened(np.asarray(photo)[:, :, ::-1], self._input_side) for photo in photos]
        found: dict[int, Seen] = {}
        for places in places_by(array.shape for array in pixels):
            for place, result in zip(places, self._predict([pixels[place] for place in places]), strict=True):
                boxes = result.boxes.cpu().numpy()
                found[place] = Seen(boxes.xyxy, boxes.conf, [self.labels[int(number)] for number in boxes.cls])
        return [found[place] for place in range(len(photos))]

    @property
    def settings(self) -> dict[str, Any]:
        """What the boxes depend on besides the photo: digest of the weights, confidence, versions."""
        return {"weights": self._digest, "confidence": self.confidence, **versions("ultralytics", "torch")}

    def _predict(self, pixels: Sequence[np.ndarray]) -> list[Any]:
        """Ultralytics' own results for arrays of one shape, which it reads as blue, green, red."""
        from interp.detect.yolo.containment import contained

        arrays = [np.ascontiguousarray(array) for array in pixels]
        with contained():
            try:
                return self._model.predict(arrays, conf=self.confidence, device=self._device, verbose=False, save=False)
            except Exception as error:
                height, width = arrays[0].shape[:2]
                raise DetectorError(
                    f"detector {self.name} failed on an image of {width} x {height} pixels "
                    f"({one_line(error)}): check weights and device {self._device!r}"
                ) from error

    @property
    def _input_side(self) -> int:
        side = self._model.overrides.get("imgsz", 640)
        return int(min(side) if isinstance(side, (list, tuple)) else side)


def _widened(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pad an image so long that its short side would vanish at the model's input size; pixels keep their place."""
    height, width = pixels.shape[:2]
    least = -(-max(height, width) // side)
    return np.pad(pixels, ((0, max(0, least - height)), (0, max(0, least - width)), (0, 0)), mode="edge")
