"""Compat: what differs between versions of the libraries, asked of the object itself and never of a version number."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from inspect import signature, unwrap
from typing import Any

CACHE_NAMES = ("cache", "past_key_values")
"""What transformers calls the keys and values of earlier positions, in calls and outputs: from 5.24 on, and before."""


def cache_name(model: Any) -> str:
    """The name under which a model's `forward` takes its cache.

    Example:
        >>> model(input_ids=ids, **{cache_name(model): cache})
    """
    taken = signature(model.forward).parameters
    return next((name for name in CACHE_NAMES if name in taken), CACHE_NAMES[-1])


def cache_in(given: Mapping[str, Any]) -> Any:
    """The cache among the arguments of a call or the fields of an output, by either name; None where there is none."""
    return next((given[name] for name in CACHE_NAMES if name in given and given[name] is not None), None)


DEEPSTACK_NAMES = ("visual_pos_masks", "deepstack_visual_embeds")
"""Under which names a language model with DeepStack is told where features of the photo go between its first blocks, as
a mask [batch pos], and these features, a tensor [place d_model] for each block."""


def deepstack_in(given: Mapping[str, Any]) -> tuple[Any, list[Any]] | None:
    """Where features of the photo go between blocks, and these; None and nothing where no photo is given.

    Args:
        given: the arguments of a call of the language model.

    Returns:
        None where it is not called with such at all.
    """
    if not set(DEEPSTACK_NAMES) <= set(given):
        return None
    where, features = (given[name] for name in DEEPSTACK_NAMES)
    return where, [] if features is None else list(features)


def image_settings(processor: Any) -> Mapping[str, Any]:
    """What a processor tells its image processor when nobody says otherwise.

    An attribute of the processor; in earlier versions, defaults of the class that lists what its call takes.
    """
    own = getattr(processor, "images_kwargs", None)
    if own is None:
        own = getattr(getattr(processor, "valid_processor_kwargs", None), "_defaults", {}).get("images_kwargs", {})
    return own


class Generating:
    """Whether a model's own `generate` is running, and for which prompt: no pass by itself can tell.

    A prompt may come in chunks, with guesses of the answer behind it, or anew for each token.
    """

    def __init__(self, model: Any) -> None:
        """Remember which functions `generate` of this model is made of."""
        made_of = [vars(cls)["generate"] for cls in type(model).__mro__ if "generate" in vars(cls)]
        self._model, self._codes = model, {getattr(unwrap(each), "__code__", None) for each in made_of}

    def prompt(self) -> int | None:
        """The length in positions of the prompt that it was asked to go on from; None where it does not run.

        With `generate` inside of itself, as where a model guesses for itself, the outermost is asked.
        """
        frame, found = sys._getframe(1), None
        while frame is not None:
            if frame.f_code in self._codes and frame.f_locals.get("self") is self._model:
                found = frame
            frame = frame.f_back  # type: ignore[assignment]
        return None if found is None else _longest(found.f_locals)


def _longest(known: Mapping[str, Any]) -> int | None:
    """The positions of a prompt, of which a call that goes on with a cache may be given the mask alone in full."""
    given = {**known.get("kwargs", {}), **known}
    parts: list[Any] = [given.get(name) for name in ("input_ids", "inputs", "inputs_tensor", "inputs_embeds")]
    mask: Any = known.get("kwargs", {}).get("attention_mask")
    parts += [mask] if getattr(mask, "ndim", 0) == 2 else []
    return max((part.shape[1] for part in parts if getattr(part, "ndim", 0) > 1), default=None)
