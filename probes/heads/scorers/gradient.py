"""Gradient times attention: how much the answer owes to where each head looks, as far as it would gain from more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.maps.gradients import GRADIENT, AnswerGradient, answer_gradient
from interp.model.frozen import refuse_quantised
from interp.numeric import whole_number
from interp.stats.draws import check_seed, own_draws
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.scorers.measured import as_row, check_gold, measure_heads
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
    deals: int = 8,
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

    The head-wise form of the gradient maps of Zhang et al. 2025 (arXiv:2502.17422). By chance: the same weights on
    other image tokens, drawn for each sample and the same for all heads, under the same gradient; so a head is told
    from one that looks at the image as much, but not where the answer gains. Dealt weights lose what a head prefers of
    places, whatever is shown there: where the gradient prefers the same places, a head stands out of the null though it
    looks at nothing, which in models with random weights happens two to three times as often as the level says.

    Args:
        vlm: the model.
        samples: as in `attention_scores`; no boxes are needed.
        answer: one of `ANSWERS`.
        deals: how often weights are dealt to other tokens for the null.
        prompt: prompt style.
        seed: the seed of all draws.
        draws: draws of the bootstrap.
        level: nominal coverage.
        flips: flips of signs, for p-values.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are asked together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Raises:
        InputError: samples that can not be asked, too few of them, or answers that the model can not say; before the
            first pass.
        ModelError: quantised weights, before the first pass; later, gradients that are no numbers.

    Example:
        >>> gradient_scores(vlm, samples).of("spatial").argmax()
    """
    drawing = Drawing(seed, draws, level, flips)
    work = GradientMeasurement(vlm, answer, deals, prompt, seed)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    found = measure_heads(samples, work, STUDY, drawing=drawing, **how)
    own = found.columns
    given: dict[str, Any] = {"null": own["gradient_dealt"], "drawn": own["gradient_drawn"], "answer": answer}
    return found.scores("gradient", own["gradient"], **given)


@dataclass(frozen=True)
class GradientMeasurement:
    """What is measured of each batch: gradient times attention of every head, and the same with weights dealt anew.

    Attributes:
        vlm: the model.
        answer: one of `ANSWERS`.
        deals: how often weights are dealt.
        prompt: prompt style.
        seed: the seed of the deals.

    Raises:
        InputError: something means nothing.
    """

    vlm: HookedVLM
    answer: str = "gold"
    deals: int = 8
    prompt: str = "chat"
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        check_model(self.vlm)
        check_seed(self.seed)
        if self.answer not in ANSWERS:
            raise InputError(f"answer={self.answer!r:.60} is not known: use one of {', '.join(ANSWERS)}")
        object.__setattr__(self, "deals", whole_number(self.deals, "deals", 1))

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        return {"answer": self.answer, "deals": self.deals, "prompt": self.prompt, "seed": self.seed}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not be asked, or the model can not say an answer.
            ModelError: quantised weights.
        """
        refuse_quantised(self.vlm, "a gradient map")
        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if self.answer == "gold":
            check_gold(self.vlm, samples, self.prompt)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample: `gradient`, its mean over deals, that of the first deal, and the answer."""
        inputs = prepare_samples(self.vlm, samples, self.prompt)
        gold = [sample.answer for sample in samples] if self.answer == "gold" else None
        found = answer_gradient(self.vlm, inputs, gold)
        return [[self._row(sample, one)] for sample, one in zip(samples, found, strict=True)]

    def _row(self, sample: Sample, one: AnswerGradient) -> dict[str, Any]:
        image = one.layout.image_positions
        looked, slope = one.attention[..., image].astype(np.float64), one.gradient[..., image].clip(min=0)
        rng = own_draws(self.seed, sample.id)
        dealt = np.stack(
            [(looked[..., rng.permutation(len(image))] * slope).sum(axis=-1) for _ in range(self.deals)]
        )  # deal layer head
        columns = {
            "gradient": one.maps(GRADIENT).sum(axis=-1, dtype=np.float64),
            "gradient_dealt": dealt.mean(axis=0),
            "gradient_drawn": dealt[0],
        }
        return as_row(columns, answer=one.answer.text, log_probability=one.log_probability)
