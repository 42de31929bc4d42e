"""Interchange, batch by batch: one run of the counterfactual prompts, and what patching from it does at every slot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from jaxtyping import Float, Float32, Int
from torch import Tensor

from interp.errors import InputError, RefusedError
from interp.intervene.base import Untouched
from interp.intervene.patch import Patch, slot_point
from interp.model.kept_run import KeptRun
from interp.model.prefix import Prefix
from interp.numeric import listed, whole_numbers
from probes.mechanisms.scenes.both_right import says_first
from probes.mechanisms.scenes.pairs import check_pairs, refuse_alike
from probes.mechanisms.scenes.vocabulary import spelled_ids
from probes.mechanisms.tokens.token_sets import IMAGE_SETS, Positions, TokenSet, read_set, sides_of, token_set
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from probes.mechanisms.scenes.pairs import Pair

CONTROL = "random_same_size"
"""The token set that every other is compared with."""

STREAM = ("resid_pre", "resid_mid")
HOOKS = (*STREAM, "attn_out", "mlp_out", "q", "k", "v", "z")
"""What can be patched: the residual stream at layer slots, and inside each layer."""


class RunEdit(Protocol):
    """What both runs of each pair are made under, such as an ablation."""

    def recorded(self) -> dict[str, Any]:
        """What the numbers owe to it."""

    def check(self, sample: Sample) -> None:
        """Refuse a side of a pair that it can not edit, before the first pass."""

    def __call__(self, samples: Sequence[Sample]) -> Intervention:
        """The edit of a batch of sides."""


@dataclass(frozen=True, eq=False)
class InterchangeMeasurement:
    """What patching does to the answers of a batch of pairs.

    Attributes:
        vlm: the model.
        pairs: by id, the pairs.
        positions: the token set that is patched; see `token_set`.
        control: the set beside it; None for none.
        slots: where, one after another: layer slots of `resid_pre`, layers of all other hooks.
        hook: what is patched.
        prompt: prompt style.
        seed: the seed of the control's tokens.
        under: what both runs are made under; None for the model as it is.
    """

    vlm: HookedVLM
    pairs: dict[str, Pair] = field(repr=False)
    positions: Positions
    control: str | None
    slots: tuple[int, ...]
    hook: str = "resid_pre"
    prompt: str = "chat"
    seed: int = 0
    under: RunEdit | None = None

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        pairs: Sequence[Pair],
        positions: Positions = "strip",
        *,
        control: str | None = CONTROL,
        slots: Iterable[int] | None = None,
        hook: str = "resid_pre",
        prompt: str = "chat",
        seed: int = 0,
        under: RunEdit | None = None,
    ) -> InterchangeMeasurement:
        """Read what is asked for.

        Raises:
            InputError: no model, no pairs or two with one id, outcomes that differ between pairs, a set, slot or hook
                that does not exist.
            RefusedError: a patch that the model would add features of the photo to (DeepStack).
        """
        check_model(vlm)
        positions = read_set(positions)
        if control is not None:
            if not isinstance(control, str):
                raise InputError(f"control={control!r:.80} is no token set: name one, or None for none")
            read_set(control)
            if control == positions:
                raise InputError(f"control={control!r} is what is patched: name another set, or None for none")
        check_hook(hook)
        _check_pairs(pairs)
        known = {pair.id: pair for pair in pairs}
        chosen = read_slots(vlm, slots, hook, sets=(positions, control))
        return cls(vlm, known, positions, control, chosen, hook, prompt, seed, under)

    @property
    def first_slot(self) -> int:
        """The first slot that can be patched: those before get features of the clean photo on top (DeepStack)."""
        image = _image(self.positions) or _image(self.control)
        return self.vlm.cfg.n_deepstack if image and self.hook in STREAM else 0

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the pairs."""
        named = self.positions if isinstance(self.positions, str) else [list(own) for own in self.positions]  # type: ignore[arg-type]
        return {
            "positions": named,
            "control": self.control,
            "slots": list(self.slots),
            "hook": self.hook,
            "prompt": self.prompt,
            "control_seed": self.seed,
            **({} if self.under is None else self.under.recorded()),
        }

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse pairs that can not be asked or patched, before the first pass.

        Raises:
            InputError: a photo that can not be read, a prompt or a token set that can not be made, a word that is no
                token of this model, or a pair whose sides are alike.
        """
        from interp.store.progress import ProgressBar

        pairs = [self.pairs[sample.id] for sample in samples]
        for side in ("clean", "counterfactual"):
            check_asked(self.vlm, [getattr(pair, side) for pair in pairs], self.prompt, progress=progress)
        for pair in ProgressBar(pairs, desc="looking for tokens", unit="pair", disable=not progress):
            self.ids_of(pair)
            self.sets_of([pair], *self.prepared([pair]))
            refuse_alike(pair)
            for side in (pair.clean, pair.counterfactual):
                if self.under is not None:
                    self.under.check(side)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each pair: one for each token set and outcome, with an array over slots."""
        return self.measure([self.pairs[sample.id] for sample in samples])

    def measure(self, pairs: Sequence[Pair]) -> list[list[dict[str, Any]]]:
        """The rows of each pair; see `__call__`."""
        here, there = self.prepared(pairs)
        sets = self.sets_of(pairs, here, there)
        with self._edited(there, [pair.counterfactual for pair in pairs]):
            other, kept = self._counterfactual(there, sets)
        with self._edited(here, [pair.clean for pair in pairs]):
            swept = self._sweeps(here, sets, kept)
        return [self._rows(pair, place, sets, other[place], swept) for place, pair in enumerate(pairs)]

    def _rows(
        self,
        pair: Pair,
        place: int,
        sets: dict[str, list[TokenSet]],
        other: Float[Tensor, " vocab"],
        swept: dict[str, Swept],
    ) -> list[dict[str, Any]]:
        """The rows of one pair of a batch; probabilities that are not finite raise a `ModelError`."""
        words = self.ids_of(pair)
        source = summed(other, words)
        rows = []
        for name, found in swept.items():
            clean = found.clean[place]
            before, after = summed(clean, words), summed(found.patched[:, place], words)
            refuse_overflow(np.vstack([source, before, after]), pair.id, "probabilities")
            said = _said(self.vlm, clean), _said(self.vlm, other)
            whole = {
                "clean_said": said[0],
                "counterfactual_said": said[1],
                "clean_right": says_first(said[0], pair.clean.answer),
                "counterfactual_right": says_first(said[1], pair.counterfactual.answer),
            }
            for number, (outcome, word) in enumerate(pair.outcomes.items()):
                likely = {"p_clean": float(before[number]), "p_counterfactual": float(source[number])}
                of = {"set": name, "tokens": len(sets[name][place]), "outcome": outcome, "word": word}
                rows.append({**of, **likely, "p_patched": after[:, number], **whole})
        return rows

    def _name(self, slot: int) -> str:
        """The hook point of a slot."""
        if self.hook == "resid_pre":
            return slot_point(slot, self.vlm.cfg.n_layers)
        return f"blocks.{slot}.{'attn.' if len(self.hook) == 1 else ''}hook_{self.hook}"

    def prepared(self, pairs: Sequence[Pair]) -> tuple[VLMInputs, VLMInputs]:
        """Both prompts of each pair, as two batches."""
        sides = [[getattr(pair, side) for pair in pairs] for side in ("clean", "counterfactual")]
        here, there = (
            self.vlm.prepare([own.image for own in side], [own.question for own in side], prompt=self.prompt)
            for side in sides
        )
        return here, there

    def _edited(self, inputs: VLMInputs, samples: Sequence[Sample]) -> AbstractContextManager[Any]:
        """The model under what both runs are made under."""
        return nullcontext() if self.under is None else self.vlm.intervene(self.under(samples), inputs)

    def sets_of(self, pairs: Sequence[Pair], clean: VLMInputs, other: VLMInputs) -> dict[str, list[TokenSet]]:
        """The tokens of each pair, by the name of the set."""
        here = sides_of(self.vlm, clean, [pair.clean for pair in pairs])
        there = sides_of(self.vlm, other, [pair.counterfactual for pair in pairs])
        asked: dict[str, Positions] = {"patched": self.positions}
        if self.control is not None:
            asked["control"] = self.control
        found = {
            name: [
                token_set(own, *each, seed=self.seed, same_size_as=self.positions)
                for each in zip(pairs, here, there, strict=True)
            ]
            for name, own in asked.items()
        }
        for sets in found.values():
            for pair, side, own in zip(pairs, here, sets, strict=True):
                if len(np.intersect1d(own.target, side.layout.placeholders)):
                    _refuse_early(self.vlm, self.slots, self.hook, f"pair {pair.id!r}, ")
        return found

    def ids_of(self, pair: Pair) -> list[tuple[int, ...]]:
        """The tokens that say the word of each outcome.

        Raises:
            InputError: a word is no token, or two outcomes share one.
        """
        ids = [spelled_ids(self.vlm, word) for word in pair.outcomes.values()]
        every = [token for own in ids for token in own]
        if len(set(every)) < len(every):
            raise InputError(f"pair {pair.id!r}: two of its outcomes {dict(pair.outcomes)} are said by one token")
        return ids

    def _counterfactual(
        self, inputs: VLMInputs, sets: dict[str, list[TokenSet]]
    ) -> tuple[Float[Tensor, "batch vocab"], dict[str, dict[int, Tensor]]]:
        """One run of the counterfactual prompts: last logits, and by set and slot what its tokens are [token ...]."""
        kept: dict[str, dict[int, Tensor]] = {name: {} for name in sets}
        index = {name: _index(own, "source") for name, own in sets.items()}
        hooks = [(self._name(slot), _Pick(slot, index, kept)) for slot in self.slots]
        with torch.no_grad():
            output = self.vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1)
        return output.logits[:, -1].float(), kept

    def _sweeps(
        self, inputs: VLMInputs, sets: dict[str, list[TokenSet]], kept: dict[str, dict[int, Tensor]]
    ) -> dict[str, Swept]:
        """The clean prompts with each set patched, slot after slot: by one token each where that is all it takes."""
        shared = [name for name in sets if self._at_last(name) and "prefix" not in self.vlm.family.refusals]
        run, found = None, {}
        if len(shared) < len(sets):
            run = KeptRun.capture(self.vlm, inputs, self.slots)
        for name, own in sets.items():
            patches = [self._patch(slot, own, kept[name][slot]) for slot in self.slots]
            if name in shared:
                prefix = Prefix(self.vlm, inputs, features=None if run is None else run.features)
                logits = prefix.step([Untouched(), *patches]).logits
                found[name] = Swept(logits[0], logits[1:])
            else:
                assert run is not None
                each = [self._onward(run, *given, own) for given in zip(self.slots, patches, strict=True)]
                found[name] = Swept(run.logits, torch.stack(each))
        return found

    def _at_last(self, name: str) -> bool:
        """Whether a set is the last position alone, by its name."""
        return (self.positions if name == "patched" else self.control) == "last"

    def _patch(self, slot: int, sets: Sequence[TokenSet], values: Tensor) -> Patch:
        """The patch of a batch at one slot; tokens follow each other pair by pair."""
        each = tuple(tuple(own.target.tolist()) for own in sets)
        return Patch(self._name(slot), each, values.split([len(own) for own in sets]))

    def _onward(self, run: KeptRun, slot: int, patch: Patch, sets: Sequence[TokenSet]) -> Float[Tensor, "batch vocab"]:
        """The last logits of the clean prompts under a patch, from its slot on."""
        last = run.inputs.input_ids.shape[1] - 1
        if slot == self.vlm.cfg.n_layers and not any(last in own.target for own in sets):
            return run.logits  # behind the last block no position says anything to another
        return run.onward(slot, patch.hooks(self.vlm.cfg, run.inputs.layouts))


@dataclass(frozen=True, eq=False)
class Swept:
    """What the clean prompts say without and with a patch, computed alike."""

    clean: Float[Tensor, "batch vocab"]
    patched: Float[Tensor, "slot batch vocab"]


class _Pick:
    """A hook function that keeps chosen positions of what it sees, and never edits."""

    reads_only = True

    def __init__(self, slot: int, index: dict[str, tuple[Tensor, Tensor]], kept: dict[str, dict[int, Tensor]]) -> None:
        self.slot, self.index, self.kept = slot, index, kept

    def __call__(self, tensor: Tensor, *, hook: Any) -> None:
        for name, (sample, position) in self.index.items():
            self.kept[name][self.slot] = tensor.detach()[sample.to(tensor.device), position.to(tensor.device)]


def summed(logits: Float[Tensor, "*run vocab"], ids: Sequence[Sequence[int]]) -> Float32[np.ndarray, "*run outcome"]:
    """The probability of each word: the sum over the tokens that say it."""
    likely = logits.float().softmax(-1)
    return torch.stack([likely[..., list(own)].sum(-1) for own in ids], -1).cpu().numpy().astype(np.float32)


def _index(sets: Sequence[TokenSet], side: str) -> tuple[Int[Tensor, " token"], Int[Tensor, " token"]]:
    """Sample and position of all tokens of a batch, one after another."""
    own = [torch.as_tensor(getattr(each, side)) for each in sets]
    return torch.repeat_interleave(torch.arange(len(own)), torch.tensor([len(each) for each in own])), torch.cat(own)


def _said(vlm: HookedVLM, logits: Float[Tensor, " vocab"]) -> str:
    """The token that the model would say."""
    return str(vlm.processor.tokenizer.decode([int(logits.argmax())]))


def _image(positions: Positions | None) -> bool:
    """Whether a set is one of image tokens."""
    return isinstance(positions, str) and positions in IMAGE_SETS


def check_hook(hook: str) -> None:
    """Refuse what can not be patched.

    Raises:
        InputError: it can not.
    """
    if hook not in HOOKS:
        raise InputError(f"hook={hook!r} can not be patched: use one of {', '.join(HOOKS)}")


def _check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse no pairs, and pairs that do not belong together."""
    check_pairs(pairs)
    every = {tuple(pair.outcomes) for pair in pairs}
    if len(every) > 1:
        raise InputError(f"pairs have other outcomes, {sorted(every)}: measure those with the same together")


def read_slots(
    vlm: HookedVLM, slots: Iterable[int] | None, hook: str, *, sets: Iterable[Positions | None]
) -> tuple[int, ...]:
    """The slots of a patch of these sets in order; all that can be patched by default.

    Raises:
        InputError: slots that do not exist.
        RefusedError: a patch that the model would add features of the photo to (DeepStack).
    """
    image = any(map(_image, sets))
    last = vlm.cfg.n_layers if hook == "resid_pre" else vlm.cfg.n_layers - 1
    # what lies in front of these is patched under features of the photo that are added behind it
    first = vlm.cfg.n_deepstack if image and hook in STREAM else 0
    if slots is None:
        return tuple(range(first, last + 1))
    given = listed(slots, "slots")
    try:
        chosen = whole_numbers(given)
    except TypeError:
        chosen = ()
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0 or max(chosen) > last:
        raise InputError(f"slots={list(given)} of {hook}: give different whole numbers from 0 to {last}, at least one")
    if image:
        _refuse_early(vlm, chosen, hook)
    return tuple(sorted(chosen))


def _refuse_early(vlm: HookedVLM, slots: Sequence[int], hook: str, whose: str = "") -> None:
    """Refuse patches of image tokens that the model would add features of its own photo to.

    Raises:
        RefusedError: it would.
    """
    first = vlm.cfg.n_deepstack
    if hook in STREAM and min(slots) < first:
        raise RefusedError(
            f"{whose}slots={list(slots)}: image tokens of slots below {first} can not be patched in a model with "
            f"DeepStack (Qwen3-VL), which adds features of its own photo on top of them: use slots from {first} on"
        )
