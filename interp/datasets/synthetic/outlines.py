"""Rasters of the shapes of the synthetic scenes: which pixels they cover and how much, in integer arithmetic."""

from __future__ import annotations

from functools import cache

import numpy as np
from einops import reduce

SUBSAMPLES = 5  # per pixel and axis; odd, so that no pixel is covered by exactly one half
FULL = SUBSAMPLES * SUBSAMPLES  # the count of a pixel that is covered wholly


def cover_at(shape: str, radius: float, centre: tuple[float, float]) -> tuple[np.ndarray, int, int]:
    """Count, for the pixels around a shape, how many of their subsamples it covers.

    Args:
        shape: circle, square, triangle, cross or star.
        radius: half its size in pixels, a multiple of 0.5.
        centre: x and y in pixels, multiples of 0.5.

    Returns:
        Counts 0 to `FULL`, int16 [height width], and the left and top pixel of that window.
    """
    x, y = centre
    cover, _ = _cover(shape, int(2 * radius), int(2 * x) % 2, int(2 * y) % 2)
    reach = cover.shape[0] // 2
    return cover, int(x) - reach, int(y) - reach


def extent_at(shape: str, radius: float, centre: tuple[float, float]) -> tuple[int, int, int, int]:
    """Box (x0, y0, x1, y1) in pixels of what a shape covers by more than half; arguments as in `cover_at`."""
    x, y = centre
    cover, (x0, y0, x1, y1) = _cover(shape, int(2 * radius), int(2 * x) % 2, int(2 * y) % 2)
    left, top = int(x) - cover.shape[0] // 2, int(y) - cover.shape[0] // 2
    return left + x0, top + y0, left + x1, top + y1


@cache
def _cover(shape: str, diameter: int, half_x: int, half_y: int) -> tuple[np.ndarray, tuple[int, int, int, int]]:
    """Count the subsamples of every pixel inside a shape, in units of a tenth of a pixel, and bound the covered ones.

    Args:
        shape: one of the five.
        diameter: the diameter of the shape, in pixels.
        half_x: 1 if the centre lies half a pixel to the right of a pixel's edge, else 0.
        half_y: the same, downwards.
    """
    reach = diameter // 2 + 2  # pixels from the window's edge to the centre's pixel edge
    ticks = 2 * np.arange(2 * reach * SUBSAMPLES) + 1 - 10 * reach  # tenths of a pixel: middles of the subsamples
    across, down = (ticks - 5 * half_x)[None, :], (ticks - 5 * half_y)[:, None]
    inside = _INSIDE[shape](across, down, 5 * diameter)
    cover = reduce(inside, "(row down) (col across) -> row col", "sum", down=SUBSAMPLES, across=SUBSAMPLES)
    cover = cover.astype(np.int16)
    rows, cols = np.nonzero((2 * cover > FULL).any(1))[0], np.nonzero((2 * cover > FULL).any(0))[0]
    cover.flags.writeable = False
    return cover, (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)


def _in_circle(x: np.ndarray, y: np.ndarray, r: int) -> np.ndarray:
    return x * x + y * y <= r * r


def _in_square(x: np.ndarray, y: np.ndarray, r: int) -> np.ndarray:
    return (8 * abs(x) <= 7 * r) & (8 * abs(y) <= 7 * r)


def _in_triangle(x: np.ndarray, y: np.ndarray, r: int) -> np.ndarray:
    return (8 * y <= 7 * r) & (2 * abs(x) <= y + r)


def _in_cross(x: np.ndarray, y: np.ndarray, r: int) -> np.ndarray:
    return ((3 * abs(x) <= r) & (abs(y) <= r)) | ((abs(x) <= r) & (3 * abs(y) <= r))


def _in_star(x: np.ndarray, y: np.ndarray, r: int) -> np.ndarray:
    """A pentagram, tip up: inside at least four of its five lines, cos 72 degrees of r from the centre."""
    lines = ((0, -1000), (951, -309), (588, 809), (-588, 809), (-951, -309))  # where the tips lie, in thousandths
    return sum((a * x + b * y <= 309 * r).astype(np.int8) for a, b in lines) >= 4


_INSIDE = {
    "circle": _in_circle,
    "square": _in_square,
    "triangle": _in_triangle,
    "cross": _in_cross,
    "star": _in_star,
}
