"""Lines of items, set on whole image tokens: three in a row or a column, or a grid of them, on one plain canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL import Image

from interp.datasets.synthetic.line_items import Item
from interp.errors import InputError
from interp.image.boxes import Box, Boxes

AXES = ("horizontal", "vertical")
"""A row of items, or a column."""

ITEMS = 3
"""Items of a line."""

WHITE = (255, 255, 255)


@dataclass(frozen=True)
class LineGeometry:
    """Where items lie on a canvas, counted in the image tokens that a model makes of it.

    A line of k items of side S with gaps g begins at (N - k S - (k - 1) g) // 2 along its axis, of N tokens, and lies
    at (N - S) // 2 across it: the rule of "The Dual Mechanisms of Spatial Reasoning in Vision-Language Models".

    Attributes:
        rows: rows of tokens.
        columns: columns of tokens.
        patch_px: side of a token on the canvas, in pixels.
        item: side S of an item, in tokens.
        gap: tokens g between two items.

    Raises:
        InputError: numbers below 1 (a gap below 0), or a line that the canvas is too small for.

    Example:
        >>> geometry = LineGeometry(8, 8, 14, item=2, gap=1)
        >>> geometry.size, geometry.slots("horizontal")[0]
        ((112, 112), (0, 42, 28, 70))
    """

    rows: int
    columns: int
    patch_px: int
    item: int
    gap: int

    def __post_init__(self) -> None:
        """Refuse what can not be drawn."""
        for name, least in {"rows": 1, "columns": 1, "patch_px": 1, "item": 1, "gap": 0}.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise InputError(f"{name}={value!r} of a line's geometry: give a whole number of {least} or more")
        self._check_room(ITEMS)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the canvas, in pixels."""
        return self.columns * self.patch_px, self.rows * self.patch_px

    @property
    def side(self) -> int:
        """Side of an item, in pixels."""
        return self.item * self.patch_px

    def slots(self, axis: str) -> tuple[tuple[int, int, int, int], ...]:
        """Corners (x0, y0, x1, y1) in pixels of the three items of a line, from the left or from the top."""
        check_axis(axis)
        along, across = (self.columns, self.rows) if axis == "horizontal" else (self.rows, self.columns)
        middle = (across - self.item) // 2
        starts = self._starts(along, ITEMS)
        return tuple(self._corners(*((start, middle) if axis == "horizontal" else (middle, start))) for start in starts)

    def cells(self, k: int) -> tuple[tuple[int, int, int, int], ...]:
        """Corners in pixels of k x k items, row after row.

        Raises:
            InputError: a k below 1, or a canvas that is too small for it.
        """
        self._check_room(k)
        columns, rows = self._starts(self.columns, k), self._starts(self.rows, k)
        return tuple(self._corners(column, row) for row in rows for column in columns)

    def describe(self) -> str:
        """Say in words where the items lie."""
        width, height = self.size
        return (
            f"items of {self.item} x {self.item} tokens, {self.gap} apart, on {self.rows} x {self.columns} tokens of "
            f"{self.patch_px} pixels (a canvas of {width} x {height})"
        )

    def _starts(self, along: int, k: int) -> list[int]:
        """The first token of each of k items along an axis."""
        step = self.item + self.gap
        return [(along - k * self.item - (k - 1) * self.gap) // 2 + step * place for place in range(k)]

    def _corners(self, column: int, row: int) -> tuple[int, int, int, int]:
        x, y = column * self.patch_px, row * self.patch_px
        return x, y, x + self.side, y + self.side

    def _check_room(self, k: int) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise InputError(f"k={k!r} items in a line: give a whole number of 1 or more")
        needed = k * self.item + (k - 1) * self.gap
        if needed > min(self.rows, self.columns):
            raise InputError(
                f"{k} items of {self.item} tokens with gaps of {self.gap} need {needed} tokens, and the canvas has "
                f"{self.rows} rows x {self.columns} columns: make items or gaps smaller"
            )


PAPER_GEOMETRIES: Mapping[str, LineGeometry] = {
    "qwen2vl": LineGeometry(12, 12, 28, item=2, gap=2),
    "gemma3": LineGeometry(16, 16, 56, item=3, gap=3),
    "pixtral": LineGeometry(15, 15, 16, item=2, gap=2),
}
"""The geometries of the paper's three models: Qwen2-VL-7B, Gemma-3-4B and Pixtral-12B."""


@dataclass(frozen=True, eq=False)
class Line:
    """A picture of items and where they are.

    Attributes:
        image: the picture.
        boxes: what each item was given room of, in pixels, in the order of the items.
    """

    image: Image.Image
    boxes: Boxes


def draw_line(
    items: Sequence[Item], axis: str, geometry: LineGeometry, *, canvas: tuple[int, int, int] = WHITE
) -> Line:
    """Draw three items, from the left to the right or from the top down.

    Args:
        items: what is drawn.
        axis: `horizontal` or `vertical`.
        geometry: where.
        canvas: the colour of the background.

    Raises:
        InputError: not three items, or an axis that is not known.

    Example:
        >>> red, green, blue = squares()[:3]
        >>> draw_line([red, green, blue], "horizontal", PAPER_GEOMETRIES["qwen2vl"]).image.size
        (336, 336)
    """
    if len(items) != ITEMS:
        raise InputError(f"{len(items)} items were given for a line: give {ITEMS}")
    return _drawn(items, geometry.slots(axis), geometry, canvas)


def draw_grid(items: Sequence[Item], k: int, geometry: LineGeometry, *, canvas: tuple[int, int, int] = WHITE) -> Line:
    """Draw k x k items, row after row.

    Raises:
        InputError: another number of items, or a canvas that is too small.
    """
    slots = geometry.cells(k)
    if len(items) != len(slots):
        raise InputError(f"{len(items)} items were given for a grid of {k} x {k}: give {len(slots)}")
    return _drawn(items, slots, geometry, canvas)


def draw_alone(item: Item, geometry: LineGeometry, *, canvas: tuple[int, int, int] = WHITE) -> Image.Image:
    """Draw one item in the middle: where the second of a line lies, whichever its axis."""
    column, row = (geometry.columns - geometry.item) // 2, (geometry.rows - geometry.item) // 2
    x, y = column * geometry.patch_px, row * geometry.patch_px
    slot = (x, y, x + geometry.side, y + geometry.side)
    return _drawn([item], [slot], geometry, canvas).image


def draw_blank(geometry: LineGeometry, *, canvas: tuple[int, int, int] = WHITE) -> Image.Image:
    """Draw nothing but the canvas."""
    return Image.new("RGB", geometry.size, canvas)


def check_axis(axis: str) -> None:
    """Refuse an axis that is not known.

    Raises:
        InputError: it is not.
    """
    if axis not in AXES:
        raise InputError(f"axis={axis!r} of a line is not known: use {' or '.join(AXES)}")


def _drawn(
    items: Sequence[Item],
    slots: Sequence[tuple[int, int, int, int]],
    geometry: LineGeometry,
    canvas: tuple[int, int, int],
) -> Line:
    image = draw_blank(geometry, canvas=canvas)
    for item, (x0, y0, _, _) in zip(items, slots, strict=True):
        tile = item.tile(geometry.side)
        image.paste(tile, (x0, y0), tile)
    boxes = [Box(item.name, tuple(map(float, slot))) for item, slot in zip(items, slots, strict=True)]  # type: ignore[arg-type]
    return Line(image, Boxes(tuple(boxes), source="drawn"))
