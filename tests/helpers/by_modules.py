"""Edits by torch hooks that are put on the modules of a Hugging Face model by hand, with its hook points off."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from interp.hooks.towers import submodule, text_tower


@contextmanager
def hooked_by_hand(vlm: Any, layer: int, kind: str, edit: Callable[[Tensor], Tensor]) -> Iterator[Any]:
    """The plain model with what enters a block (`pre`), leaves it (`post`) or its output projection (`z`) edited."""

    def before(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (edit(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": edit(kwargs["hidden_states"])}

    def after(module: Any, args: Any, output: Any) -> Any:
        return (edit(output[0]), *output[1:]) if isinstance(output, tuple) else edit(output)

    with vlm.paused() as model:
        block = submodule(model, text_tower(model, vlm.family).blocks)[layer]
        at = block.self_attn.o_proj if kind == "z" else block
        handle = (
            at.register_forward_hook(after)
            if kind == "post"
            else at.register_forward_pre_hook(before, with_kwargs=True)
        )
        try:
            yield model
        finally:
            handle.remove()
