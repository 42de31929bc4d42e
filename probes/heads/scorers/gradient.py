"""Gradient times attention: how much the answer owes to where each head looks, as far as it would gain from more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.maps.gradients import ALONE, GRADIENT, AnswerGradient, answer_gradient
from interp.model.frozen import refuse_quantised
from interp.stats.draws import check_seed
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.scorers.measured import as_row, check_gold, measure_heads
from probes.heads.scorers.partners import Partners
from probes.heads.scorers.sampled import FLIPS, Drawing
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores

STUDY = "head gradients"
"""What the study is called in its record."""

ANSWERS = ("gold", "own")
"""Whose log-probability it is: that of the right answer's first token, or of what the model itself says first."""


def gradient_scores(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    answer: str = "gold",
    prompt: str = "chat",
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    flips: int = FLIPS,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 8,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> HeadScores:
    """The sum over image tokens of A * max(d log p(answer) / dA, 0) at the last prompt row, mean over samples.

    The head-wise form of the gradient maps of Zhang et al. 2025 (arXiv:2502.17422). By chance: the same attention times
    what the answer to another question of the same functions gains in another photo with the same grid of image tokens.
    What a head and the answer prefer of places, whatever is shown there, is in both; a head stands out whose look in
    this photo agrees with the gain in this photo. Samples of which no other is such a partner count in nothing.

    That is more than chance, and less than use: a head that likes red, of an answer that gains by red, agrees in every
    photo. In models with random weights such likings meet by accident: of these, one in nine has a head selected at
    0.05 (docs/probes/heads.md).

    Args:
        vlm: the model.
        samples: as in `attention_scores`; no boxes are needed.
        answer: one of `ANSWERS`.
        prompt: prompt style.
        seed: the seed of partners and all draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        flips: flips of signs, for p-values.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Raises:
        InputError: samples that can not be asked, too few of them or of partners, or answers that the model can not
            say; before the first pass.
        ModelError: quantised weights, before the first pass; later, gradients that are no numbers.

    Example:
        >>> gradient_scores(vlm, samples).of("spatial").argmax()
    """
    drawing = Drawing(seed, draws, level, flips)
    work = GradientMeasurement.of(vlm, samples, answer=answer, prompt=prompt, seed=seed)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    partners = work.partners
    assert partners is not None
    found = replace(measure_heads(samples, work, STUDY, drawing=drawing, **how), labels=partners.labels)
    own = np.where(partners.there[:, None, None], found.columns["gradient"], np.nan)
    given: dict[str, Any] = {"answer": answer, "without_partner": int((~partners.there).sum())}
    return found.scores("gradient", own, null=found.columns["gradient_elsewhere"], **given)


@dataclass(frozen=True)
class GradientMeasurement:
    """What is measured of each batch: gradient times attention of every head, and the same with the partners' gradient.

    Partners that are not in the batch are asked with it, so that numbers hang on no batch and no map is kept.

    Attributes:
        vlm: the model.
        answer: one of `ANSWERS`.
        prompt: prompt style.
        partners: whose gradient each sample is given by chance; where there are none, there is no such number.
        seed: the seed of the partners.

    Raises:
        InputError: something means nothing.
    """

    vlm: HookedVLM
    answer: str = "gold"
    prompt: str = "chat"
    partners: Partners | None = field(default=None, repr=False)
    seed: int = 0

    @classmethod
    def of(
        cls, vlm: HookedVLM, samples: Sequence[Sample], *, answer: str = "gold", prompt: str = "chat", seed: int = 0
    ) -> GradientMeasurement:
        """The measurement of some samples, which are each other's partners.

        Raises:
            InputError: something means nothing, or samples that are no study of heads.
        """
        bare = cls(vlm, answer, prompt, seed=seed)
        return replace(bare, partners=Partners.of(vlm, samples, seed=seed))

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_model(self.vlm)
        check_seed(self.seed)
        if self.answer not in ANSWERS:
            raise InputError(f"answer={self.answer!r:.60} is not known: use one of {', '.join(ANSWERS)}")

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        return {"answer": self.answer, "prompt": self.prompt, "null": "partners", "seed": self.seed}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not be asked, the model can not say an answer, or too few have a partner.
            ModelError: quantised weights.
        """
        refuse_quantised(self.vlm, "a gradient map")
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if self.answer == "gold":
            check_gold(self.vlm, samples, self.prompt)
        if self.partners is not None:
            self.partners.refuse_few()

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample: `gradient`, the same with the partner's gradient, and the answer."""
        others = {} if self.partners is None else {sample.id: self.partners.other(sample) for sample in samples}
        found = self._gradients(samples)
        absent = {one.id: one for one in others.values() if one is not None and one.id not in found}
        found |= self._gradients(list(absent.values()))
        return [
            [self._row(found[sample.id], found.get(getattr(others.get(sample.id), "id", "")))] for sample in samples
        ]

    def _gradients(self, samples: list[Sample]) -> dict[str, AnswerGradient]:
        """The gradient of each sample's answer, by id."""
        if not samples:
            return {}
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        gold = [sample.answer for sample in samples] if self.answer == "gold" else None
        found = answer_gradient(self.vlm, inputs, gold)
        return {sample.id: one for sample, one in zip(samples, found, strict=True)}

    def _row(self, one: AnswerGradient, other: AnswerGradient | None) -> dict[str, Any]:
        own = one.maps(GRADIENT).sum(axis=-1, dtype=np.float64)
        elsewhere = np.full_like(own, np.nan)
        if other is not None:
            looked = one.attention[..., one.layout.image_positions].astype(np.float64)
            elsewhere = (looked * other.maps(ALONE)).sum(axis=-1)
        columns = {"gradient": own, "gradient_elsewhere": elsewhere}
        return as_row(columns, answer=one.answer.text, log_probability=one.log_probability)
