"""Compat: what differs between versions of the libraries, asked of the object itself and never of a version number."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
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


def checkpoint_activations(model: Any, on: bool, *, reentrant: bool = False) -> None:
    """Let backward compute a model's blocks again, or keep their activations; transformers renames how to say so."""
    word = next(word for word in _CHECKPOINTING if hasattr(model, f"{word}_enable"))
    if on:
        getattr(model, f"{word}_enable")(**{f"{word}_kwargs": {"use_reentrant": reentrant}})
    else:
        getattr(model, f"{word}_disable")()


_CHECKPOINTING = ("activation_checkpointing", "gradient_checkpointing")
"""What transformers calls it, from 5.24 on, and before."""


def keeps_no_activations() -> bool:
    """Whether what runs now is computed again in backward, by a checkpoint of torch that is not reentrant."""
    import torch

    look = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    top = None if look is None else look(True)
    return top is not None and getattr(top[0], "__module__", None) == "torch.utils.checkpoint"
