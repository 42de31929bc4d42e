"""Digests: by what a file, or what a photo shows, is known again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

_AT_ONCE = 1 << 20
"""Bytes of a file that are read at a time."""


def file_digest(*paths: Path) -> str:
    """The SHA-256 of one or several files, one behind the other.

    Raises:
        OSError: one can not be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while part := file.read(_AT_ONCE):
                digest.update(part)
    return digest.hexdigest()


def photo_digest(photo: Image.Image) -> str:
    """The SHA-256 of a photo as `load_image` gives it: upright, in RGB."""
    return hashlib.sha256(repr(photo.size).encode() + photo.tobytes()).hexdigest()


def picture_digest(picture: Image.Image) -> str:
    """The SHA-256 of a picture in memory, of any mode, with the palette by which its numbers are colours."""
    palette = picture.getpalette() if picture.mode == "P" else None
    return hashlib.sha256(repr((picture.size, picture.mode, palette)).encode() + picture.tobytes()).hexdigest()
