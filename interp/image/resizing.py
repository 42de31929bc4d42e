"""What an image processor does to the two axes of a photo, followed exactly, so that it can be undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from inspect import isfunction, signature
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.compat import image_settings
from interp.errors import InputError, ModelError

if TYPE_CHECKING:
    from jaxtyping import Float64

MAX_RESIZED_PIXELS = 50_000_000
"""Largest image that a processor may make on its way to the crop, in pixels: about 600 MB in floats."""


@dataclass(frozen=True)
class Axis:
    """One axis of a photo on its way to the model: a place p of the photo is now at `p * scale + offset`.

    Fractions keep it exact: rounding would give a token of mere padding a sliver of the photo.

    Attributes:
        photo: length in the photo, in pixels.
        length: length now, in pixels.
        scale: pixels now per pixel of the photo.
        offset: where the photo begins now, in pixels; below 0 where the start of it was cut off.
        reach: how far from its own place a pixel now may have seen, in pixels of the photo: the resampling filters.
    """

    photo: int
    length: int
    scale: Fraction = Fraction(1)
    offset: Fraction = Fraction(0)
    reach: Fraction = Fraction(0)

    def resized(self, length: int, radius: int = 2) -> Axis:
        """Stretch to `length` pixels, with a filter of `radius` pixels: of those now, or of the larger ones to come."""
        factor = Fraction(length, self.length)
        reach = self.reach + radius * max(Fraction(1), 1 / factor) / self.scale
        return Axis(self.photo, length, self.scale * factor, self.offset * factor, reach)

    def moved(self, shift: int, length: int) -> Axis:
        """Cut or pad to `length` pixels, with what is left moved by `shift`."""
        return Axis(self.photo, length, self.scale, self.offset + shift, self.reach)

    def to_photo(self, places: Iterable[int | Fraction]) -> Float64[np.ndarray, " place"]:
        """Places along the axis as it is now, in pixels of the photo, clipped to the photo."""
        exact = [(place - self.offset) / self.scale for place in places]
        return np.array([float(min(max(place, Fraction(0)), Fraction(self.photo))) for place in exact])


def follow_processor(image_size: tuple[int, int], image_processor: Any) -> tuple[Axis, Axis]:
    """Follow the axes x and y of a photo through an image processor of transformers.

    Source of the steps, their order and their rounding: `TorchvisionBackend` and `PilBackend` of transformers'
    `image_processing_backends.py`, and `pad_to_square` of its `LlavaImageProcessor`.

    Args:
        image_size: (width, height) of the photo in pixels.
        image_processor: one that runs these steps as they are there; its own settings are read.

    Returns:
        The axes along x and y as they are in the pixels that the model takes.

    Raises:
        InputError: between resize and crop the image would have more than `MAX_RESIZED_PIXELS` pixels.
        ModelError: a processor with steps of its own, or with a form of `size` that is not known.

    Example:
        >>> x, y = follow_processor((640, 480), CLIPImageProcessor())  # to 298 x 224, then the middle 224 x 224
        >>> print(x.offset, y.offset)
        -37 0
    """
    squares, rounds_up = _known_steps(image_processor)
    width, height = image_size
    x, y = Axis(width, width), Axis(height, height)
    if squares and image_processor.do_pad:
        side = max(image_size)
        x, y = (axis.moved((side - axis.length) // 2, side) for axis in (x, y))
    if image_processor.do_resize:
        new_width, new_height = _resized(x.length, y.length, dict(image_processor.size))
        radius = filter_radius(image_processor)
        x, y = x.resized(new_width, radius), y.resized(new_height, radius)
    if image_processor.do_center_crop:
        crop = dict(image_processor.crop_size)
        x, y = _centred(x, crop["width"], rounds_up), _centred(y, crop["height"], rounds_up)
    if not squares and image_processor.do_pad and image_processor.pad_size:
        pad = dict(image_processor.pad_size)
        x, y = x.moved(0, pad["width"]), y.moved(0, pad["height"])
    return x, y


def filter_radius(image_processor: Any) -> int:
    """Radius of the resampling filter that an image processor uses, in pixels; Pillow's number of it is its setting.

    Raises:
        ModelError: a filter that is not known.
    """
    radii = {0: 1, 1: 3, 2: 1, 3: 2, 4: 1, 5: 1}
    given = getattr(image_processor, "resample", None)
    try:
        return radii[int(given)]  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError):
        raise ModelError(
            f"the image processor resamples by {given!r}, and how far that reaches is not known: use one of Pillow's "
            "filters by number, such as 3 for bicubic"
        ) from None


def processor_setting(processor: Any, name: str) -> Any:
    """What a processor tells its image processor of a setting, or else that one's own."""
    over = image_settings(processor).get(name)
    return getattr(processor.image_processor, name) if over is None else over


def check_patch_size(processor: Any, config: Any) -> None:
    """Refuse a processor that counts image tokens by a `patch_size` that it has not, as those of old checkpoints.

    Raises:
        ModelError: it is absent or no whole number; the message says which the model has.
    """
    if "patch_size" not in signature(type(processor).__init__).parameters:
        return
    given = getattr(processor, "patch_size", None)
    if not isinstance(given, int) or given < 1:
        own = getattr(config.vision_config, "patch_size", "that of the model")
        raise ModelError(
            f"the processor's patch_size is {given!r}, by which it counts image tokens: set processor.patch_size = "
            f'{own}, or write "patch_size": {own} into the processor_config.json of the model\'s folder'
        )


def check_steps(image_processor: Any, *known: str) -> None:
    """Refuse an image processor that does not work as one of the `known` classes of transformers does.

    Args:
        image_processor: the model's.
        known: names such as `Gemma3ImageProcessor`; the class of the same name that works with Pillow goes with it.

    Raises:
        ModelError: it has steps of its own.
    """
    import transformers

    names = [name + backend for name in known for backend in ("", "Pil")]
    for reference in (getattr(transformers, name) for name in names if hasattr(transformers, name)):
        steps = {name for name, value in vars(reference).items() if isfunction(value) and not name.startswith("__")}
        if _works_as(image_processor, reference, (*steps, *_STEPS)):
            return
    raise _has_own_steps(image_processor, " or ".join(known))


def _works_as(image_processor: Any, reference: type, steps: Iterable[str]) -> bool:
    """Whether the steps of an image processor are those of a class of transformers."""
    given = type(image_processor)
    return all(getattr(given, step, None) is getattr(reference, step, None) for step in steps)


def _has_own_steps(image_processor: Any, known: str) -> ModelError:
    return ModelError(
        f"the image processor {type(image_processor).__name__} has steps of its own, so where its pixels come from is "
        f"not known: use a model with {known} of transformers"
    )


def _known_steps(image_processor: Any) -> tuple[bool, bool]:
    """Whether the processor pads to a square first, and whether it rounds margins up, as Pillow's backend does."""
    from transformers import LlavaImageProcessor, LlavaImageProcessorPil
    from transformers.image_processing_backends import PilBackend, TorchvisionBackend

    known = {
        TorchvisionBackend: (False, False),
        PilBackend: (False, True),
        LlavaImageProcessor: (True, False),
        LlavaImageProcessorPil: (True, True),
    }
    for reference, answer in known.items():
        if _works_as(image_processor, reference, _STEPS):
            return answer
    raise _has_own_steps(image_processor, "the processor of CLIP, SigLIP or LLaVA")


_STEPS = ("_preprocess", "resize", "center_crop", "pad")


def _resized(width: int, height: int, size: dict[str, int]) -> tuple[int, int]:
    """Width and height after the resize, rounded as transformers does: the longer side is cut to whole pixels."""
    if size.keys() == {"height", "width"}:
        return size["width"], size["height"]
    if size.keys() != {"shortest_edge"}:
        raise ModelError(f"the image processor resizes to {size}: only shortest_edge, or height and width, are known")
    short = size["shortest_edge"]
    long = int(short * max(width, height) / min(width, height))
    if short * long > MAX_RESIZED_PIXELS:
        raise InputError(
            f"the photo of {width} x {height} pixels is so narrow that it would be enlarged to {short} x {long} before "
            "its middle is cut out: crop it to the part that matters"
        )
    return (short, long) if width <= height else (long, short)


def _centred(axis: Axis, length: int, rounds_up: bool) -> Axis:
    """Cut out the middle, or pad with black on both sides; an odd margin is rounded as the backend does."""
    spare = length - axis.length
    return axis.moved(-(-spare // 2) if rounds_up else int(spare / 2), length)
