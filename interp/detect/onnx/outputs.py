"""From the raw output of an exported detector to boxes: its layout, how it is decoded, and which boxes stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from interp.errors import DetectorError

YOLOX, YOLOX_DECODED, ULTRALYTICS, END_TO_END = "yolox", "yolox decoded", "ultralytics", "end-to-end"
"""The layouts that are known."""

STRIDES = (8, 16, 32)
"""Pixels between the anchors of each grid, finest first."""


def read_layout(
    output: Float[np.ndarray, "row column"], size: tuple[int, int], metadata: Mapping[str, Any]
) -> tuple[str, int | None]:
    """Recognise a layout by the shape of an output, by the file's metadata, and for YOLOX by the values.

    YOLOX gives offsets of a few cells before it is decoded and pixels of the whole input afterwards, so whichever
    reading puts the centres nearer to their own anchors is the right one. End-to-end outputs are taken from exports of
    ultralytics alone, as others of that shape hold centres, or fractions of the image, or the class first.

    Args:
        output: what the model gives for one image, any.
        size: (height, width) of the input in pixels.
        metadata: the metadata of the file; exports of ultralytics say `names`, `stride`, `task` and `end2end`.

    Returns:
        The layout, and the number of classes where the shape tells it.

    Raises:
        DetectorError: another layout, or another task than detection.
    """
    rows, columns = output.shape
    anchors = len(_anchors(size)[0])
    exported = isinstance(metadata.get("names"), (dict, list)) and "stride" in metadata
    if exported and (metadata.get("task", "detect") != "detect" or metadata.get("head") == "RTDETRDecoder"):
        what = f"task {metadata.get('task', 'detect')!r}, head {metadata.get('head', 'unknown')!r}"
        raise DetectorError(f"it is an export of ultralytics for {what}: give one of a YOLO detection model")
    if exported and columns == 6 and (metadata.get("end2end") is True or rows != anchors):
        return END_TO_END, None
    if not exported and rows == anchors and columns > 5:
        return _is_decoded(output, size), columns - 5
    if rows > 4 and (rows == 4 + len(metadata["names"]) if exported else columns == anchors):
        return ULTRALYTICS, rows - 4
    raise DetectorError(
        f"its output is [batch {rows} {columns}] for an input of {size[0]} x {size[1]}: known are YOLOX [batch "
        f"{anchors} 5+classes], ultralytics [batch 4+classes {anchors}] and, with the names and the stride that "
        "ultralytics writes into its files, end-to-end [batch boxes 6]; export it so"
    )


def decode(
    output: Float[np.ndarray, "row column"], layout: str, size: tuple[int, int]
) -> tuple[Float[np.ndarray, "box 4"], Float[np.ndarray, " box"], Int[np.ndarray, " box"]]:
    """Corners in pixels of the input, confidence and class of every box of one image.

    The confidence of YOLOX is objectness times the class's score; of several classes, the best one counts.
    """
    if layout == END_TO_END:
        return output[:, :4], output[:, 4], output[:, 5].round().astype(np.int64)
    rows = output.T if layout == ULTRALYTICS else output
    boxes = _off_the_grid(rows[:, :4], size) if layout == YOLOX else rows[:, :4]
    scores = rows[:, 4:] if layout == ULTRALYTICS else rows[:, 4:5] * rows[:, 5:]
    classes = scores.argmax(axis=1)
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.hstack([centre - half, centre + half]), scores[np.arange(len(scores)), classes], classes


def suppress(
    xyxy: Float[np.ndarray, "box 4"], sure: Float[np.ndarray, " box"], classes: Int[np.ndarray, " box"], *, iou: float
) -> Int[np.ndarray, " kept"]:
    """Non-maximum suppression inside each class: the places of the boxes that stay, the surest first.

    A box goes if a surer one of its class that stays overlaps it by more than `iou`.
    """
    import torch
    from torchvision.ops import nms

    corners, scores = torch.from_numpy(xyxy.astype(np.float32)), torch.from_numpy(sure.astype(np.float32))
    kept = [np.zeros(0, dtype=np.int64)]
    for number in np.unique(classes):
        places = np.flatnonzero(classes == number)
        kept.append(places[nms(corners[places], scores[places], iou).numpy()])
    together = np.concatenate(kept)
    return together[np.argsort(-sure[together], kind="stable")]


def _off_the_grid(boxes: Float[np.ndarray, "box 4"], size: tuple[int, int]) -> Float[np.ndarray, "box 4"]:
    """YOLOX's boxes (x, y, log width, log height in cells from a cell's corner) in pixels (Ge et al. 2021, YOLOX)."""
    corners, strides = _anchors(size)
    return np.hstack([(boxes[:, :2] + corners) * strides, np.exp(boxes[:, 2:]) * strides])


def _is_decoded(output: np.ndarray, size: tuple[int, int]) -> str:
    corners, strides = _anchors(size)
    as_offsets = np.median(np.abs(output[:, :2] - 0.5))
    as_pixels = np.median(np.abs(output[:, :2] / strides - corners - 0.5))
    return YOLOX if as_offsets < as_pixels else YOLOX_DECODED


def _anchors(size: tuple[int, int]) -> tuple[Float[np.ndarray, "anchor 2"], Float[np.ndarray, "anchor 1"]]:
    """The (x, y) of each anchor's cell, in cells, row by row and grid by grid; and the cell's side in pixels."""
    corners, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: size[0] // stride, : size[1] // stride]
        corners.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(corners).astype(np.float32), np.concatenate(strides).astype(np.float32)
