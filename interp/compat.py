"""Compat: what differs between versions of the libraries, asked of the object itself and never of a version number."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from inspect import Parameter, signature, unwrap
from typing import Any, get_args

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


def call_options(*modules: Any) -> frozenset[str]:
    """The keywords that a model's `forward` reads, asked of its signature and those of parts that it hands on to.

    Behind `**kwargs` are the fields of the class that they are annotated with; what nobody reads, transformers drops
    without a word. The cache goes by all of its names: see `named_cache`.

    Args:
        *modules: the model, and the parts.
    """
    own = frozenset[str]().union(*(_read_by(getattr(each.forward, "__func__", each.forward)) for each in modules))
    return own | {*CACHE_NAMES} if own & {*CACHE_NAMES} else own


_OF_DECORATORS = frozenset({"return_dict", "output_attentions", "output_hidden_states"})
"""Keywords that transformers' decorators take before a `forward` sees them."""


@lru_cache(maxsize=256)
def _read_by(forward: Callable[..., Any]) -> frozenset[str]:
    parameters = signature(forward).parameters.values()
    own = {one.name for one in parameters if one.kind not in (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)}
    typed = [kind for one in parameters if one.kind is Parameter.VAR_KEYWORD for kind in get_args(one.annotation)]
    return frozenset(own.union(_OF_DECORATORS, *(getattr(kind, "__annotations__", ()) for kind in typed)) - {"self"})


def named_cache(given: Mapping[str, Any], model: Any) -> dict[str, Any]:
    """The keywords of a call with the cache under the name that this model's `forward` takes it by."""
    known = cache_name(model)
    return {known if name in CACHE_NAMES else name: value for name, value in given.items()}


def place_of(module: Any) -> Any:
    """The device on which a module computes, where its weights wait elsewhere meanwhile; None where they do not.

    accelerate brings weights from the main memory or the disk for each call, and leaves a hook that says whereto.
    """
    import torch

    if not any(weight.is_meta for weight in module.parameters(recurse=False)):
        return None
    hooks, place = [getattr(module, "_hf_hook", None)], None
    while hooks and place is None:
        own = hooks.pop()
        place = getattr(own, "execution_device", None)
        hooks += getattr(own, "hooks", ())
    return None if place is None else torch.device(place)


@contextmanager
def at_hand(module: Any) -> Iterator[None]:
    """Have a module's own weights where it computes, for a while; where they are in any case, nothing happens."""
    waits = place_of(module) is not None
    if waits:
        module._hf_hook.pre_forward(module)
    try:
        yield
    finally:
        if waits:
            module._hf_hook.post_forward(module, None)


def norm_epsilon(module: Any) -> float | None:
    """What a norm adds to the mean square, under the names that classes of transformers and torch give it.

    Returns:
        None where it is the smallest step of its dtype, as torch has it.
    """
    names = ("variance_epsilon", "eps", "epsilon")
    return next((float(getattr(module, name)) for name in names if getattr(module, name, None) is not None), None)


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


def own_image_options(images: Any) -> set[str]:
    """The options of an image processor that not every one takes.

    Told by the class, beside those of all classes; in versions that do not tell, there are none but its attributes.
    """
    from transformers import processing_utils

    told = getattr(getattr(images, "valid_kwargs", None), "__annotations__", {})
    of_all = getattr(getattr(processing_utils, "ImagesKwargs", None), "__annotations__", {})
    return set(told) - set(of_all)


BACKENDS = ("pil", "torchvision")
"""What image processors resize photos with; their pixels differ a little."""


def image_backend(images: Any) -> str | None:
    """What an image processor resizes photos with, one of `BACKENDS`, as it says itself; None where it says neither."""
    told = getattr(images, "backend", None)
    return told if told in BACKENDS else None


def image_processor_with(images: Any, backend: str) -> Any:
    """The same image processor, with the same settings, on another backend; None where transformers has none."""
    import transformers

    name = type(images).__name__.removesuffix("Pil")
    for kind in (getattr(transformers, other, None) for other in (name, f"{name}Pil")):
        made = None if kind is None else kind.from_dict(images.to_dict())
        if image_backend(made) == backend:
            return made
    return None


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
