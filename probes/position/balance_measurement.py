"""What one generation says of a batch: balance, shares and entropy, with the system part of its prompts or without."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from probes.position.balance import TEXT, Balance, cross_modality_balance
from probes.position.shares import (
    ALIGNMENTS,
    GROUPS,
    AttentionEntropy,
    Shares,
    attention_entropy,
    modality_shares,
    places_of,
)
from probes.study.finite import refuse_unsaid
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout

KEPT, STRIPPED = "kept", "stripped"
"""The arms of a study: the prompt with its system part, and without."""

MAPS = ("balance", "image_mass", "text_mass")
"""What a row has of each layer and head, as one axis."""


@dataclass(frozen=True, eq=False)
class Attended:
    """What one sample is answered, and what that says of its attention.

    Attributes:
        text: the answer.
        tokens: how many positions the prompt has of each group: system, image and text.
        balance: its cross-modality balance.
        shares: its attention shares.
        entropy: by alignment, the entropy behind each generated token; a single token has no `consumed`.
    """

    text: str
    tokens: Mapping[str, int]
    balance: Balance
    shares: Shares
    entropy: Mapping[str, AttentionEntropy]

    def to_row(self) -> dict[str, Any]:
        """One row of a study: plain numbers, and the maps by layer and head as one axis; no group gets 0."""
        shares = dict(
            zip(self.shares.groups, zip(self.shares.kept, self.shares.kept_authors, strict=True), strict=True)
        )
        known = {name: found.values.astype(np.float64).mean() for name, found in self.entropy.items()}
        maps = (self.balance.values, self.balance.image_mass, self.balance.text_mass)
        return {
            "text": self.text,
            "steps": self.balance.by_step.shape[-1],
            **{f"{name}_tokens": count for name, count in self.tokens.items()},
            "even": self.balance.even,
            **{f"share_{name}": float(shares.get(name, (0.0, 0.0))[0]) for name in GROUPS},
            **{f"share_{name}_authors": float(shares.get(name, (0.0, 0.0))[1]) for name in GROUPS},
            "share_image_masked": float(self.shares.masked),
            "coverage": float(self.shares.coverage),
            **{f"entropy_{name}": float(known[name]) if name in known else None for name in ALIGNMENTS},
            **{name: np.asarray(values, dtype=np.float32).ravel() for name, values in zip(MAPS, maps, strict=True)},
        }


def measure_attention(
    vlm: HookedVLM, inputs: VLMInputs, max_new_tokens: int = 10, *, sample_ids: Sequence[str] = ()
) -> tuple[Attended, ...]:
    """Answer a batch greedily, once, and measure the attention of each sample.

    `sample_ids` are for messages alone.

    Example:
        >>> (found,) = measure_attention(vlm, vlm.prepare(photo, "Where is the mug in the photo?"))
        >>> found.text, found.balance.values.shape, found.shares.masked
        ('left', (12, 8), 0.71)

    Raises:
        InputError: a prompt without image or without words, before the first pass; or with a single image token.
        ModelError: what the model says is not finite.
    """
    for layout in inputs.layouts:
        places_of(layout)
    answer, every = vlm.generate_with_cache(inputs, max_new_tokens)
    refuse_unsaid(answer, sample_ids)
    return tuple(
        Attended(
            text=text,
            tokens=_counts(rows.layout),
            balance=cross_modality_balance(rows.pattern, rows.layout),
            shares=modality_shares(rows.pattern, rows.layout),
            entropy={
                name: attention_entropy(rows, alignment=name)
                for name in (ALIGNMENTS if len(rows.tokens) > 1 else ALIGNMENTS[:1])
            },
        )
        for text, rows in zip(answer.texts, every, strict=True)
    )


@dataclass(frozen=True)
class BalanceMeasurement:
    """What is measured of one batch: one generation for each arm.

    It is what `run_study` calls: `work(samples)` gives, for each sample, the row `kept`, and where its prompt has a
    system part the row `stripped`.
    """

    vlm: HookedVLM
    prompt: str
    system: str | None
    max_new_tokens: int

    @classmethod
    def of(
        cls, vlm: HookedVLM, *, prompt: str = "chat", system: str | None = None, max_new_tokens: int = 10
    ) -> BalanceMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
        """
        from interp.model.generation import greedy_settings
        from interp.prompt.system import check_system

        check_model(vlm)
        check_system(system, prompt)
        greedy_settings(vlm, max_new_tokens)
        return cls(vlm, prompt, system, max_new_tokens)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"prompt": self.prompt, "system": self.system, "max_new_tokens": self.max_new_tokens}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, or whose attention can not be divided, before the first pass.

        Raises:
            InputError: some can not.
        """
        from interp.image.photos import check_image

        check_asked(self.vlm, samples, self.prompt, system=self.system, progress=progress)
        alike = self.prompt != "raw"  # whatever wraps the questions is one text
        sizes: set[tuple[int, int]] = set()
        for place, sample in enumerate(samples):
            if not (place and alike):
                self._check_layout(sample)
            if (size := check_image(sample.image)) in sizes:
                continue
            sizes.add(size)
            if (tokens := len(self.vlm.grid_of(size))) < 2:
                raise InputError(
                    f"sample {sample.id!r} has {tokens} image token: entropy is over image tokens, give a larger photo"
                )

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample: `arm`, and what `Attended.to_row` says."""
        kept = self._prepare(samples, self.system)
        rows = [[{"arm": KEPT, **own.to_row()}] for own in self._measure(kept, samples)]
        there = [place for place, layout in enumerate(kept.layouts) if len(layout.positions("system"))]
        if there:
            some = [samples[place] for place in there]
            for place, own in zip(there, self._measure(self._prepare(some, ""), some), strict=True):
                rows[place].append({"arm": STRIPPED, **own.to_row()})
        return rows

    def _measure(self, inputs: VLMInputs, samples: Sequence[Sample]) -> tuple[Attended, ...]:
        names = [sample.id for sample in samples]
        return measure_attention(self.vlm, inputs, self.max_new_tokens, sample_ids=names)

    def _prepare(self, samples: Sequence[Sample], system: str | None) -> VLMInputs:
        from interp.study.prompter import prepare_samples

        return prepare_samples(self.vlm, samples, self.prompt, system=system)

    def _check_layout(self, sample: Sample) -> None:
        """Refuse a prompt that has no words, with its system part or without."""
        from dataclasses import replace

        from PIL import Image

        from interp.study.sample_checks import BLANK

        blank = replace(sample, image=Image.new("RGB", BLANK, "grey"))
        for system in (self.system, ""):
            (layout,) = self._prepare([blank], system).layouts
            if not len(layout.positions(*TEXT)):
                raise InputError(f"the prompt of sample {sample.id!r} has no words: ask something beside the image")


def _counts(layout: TokenLayout) -> dict[str, int]:
    """How many positions of a layout are in each group."""
    return {name: len(layout.positions(*kinds)) for name, kinds in GROUPS.items()}
