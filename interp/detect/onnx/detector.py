"""YOLOX and ultralytics YOLO detectors in ONNX files, run by onnxruntime alone."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8

from interp.detect.classes import ClassDetector, Seen
from interp.detect.common import checked_share, one_line, read_class_names, versions
from interp.detect.onnx.external import external_files
from interp.detect.onnx.outputs import END_TO_END, STRIDES, YOLOX, YOLOX_DECODED, decode, read_layout, suppress
from interp.errors import DetectorError
from interp.image.digests import file_digest
from interp.objects.nouns import COCO_NAMES
from interp.store.names import given_path

if TYPE_CHECKING:
    from PIL import Image

GREY = 114
"""What both families fill the rest of a letterbox with."""

MOST_SIDE = 16384
"""The longest side of an input, in pixels: a file could name one that no memory holds."""


class OnnxDetector(ClassDetector):
    """Find objects with a detector in an ONNX file; `detect` and `detect_batch` are those of `ClassDetector`.

    Needs onnxruntime and onnx (`pip install 'spatial-lens[onnx]'`). Two families are known, by the shape of the output
    and the file's metadata:

    * YOLOX: [batch anchors 5+classes], boxes still to be decoded over the grids of stride 8, 16 and 32, or already
      decoded. It sees blue, green, red from 0 to 255, the photo at the top left (version 0.1.1 and later).
    * ultralytics YOLO: [batch 4+classes anchors], or end-to-end [batch boxes 6] in a file with ultralytics' metadata.
      It sees red, green, blue from 0 to 1, the photo in the middle.

    Attributes:
        name: the file's name; goes into results.
        labels: the classes of the model, in its order.
        layout: which output was recognised: `yolox`, `yolox decoded`, `ultralytics` or `end-to-end`.
        confidence: boxes below it are dropped.
        nms_iou: a box that a surer one of its class overlaps by more is dropped; not used end-to-end.

    Example:
        >>> detector = OnnxDetector("yolox_nano.onnx")  # doctest: +SKIP
        >>> detector.detect(photo, ["mug"]).labels  # doctest: +SKIP
        ['cup']
    """

    def __init__(
        self,
        path: str | Path,
        *,
        names: Sequence[str] | Mapping[int, str] | None = None,
        confidence: float = 0.25,
        nms_iou: float = 0.45,
        device: str = "cpu",
    ) -> None:
        """Load the file and find out its layout, by running it once on a grey image.

        Args:
            path: the `.onnx` file.
            names: the class names by number; by default those in the file's metadata, or COCO's for a YOLOX of 80
                classes.
            confidence: lowest confidence of a box, 0 to 1.
            nms_iou: most overlap of two boxes of one class, 0 to 1.
            device: `cpu` or `cuda`, or one of several such as `cuda:1`.

        Raises:
            DetectorError: no onnxruntime, no such file, a broken one, one of another layout, no names, or no such
                device.
            InputError: `confidence` or `nms_iou` is not between 0 and 1.
        """
        self.confidence, self.nms_iou = checked_share(confidence), checked_share(nms_iou, "nms_iou")
        file = given_path(path)
        self.name = file.name
        self._session = _open(file, device)
        metadata = _metadata(self._session)
        try:
            self._input = _read_input(self._session, metadata)
            grey = np.full((*self._input.size, 3), GREY, dtype=np.uint8)
            (output,) = self._run([_as_yolox(grey)])
            self.layout, n_classes = read_layout(output, self._input.size, metadata)
            self.labels = _names(metadata.get("names") if names is None else names, self._is_yolox, n_classes)
            self._digest = file_digest(file, *external_files(file))
        except DetectorError as error:
            raise DetectorError(f"{self.name} can not be used as a detector: {error}") from error

    def look(self, photos: Sequence[Image.Image]) -> list[Seen]:
        """What is seen in each photo: together where the file takes batches."""
        prepare = _as_yolox if self._is_yolox else _as_ultralytics
        boxed = [letterbox(np.asarray(one), self._input.size, centred=not self._is_yolox) for one in photos]
        outputs = self._run([prepare(one.canvas) for one in boxed])
        found = []
        for output, one in zip(outputs, boxed, strict=True):
            xyxy, sure, classes = self._boxes(output)
            found.append(Seen(one.to_photo(xyxy), sure, [self.labels[number] for number in classes]))
        return found

    @property
    def settings(self) -> dict[str, Any]:
        """What the boxes depend on besides the photo: digest of the weights, names, thresholds, versions."""
        return {
            "weights": self._digest,
            "labels": list(self.labels),
            "confidence": self.confidence,
            "nms_iou": self.nms_iou,
            **versions("onnxruntime", "torch"),
        }

    @property
    def _is_yolox(self) -> bool:
        return self.layout in (YOLOX, YOLOX_DECODED)

    def _boxes(self, output: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Corners in pixels of the input, confidences and classes of the boxes that stay."""
        xyxy, sure, classes = decode(output, self.layout, self._input.size)
        kept = np.flatnonzero((sure >= self.confidence) & np.isfinite(xyxy).all(axis=1))
        if self.layout != END_TO_END:
            kept = kept[suppress(xyxy[kept], sure[kept], classes[kept], iou=self.nms_iou)]
        if kept.size and not 0 <= classes[kept].min() <= classes[kept].max() < len(self.labels):
            raise DetectorError(
                f"detector {self.name} gives class {classes[kept].max()} and has {len(self.labels)} names: "
                "give the names of all its classes"
            )
        return xyxy[kept], sure[kept], classes[kept]

    def _run(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The output for each input, float32 [row column]."""
        groups = [list(inputs)] if self._input.any_batch and inputs else [[one] for one in inputs]
        outputs: list[np.ndarray] = []
        for group in groups:
            try:
                found = self._session.run(None, {self._input.name: np.stack(group).astype(self._input.dtype)})
            except Exception as error:
                raise DetectorError(f"{self.name} failed in onnxruntime ({one_line(error)}): export it anew") from error
            shapes = [np.shape(array) for array in found]
            if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][0] != len(group):
                raise DetectorError(
                    f"its outputs have the shapes {shapes} for {len(group)} images: known are files of one output "
                    "[batch row column], export it so"
                )
            outputs += list(np.asarray(found[0], dtype=np.float32))
        return outputs


@dataclass(frozen=True)
class Letterbox:
    """A photo resized into a canvas of another shape.

    Attributes:
        canvas: what the model sees, before its values are scaled.
        left: pixels of the canvas on the left of the photo.
        top: pixels above it.
        scale: canvas pixels per photo pixel, across and down.
    """

    canvas: UInt8[np.ndarray, "height width 3"]
    left: int
    top: int
    scale: tuple[float, float]

    def to_photo(self, xyxy: Float[np.ndarray, "box 4"]) -> Float[np.ndarray, "box 4"]:
        """Corners in pixels of the photo, from corners in pixels of the canvas."""
        return (xyxy - np.array([self.left, self.top] * 2)) / np.array([*self.scale] * 2)


def letterbox(pixels: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], *, centred: bool) -> Letterbox:
    """Resize a photo to fit into a canvas of (height, width) pixels, its shape kept, the rest grey.

    Resizing is bilinear without smoothing, as OpenCV does it, which both families are trained with.

    Args:
        pixels: the photo.
        size: (height, width) of the canvas, in pixels.
        centred: whether the photo lies in the middle, sides rounded (ultralytics), or at the top left, sides rounded
            down (YOLOX).
    """
    import torch

    height, width = pixels.shape[:2]
    ratio = min(size[0] / height, size[1] / width)
    down, across = (max(1, round(side * ratio) if centred else int(side * ratio)) for side in (height, width))
    top, left = ((size[0] - down) // 2, (size[1] - across) // 2) if centred else (0, 0)
    planes = torch.from_numpy(rearrange(pixels, "height width rgb -> rgb height width").astype(np.float32))[None]
    resized = torch.nn.functional.interpolate(planes, (down, across), mode="bilinear", align_corners=False)[0]
    canvas = np.full((*size, 3), GREY, dtype=np.uint8)
    shown = rearrange(resized.round().clamp(0, 255).byte().numpy(), "rgb height width -> height width rgb")
    canvas[top : top + down, left : left + across] = shown
    return Letterbox(canvas, left, top, (across / width, down / height))


def _as_yolox(canvas: np.ndarray) -> np.ndarray:
    """Blue, green, red, 0 to 255, [3 height width]."""
    return rearrange(canvas[:, :, ::-1], "height width bgr -> bgr height width").astype(np.float32)


def _as_ultralytics(canvas: np.ndarray) -> np.ndarray:
    """Red, green, blue, 0 to 1, [3 height width]."""
    return rearrange(canvas, "height width rgb -> rgb height width").astype(np.float32) / 255


class _Input(NamedTuple):
    """What a file takes: the name of its input, (height, width), the numbers' type, and whether any batch."""

    name: str
    size: tuple[int, int]
    dtype: Any
    any_batch: bool


def _open(path: Path, device: str) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise DetectorError(
            f"ONNX detectors need onnxruntime, which can not be imported ({error}): pip install 'spatial-lens[onnx]'"
        ) from error
    import torch

    kind, _, number = device.partition(":")
    provider = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}.get(kind, "")
    if provider not in onnxruntime.get_available_providers():
        raise DetectorError(f"device {device!r} can not be used by this onnxruntime: give cpu or one that is there")
    if not path.is_file():
        raise DetectorError(f"there are no detector weights {str(path)!r}: give the path of an .onnx file")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # what matters comes as an exception
    options.intra_op_num_threads = torch.get_num_threads()
    chosen = (provider, {"device_id": number or "0"}) if kind == "cuda" else provider
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[chosen])
    except Exception as error:
        raise DetectorError(f"{path} can not be loaded as an ONNX file ({one_line(error)}): export it anew") from error
    if session.get_providers()[0] != provider:  # onnxruntime itself goes on with the processor
        raise DetectorError(f"device {device!r} can not be used by onnxruntime: check its drivers, or give cpu")
    return session


def _metadata(session: Any) -> dict[str, Any]:
    """The metadata of the file; values are read as Python literals where they are such, as ultralytics writes them."""
    found: dict[str, Any] = {}
    try:
        said = session.get_modelmeta().custom_metadata_map
    except UnicodeDecodeError:
        return found  # bytes that are no text say nothing
    for key, text in said.items():
        try:
            found[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):  # the last two where it is deep
            found[key] = text
    return found


def _read_input(session: Any, metadata: Mapping[str, Any]) -> _Input:
    dtypes = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
    inputs = session.get_inputs()
    shape = list(inputs[0].shape) if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or inputs[0].type not in dtypes or shape[1] not in (3, None):
        what = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise DetectorError(f"it takes {what or 'nothing'}: known are files of one input of floats [batch 3 h w]")
    if isinstance(shape[0], int) and shape[0] != 1:
        raise DetectorError(f"it takes batches of exactly {shape[0]}: export it with a batch of 1 or of any size")
    fixed = all(isinstance(side, int) for side in shape[2:])
    said = metadata.get("imgsz")
    sides = shape[2:] if fixed else [said, said] if isinstance(said, int) else said
    if not isinstance(sides, (list, tuple)) or len(sides) != 2 or any(not _is_side(side) for side in sides):
        raise DetectorError(
            f"it takes images of {shape[2]} x {shape[3]} pixels and its metadata say imgsz {said}: export it with "
            f"sides that are multiples of {STRIDES[-1]}"
        )
    return _Input(inputs[0].name, (sides[0], sides[1]), dtypes[inputs[0].type], not isinstance(shape[0], int))


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and 0 < side <= MOST_SIDE and side % STRIDES[-1] == 0


def _names(names: Any, is_yolox: bool, n_classes: int | None) -> tuple[str, ...]:
    """The class names in order; refuses what does not fit the number of classes."""
    if names is None and is_yolox and n_classes == len(COCO_NAMES):
        return COCO_NAMES
    if isinstance(names, Mapping):
        names = [names.get(number) for number in range(len(names))]
    if isinstance(names, (list, tuple)) and names and None not in names and n_classes in (None, len(names)):
        return read_class_names(names)
    given = (
        "no names" if names is None else f"{len(names)} names" if isinstance(names, (list, tuple)) else f"{names!r:.60}"
    )
    raise DetectorError(
        f"{given} for {'its' if n_classes is None else n_classes} classes: give names, one for each class in order"
    )
