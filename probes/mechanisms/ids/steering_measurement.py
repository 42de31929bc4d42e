"""What steering by spatial IDs measures of one batch: does the answer turn when words are told the other side?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
from jaxtyping import Float32

from interp.errors import InputError
from interp.model.object_words import spans_of, word_ends
from interp.numeric import real
from probes.mechanisms.scenes.sides import OPPOSITE, SIDES
from probes.mechanisms.scenes.vocabulary import spelled_ids
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from torch import Tensor

    from interp.intervene.base import Intervention
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.ids.spatial_ids import SpatialIDs

TURNED = {
    side: (OPPOSITE[side], axis, way)
    for axis, sides in enumerate(SIDES.values())
    for side, way in zip(sides, (1, -1), strict=True)
}
"""Of each answer, its opposite, the axis, and which way along it the object named first has to be moved to turn it."""

ARMS = ("ids", "random")
"""Steered by the ID, and by random directions of the same length: the control."""

Places = tuple[tuple[int, ...], ...]
"""Positions in the prompt of each sample."""


@dataclass(frozen=True)
class SteeringMeasurement:
    """What is asked of one batch: both names told the other side, at one slot at a time, and random directions."""

    vlm: HookedVLM
    directions: Float32[np.ndarray, "axis slot d_model"] = field(repr=False)
    slots: tuple[int, ...]
    scale: float
    seeds: tuple[int, ...]
    prompt: str

    @classmethod
    def of(
        cls, vlm: HookedVLM, found: SpatialIDs, *, scale: float = 5.0, seeds: Iterable[int] = range(3),
        prompt: str = "chat",
    ) -> SteeringMeasurement:  # fmt: skip
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: IDs of another model, of no slot, or numbers that mean nothing.
            RefusedError: a model with DeepStack.
        """
        from interp.intervene.image_hooks import refuse_deepstack
        from interp.intervene.image_tokens import check_seeds
        from probes.mechanisms.ids.spatial_ids import SpatialIDs

        check_model(vlm)
        refuse_deepstack(vlm.cfg, "steering by spatial IDs")
        if not isinstance(found, SpatialIDs):
            raise InputError(f"found={found!r:.60} is no SpatialIDs: give what spatial_ids found of this model")
        if found.ids.shape[0] != vlm.cfg.n_layers + 1 or found.ids.shape[2] != vlm.cfg.d_model:
            raise InputError(
                f"the IDs are of {found.ids.shape[0]} slots x {found.ids.shape[2]}, and the model has "
                f"{vlm.cfg.n_layers + 1} x {vlm.cfg.d_model}: give those of this model"
            )
        if not 0 < real(scale) < 1e6:
            raise InputError(f"scale={scale!r}: give how many times the IDs' mean length, above 0")
        told = tuple(sorted({int(slot) for slot in found.measures["slot"]}))
        if not told:
            raise InputError("at no slot do words hold a place, so there is nothing to steer by")
        return cls(vlm, _directions(found), told, float(scale), check_seeds(seeds), prompt)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {
            "ids": crc32(np.ascontiguousarray(self.directions).tobytes()),
            "slots": list(self.slots),
            "scale": self.scale,
            "seeds": list(self.seeds),
            "prompt": self.prompt,
        }

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be steered, before the first pass.

        Raises:
            InputError: not two objects that the question names, or an answer that is no side.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        for sample in samples:
            named = [thing for thing in sample.objects if spans_of(thing.name, sample.question)]
            if len(sample.objects) != 2 or len(named) != 2:
                raise InputError(f"sample {sample.id!r}: {len(named)} objects are named: ask about two, in their order")
            if sample.answer not in TURNED:
                raise InputError(f"sample {sample.id!r} is answered by {sample.answer!r}: use {', '.join(TURNED)}")
            for word in (sample.answer, TURNED[sample.answer][0]):
                spelled_ids(self.vlm, word)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample: `arm`, `right`, `untouched`, and by slot `flipped` and `opposite`."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for axis in (0, 1):
            own = [sample for sample in samples if TURNED[sample.answer][1] == axis]
            if own:
                rows |= self._along(axis, own)
        return [rows[sample.id] for sample in samples]

    def _along(self, axis: int, samples: list[Sample]) -> dict[str, list[dict[str, Any]]]:
        import torch

        from interp.model.features import ImageFeatures
        from interp.study.prompter import prepare_samples

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        ends = word_ends(self.vlm, inputs, samples)
        words = [(spelled_ids(self.vlm, one.answer), spelled_ids(self.vlm, TURNED[one.answer][0])) for one in samples]
        signs = [TURNED[sample.answer][2] for sample in samples]
        towards = tuple((int(own[int(sign < 0)]),) for own, sign in zip(ends, signs, strict=True))
        away = tuple((int(own[int(sign > 0)]),) for own, sign in zip(ends, signs, strict=True))
        with torch.no_grad():
            first, features = ImageFeatures.captured(self.vlm, inputs, lambda: self.vlm(inputs, logits_to_keep=1))
            _, untouched, right = _told(first.logits, words)
            arms = {arm: self._arm(arm, axis, features, words, (towards, away)) for arm in ARMS}
        return {
            sample.id: [
                {"arm": arm, "right": bool(right[at]), "untouched": float(untouched[at]),
                 "flipped": flipped[:, at], "opposite": opposite[:, at]}
                for arm, (flipped, opposite) in arms.items()
            ]
            for at, sample in enumerate(samples)
        }  # fmt: skip

    def _arm(
        self,
        arm: str,
        axis: int,
        features: ImageFeatures,
        words: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
        places: tuple[Places, Places],
    ) -> tuple[np.ndarray, np.ndarray]:
        """Whether each answer turned, and the opposite's probability, [slot sample]; of random ones the mean."""
        found = []
        for slot in self.slots:
            own = self.directions[axis, slot]
            length = float(np.linalg.norm(own))
            drawn = [own] if arm == "ids" else [_random(seed, slot, own) * length for seed in self.seeds]
            told = [_told(self._steered(features, one, slot, places), words) for one in drawn]
            found.append([np.mean([each[part] for each in told], axis=0) for part in (0, 1)])
        flipped, opposite = zip(*found, strict=True)
        return np.stack(flipped).astype(np.float32), np.stack(opposite).astype(np.float32)

    def _steered(
        self, features: ImageFeatures, direction: np.ndarray, slot: int, places: tuple[Places, Places]
    ) -> Tensor:
        import torch

        from interp.intervene.base import Chain
        from interp.intervene.patch import slot_point
        from interp.intervene.steer import Steer

        point, added = slot_point(slot, self.vlm.cfg.n_layers), torch.from_numpy(direction)
        towards, away = (
            Steer(added, sign * self.scale, hook=point, positions=tuple(map(tuple, own)))
            for sign, own in zip((1.0, -1.0), places, strict=True)
        )
        both: Intervention = Chain((towards, away))
        logits: Tensor = features.forward(intervention=both, logits_to_keep=1).logits
        return logits


def _directions(found: SpatialIDs) -> Float32[np.ndarray, "axis slot d_model"]:
    """From the first to the last column, and from the first to the last row, as long as the slot's IDs are on average.

    Where an axis is nothing it stays nothing.
    """
    slots, _, width = found.ids.shape
    table = found.ids.reshape(slots, found.cells, found.cells, width)
    ends = np.stack([(table[:, :, -1] - table[:, :, 0]).mean(1), (table[:, -1] - table[:, 0]).mean(1)])
    size = np.linalg.norm(ends, axis=-1, keepdims=True)
    mean = np.linalg.norm(found.ids, axis=-1).mean(1)[None, :, None]
    return np.divide(ends * mean, size, out=np.zeros_like(ends), where=size > 1e-6 * mean).astype(np.float32)


def _random(seed: int, slot: int, like: np.ndarray) -> Float32[np.ndarray, " d_model"]:
    drawn = np.random.default_rng([seed, slot]).normal(size=len(like))
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


def _told(
    logits: Tensor, words: Sequence[tuple[tuple[int, ...], tuple[int, ...]]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whether the opposite is more probable than the answer, its probability, and whether the answer is said."""
    chance = logits[:, -1].float().softmax(-1).cpu()
    pairs = [[float(own[list(ids)].sum()) for ids in both] for own, both in zip(chance, words, strict=True)]
    right = [int(own.argmax()) in both[0] for own, both in zip(chance, words, strict=True)]
    answer, opposite = np.array(pairs, dtype=np.float32).T
    return opposite > answer, opposite, np.array(right)
