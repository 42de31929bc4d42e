"""What a lens looks at in one batch: every image token at every slot, read out in the one pass that makes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError, ModelError
from interp.numeric import listed, real, whole_number
from probes.mechanisms.lens.photo import PhotoLens
from probes.mechanisms.lens.rows import LookedFor, rows_of
from probes.mechanisms.scenes.vocabulary import spelled_ids
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs

NUMBERS = 2**22
"""Logits that are held at once: so many rows of the vocabulary are read at a time, whatever the photo."""


@dataclass(frozen=True)
class WordReader:
    """Reads rows of the residual stream as words: the most probable ones, and those that are looked for."""

    read: Callable[[Tensor], Tensor]
    top: int
    ids: tuple[tuple[int, ...], ...]

    def __call__(self, rows: Tensor) -> dict[str, np.ndarray]:
        """`ids` and `top` [token place], `probability` and `rank` [token word], a few rows at a time."""
        width = self.read(rows[:1]).shape[-1]
        parts = [self._part(part) for part in rows.split(max(1, NUMBERS // width))]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _part(self, rows: Tensor) -> dict[str, np.ndarray]:
        import torch

        chance = self.read(rows).float().softmax(-1)
        most = chance.topk(self.top)
        own = [chance[:, list(ids)] for ids in self.ids]
        best = [one.max(-1, keepdim=True).values for one in own]
        kinds = {
            "probability": [one.sum(-1) for one in own],
            "rank": [1 + (chance > one).sum(-1) for one in best],
        }
        none = chance.new_zeros(len(chance), 0)
        found = {name: torch.stack(each, -1) if each else none for name, each in kinds.items()}
        found |= {"ids": most.indices, "top": most.values}
        whole = ("ids", "rank")
        return {
            name: own.cpu().numpy().astype(np.int32 if name in whole else np.float32) for name, own in found.items()
        }


@dataclass(frozen=True)
class LensMeasurement:
    """What is looked at in one batch: image tokens at every slot, read out in the one pass that makes them.

    Each hook function reads out what passes it and keeps a few numbers of each token, so that neither states nor
    logits of several layers are ever held together.

    Example:
        >>> work = LensMeasurement.of(vlm, words=("red", "left"))
        >>> work.look(vlm.prepare(photo, "Where is the red circle?"))[0].rank.shape  # slot token word
        (13, 64, 2)
    """

    vlm: HookedVLM
    words: tuple[str, ...]
    top: int
    prompt: str
    at_least: float
    reader: Callable[[Tensor], Tensor] = field(repr=False, compare=False)

    @classmethod
    def of(
        cls, vlm: HookedVLM, words: Sequence[str] = (), *, top: int = 5, prompt: str = "chat", at_least: float = 0.5
    ) -> LensMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: a word of several tokens, one named twice, or numbers that mean nothing.
        """
        from interp.model.readout import readout

        check_model(vlm)
        named = listed(words, "words")
        for word in named:
            spelled_ids(vlm, word)
        if len({word.lower() for word in named}) < len(named):
            raise InputError(f"words={named}: name each once")
        top = whole_number(top, "top", 1)
        if top > vlm.cfg.d_vocab:
            raise InputError(
                f"top={top!r}: give how many words of each patch are kept, 1 to {vlm.cfg.d_vocab}, all that there are"
            )
        if not 0 < real(at_least) <= 1:
            raise InputError(f"at_least={at_least!r}: give a share of a token's area, above 0 and up to 1")
        return cls(vlm, named, top, prompt, at_least, readout(vlm))

    @property
    def points(self) -> list[str]:
        """The hook points of all slots."""
        from interp.intervene.patch import slot_point

        layers = self.vlm.cfg.n_layers
        return [slot_point(slot, layers) for slot in range(layers + 1)]

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"words": list(self.words), "top": self.top, "prompt": self.prompt, "at_least": self.at_least}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, or of which nothing could be told, before the first pass.

        Raises:
            InputError: some can not, or no word is looked for in any of them.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if not self.words and not any(
            self.words_of(thing.name) for one in samples for thing in one.objects if thing.box
        ):
            raise InputError(
                "no object with a box has a name with a word of one token, and no words are named: name some "
                "(words=(...), --words)"
            )

    def words_of(self, name: str) -> tuple[str, ...]:
        """The words of an object's name that are one token."""
        found = []
        for word in dict.fromkeys(name.split()):
            try:
                spelled_ids(self.vlm, word)
            except InputError:
                continue
            found.append(word)
        return tuple(found)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample: `kind`, `what`, `where`, `tokens`, `why`, and measures by slot; see `lens_rows`."""
        from interp.study.prompter import prepare_samples

        found = self.look(prepare_samples(self.vlm, samples, self.prompt), samples)
        looked_for = LookedFor(self.words, self.words_of, self.top, self.at_least)
        return [rows_of(looked_for, own, sample) for own, sample in zip(found, samples, strict=True)]

    def look(self, inputs: VLMInputs, samples: Sequence[Sample] = ()) -> list[PhotoLens]:
        """What the image tokens of each sample of a prepared batch say; the words of its objects are looked for too."""
        import torch

        things = [one.objects for one in samples] or [()] * len(inputs)
        more = [[word for thing in own for word in self.words_of(thing.name)] for own in things]
        words = [tuple(dict.fromkeys((*self.words, *own))) for own in more]
        slots = [_Slot(self._readers(words), inputs) for _ in range(self.vlm.cfg.n_layers + 1)]
        with torch.no_grad():
            hooks = [(name, slot) for name, slot in zip(self.points, slots, strict=True)]
            logits = self.vlm.run_with_hooks(inputs, fwd_hooks=hooks, logits_to_keep=1).logits[:, -1]
            self._check_last(slots[-1].last, logits)
        names = [one.id for one in samples] or [""] * len(inputs)
        told = zip(names, words, inputs.grids, strict=True)
        return [self._photo(name, own, grid, [slot.found[place] for slot in slots])
                for place, (name, own, grid) in enumerate(told)]  # fmt: skip

    def _readers(self, words: Sequence[tuple[str, ...]]) -> list[WordReader]:
        ids = [tuple(spelled_ids(self.vlm, word) for word in own) for own in words]
        return [WordReader(self.reader, self.top, own) for own in ids]

    def _check_last(self, last: Tensor, logits: Tensor) -> None:
        """Refuse a model that does more behind its last block than is read out."""
        import torch

        own = self.reader(last).float()
        exact = 2.0 ** (-5 if logits.dtype in (torch.bfloat16, torch.float16) else -10)
        if float((own - logits.float().to(own.device)).abs().max()) > exact * max(1.0, float(own.abs().max())):
            raise ModelError(
                f"{self.vlm.family.name} family: final norm and unembedding do not give this model's own logits of the "
                "last row, so that a lens would not show what it says: report the model"
            )

    def _photo(
        self, name: str, words: tuple[str, ...], grid: ImageGrid, slots: Sequence[Mapping[str, np.ndarray]]
    ) -> PhotoLens:
        every = {kind: np.stack([slot[kind] for slot in slots]) for kind in slots[0]}
        tokens, place = np.unique(every["ids"], return_inverse=True)
        texts = np.array([self.vlm.processor.tokenizer.decode([int(token)]) for token in tokens], dtype=object)
        return PhotoLens(
            sample_id=name,
            words=words,
            top=texts[place].reshape(every["ids"].shape),
            top_probability=every["top"],
            probability=every["probability"],
            rank=every["rank"],
            grid=grid,
        )


class _Slot:
    """A hook function that reads out the image tokens of every sample at one slot, and keeps the last row."""

    reads_only = True

    def __init__(self, readers: Sequence[WordReader], inputs: VLMInputs) -> None:
        self.readers, self.layouts = readers, inputs.layouts
        self.found: list[dict[str, np.ndarray]] = []
        self.last: torch.Tensor

    def __call__(self, tensor: Tensor, *, hook: object) -> None:
        self.last = tensor[:, -1]
        self.found = [
            reader(own[layout.image_positions])
            for reader, own, layout in zip(self.readers, tensor, self.layouts, strict=True)
        ]
