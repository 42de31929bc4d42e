"""Tiny models: one of each family, with random weights and the family's real processor, made in memory in a second.

They answer nonsense, and exactly as the real ones do: every line of the families' own code runs. `tiny-llava`,
`tiny-qwen2_5_vl` and so on are names that can be loaded like any other model.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from interp.errors import ModelError

PREFIX = "tiny-"

_MODULES = {
    "llava": "llava",
    "qwen2_vl": "qwen",
    "qwen2_5_vl": "qwen",
    "qwen3_vl": "qwen",
    "glm4v": "glm4v",
    "idefics3": "idefics3",
    "smolvlm": "idefics3",
    "internvl": "internvl",
    "gemma3": "gemma",
    "paligemma": "gemma",
    "paligemma2": "gemma",
    "mistral3": "mistral3",
    "pixtral": "mistral3",
    "llava_next": "anyres",
    "llava_onevision": "anyres",
}
"""Which module of this package builds which model type; each has a function `build_<model type>`."""

TINY = tuple(PREFIX + model_type for model_type in _MODULES)
"""Tiny models, by name."""


def build_tiny(name: str, *, seed: int = 0) -> tuple[Any, Any]:
    """Make a tiny model and its processor.

    Args:
        name: one of `TINY`.
        seed: the seed of the weights.

    Raises:
        ModelError: there is none of that name.

    Example:
        >>> model, processor = build_tiny("tiny-llava")
        >>> type(model).__name__
        'LlavaForConditionalGeneration'
    """
    from interp.zoo.seeded import seeded

    model_type = name.removeprefix(PREFIX)
    if name not in TINY:
        raise ModelError(f"no tiny model is called {name!r}: use one of {', '.join(TINY)}")
    build: Callable[[int], tuple[Any, Any]] = getattr(
        import_module(f"interp.zoo.tiny.{_MODULES[model_type]}"), f"build_{model_type}"
    )
    with seeded(seed):
        return build(seed)
