"""Wired: a Hugging Face model with hook points joined to it, which can be taken off, and kept for one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn
from transformer_lens import HookedRootModule

from interp.compat import place_of
from interp.errors import ModelError
from interp.hooks.links import HOW_TO_COPY
from interp.hooks.passes import Note, note
from interp.hooks.point import OFF

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from interp.families import Family
    from interp.hooks.shape import ModelShape
    from interp.hooks.wiring import Wiring


class WiredModel(HookedRootModule):
    """What holds a model and the wiring of its hook points.

    Attributes:
        family: what is known of its architecture.
        model: Hugging Face's model, outside the module tree of the hook points.
        origin: the name and revision that it was loaded by.
        self_checked: whether it passed its self-check.
    """

    family: Family
    model: PreTrainedModel
    origin: dict[str, Any]
    self_checked: bool
    mod_dict: dict[str, nn.Module]
    _shape: ModelShape
    _hooked: bool
    _wiring: Wiring

    @property
    def wrapped(self) -> bool:
        """Whether the wiring is on, all of it."""
        return self._hooked and self._wiring.guard.links.joined

    def unwrap(self) -> PreTrainedModel:
        """Take all hooks off, also those of a thread that has ended, and give the model back as it was."""
        self._wiring.guard.turns.take_from_dead()
        with self.turn():
            self.reset_hooks(including_permanent=True)
            self._wiring.detach()
            self._hooked = False
        return self.model

    @contextmanager
    def paused(self) -> Iterator[PreTrainedModel]:
        """Take the wiring off for a while: the model as it was, to compare with.

        Raises:
            ModelError: the model was changed meanwhile in such a way that it can not be hooked again.
        """
        with self.turn():
            before, self._hooked = self._hooked, False
            self._wiring.detach()
            try:
                yield self.model
            finally:
                if before:
                    self._hook_again()
                self._hooked = before

    def _hook_again(self) -> None:
        try:
            self._wiring.attach()
        except Exception as error:
            raise ModelError(
                f"the model can not be hooked again after paused(), and is left without hooks: {error}. Undo what was "
                "changed inside paused(), and hook the model again with HookedVLM.wrap(vlm.model, vlm.processor)"
            ) from error

    def turn(self) -> AbstractContextManager[None]:
        """Context manager: keep the model for this thread; others wait. All that runs it or puts hooks on does so."""
        return self._wiring.guard.turns.block()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Refuse to be copied or pickled: the copy's hooks would hear nothing.

        Raises:
            ModelError: always.
        """
        raise ModelError(f"a HookedVLM can not be copied, pickled or saved whole: {HOW_TO_COPY}")

    @property
    def implementations(self) -> list[str]:
        """The names of the attention implementations beneath the hooks, one for each configuration; none while off."""
        return self._wiring.implementations.names

    @property
    def text_attentions(self) -> list[nn.Module]:
        """The attention modules of the language model, by layer; none while the wiring is off."""
        return self._wiring.text_attentions

    def resume_prompt(self, cache: Any, length: int) -> None:
        """Say how many positions the prompt has that passes go on with which this cache is given to."""
        note(cache, Note(length))

    @property
    def device(self) -> torch.device:
        """Where inputs go, also to a model whose weights are offloaded to the main memory or the disk."""
        words = self.model.get_input_embeddings()
        return place_of(words) or words.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The model's floating-point type."""
        return self.model.dtype

    @property
    def loaded_by(self) -> dict[str, Any]:
        """The name and revision that the model was loaded by, for results."""
        name = getattr(self.model, "name_or_path", "") or type(self.model).__name__
        return {"model": name, "revision": None, **self.origin}

    @property
    def arithmetic(self) -> dict[str, Any]:
        """How the model computes, for results."""
        return {
            "dtype": str(self.dtype).removeprefix("torch."),
            "device": str(self.device),
            "attention": sorted(set(self.implementations)),
            "self_check": self.self_checked,
        }

    def named_parameters(self, *args: Any, **kwargs: Any) -> Iterator[tuple[str, nn.Parameter]]:
        """The model's parameters: the hook points beside it have none."""
        return self.model.named_parameters(*args, **kwargs)

    @property
    def cfg(self) -> ModelShape:
        """The shape of the model, and the device that it is on now."""
        device = self.device
        if self._shape.device != device:
            self._shape = replace(self._shape, device=device)
        return self._shape

    @property
    def training(self) -> bool:
        """Whether the model is in training: it is loaded in evaluation, and `wrap` leaves it as it was."""
        model = self.__dict__.get("model")
        return model is not None and model.training

    @training.setter
    def training(self, mode: bool) -> None:
        """Nothing of its own: hook points do the same in both; see `train`."""

    def setup(self) -> None:
        """Name all hook points; see TransformerLens. They are in evaluation, whatever the model is in."""
        super().setup()
        for module in self.mod_dict.values():
            module.training = False

    def train(self, mode: bool = True) -> Self:
        """Set the model to training or evaluation, as `eval()` does too."""
        self.model.train(mode)
        return self

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """The model's weights by name: the hook points beside it have none."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights into the model."""
        return self.model.load_state_dict(*args, **kwargs)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        """What `to`, `half`, `cuda` and the like are made of: they move the model."""
        self.model._apply(fn, recurse)
        return self

    def check_wrapped(self) -> None:
        """Refuse to go on where no hook would be heard.

        Raises:
            ModelError: the model was unwrapped, or is paused.
        """
        if not self._hooked:
            raise ModelError(OFF)

    def check_ready(self, *, adding: bool = False) -> None:
        """Refuse to go on where some hook that is on, or is being added, would not be heard.

        Raises:
            ModelError: the model was unwrapped, is paused, or was changed since it was hooked.
        """
        self.check_wrapped()
        if adding or self._wiring.guard.listening:
            self._wiring.guard.links.check()
