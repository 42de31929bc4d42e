"""What a mirror swap measures of one batch: the right answer's probability with tokens as in the mirrored photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import InputError
from interp.model.object_words import name_tokens, spans_of
from interp.stats.draws import own_draws
from probes.mechanisms.scenes.pairs import check_pairs, refuse_alike
from probes.mechanisms.scenes.vocabulary import spelled_ids
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from torch import Tensor

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout
    from probes.mechanisms.scenes.pairs import Pair

SETS = ("text", "image", "words", "other_words")
"""What is swapped: all text behind the photo, all image tokens, the names of the objects, or as many other tokens of
the question: the control."""


@dataclass(frozen=True)
class MirrorMeasurement:
    """What is asked of one batch of pairs: each set of tokens, at each slot, as it was in the counterfactual's run.

    It is what `run_study` calls, through samples that stand for the pairs. The vision tower runs once for each photo,
    and a swap at a slot costs the blocks behind it (`KeptRun`).
    """

    vlm: HookedVLM
    pairs: dict[str, Pair] = field(repr=False)
    prompt: str
    seed: int

    @classmethod
    def of(cls, vlm: HookedVLM, pairs: Sequence[Pair], *, prompt: str = "chat", seed: int = 0) -> MirrorMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: no model, no pairs, or two of one id.
            RefusedError: a model with DeepStack, whose blocks are given more of the photo than their input.
        """
        from interp.intervene.image_hooks import refuse_deepstack

        check_model(vlm)
        check_pairs(pairs)
        refuse_deepstack(vlm.cfg, "a mirror swap")
        return cls(vlm, {pair.id: pair for pair in pairs}, prompt, seed)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"sets": list(SETS), "prompt": self.prompt, "tokens_seed": self.seed}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse pairs that can not be swapped, before the first pass.

        Raises:
            InputError: questions or sizes of photos that differ, names that the question does not hold, or an answer
                of several tokens.
        """
        from interp.image.photos import check_image

        check_asked(self.vlm, samples, self.prompt, progress=progress)
        pairs = [self.pairs[sample.id] for sample in samples]
        for pair in pairs:
            here, there = pair.clean, pair.counterfactual
            if here.question != there.question:
                raise InputError(f"pair {pair.id!r} asks two questions: tokens are exchanged between runs of one")
            if check_image(here.image) != check_image(there.image):
                raise InputError(f"pair {pair.id!r} has photos of two sizes, whose tokens are not the same places")
            if not any(spans_of(thing.name, here.question) for thing in here.objects):
                raise InputError(f"pair {pair.id!r}: its question {here.question!r} names none of its objects")
            spelled_ids(self.vlm, here.answer)
            refuse_alike(pair)
        check_asked(self.vlm, [pair.counterfactual for pair in pairs], self.prompt, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each pair: `tokens`, how `many`, `clean` and `mirrored`, `right`, and `swapped` by slot.

        Raises:
            ModelError: probabilities that are not finite.
        """
        import torch

        from interp.intervene.patch import Patch, slot_point
        from interp.model.kept_run import KeptRun
        from interp.study.prompter import prepare_samples

        pairs = [self.pairs[sample.id] for sample in samples]
        inputs, others = (
            prepare_samples(self.vlm, [getattr(pair, side) for pair in pairs], self.prompt)
            for side in ("clean", "counterfactual")
        )
        layers = self.vlm.cfg.n_layers
        points = [slot_point(slot, layers) for slot in range(layers + 1)]
        answers = [spelled_ids(self.vlm, pair.clean.answer) for pair in pairs]
        with torch.no_grad():
            run = KeptRun.capture(self.vlm, inputs)
            output, cache = self.vlm.run_with_cache(others, names_filter=points, logits_to_keep=1)
            second = output.logits[:, -1].float()
            clean, mirrored = _chance(run.logits, answers), _chance(second, answers)
            theirs = [spelled_ids(self.vlm, pair.counterfactual.answer) for pair in pairs]
            ends = _right(run.logits, answers) & _right(second, theirs)
            found: dict[str, Any] = {}
            for name, places in self._sets(inputs, pairs).items():
                swapped = []
                for slot, point in enumerate(points):
                    patch = Patch.recorded(point, cache, places, others)
                    logits = run.onward(slot, patch.hooks(self.vlm.cfg, inputs.layouts))
                    swapped.append(_chance(logits, answers))
                found[name] = places, np.stack(swapped, axis=1)
        each = np.column_stack([clean, mirrored, *(swapped for _, swapped in found.values())])
        for pair, own in zip(pairs, each, strict=True):
            refuse_overflow(own, pair.id, "probabilities")
        return [
            [
                {
                    "tokens": name,
                    "many": len(places[at]),
                    "clean": float(clean[at]),
                    "mirrored": float(mirrored[at]),
                    "right": bool(ends[at]),
                    "swapped": swapped[at],
                }
                for name, (places, swapped) in found.items()
            ]
            for at in range(len(pairs))
        ]

    def _sets(self, inputs: VLMInputs, pairs: Sequence[Pair]) -> dict[str, list[list[int]]]:
        """The positions of each set, sample by sample."""
        named = name_tokens(self.vlm, inputs, [pair.clean for pair in pairs])
        found: dict[str, list[list[int]]] = {name: [] for name in SETS}
        for pair, layout, words in zip(pairs, inputs.layouts, named, strict=True):
            found["text"].append(layout.after_image.tolist())
            found["image"].append(layout.image_positions.tolist())
            found["words"].append(words.tolist())
            found["other_words"].append(self._others(pair, layout, words))
        return found

    def _others(self, pair: Pair, layout: TokenLayout, words: Int[np.ndarray, " token"]) -> list[int]:
        rest = np.setdiff1d(layout.positions("question"), words)
        if len(rest) < len(words):  # a question that is little more than names: the prompt's other tokens, too
            rest = np.setdiff1d(layout.after_image[:-1], words)
        rng = own_draws(self.seed, pair.id)
        return sorted(rng.choice(rest, size=min(len(rest), len(words)), replace=False).tolist())


def _right(logits: Float[Tensor, "pair vocab"], answers: Sequence[tuple[int, ...]]) -> Bool[np.ndarray, " pair"]:
    """Whether the likeliest token says each answer."""
    said = logits.argmax(-1).tolist()
    return np.array([token in own for token, own in zip(said, answers, strict=True)])


def _chance(logits: Float[Tensor, "pair vocab"], answers: Sequence[tuple[int, ...]]) -> np.ndarray:
    """The probability of each sample's answer, its spellings summed."""
    chance = logits.softmax(-1).cpu()
    return np.array([float(own[list(ids)].sum()) for own, ids in zip(chance, answers, strict=True)], dtype=np.float32)
