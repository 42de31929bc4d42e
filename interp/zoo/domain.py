"""The domain of the small models: of what their answers and maps mean nothing, in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from interp.zoo import EMBEDDED
from interp.zoo.tiny import PREFIX

if TYPE_CHECKING:
    from PIL import Image

    from interp.image.photos import ImageSource

_SIDE = 112  # pixels of a drawn scene
_GREY, _GRAIN = 8, 10  # levels by which a background's channels may differ, and its pixels from a slope
_COLOURED, _LEAST_COLOURED = 40, 0.01  # levels by which the channels of an object differ, and how much of a scene does
_DARKEST, _LIGHTEST = 60, 235  # levels between which a background lies
LOOKED_AT = 8
"""Images in files that are looked at, to tell whether they are drawn scenes."""

_LEAST, _MOST = 0.4, 0.9  # of a scene is background, and of this so much is as smooth as that


def remarks_on(model: object, image: Image.Image | None = None) -> list[str]:
    """What a reader has to know of a model that answers about an image; nothing of most.

    Args:
        model: the name that it was loaded by.
        image: what it is asked about, if one image is.

    Example:
        >>> remarks_on("tiny-llava")
        ['tiny-llava has random weights, so its answers and maps mean nothing.']
    """
    name = str(model)
    if name.startswith(PREFIX):
        return [f"{name} has random weights, so its answers and maps mean nothing."]
    if name in EMBEDDED and image is not None and not is_drawn(image):
        return [
            f"{name} knows drawn scenes of its own coloured shapes alone, and this is none of them, so its answer and "
            "where it looks mean nothing."
        ]
    return []


def remarks_on_images(model: object, images: Sequence[ImageSource]) -> list[str]:
    """The same of a study of many images; of those in files, up to `LOOKED_AT` are looked at.

    Images that were handed over as they are, such as scenes that were drawn for the model, are taken for what it knows.

    Args:
        model: the name that it was loaded by.
        images: what it is asked about.

    Raises:
        InputError: an image can not be read.

    Example:
        >>> remarks_on_images("shapes-vlm", ["photo.jpg"])
        ['shapes-vlm was trained on drawn scenes ...']
    """
    from interp.image.photos import load_image

    if (remarks := remarks_on(model)) or str(model) not in EMBEDDED:
        return remarks
    files = [image for image in images if isinstance(image, (str, Path))][:LOOKED_AT]
    if all(is_drawn(load_image(file)) for file in files):
        return []
    return [
        f"{model} was trained on drawn scenes of coloured shapes alone. These are photos, so its answers and where it "
        "looks mean nothing."
    ]


def is_drawn(image: Image.Image) -> bool:
    """Whether an image is made as the drawn scenes are: coloured things on a grey slope with a little grain.

    Example:
        >>> is_drawn(draw_scene(0).image), is_drawn(photo)
        (True, False)
    """
    import numpy as np

    pixels = np.asarray(image.convert("RGB").resize((_SIDE, _SIDE)), dtype=np.float64).reshape(-1, 3)
    level, colour = pixels.mean(axis=1), np.ptp(pixels, axis=1)
    grey = colour <= _GREY
    if grey.mean() < _LEAST or (colour > _COLOURED).mean() < _LEAST_COLOURED:
        return False
    rows, columns = np.divmod(np.arange(_SIDE**2), _SIDE)
    slope = np.stack([np.ones(_SIDE**2), rows, columns], axis=1)
    found = np.linalg.lstsq(slope[grey], level[grey], rcond=None)[0]
    smooth = (np.abs(slope @ found - level) <= _GRAIN)[grey].mean()
    return bool(smooth >= _MOST and _DARKEST < level[grey].mean() < _LIGHTEST)
