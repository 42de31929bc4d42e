"""Divergence: how differently each head speaks with the photo and without it.

"Vision-aware Head Divergence" (ACL 2025, arXiv 2412.13949) leaves the photo out of the prompt. Prompts of these models
hold one, and without it every token would stand elsewhere; here a blank photo of the same size takes its place, so that
nothing but what the photo shows is another.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError
from interp.image.photos import check_image
from interp.stats.intervals import DRAWS
from interp.study.prompter import prepare_samples
from probes.heads.activations.z_rows import last_z
from probes.heads.scorers.measured import as_row, measure_heads
from probes.heads.scorers.sampled import FLIPS, Drawing
from probes.study.finite import refuse_overflow
from probes.study.run import check_asked, check_model

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores

STUDY = "head divergence"
"""What the study is called in its record."""

BLANKS = ("grey", "black")
"""Colours of the photo that takes the place of the real one, and of the one that the null compares it with."""

DISTANCES = ("distance", "relative", "cosine")
"""How far apart two outputs are: the length of their difference; that over the mean of their lengths, 0 where both are
nothing; and one less the cosine between them, NaN where one is nothing."""

NOTHING = 1e-9
"""An output that is shorter than this part of the longest is nothing."""


def divergence_scores(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    blanks: tuple[str, str] = BLANKS,
    prompt: str = "chat",
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    flips: int = FLIPS,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> dict[str, HeadScores]:
    """How far what each head mixes at the last prompt position, z, moves when the photo shows nothing.

    `divergence` is the distance of the paper, which is larger for heads of large outputs; `divergence_relative` and
    `divergence_cosine` are not, see `DISTANCES`. By chance: the same between two blank photos of different colours,
    which is what a head changes by whatever changes in the photo. That is a control and no draw of chance: p-values say
    that the photo moves a head more than a colour does.

    Args:
        vlm: the model.
        samples: as in `attention_scores`; no boxes are needed.
        blanks: two colours, as Pillow names them.
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
        InputError: samples that can not be asked, too few of them, or colours that are none or alike; before the first
            pass.

    Example:
        >>> divergence_scores(vlm, samples)["divergence_relative"].of("spatial").argmax()
    """
    drawing = Drawing(seed, draws, level, flips)
    work = DivergenceMeasurement(vlm, blanks, prompt)
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    found = measure_heads(samples, work, STUDY, drawing=drawing, **how)
    scores = {}
    for kind in DISTANCES:
        name = "divergence" if kind == "distance" else f"divergence_{kind}"
        null = found.columns[f"{kind}_blank"]
        rare: dict[str, Any] = {"may_be_empty": kind == "cosine", "blanks": list(work.blanks)}
        scores[name] = found.scores(name, found.columns[kind], null=null, **rare)
    return scores


@dataclass(frozen=True)
class DivergenceMeasurement:
    """What is measured of each batch: distances between what heads mix with the photo, a blank one, and another one.

    Attributes:
        vlm: the model.
        blanks: two colours.
        prompt: prompt style.

    Raises:
        InputError: something means nothing.
    """

    vlm: HookedVLM
    blanks: tuple[str, str] = BLANKS
    prompt: str = "chat"

    def __post_init__(self) -> None:
        """Refuse what means nothing."""
        from PIL import ImageColor

        check_model(self.vlm)
        how = "give two different ones, such as ('grey', 'black')"
        if not isinstance(self.blanks, (tuple, list)) or not all(isinstance(one, str) for one in self.blanks):
            raise InputError(f"blanks={self.blanks!r:.60} are no colours: {how}")
        try:
            colors = [ImageColor.getrgb(one) for one in self.blanks]
        except ValueError as error:
            raise InputError(f"blanks={self.blanks!r:.60}: {error}: {how}") from None
        if len(colors) != 2 or colors[0] == colors[1]:
            raise InputError(f"blanks={self.blanks!r:.60}: {how}")
        object.__setattr__(self, "blanks", tuple(self.blanks))

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model and the samples."""
        return {"blanks": list(self.blanks), "positions": "last", "prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not be asked.
        """
        check_asked(self.vlm, samples, self.prompt, progress=progress)

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """One row for each sample: each of `DISTANCES`, and the same between the two blanks, such as `cosine_blank`.

        Raises:
            ModelError: activations that are not finite.
        """
        seen = self._z(samples)
        first, second = (self._z([_blanked(sample, color) for sample in samples]) for color in self.blanks)
        own, null = distances(seen, first), distances(first, second)
        columns = own | {f"{name}_blank": values for name, values in null.items()}
        return [[as_row({name: values[place] for name, values in columns.items()})] for place in range(len(samples))]

    def _z(self, samples: Sequence[Sample]) -> Float32[np.ndarray, "sample layer head d_head"]:
        found = last_z(self.vlm, prepare_samples(self.vlm, samples, self.prompt))
        for sample, own in zip(samples, found, strict=True):
            refuse_overflow(own, sample.id, "activations")
        return found


def distances(
    one: Float32[np.ndarray, "*axes d_head"], other: Float32[np.ndarray, "*axes d_head"]
) -> dict[str, Float[np.ndarray, "*axes"]]:
    """Each of `DISTANCES` between two outputs."""
    first, second = one.astype(np.float64), other.astype(np.float64)
    apart = np.linalg.norm(first - second, axis=-1)
    lengths = np.stack([np.linalg.norm(own, axis=-1) for own in (first, second)])
    there = lengths > NOTHING * lengths.max(initial=0.0)
    mean, both = lengths.mean(axis=0), lengths.prod(axis=0)
    product, unknown = (first * second).sum(axis=-1), np.full_like(apart, np.nan)
    cosine = np.divide(product, both, out=unknown, where=there.all(axis=0))
    relative = np.divide(apart, mean, out=np.zeros_like(apart), where=there.any(axis=0))
    return {"distance": apart, "relative": relative, "cosine": 1 - cosine}


def _blanked(sample: Sample, color: str) -> Sample:
    """The sample with a photo of one colour, of the same size."""
    from PIL import Image

    return replace(sample, image=Image.new("RGB", check_image(sample.image), color))
