"""Items of lines: squares, shapes, the user's own thumbnails, and what the embedded model knows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from interp.datasets.synthetic.outlines import FULL, cover_at
from interp.datasets.synthetic.shapes import COLORS, SHAPES
from interp.errors import InputError
from interp.image.photos import FORMATS, load_image
from interp.store.names import given_path

RGB = tuple[int, int, int]
Points = list[tuple[float, float]]

PALETTE: Mapping[str, RGB] = {
    "Red": (255, 0, 0),
    "Green": (0, 255, 0),
    "Blue": (0, 0, 255),
    "Black": (0, 0, 0),
    "Brown": (150, 75, 0),
    "Gray": (128, 128, 128),
}
"""The colours of the paper's squares."""

ORANGE: RGB = (255, 165, 0)
"""What the paper has in the place of brown for Pixtral, where it draws pairs and asks questions."""

PAIRED = {
    "Square": "Red",
    "Circle": "Green",
    "Triangle": "Blue",
    "Star": "Black",
    "Cross": "Brown",
    "Heart": "Gray",
}
"""The paper's shapes, each with its colour."""


@dataclass(frozen=True, eq=False)
class Item:
    """Something to draw on a canvas.

    Attributes:
        word: what an answer calls it.
        name: what a question calls it.
        tile: draws it as a square of so many pixels, transparent where it is not.
        traits: what no two items of a picture share; its word by default.

    Example:
        >>> squares()[0].word, squares()[0].tile(56).size
        ('Red', (56, 56))
    """

    word: str
    name: str
    tile: Callable[[int], Image.Image] = field(repr=False)
    traits: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Let an item without traits be told by its word."""
        if not self.traits:
            object.__setattr__(self, "traits", (self.word,))


def squares(colors: Mapping[str, RGB] = PALETTE) -> tuple[Item, ...]:
    """Squares that fill their place, one of each colour.

    Example:
        >>> [item.name for item in squares()][:2]
        ['red square', 'green square']
    """
    return tuple(Item(word, f"{word.lower()} square", partial(_filled, rgb=rgb)) for word, rgb in colors.items())


def with_orange(colors: Mapping[str, RGB] = PALETTE) -> dict[str, RGB]:
    """The palette with orange in the place of brown.

    Example:
        >>> list(with_orange())
        ['Red', 'Green', 'Blue', 'Black', 'Orange', 'Gray']
    """
    return {
        ("Orange" if word == "Brown" else word): (ORANGE if word == "Brown" else rgb) for word, rgb in colors.items()
    }


def paired_shapes(colors: Mapping[str, RGB] = PALETTE) -> tuple[Item, ...]:
    """The paper's six shapes, each in its colour; an answer says the colour.

    Of a palette with orange in the place of brown, the cross is orange.

    Example:
        >>> [item.name for item in paired_shapes()][-1]
        'gray heart'
    """
    worn = {shape: "Orange" if color not in colors else color for shape, color in PAIRED.items()}
    return tuple(
        Item(color, f"{color.lower()} {shape.lower()}", partial(_shape, shape=shape, rgb=colors[color]))
        for shape, color in worn.items()
    )


def known_shapes() -> tuple[Item, ...]:
    """The shapes and colours that the embedded model was trained on, as its scenes draw them.

    Two of a picture share neither colour nor shape.

    Example:
        >>> len(known_shapes()), known_shapes()[0].name
        (24, 'red circle')
    """
    return tuple(
        Item(f"{color} {shape}", f"{color} {shape}", partial(_outline, shape=shape, rgb=rgb), (color, shape))
        for shape in SHAPES
        for color, rgb in COLORS.items()
    )


def thumbnails(folder: str | Path) -> tuple[Item, ...]:
    """One item for each picture of a folder, called as its file is.

    A picture is made as large as its place allows, in its own proportions; the rest, and what is transparent, is white.

    Raises:
        InputError: no such folder, fewer than three pictures, one that can not be read, or two of one name.
    """
    place = given_path(folder)
    if not place.is_dir():
        raise InputError(f"{str(folder)!r} is no folder of thumbnails: name one with a picture of each object")
    files = sorted(path for path in place.iterdir() if path.is_file() and path.suffix.lower() in _suffixes())
    names = [path.stem.replace("_", " ").replace("-", " ").strip().lower() for path in files]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two pictures of {str(folder)!r} are called {twice!r}: give each a name of its own")
    if len(files) < 3:
        raise InputError(f"{str(folder)!r} holds {len(files)} pictures, and a line has three: add more")
    return tuple(
        Item(name, name, partial(_thumbnail, picture=load_image(path))) for name, path in zip(names, files, strict=True)
    )


def _suffixes() -> set[str]:
    """The endings of the files that are read as pictures."""
    return {ending for ending, kind in Image.registered_extensions().items() if kind in FORMATS}


def _filled(side: int, rgb: RGB) -> Image.Image:
    return Image.new("RGBA", (side, side), (*rgb, 255))


def _shape(side: int, shape: str, rgb: RGB) -> Image.Image:
    """One of the paper's shapes: hard edges, lengths cut to whole pixels."""
    image = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    draw, last = ImageDraw.Draw(image), side - 1
    if shape == "Square":
        inset = last // 10
        draw.rectangle((inset, inset, last - inset - 1, last - inset - 1), fill=rgb)
    elif shape == "Circle":
        middle, radius = last // 2, int(0.45 * side)
        draw.ellipse((middle - radius, middle - radius, middle + radius, middle + radius), fill=rgb)
    elif shape == "Cross":
        bar = side // 3
        start = (side - bar) // 2
        draw.rectangle((start, 0, start + bar - 1, last), fill=rgb)
        draw.rectangle((0, start, last, start + bar - 1), fill=rgb)
    else:
        draw.polygon(_CORNERS[shape](side), fill=rgb)
    return image


def _triangle(side: int) -> Points:
    """Equal sides, as wide as its place."""
    foot = int(side * math.sqrt(3) / 2)
    return [(side // 2, 0), (0, foot), (side - 1, foot)]


def _star(side: int) -> Points:
    """A pentagram, tip up, stretched to the full width."""
    half = (side - 1) / 2
    wide = half / math.sin(math.radians(72))
    points = []
    for corner in range(10):
        reach, angle = (0.382 if corner % 2 else 1.0), math.radians(36 * corner)
        points.append((half + reach * wide * math.sin(angle), half - reach * half * math.cos(angle)))
    return points


def _heart(side: int) -> Points:
    """The curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, stretched to its place."""
    turn = np.linspace(0, 2 * np.pi, 101)
    x = 16 * np.sin(turn) ** 3
    y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    across, down = ((side - 1) * (line - line.min()) / (line.max() - line.min()) for line in (x, y))
    return list(zip(across.tolist(), down.tolist(), strict=True))


_CORNERS: Mapping[str, Callable[[int], Points]] = {"Triangle": _triangle, "Star": _star, "Heart": _heart}


def _outline(side: int, shape: str, rgb: RGB) -> Image.Image:
    """A shape as `interp.datasets.synthetic.shapes` paints it, with soft edges."""
    cover, left, top = cover_at(shape, side / 2, (side / 2, side / 2))
    alpha = np.round(cover[-top : -top + side, -left : -left + side] * (255 / FULL)).astype(np.uint8)
    return Image.fromarray(np.dstack([np.broadcast_to(np.array(rgb, np.uint8), (side, side, 3)), alpha]), "RGBA")


def _thumbnail(side: int, picture: Image.Image) -> Image.Image:
    """A picture in the middle of a white square."""
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    tile = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    tile.paste(picture.resize((width, height), Image.Resampling.LANCZOS), ((side - width) // 2, (side - height) // 2))
    return tile


def compatible(items: Sequence[Item]) -> bool:
    """Whether no two items of a picture share a trait."""
    traits = [trait for item in items for trait in item.traits]
    return len(set(traits)) == len(traits)
