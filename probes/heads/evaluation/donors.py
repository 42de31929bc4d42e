"""Donors: what heads put out over training samples, none of which is tested: patches and directions are made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp.errors import InputError
from interp.intervene.amplification import SHORTEST, random_directions
from interp.intervene.base import Intervention, Untouched
from interp.intervene.head_patch import head_points, recorded_z
from interp.intervene.head_steer import SteerHeads
from interp.numeric import agree
from interp.stats.draws import own_draws
from interp.study.keys import photo_keys
from interp.study.prompter import batches, prepare_samples
from probes.heads.activations.judged import judged
from probes.heads.evaluation.where import positions_of

if TYPE_CHECKING:
    from interp.intervene.head_sets import Head
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


@dataclass(frozen=True, eq=False)
class Donors:
    """What heads mixed in front of their output projection over training samples, untouched.

    Attributes:
        heads: layer and head of each.
        z: float32 [sample head d_head], on the CPU.
        right: whether each sample is answered right; None where they were not asked.

    Example:
        >>> donors = collect_donors(vlm, train, spatial.heads, answers=True)
        >>> edit = donors.steering(spatial.heads, 0.1)
    """

    heads: tuple[Head, ...]
    z: Float[Tensor, "sample head d_head"] = field(repr=False)
    right: Bool[np.ndarray, " sample"] | None = None

    def of(self, heads: Sequence[Head]) -> Float[Tensor, "sample some d_head"]:
        """What some of the heads mixed, in their order."""
        return self.z[:, [self.heads.index(one) for one in heads]]

    def mean(self, heads: Sequence[Head]) -> Float[Tensor, "some d_head"]:
        """The mean over samples."""
        return self.of(heads).double().mean(0).float()

    def drawn(self, heads: Sequence[Head], sample: str, seed: int) -> Float[Tensor, "some d_head"]:
        """What the heads mixed in one training sample, drawn for a test sample: the same in every batch and arm."""
        place = int(own_draws(seed, f"donor\0{sample}").integers(len(self.z)))
        return self.z[place, [self.heads.index(one) for one in heads]]

    def moving(self, heads: Sequence[Head]) -> tuple[Head, ...]:
        """Heads whose mean over right answers is not the one over wrong answers, so that there is a way to steer."""
        right, wrong = self._sides(heads)
        there = (right.double().mean(0) - wrong.double().mean(0)).norm(dim=-1) >= SHORTEST
        return tuple(one for one, moves in zip(heads, there.tolist(), strict=True) if moves)

    def steering(
        self, heads: Sequence[Head], alpha: float, *, random: int | None = None, seed: int = 0, **more: Any
    ) -> Intervention:
        """Steering from wrong to right answers; heads that do not move are left out, see `moving`.

        Args:
            heads: layer and head of each.
            alpha: how much.
            random: which draw of random directions as long takes the place of these; None for none.
            seed: the seed of these draws.
            **more: the other settings of `SteerHeads`.
        """
        if not (own := self.moving(heads)):
            return Untouched()
        right, wrong = self._sides(own)
        edit = SteerHeads.between(own, right, wrong, alpha=alpha, **more)
        if random is None:
            return edit
        return replace(edit, directions=random_directions(edit.directions.T, (seed, random)).T.float())

    def check_sides(self) -> None:
        """Refuse training samples that are all answered right, or all wrong.

        Raises:
            InputError: they are.
        """
        assert self.right is not None
        right = int(self.right.sum())
        if not 0 < right < len(self.right):
            raise InputError(
                f"{right} of {len(self.right)} training samples are answered right: a direction from wrong to right "
                "answers needs both; give others"
            )

    def _sides(self, heads: Sequence[Head]) -> tuple[Tensor, Tensor]:
        assert self.right is not None
        z, right = self.of(heads), torch.from_numpy(self.right)
        return z[right], z[~right]


def collect_donors(
    vlm: HookedVLM,
    train: Sequence[Sample],
    heads: Sequence[Head],
    *,
    answers: bool,
    positions: str = "last",
    prompt: str = "chat",
    max_new_tokens: int = 10,
    batch: int = 16,
) -> Donors:
    """Run training samples untouched, and keep what some heads mix.

    Args:
        vlm: the model.
        train: training samples.
        heads: layer and head of each.
        answers: whether they are answered, so that right ones can be told from wrong ones.
        positions: at which positions of the prompt, by a word, see `HeadEdit`; of several, the mean.
        prompt: prompt style.
        max_new_tokens: the most tokens of an answer.
        batch: samples that are run together.
    """
    own = tuple(sorted(set(heads)))
    z = torch.zeros(len(train), len(own), vlm.cfg.d_head)
    right = np.zeros(len(train), dtype=bool)
    for places in batches(train, batch):
        asked = [train[place] for place in places]
        inputs = prepare_samples(vlm, asked, prompt)
        with torch.no_grad():
            _, cache = vlm.run_with_cache(inputs, names_filter=head_points(own), logits_to_keep=1)
        at = positions_of(positions, vlm, asked, inputs)
        z[places] = recorded_z(own, cache, inputs, at=at).float().cpu()
        if answers:
            right[places] = [own["correct"] for own in judged(asked, vlm.generate(inputs, max_new_tokens).texts)]
    return Donors(own, z, right if answers else None)


def refuse_shared(train: Sequence[Sample], samples: Sequence[Sample]) -> None:
    """Refuse training samples that are tested too: by id, by group, or as one question about one photo.

    Raises:
        InputError: there are some; it names the first and tells how many.
    """
    known = set[tuple[str, ...]]().union(*map(_keys, train, photo_keys(train)))
    leaks = [
        (sample.id, shared[0][0])
        for sample, photo in zip(samples, photo_keys(samples), strict=True)
        if (shared := sorted(_keys(sample, photo) & known))
    ]
    if leaks:
        raise InputError(
            f"{len(leaks)} of {len(samples)} samples {agree(len(leaks), 'leaks', 'leak')} from train; the first, "
            f"{leaks[0][0]!r}, shares its {leaks[0][1]}: what is learned from a sample proves nothing on it; "
            "split by group first"
        )


def _keys(sample: Sample, photo: str) -> set[tuple[str, ...]]:
    """What two samples may share that makes them one."""
    asked = " ".join(sample.question.lower().split())
    keys: set[tuple[str, ...]] = {("id", sample.id), ("question and photo", asked, photo)}
    return keys | ({("group", sample.group)} if sample.group else set())
