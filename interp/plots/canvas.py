"""The photo under a figure: in its own pixels, what the model never saw hatched, objects outlined and named."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from interp.errors import InputError
from interp.plots.style import INK, TICK, cut_short
from interp.plots.written import write_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.transforms import Bbox
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

LONGEST, SHORTEST = 1024, 384  # pixels of the longer side, as drawn
COLOURFUL, DARKEST, LIGHTEST = (
    0.7,
    16,
    232,
)  # of a muted photo: share of the colours kept, and what black and white become
SLENDER = 2.2  # longer side over shorter, beyond which the unseen ends of a photo are not drawn
_EDGE = [patheffects.withStroke(linewidth=3.2, foreground="black")]
_HALO = [patheffects.withStroke(linewidth=2.2, foreground="black")]


@dataclass(frozen=True, eq=False)
class Canvas:
    """A photo made ready for drawing many times: neither 50 megapixels nor one, and not a ribbon.

    Attributes:
        original: the geometry of the image tokens.
        frame: the part of the photo that is drawn (x0, y0, x1, y1), pixels of the original.
        pixels: that part, resized, uint8 [height width 3].
        grid: the same tokens in the coordinates of `pixels`.
    """

    original: ImageGrid
    frame: tuple[int, int, int, int]
    pixels: UInt8[np.ndarray, "height width 3"]
    grid: ImageGrid

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Where the pixels lie, as `imshow` wants it: left, right, bottom, top."""
        x0, y0, x1, y1 = self.frame
        return x0, x1, y1, y0

    def paint(self, values: Float[np.ndarray, " token"]) -> np.ma.MaskedArray:
        """Values per token over the drawn pixels, masked where the model saw nothing."""
        return np.ma.masked_invalid(self.grid.to_pixels(values))

    def draw(self, ax: Axes, *, plain: bool = False) -> None:
        """Draw the photo, a little muted unless it is to stand in its own colours."""
        ax.imshow(self.pixels if plain else muted(self.pixels), extent=self.extent, interpolation="nearest")
        self._hatch(ax)
        x0, y0, x1, y1 = self.frame
        ax.set(xlim=(x0, x1), ylim=(y1, y0), xticks=[], yticks=[])

    def _hatch(self, ax: Axes) -> None:
        """Hatch what lies outside the seen part, and say how much it is."""
        (left, top, right, bottom), (x0, y0, x1, y1) = self.frame, self.original.seen
        for a, b, c, d in ((left, top, right, y0), (left, y1, right, bottom), (left, y0, x0, y1), (x1, y0, right, y1)):
            if c > a and d > b:
                style: dict[str, Any] = {
                    "facecolor": (1, 1, 1, 0.55),
                    "edgecolor": "#777777",
                    "hatch": "////",
                    "linewidth": 0,
                }
                ax.add_patch(Rectangle((a, b), c - a, d - b, **style))
        unseen = self.original.unseen_share
        if unseen > 0.0005:
            whole = self.frame == (0, 0, *self.original.image_size)
            note = f"hatched: {unseen:.1%} of the photo,\nunseen by the model" + ("" if whole else " (shown in part)")
            ax.set_xlabel(note, fontsize=TICK - 1, color=INK)


def canvas(image: Image.Image, grid: ImageGrid) -> Canvas:
    """Make a photo ready for drawing.

    Raises:
        InputError: the photo is not the one that the grid was made for.
    """
    if image.size != tuple(grid.image_size):
        raise InputError(
            f"the photo has {image.size} pixels (width, height) and the grid was made for {tuple(grid.image_size)}: "
            "give the same photo, after any rotation that its EXIF data asks for"
        )
    frame = _frame(grid)
    origin, sides = np.array(frame[:2]), np.array(frame[2:]) - frame[:2]
    longest = sides.max()
    factor = min(1.0, LONGEST / longest) if longest >= SHORTEST else np.ceil(SHORTEST / longest)
    size = np.maximum(1, np.round(sides * factor)).astype(int)
    corners = rearrange(np.vstack([grid.boxes, grid.seen]), "box (corner xy) -> box corner xy", xy=2)
    corners = np.clip((corners - origin) * (size / sides), 0, size)  # rounding must not leave the canvas
    corners = rearrange(corners, "box corner xy -> box (corner xy)")
    shown = image.crop(frame).resize(tuple(size.tolist()), reducing_gap=2.0).convert("RGB")
    width, height = size.tolist()
    own = replace(grid, image_size=(width, height), boxes=corners[:-1], seen=tuple(corners[-1].tolist()))
    return Canvas(grid, frame, np.asarray(shown), own)


def muted(pixels: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """A photo a little less colourful and less stark, so that the colours of a map stand out and its own still tell.

    Example:
        >>> muted(np.full((1, 1, 3), 255, np.uint8)).tolist()
        [[[232, 232, 232]]]
    """
    luminance = (pixels @ [0.299, 0.587, 0.114])[..., None]
    softer = luminance + COLOURFUL * (pixels - luminance)
    return np.round(DARKEST + softer * (LIGHTEST - DARKEST) / 255).astype(np.uint8)


def draw_boxes(ax: Axes, drawn: Canvas, boxes: Iterable[Box]) -> None:
    """Outline the boxes in original pixels and name them, each name on the axes and where it hides no other.

    A name that is wider than the axes is cut and ends in dots.
    """
    before: list[_Name] = []
    for box in boxes:
        x0, y0, x1, y1 = box.xyxy
        edge: dict[str, Any] = {"edgecolor": "white", "linewidth": 1.6, "path_effects": _EDGE}
        ax.add_patch(Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, **edge))
        left, top, right, bottom = drawn.frame
        if x0 < right and x1 > left and y0 < bottom and y1 > top:
            corners = max(x0, left), max(y0, top), min(x1, right), min(y1, bottom)
            name = _Name(box.label, corners, tuple(before))
            ax.add_artist(name)
            before.append(name)


def panel_size(grid: ImageGrid, *, width: float) -> tuple[float, float]:
    """Inches for one drawing of the photo: its own shape, within reason, and room for title and note."""
    x0, y0, x1, y1 = _frame(grid)
    return width, float(np.clip(width * (y1 - y0) / (x1 - x0), 0.35 * width, 1.6 * width)) + 0.6


def _frame(grid: ImageGrid) -> tuple[int, int, int, int]:
    """The whole photo, or of a long one the seen part with as much around it as keeps its shape readable."""
    width, height = grid.image_size
    x0, y0, x1, y1 = grid.seen
    left, right = _span(x0, x1, width, SLENDER * height)
    top, bottom = _span(y0, y1, height, SLENDER * width)
    return left, top, right, bottom


def _span(start: float, end: float, side: int, longest: float) -> tuple[int, int]:
    """Whole pixels around start to end, no more than `longest` of them unless those are seen."""
    half = max(longest, end - start) / 2
    middle = float(np.clip((start + end) / 2, min(half, side / 2), max(side - half, side / 2)))
    return max(0, int(np.floor(min(middle - half, start)))), min(side, int(np.ceil(max(middle + half, end))))


class _Name(Text):
    """The name of a box, which finds its length and place on screen anew whenever the figure is drawn."""

    def __init__(self, label: str, corners: tuple[float, float, float, float], before: tuple[_Name, ...]) -> None:
        """Remember the corners of the box and the names that are placed before this one."""
        style: dict[str, Any] = {"color": "white", "fontsize": TICK - 1, "path_effects": _HALO, "parse_math": False}
        self._whole, self._corners, self._before = " ".join(label.split()), corners, before
        super().__init__(*corners[:2], self._whole, **style)
        write_text(self)
        self._whole = self.get_text()
        self.set_in_layout(False)  # it stays on the axes, wherever these come to lie

    def draw(self, renderer: RendererBase) -> None:
        """Place it, then draw it."""
        if self.axes is not None:
            frame = self.axes.get_window_extent(renderer)
            self._shorten(frame.width, renderer)
            self._place(frame, renderer)
        super().draw(renderer)

    def _shorten(self, width: float, renderer: RendererBase) -> None:
        """As many of its characters as fit into so many pixels on screen."""
        fits, too_long = 0, len(self._whole) + 1
        while too_long - fits > 1:
            kept = (fits + too_long) // 2
            self.set_text(_cut(self._whole, kept))
            fits, too_long = (kept, too_long) if self.get_window_extent(renderer).width <= width else (fits, kept)
        self.set_text(_cut(self._whole, fits))

    def _place(self, frame: Bbox, renderer: RendererBase) -> None:
        """At the first corner of its box where it stays on the axes and hides no other name.

        Where there is none, it is moved onto the axes, as little as will do.
        """
        x0, y0, x1, y1 = self._corners
        heights = ((y0, "bottom"), (y0, "top"), (y1, "top"), (y1, "bottom"))  # "bottom" puts the text above the point
        places = [(x, y, across, down) for x, across in ((x0, "left"), (x1, "right")) for y, down in heights]
        taken = [name.get_window_extent(renderer) for name in self._before]
        tried = []
        for x, y, across, down in places:
            self.set(position=(x, y), ha=across, va=down)
            extent = self.get_window_extent(renderer)
            shift = _into(frame, extent)
            hides = any(extent.translated(*shift).overlaps(other) for other in taken)
            tried.append((hides, float(np.abs(shift).sum()), (x, y, across, down), shift))
        _, moved, (x, y, across, down), shift = min(tried, key=lambda one: one[:2])
        if moved:
            transform = self.get_transform()
            x, y = transform.inverted().transform(transform.transform((x, y)) + shift)
        self.set(position=(x, y), ha=across, va=down)


def _cut(text: str, most: int) -> str:
    """So many characters of a text at most; nothing where there would be dots alone."""
    return cut_short(text, most) if most > 3 or most >= len(text) else ""


def _into(frame: Bbox, extent: Bbox) -> np.ndarray:
    """By how many pixels on screen (x, y) an extent has to be moved to lie in a frame that is large enough."""
    return np.subtract(frame.min, extent.min).clip(min=0) - np.subtract(extent.max, frame.max).clip(min=0)
