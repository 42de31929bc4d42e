"""Photos: anything a person may call a photo, as one upright RGB image, or one clear refusal."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from stat import S_ISREG
from typing import Any, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from interp.errors import InputError

ImageSource = str | Path | Image.Image | np.ndarray

FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "HEIF", "ICO", "JPEG", "JPEG2000", "JXL", "MPO", "PCX", "PNG", "PPM", "QOI", "SGI"),
    *("TGA", "TIFF", "WEBP"),
)
"""Formats of pixels that are read, by Pillow's names and whatever the file is called; others may start programs."""

MAX_PIXELS = 100_000_000
"""Largest photo that is read, in pixels. Pillow itself refuses some way above it, as a decompression bomb."""

_T = TypeVar("_T")

_ADDRESS = re.compile(r"(?:[a-z][a-z0-9+.-]+:/{1,2}[^/\\]|file:/|data:[a-z]+/)", re.IGNORECASE)


def load_image(source: ImageSource) -> Image.Image:
    """Read any photo as RGB, upright, eight bits a channel.

    * Grey, palette, CMYK and other colour modes become RGB.
    * Transparency is laid over white, as a page would show it.
    * 16-bit grey is scaled so that 65,535 is white; grey in floats so that 1.0 is white. Grey of 32 bits is 16-bit grey
      that was given more room, or eight-bit grey where nothing is above 255.
    * The EXIF orientation is applied, so boxes and pixels mean what a viewer shows. An orientation that can not be read
      counts as none.
    * Of an animation, the first frame (of one already opened, the current frame).

    Args:
        source: path of a file, PIL image, or array: [height width], [height width 1], [height width 3] or
            [height width 4], of uint8, of uint16 (65,535 is white), of bool, or of floats in [0, 1].

    Returns:
        A new image of mode RGB in the original resolution; the source is left as it was.

    Raises:
        InputError: no such file, a folder, a file that is broken, cut off or of none of `FORMATS`, an array of another
            shape or range, or more than `MAX_PIXELS` pixels.

    Example:
        >>> load_image(np.zeros((480, 640), dtype=np.uint8)).size
        (640, 480)
    """
    return _taken(source, _upright_rgb)


def upright_size(source: ImageSource) -> tuple[int, int]:
    """Width and height of a photo as `load_image` gives it, in pixels; of most files, only the header is read.

    Args:
        source: what `load_image` takes.

    Raises:
        InputError: what `load_image` refuses, save for what only decoding shows, such as a file that is cut off.

    Example:
        >>> upright_size(np.zeros((480, 640), dtype=np.uint8))
        (640, 480)
    """
    return _taken(source, _upright_size)


def check_image(source: ImageSource) -> tuple[int, int]:
    """Prove that `load_image` can read a photo, and give the size that it has then, in pixels.

    A JPEG file is read whole and decoded small, which takes a fraction of the time.

    Args:
        source: what `load_image` takes.

    Raises:
        InputError: what `load_image` refuses.

    Example:
        >>> check_image(np.zeros((480, 640), dtype=np.uint8))
        (640, 480)
    """
    if isinstance(source, (str, os.PathLike)):
        return _taken(source, _proved_size)
    return load_image(source).size


def photo_path(source: str | os.PathLike[str]) -> Path:
    """The path of a photo, with `~` as the home folder unless something of that very name lies here.

    Example:
        >>> photo_path("~/mug.jpg").is_absolute(), str(photo_path("photos/~mug.jpg"))
        (True, 'photos/~mug.jpg')
    """
    path = Path(source)
    try:
        return path.expanduser() if path.parts[:1] and path.parts[0][0] == "~" and not path.exists() else path
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        return path


def is_address(text: str) -> bool:
    """Whether a text is the address of something, such as a page, rather than a path.

    Example:
        >>> is_address("https://example.org/mug.jpg"), is_address("photos/mug.jpg"), is_address("C:/mug.jpg")
        (True, False, False)
    """
    return _ADDRESS.match(text) is not None


def _taken(source: ImageSource, take: Callable[[Image.Image, str], _T]) -> _T:
    """What `take` makes of a source as an image and of what messages call it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's on large photos and damaged metadata: both are dealt with here
        if isinstance(source, Image.Image):
            return take(_of_known_format(source), "the image given")
        if isinstance(source, np.ndarray):
            return take(_image_of_array(source), f"the array of shape {source.shape}")
        if isinstance(source, (str, os.PathLike)):
            if is_address(os.fspath(source)):
                raise InputError(
                    f"{os.fspath(source)!r:.200} is an address, not a file: download the photo and give its path"
                )
            return _read(photo_path(source), take)
    raise InputError(f"an image was given as {type(source).__name__}: give a path, a PIL image or a numpy array")


def _read(path: Path, take: Callable[[Image.Image, str], _T]) -> _T:
    """Open the file and give it to `take`."""
    try:
        if path.is_dir():
            raise InputError(f"{str(path)!r} is a folder: give the path of one photo")
        if not S_ISREG(path.stat().st_mode):  # reading from a pipe may wait for ever, from a device never end
            raise InputError(f"{str(path)!r} is a pipe or a device: save the photo as a file and give its path")
        with Image.open(path, formats=_formats_here()) as image:
            return take(image, repr(str(path)))
    except FileNotFoundError:
        raise InputError(f"there is no file {str(path)!r}: check the path of the photo") from None
    except PermissionError:
        raise InputError(f"{str(path)!r} can not be read: its permissions forbid it") from None
    except Image.DecompressionBombError:
        raise _too_large(repr(str(path))) from None
    except (UnidentifiedImageError, ImportError):  # ultralytics, once imported, makes Pillow look for other decoders
        raise InputError(f"{str(path)!r} is no image of a format that can be read: {_ADVICE}") from None
    except (OSError, ValueError) as error:
        raise InputError(
            f"{str(path)!r:.500} is no image that can be read ({_one_line(error):.500}): {_ADVICE}"
        ) from error


def _formats_here() -> list[str]:
    """Those of `FORMATS` that this installation can decode."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _of_known_format(image: Image.Image) -> Image.Image:
    """Refuse an image that was opened and not yet decoded, of a format that is not read from files either."""
    if image.format is not None and image.format not in FORMATS and getattr(image, "tile", None):
        raise InputError(f"the image given is of format {image.format}, which is not read: convert it to RGB first")
    return image


_SIXTEEN_BITS = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats whose grey of 16 bits Pillow gives in 32, so that a dark photo has small numbers there too."""

_ADVICE = "give a whole file of a common format such as JPEG or PNG"


def _upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Decode, rotate and convert; `name` is what messages call the image."""
    _check_size(image, name)
    try:
        image.load()
        turned = _rotate(image)
    except Exception as error:  # a damaged file makes decoders raise nearly anything, from SyntaxError to IndexError
        raise InputError(
            f"{name} can not be decoded, it is broken or cut off ({_one_line(error)}): {_ADVICE}"
        ) from error
    try:
        upright = _to_rgb(turned)
    except ValueError as error:
        raise InputError(f"{name} is in colour mode {image.mode}, which can not be shown: convert it to RGB") from error
    upright.info = {}  # a transparent colour or an orientation that is kept would be applied a second time
    return upright


def _check_size(image: Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(name)
    if width * height == 0:
        raise InputError(f"{name} is {width} x {height} pixels: give an image with at least one pixel")


def _upright_size(image: Image.Image, name: str) -> tuple[int, int]:
    if image.format == "TIFF":  # Pillow turns it while decoding; what size it tells before depends on the version
        return _upright_rgb(image, name).size
    _check_size(image, name)
    width, height = image.size
    return (height, width) if _lies_on_its_side(image) else (width, height)


def _proved_size(image: Image.Image, name: str) -> tuple[int, int]:
    """The upright size of an image that was just opened, once it is decoded."""
    if image.format not in ("JPEG", "MPO"):
        return _upright_rgb(image, name).size
    size = _upright_size(image, name)
    image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
    _upright_rgb(image, name)
    return size


def _lies_on_its_side(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
    except Exception:  # damaged metadata, which count as none
        return False


def _rotate(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata; viewers show such a photo as it is stored
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_of_numbers(np.asarray(image), image.mode, image.format)).convert("RGB")
    if image.has_transparency_data:
        layered = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        page = Image.new("RGB", image.size, "white")
        page.paste(layered, mask=layered.getchannel("A"))
        return page
    return image.convert("RGB")


def _grey_of_numbers(values: np.ndarray, mode: str, form: str | None) -> np.ndarray:
    """Grey of more than eight bits as uint8: Pillow would cut it off at 255 and show a white page."""
    white = 1.0 if mode.startswith("F") else 65535.0
    low, high = float(values.min()), float(values.max())
    if mode == "I" and form not in _SIXTEEN_BITS and 0.0 <= low <= high <= 255.0:
        return values.astype(np.uint8)
    if not 0.0 <= low <= high <= white:
        raise InputError(
            f"a grey image of mode {mode} holds values from {low:g} to {high:g} where 0 to {white:g} is "
            "expected: scale it, or convert it to eight bits"
        )
    return np.rint(values.astype(np.float64) * (255.0 / white)).astype(np.uint8)


def _image_of_array(array: np.ndarray) -> Image.Image:
    """An array as an image of eight bits a channel."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise InputError(f"an array of shape {array.shape} is no image: give [height width] or [height width 3 or 4]")
    if array.size == 0:
        raise InputError(f"an array of shape {array.shape} is empty: give an image with at least one pixel")
    return Image.fromarray(np.ascontiguousarray(_eight_bits(array)))


def _eight_bits(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return np.rint(array / 257.0).astype(np.uint8)
    if not np.issubdtype(array.dtype, np.floating):
        raise InputError(f"an array of {array.dtype} is no image: give uint8, uint16, bool, or floats in [0, 1]")
    low, high = float(array.min()), float(array.max())
    if not 0.0 <= low <= high <= 1.0:
        raise InputError(f"an array of floats from {low:g} to {high:g} is no image: give floats in [0, 1], or uint8")
    return np.rint(array * 255.0).astype(np.uint8)


def _too_large(name: str) -> InputError:
    return InputError(f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels: scale it down first")


def _one_line(error: Any) -> str:
    return " ".join(str(error).split()) or type(error).__name__
