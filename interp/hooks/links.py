"""Links: our torch hooks on the modules of a model, and whether these are still where they were hooked."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from torch import nn
from torch.utils.hooks import RemovableHandle

from interp.errors import ModelError

HOW_TO_COPY = (
    "use copy.deepcopy(model) inside `with vlm.paused() as model:`, or model.save_pretrained(folder), and hook what "
    "that gives with HookedVLM.wrap(model, processor)"
)


class TorchHook(partial):  # type: ignore[type-arg]
    """A torch hook of ours on a module of the model: it belongs to this model, and no copy takes it along."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be copied or pickled, and with it the module that it is on.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"a hooked model can not be copied, pickled or saved whole with its hooks on: {HOW_TO_COPY}")


def carries_hooks(module: nn.Module) -> bool:
    """Whether one of our torch hooks is on a module."""
    return any(isinstance(hook, TorchHook) for hook in module._forward_pre_hooks.values())


class Links:
    """The modules that were hooked and all that lead to them, to be found again where they were."""

    def __init__(self, root: nn.Module) -> None:
        """Begin at the root of the model."""
        self.root = root
        self._links: dict[tuple[int, str], tuple[nn.Module, str, nn.Module]] = {}
        self._lengths: list[tuple[str, nn.Module, int]] = []
        self.handles: list[RemovableHandle] = []

    def follow(self, path: str) -> Any:
        """The module at a dotted path, noted with those on the way.

        Raises:
            AttributeError: there is none.
        """
        module: Any = self.root
        for name in path.split("."):
            child = getattr(module, name)
            if isinstance(child, nn.Module) and name in module._modules:
                self._links[id(module), name] = (module, name, child)
            module = child
        if isinstance(module, nn.ModuleList):
            self._lengths.append((path, module, len(module)))
        return module

    @property
    def joined(self) -> bool:
        """Whether our torch hooks are still on the modules that they were put on."""
        return all((hooks := each.hooks_dict_ref()) is not None and each.id in hooks for each in self.handles)

    def check(self) -> None:
        """Refuse a model whose hooked parts were replaced, compiled or rid of our hooks: none would be heard there.

        Raises:
            ModelError: one of them was.
        """
        for parent, name, child in self._links.values():
            if parent._modules.get(name) is not child:
                raise ModelError(
                    f"{name!r} of {type(parent).__name__} was replaced or removed after the model was hooked: "
                    "call unwrap() and hook the model again with HookedVLM.wrap(model, processor)"
                )
        for path, blocks, length in self._lengths:
            if len(blocks._modules) != length:
                raise ModelError(
                    f"{path} had {length} blocks when the model was hooked and has {len(blocks._modules)}: "
                    "call unwrap() and hook the model again with HookedVLM.wrap(model, processor)"
                )
        if not self.joined:
            raise ModelError(
                "hooks of this HookedVLM were taken off the modules of its model by something else: call unwrap() and "
                "hook the model again with HookedVLM.wrap(model, processor)"
            )
        refuse_compiled([self.root, *(child for _, _, child in self._links.values())])


def refuse_compiled(modules: Iterable[nn.Module]) -> None:
    """Refuse modules that were compiled: their graphs hold no hook that came later.

    Raises:
        ModelError: one of them was.
    """
    for module in modules:
        if "_orig_mod" in module._modules:
            raise ModelError(
                "this model was made by torch.compile, and hooks are not heard inside a compiled graph: give the model "
                "it was made of, which is its attribute _orig_mod"
            )
        if module.__dict__.get("_compiled_call_impl") is not None:
            raise ModelError(
                f"{type(module).__name__} was compiled in place, and hooks are not heard inside a compiled graph: "
                "load the model again, hook it, and do not call compile() on it or its layers"
            )
        if hasattr(module.__dict__.get("forward"), "_torchdynamo_orig_callable"):
            raise ModelError(
                f"the forward of {type(module).__name__} was compiled, and hooks are not heard inside a compiled "
                "graph: `del module.forward` gives it its own one back"
            )
