"""Amplified answers: one batch asked in both orders, amplified along a probe's and along random directions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from interp.errors import InputError
from interp.intervene.amplification import AmplifyImageTokens, check_width, digest, random_directions, read_directions
from interp.intervene.base import PerSample
from interp.intervene.image_hooks import refuse_deepstack
from interp.intervene.image_tokens import check_seeds
from interp.numeric import read_flag
from probes.mechanisms.scenes.sides import SIDES
from probes.mechanisms.scenes.vocabulary import plain_word
from probes.mechanisms.scenes.wordings import WORDINGS, axis_of, check_words, in_both_orders
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.features import ImageFeatures
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

UNTOUCHED, PROBE = "untouched", "probe"
"""Sources of directions: none and the probe's; random ones are called `random 0` and so on, by their seeds."""

AXES = ("query", "both")
"""Whose directions are amplified: those of the axis that is asked about, or those of both."""


@dataclass(frozen=True)
class AmplifyMeasurement:
    """What is asked of one batch: both orders, untouched and at each alpha along the probe's and random directions.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each source and alpha.
    """

    vlm: HookedVLM
    directions: Mapping[str, Tensor]
    alphas: tuple[float, ...]
    seeds: tuple[int, ...]
    mode: str
    axes: str
    wording: str
    prompt: str
    same_angle: bool
    edits: Mapping[str, Mapping[str, tuple[AmplifyImageTokens, ...]]] = field(repr=False)
    """By source and axis that is asked about: what is done at each alpha."""

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        directions: Mapping[str, Any],
        alphas: Iterable[float],
        seeds: Iterable[int],
        *,
        mode: str = "rescale",
        axes: str = "query",
        wording: str = "where_in_relation",
        prompt: str = "chat",
        same_angle: bool = True,
    ) -> AmplifyMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
            RefusedError: a model with DeepStack.
        """
        strengths, drawn, same_angle = read_plan(vlm, alphas, seeds, axes=axes, wording=wording, same_angle=same_angle)
        own = _read(vlm, directions, mode)
        if axes == "both" and len(own) < len(SIDES):
            raise InputError(f"axes='both', and directions are there for {', '.join(own)} alone: give those of both")
        sources = {PROBE: own}
        for seed in drawn:
            sources[f"random {seed}"] = {
                axis: random_directions(columns, (seed, place), same_angle=same_angle)
                for place, (axis, columns) in enumerate(sorted(own.items()))
            }
        edits = {name: _edits(columns, strengths, mode, axes) for name, columns in sources.items()}
        return cls(vlm, own, strengths, drawn, mode, axes, wording, prompt, same_angle, edits)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {
            "directions": {axis: digest(columns) for axis, columns in self.directions.items()},
            "alphas": list(self.alphas),
            "seeds": list(self.seeds),
            "mode": self.mode,
            "axes": self.axes,
            "wording": self.wording,
            "prompt": self.prompt,
            "same_angle": self.same_angle,
        }

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked in both orders, before the first pass.

        Raises:
            InputError: some can not, or there are no directions for their axis.
        """
        for asked in in_both_orders(samples, self.wording):
            check_asked(self.vlm, asked, self.prompt, progress=progress)
        if missing := sorted({axis_of(sample) for sample in samples} - set(self.directions)):
            raise InputError(
                f"samples ask about the {missing[0]} axis, and directions are there for {', '.join(self.directions)} "
                "alone: give those, or leave these samples out"
            )

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch: `source`, `alpha`, both words, and how far tokens were `moved`."""
        from interp.model.features import ImageFeatures
        from interp.study.prompter import prepare_samples

        first, second = (
            prepare_samples(self.vlm, asked, self.prompt) for asked in in_both_orders(samples, self.wording)
        )
        output, seen = ImageFeatures.captured(self.vlm, first, lambda: self.vlm(first, logits_to_keep=1))
        return self.ask((seen, ImageFeatures(self.vlm, second, seen.values)), samples, self._words(output.logits))

    def ask(
        self, orders: tuple[ImageFeatures, ImageFeatures], samples: Sequence[Sample], known: list[str]
    ) -> list[list[dict[str, Any]]]:
        """The rows of each sample, of the photos' features in both orders; the first words untouched are known."""
        axes = [axis_of(sample) for sample in samples]
        said = {(UNTOUCHED, 0.0): (known, self._answers(orders[1]))}
        moved = {UNTOUCHED: np.zeros(len(samples))}
        for source, by_axis in self.edits.items():
            moved[source] = _moved(orders[0], [by_axis[axis][0] for axis in axes])
            for place, alpha in enumerate(self.alphas):
                edit = PerSample(tuple(by_axis[axis][place] for axis in axes))
                first, second = (self._answers(features, edit) for features in orders)
                said[source, alpha] = first, second
        return [
            [
                {
                    "source": source,
                    "alpha": alpha,
                    "first": first[place],
                    "second": second[place],
                    "moved": float(abs(alpha) * moved[source][place]),
                }
                for (source, alpha), (first, second) in said.items()
            ]
            for place in range(len(samples))
        ]

    def _answers(self, features: ImageFeatures, edit: PerSample | None = None) -> list[str]:
        with torch.no_grad():
            return self._words(features.forward(intervention=edit, logits_to_keep=1).logits)

    def _words(self, logits: Tensor) -> list[str]:
        """The likeliest next token of each prompt, in plain letters."""
        decode = self.vlm.processor.tokenizer.decode
        return [plain_word(decode([token])) for token in logits[:, -1].argmax(-1).tolist()]


def read_plan(
    vlm: HookedVLM,
    alphas: Iterable[float],
    seeds: Iterable[int],
    *,
    axes: str = "query",
    wording: str = "where_in_relation",
    same_angle: bool = True,
) -> tuple[tuple[float, ...], tuple[int, ...], bool]:
    """Alphas, seeds and whether angles are kept, as far as they need no directions: before any are trained.

    Raises:
        InputError: one of them means nothing, or a side is several tokens of this model.
        RefusedError: a model with DeepStack.
    """
    check_model(vlm)
    refuse_deepstack(vlm.cfg, "amplify")
    for name, value, known in (("axes", axes, AXES), ("wording", wording, tuple(WORDINGS))):
        if value not in known:
            raise InputError(f"{name}={value!r} is not known: use one of {', '.join(known)}")
    own = read_alphas(alphas), check_seeds(seeds), read_flag(same_angle, "same_angle")
    check_words(vlm.processor.tokenizer)
    return own


def read_alphas(alphas: Iterable[float]) -> tuple[float, ...]:
    """Alphas as different finite numbers other than 0, in ascending order.

    Raises:
        InputError: there is none, one is no such number, or one occurs twice.
    """
    try:
        own = tuple(alphas)
    except TypeError:
        raise InputError(f"alphas={alphas!r:.60} is no list: give several, such as range(1, 16)") from None
    for alpha in own:
        if isinstance(alpha, bool) or not isinstance(alpha, Real) or not math.isfinite(alpha) or alpha == 0:
            raise InputError(
                f"an alpha is {alpha!r:.40}: give finite numbers other than 0, at which the model is asked anyway"
            )
    if not own or len(set(own)) < len(own):
        raise InputError(f"alphas={own}: give at least one, each once")
    return tuple(sorted(map(float, own)))


def _read(vlm: HookedVLM, directions: Mapping[str, Any], mode: str) -> dict[str, Tensor]:
    """Directions of each axis that is named, as columns of the model's width."""
    if not isinstance(directions, Mapping) or not directions or not set(directions) <= set(SIDES):
        given = list(directions) if isinstance(directions, Mapping) else type(directions).__name__
        raise InputError(f"directions={given}: give a mapping from {' or '.join(SIDES)} to [d_model 2]")
    own = {}
    for axis, given in directions.items():
        try:
            own[axis] = read_directions(given, mode)
            check_width(own[axis], vlm.cfg)
            if empty := np.flatnonzero(own[axis].norm(dim=0).numpy() == 0).tolist():
                raise InputError(f"columns {empty} are zero: a probe has a direction for each side")
        except InputError as error:
            raise InputError(f"{axis} axis: {error}") from error
    return own


def _edits(
    columns: Mapping[str, Tensor], alphas: Sequence[float], mode: str, axes: str
) -> dict[str, tuple[AmplifyImageTokens, ...]]:
    """What is done at each alpha, by the axis that is asked about."""
    every = torch.cat(list(columns.values()), dim=1)
    of_axis = {axis: every if axes == "both" else columns[axis] for axis in columns}
    return {axis: tuple(AmplifyImageTokens(own, alpha, mode) for alpha in alphas) for axis, own in of_axis.items()}


def _moved(features: ImageFeatures, edits: Sequence[AmplifyImageTokens]) -> np.ndarray:
    """By what part of its length an image token is moved at alpha 1, mean over tokens, [sample]."""
    layouts = features.inputs.layouts
    found = []
    for own, layout, edit in zip(
        features.values.split([len(layout.placeholders) for layout in layouts]), layouts, edits, strict=True
    ):
        tokens = own[np.searchsorted(layout.placeholders, layout.image_positions)].float()
        lengths = tokens.norm(dim=-1)
        found.append((edit.change(tokens).norm(dim=-1) / lengths.where(lengths > 0, 1)).mean().item())
    return np.array(found)
