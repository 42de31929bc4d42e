"""Policies: which intervention each sample gets, chosen from the model's own untouched first token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Protocol, TypeGuard

from adaptvis.policy.confidence import check_measure
from interp.errors import InputError
from interp.intervene.base import Intervention, Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.indices import spell, spell_number


class Policy(Protocol):
    """A rule from confidence to intervention; its `str()` goes into results."""

    @property
    def confidence(self) -> str:
        """Which measure of confidence it goes by; see `adaptvis.policy.confidence.MEASURES`."""
        ...

    def choose(self, confidence: float) -> Intervention:
        """The intervention for a sample of this confidence in its untouched first token."""
        ...

    def branch(self, confidence: float) -> str:
        """The name of the branch that this confidence takes."""
        ...


def is_policy(given: object) -> TypeGuard[Policy]:
    """Whether this chooses interventions, rather than decoding in another way."""
    return hasattr(given, "choose")


@dataclass(frozen=True)
class Baseline:
    """The model as it is."""

    confidence: str = "probability"

    def choose(self, confidence: float) -> Intervention:
        """Change nothing."""
        return Untouched()

    def branch(self, confidence: float) -> str:
        """The only branch."""
        return "untouched"

    def __str__(self) -> str:
        """Its name in results."""
        return "baseline"


@dataclass(frozen=True)
class ScalingVis:
    """Change the last prompt row's image logits by one `alpha` for all samples (arXiv 2503.01773, section 4).

    Attributes:
        alpha: above 1 sharpens the attention over the image, below 1 smooths it.
        mode: `mul` is the paper's; `add` its control, more attention without sharpening; `temper` sharpening without
            more attention. See `ScaleImageLogits`.
        layers, heads: 0-based; all by default, as in the paper.

    Example:
        >>> str(ScalingVis(0.5).choose(0.9))
        'ScaleImageLogits(alpha=0.5, mode=mul, layers=all, heads=all, rows=last)'
    """

    alpha: float
    mode: str = "mul"
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    confidence: str = "probability"

    def __post_init__(self) -> None:
        """Refuse what `ScaleImageLogits` refuses, and spell layers and heads as it does."""
        _adopt(self, self.choose(1.0))

    def choose(self, confidence: float) -> ScaleImageLogits:
        """The same scaling whatever the confidence."""
        return ScaleImageLogits(self.alpha, mode=self.mode, layers=self.layers, heads=self.heads)

    def branch(self, confidence: float) -> str:
        """The only branch."""
        return "scaled"

    def __str__(self) -> str:
        """Its settings, for results."""
        return f"ScalingVis({_settings(self, 'alpha')}{'' if self.mode == 'mul' else f', mode={self.mode}'})"


@dataclass(frozen=True)
class AdaptVis:
    """Smooth the attention over the image where the model is unsure, sharpen it where it is sure (arXiv 2503.01773).

    Confidence is the largest probability of the untouched first token, over the whole vocabulary, in fp32 and not
    rounded; a sample is unsure when it lies strictly below the threshold. Other alphas than the paper's kind are taken
    too, for what they show; such a policy says in its `str()` and in `caveats` what it does not do.

    Attributes:
        alpha_unsure: the scaling below the threshold (the paper's alpha 1, below 1).
        alpha_sure: the scaling from the threshold on (the paper's alpha 2, above 1).
        threshold: the paper's beta, from 0 to 1 as every measure of confidence (`raw-logit` alone is not bounded).
        layers, heads: 0-based; all by default.
        confidence: the measure, `probability` by default; see `adaptvis.policy.confidence.MEASURES`.
            `probability-rounded` and `raw-logit` are what the authors' code does, to reproduce its numbers.
    """

    alpha_unsure: float = 0.5
    alpha_sure: float = 1.5
    threshold: float = 0.4
    layers: tuple[int, ...] | None = None
    heads: tuple[int, ...] | None = None
    confidence: str = "probability"

    def __post_init__(self) -> None:
        """Refuse numbers that mean nothing."""
        check_measure(self.confidence)
        for alpha in (self.alpha_unsure, self.alpha_sure):
            _adopt(self, ScaleImageLogits(alpha, layers=self.layers, heads=self.heads))
        if (
            isinstance(self.threshold, bool)
            or not isinstance(self.threshold, Real)
            or not math.isfinite(self.threshold)
        ):
            raise InputError(f"threshold={self.threshold!r} is not a finite number: give one from 0 to 1")
        if self.confidence != "raw-logit" and not 0 <= self.threshold <= 1:
            raise InputError(f"threshold={self.threshold!r} is not a probability: give a number from 0 to 1")

    def choose(self, confidence: float) -> ScaleImageLogits:
        """Scale by `alpha_unsure` below the threshold, by `alpha_sure` from it on."""
        alpha = self.alpha_unsure if confidence < self.threshold else self.alpha_sure
        return ScaleImageLogits(alpha, layers=self.layers, heads=self.heads)

    def branch(self, confidence: float) -> str:
        """`unsure` or `sure`."""
        return "unsure" if confidence < self.threshold else "sure"

    @property
    def caveats(self) -> tuple[str, ...]:
        """What its alphas do not do although the method is named for it; nothing for alphas of the paper's kind.

        Example:
            >>> AdaptVis(alpha_unsure=1.2).caveats
            ('AdaptVis with alpha_unsure=1.2, which is above 1, does not smooth where the model is unsure',)
        """
        found = [("alpha_unsure", "above", "smooth", "unsure")] if self.alpha_unsure > 1 else []
        found += [("alpha_sure", "below", "sharpen", "sure")] if self.alpha_sure < 1 else []
        return tuple(
            f"AdaptVis with {name}={spell_number(getattr(self, name))}, which is {side} 1, does not {verb} where the "
            f"model is {kind}"
            for name, side, verb, kind in found
        )

    def __str__(self) -> str:
        """Its settings, for results, and what it does not do."""
        missing = ["does not smooth"] * (self.alpha_unsure > 1) + ["does not sharpen"] * (self.alpha_sure < 1)
        by = "" if self.confidence == "probability" else f", confidence={self.confidence}"
        gaps = "".join(f"; {one}" for one in missing)
        return f"AdaptVis({_settings(self, 'alpha_unsure', 'alpha_sure', 'threshold')}{by}{gaps})"


def _adopt(policy: ScalingVis | AdaptVis, plan: ScaleImageLogits) -> None:
    """Take over layers and heads as the intervention reads them: sorted tuples."""
    object.__setattr__(policy, "layers", plan.layers)
    object.__setattr__(policy, "heads", plan.heads)


def _settings(policy: ScalingVis | AdaptVis, *names: str) -> str:
    """Numbers, then layers and heads where they are not all."""
    parts = [f"{name}={spell_number(getattr(policy, name))}" for name in names]
    parts += [
        f"{name}={spell(chosen)}" for name in ("layers", "heads") if (chosen := getattr(policy, name)) is not None
    ]
    return ", ".join(parts)
