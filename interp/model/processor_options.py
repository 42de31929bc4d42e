"""Processor options: what a processor does to photos, changed for one load, or refused by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from inspect import signature
from typing import Any

from interp.compat import BACKENDS, image_backend, image_processor_with, image_settings, own_image_options
from interp.errors import InputError

PARTS = frozenset({"image_processor", "tokenizer", "video_processor", "feature_extractor", "self", "kwargs", "args"})
"""What a processor is made of, which is no option."""


def with_options(processor: Any, options: Mapping[str, Any] | None) -> Any:
    """The processor with other settings, as `from_pretrained` of transformers would make it with them.

    Args:
        processor: a loaded processor, which is changed.
        options: settings by name, such as `max_pixels`, `do_image_splitting` or `size`.

    Raises:
        InputError: a name that this processor has no setting of, or a value that it can not work with.

    Example:
        >>> with_options(processor, {"max_pixels": 50176}).image_processor.size["longest_edge"]
        50176
    """
    if options is None:
        return processor
    if not isinstance(options, Mapping) or not all(isinstance(name, str) for name in options):
        raise InputError(f"processor_options={options!r:.80} is no dict of settings by name")
    images = getattr(processor, "image_processor", None)
    if images is None:
        raise InputError(f"{type(processor).__name__} has no image processor, so it takes no options: leave them out")
    of_images, of_call, of_all = _image_names(images), dict(image_settings(processor)), _own_names(processor)
    known = {*of_images, *of_call, *of_all}
    if unknown := sorted(set(options) - known):
        raise InputError(
            f"{type(processor).__name__} has no option {unknown[0]!r}: use some of {', '.join(sorted(known))}"
        )
    for name, value in options.items():
        _check_kind(name, value, of_images.get(name, of_call.get(name, getattr(processor, name, None))))
    chosen = {name: value for name, value in options.items() if name in of_images}
    try:
        if chosen:
            processor.image_processor = type(images).from_dict(images.to_dict(), **chosen)
        _set_call(processor, {name: value for name, value in options.items() if name in of_call})
        for name in set(options) & of_all:
            setattr(processor, name, options[name])
        _try(processor)
    except InputError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:160]
        raise InputError(
            f"{type(processor).__name__} can not work with {_spelled(options)} ({type(error).__name__}: {why}): give "
            "values as its files have them"
        ) from error
    return processor


def with_image_backend(processor: Any, backend: str | None) -> Any:
    """The processor with photos resized by one of two libraries, whose pixels differ a little; all else stays.

    Args:
        processor: a loaded processor, which is changed.
        backend: `pil`, as the papers' code has it, or `torchvision`; None leaves it as it is.

    Raises:
        InputError: another name, or this processor can not be had on that backend.
    """
    if backend is not None:
        processor.image_processor = image_processor_on(processor, backend)
    return processor


@contextmanager
def on_image_backend(processor: Any, backend: str | None) -> Iterator[None]:
    """`with_image_backend`, while this is on.

    Raises:
        InputError: as there.
    """
    if backend is None:
        yield
        return
    before, processor.image_processor = processor.image_processor, image_processor_on(processor, backend)
    try:
        yield
    finally:
        processor.image_processor = before


def image_processor_on(processor: Any, backend: str) -> Any:
    """A processor's image processor on a backend: its own where it is there already.

    Raises:
        InputError: another name, or there is none on that backend.
    """
    check_image_backend(backend)
    images = getattr(processor, "image_processor", None)
    if image_backend(images) == backend:
        return images
    found = None if images is None else image_processor_with(images, backend)
    if found is None:
        what = "no image processor" if images is None else f"a {type(images).__name__}"
        raise InputError(
            f"image_backend={backend!r}: {type(processor).__name__} has {what}, which transformers does not have on "
            f"that backend: {_instead(image_backend(images))}"
        )
    return found


def check_image_backend(backend: Any) -> None:
    """Refuse what is no name of a backend.

    Raises:
        InputError: it is none.
    """
    if backend is not None and backend not in BACKENDS:
        raise InputError(f"image_backend={backend!r:.40} is not known: give {' or '.join(BACKENDS)}")


def _instead(now: str | None) -> str:
    return f"say {now} (image_backend={now!r}, --image-backend {now}), which it is on" if now else "leave it out"


def _image_names(images: Any) -> dict[str, Any]:
    """The settings of an image processor with their values; None for one that it takes and does not have by itself."""
    has = {name: value for name, value in images.to_dict().items() if name != "image_processor_type"}
    return {**dict.fromkeys(own_image_options(images)), **has}


def _own_names(processor: Any) -> set[str]:
    """The settings of the processor as a whole."""
    return {name for name in signature(type(processor).__init__).parameters if hasattr(processor, name)} - PARTS


def _set_call(processor: Any, chosen: Mapping[str, Any]) -> None:
    """Settings that a processor tells its image processor at each call, over what that one has."""
    if not chosen:
        return
    if not hasattr(processor, "images_kwargs"):
        raise InputError(
            f"{', '.join(chosen)}: the transformers installed here keep this for all {type(processor).__name__} alike: "
            "install newer ones, or leave it out"
        )
    processor.images_kwargs = {**processor.images_kwargs, **chosen}


def _check_kind(name: str, value: Any, now: Any) -> None:
    """Refuse a value of another kind than the one that is there.

    Raises:
        InputError: it is.
    """
    if isinstance(now, bool):
        good, wanted = isinstance(value, bool), "true or false"
    elif isinstance(now, int) and not isinstance(now, Enum):
        good, wanted = isinstance(value, int) and not isinstance(value, bool) and value > 0, "a whole number above 0"
    elif isinstance(now, Mapping):
        good, wanted = isinstance(value, (Mapping, int)) and not isinstance(value, bool), "sizes by name"
    elif name.endswith("_pixels"):
        good, wanted = isinstance(value, int) and not isinstance(value, bool) and value > 0, "a whole number above 0"
    else:
        return
    if not good:
        raise InputError(f"the processor's option {name} is {value!r:.60}: give {wanted}")


def _try(processor: Any) -> None:
    """Make one small photo ready, so that settings that can not be worked with fail here and not at the first photo."""
    import numpy as np

    told = dict(image_settings(processor))
    photo = np.full((64, 64, 3), 127, np.uint8)
    processor.image_processor(images=[photo], **{**told, "return_tensors": "pt"})


def _spelled(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r:.40}" for name, value in options.items())
