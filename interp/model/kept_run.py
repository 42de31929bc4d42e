"""Kept run: one run with its residual stream kept, so that what is changed at a layer costs only the blocks behind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from interp.errors import HookError, InputError
from interp.hooks.towers import submodule, text_tower
from interp.intervene.patch import slot_point
from interp.model.features import ImageFeatures
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.hooks.cache import VLMCache
    from interp.model.hooked_vlm import HookedVLM
    from interp.prompt.inputs import VLMInputs

NamedHook = tuple[str, Callable[..., Any]]


@fits_a_cell("vlm.origin.model inputs slots logits")
@dataclass(frozen=True, eq=False)
class KeptRun:
    """One run of a batch, with its residual stream at layer slots: `onward` starts again from one of them.

    Blocks in front of a slot are not computed again, and the vision tower is not either (but for models with DeepStack,
    whose blocks are given more of the photo than their input). What `onward` gives equals a whole run under the same
    hooks, to the bit: masks, positions and everything behind the blocks are the model's own.

    Attributes:
        vlm: the model.
        inputs: the batch.
        slots: the layer slots whose stream is kept; see `interp.intervene.patch.slot_point`.
        stream: by slot, the residual stream of the whole batch [batch pos d_model].
        logits: float32 next-token logits of the last prompt row, untouched [batch vocab].
        features: the photos as the language model receives them.
        outputs: by block, in how many parts it gives its output; 0 for the stream alone.

    Example:
        >>> run = KeptRun.capture(vlm, inputs)
        >>> run.onward(20, [("blocks.20.hook_resid_pre", steer)]).shape  # at the price of the blocks from 20 on
        torch.Size([1, 152064])
    """

    vlm: HookedVLM = field(repr=False)
    inputs: VLMInputs
    slots: tuple[int, ...]
    stream: dict[int, Float[Tensor, "batch pos d_model"]] = field(repr=False)
    logits: Float[Tensor, "batch vocab"]
    features: ImageFeatures = field(repr=False)
    outputs: tuple[int, ...] = field(repr=False)

    @classmethod
    def capture(cls, vlm: HookedVLM, inputs: VLMInputs, slots: Iterable[int] | None = None) -> KeptRun:
        """Run the model once, and keep its stream at these slots; at all by default.

        Raises:
            InputError: no slot, or one that the model does not have; before the run.
        """
        n_layers = vlm.cfg.n_layers
        chosen = tuple(range(n_layers + 1)) if slots is None else tuple(dict.fromkeys(slots))
        names = [slot_point(slot, n_layers) for slot in chosen]
        if not names:
            raise InputError("no layer slot is named: name one, or leave slots out for all")

        def run() -> tuple[Any, VLMCache]:
            return vlm.run_with_cache(inputs, names_filter=names, logits_to_keep=1)

        with torch.no_grad(), _noted_outputs(vlm) as outputs:
            (output, cache), features = ImageFeatures.captured(vlm, inputs, run)
        stream = {slot: cache[name] for slot, name in zip(chosen, names, strict=True)}
        return cls(vlm, inputs, chosen, stream, output.logits[:, -1].float(), features, tuple(outputs))

    def onward(self, slot: int, hooks: Sequence[NamedHook] = ()) -> Float[Tensor, "batch vocab"]:
        """Run the model from a slot on under hook functions; float32 logits of the last prompt row.

        Args:
            slot: where to start; the hooks see what was kept there.
            hooks: (name, function) pairs as in `HookedVLM.hooks`, of hook points at or behind the slot.

        Raises:
            InputError: the stream was not kept at this slot.
            HookError: a hook point in front of the slot, which is not run.
        """
        if slot not in self.stream:
            raise InputError(f"slot {slot!r} was not kept: name it among the slots, which were {list(self.slots)}")
        entry = slot_point(slot, self.vlm.cfg.n_layers)
        for name, _ in hooks:
            if name != entry and not _behind(name, slot):
                raise HookError(f"{name} lies in front of slot {slot}, from which the run goes on: start at one before")
        kept = self.stream[slot]

        def enter(tensor: Tensor, *, hook: Any) -> Tensor:
            return kept.clone()

        with torch.no_grad(), self.features.under() as inputs, _passed_by(self.vlm, self.outputs[:slot]):
            output = self.vlm.run_with_hooks(inputs, fwd_hooks=[(entry, enter), *hooks], logits_to_keep=1)
        return output.logits[:, -1].float()


def _blocks(vlm: HookedVLM) -> Any:
    """The blocks of the language model."""
    return submodule(vlm.model, text_tower(vlm.model, vlm.family).blocks)


@contextmanager
def _noted_outputs(vlm: HookedVLM) -> Iterator[list[int]]:
    """In how many parts each block gives its output, noted in the run that is made meanwhile."""
    found: list[int] = []

    def note(module: Any, args: Any, output: Any) -> None:
        found.append(len(output) if isinstance(output, tuple) else 0)

    handles = [block.register_forward_hook(note) for block in _blocks(vlm)]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _passed_by(vlm: HookedVLM, outputs: Sequence[int]) -> Iterator[None]:
    """The first blocks of the language model hand on what they are given, uncomputed, in the form of their output."""
    blocks = _blocks(vlm)[: len(outputs)]
    with vlm.turn():
        before = [block.__dict__.get("forward") for block in blocks]
        try:
            for block, parts in zip(blocks, outputs, strict=True):
                block.forward = partial(_hand_on, parts=parts)
            yield
        finally:
            for block, forward in zip(blocks, before, strict=True):
                block.__dict__.pop("forward", None)
                if forward is not None:
                    block.forward = forward


def _hand_on(hidden_states: Tensor, *args: Any, parts: int, **kwargs: Any) -> Any:
    """What a block is given, in place of what it would make of it."""
    return (hidden_states, *[None] * (parts - 1)) if parts else hidden_states


def _behind(name: str, slot: int) -> bool:
    """Whether a hook point is reached in a run from that slot on."""
    tower, _, rest = name.partition(".")
    if tower == "blocks":
        return int(rest.partition(".")[0]) >= slot
    return tower in ("ln_final", "unembed")
