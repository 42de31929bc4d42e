"""The request of an overlap study: what is measured, beside which nulls, and how the samples are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from interp.errors import InputError
from interp.maps.trajectory import NORMALISATIONS
from interp.model.record import refuse_recorded
from interp.objects.detector import GROUND_TRUTH
from interp.overlap.nulls import NULLS
from interp.overlap.study import token_maps, vision
from interp.overlap.study.roles import refuse_without_boxes
from interp.study.requests import Request, refuse_nothing_to_resume
from interp.study.sample_checks import check_samples

if TYPE_CHECKING:
    from interp.objects.detector import Detector
    from interp.objects.sample import Sample

ALSO = (*vision.ALSO, *token_maps.ALSO)
"""Further maps that can be measured: over the patches of the vision tower, and over the image tokens."""

NEUTRAL_PROMPT = "Write a general description of the image."
"""What the neutral pass of `relative` asks, as in Zhang et al. 2025 (arXiv:2502.17422)."""


@dataclass(frozen=True, kw_only=True)
class OverlapRequest(Request):
    """What to measure in an overlap study, and how to ask: what `interp.study_overlap` takes.

    Attributes:
        detector: who looks for the objects: a detector, the name or weights of one, or `ground-truth` for the boxes of
            the samples themselves.
        normalisations: some of `interp.maps.trajectory.NORMALISATIONS`.
        layers: 0-based, that are measured; all by default. The others are NaN.
        nulls: some of `interp.overlap.nulls.NULLS`; even attention is always there.
        draws: the number of draws of each null and sample.
        out: a folder that keeps what was measured, and in `boxes/` what was detected, so that a run that breaks off can
            be resumed; nothing is kept by default.
        batch: samples that share a pass.
        resume: go on with what lies in `out`.
        seed: the seed of the nulls.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: length of an answer at most.
        neutral_prompt: what the second pass of `relative` asks.
        also: maps that are measured beside the rows, by `study.of(name)`: `two-stage`, the rows seen through the vision
            tower, and `vision`, the tower's own attention, cost one more run of the tower for each sample; `gradient`,
            `gradient-alone` and `gradcam` together, and `lens`, one more run of the model each. See
            `interp.overlap.study.vision.ALSO` and `interp.overlap.study.token_maps.ALSO`.
        record: what else the manifest has to say.
        progress: show progress bars.

    Example:
        >>> request = OverlapRequest(detector="ground-truth", normalisations=("image", "no-sinks"), out="out/study")
        >>> study = study_overlap(vlm, samples, request=request)

    Raises:
        InputError: a name that is not known or given twice, no layers, a number below its least, or nothing to resume.
    """

    detector: Detector | str | Path
    normalisations: Sequence[str] = ("image",)
    layers: Sequence[int] | None = None
    nulls: Sequence[str] = NULLS
    draws: int = 10
    out: str | Path | None = None
    batch: int = 8
    resume: bool = False
    seed: int = 0
    prompt: str = "paper"
    max_new_tokens: int = 10
    neutral_prompt: str = NEUTRAL_PROMPT
    also: Sequence[str] = ()
    record: dict[str, Any] | None = None
    progress: bool = True

    UNRECORDED: ClassVar[frozenset[str]] = frozenset({"out", "batch", "resume", "record", "progress"})

    def __post_init__(self) -> None:
        """Refuse what neither a model nor samples are needed to refuse."""
        self._keep_tuples("normalisations", "nulls", "also")
        self._keep_layers()
        lists = (("normalisation", "normalisations", NORMALISATIONS), ("null", "nulls", NULLS))
        for what, name, known in (*lists, ("further map", "also", ALSO)):
            given = getattr(self, name)
            if set(given) - set(known) or len(set(given)) < len(given):
                raise InputError(f"{what}s {', '.join(map(str, given))}: give each once, of {', '.join(known)}")
        if not self.normalisations:
            raise InputError(f"no normalisation was asked for: use some of {', '.join(NORMALISATIONS)}")
        self._keep_whole(draws=1, batch=1, seed=0, max_new_tokens=1)
        self._check_prompt()
        if self.detector is None:
            raise InputError("detector=None looks for nothing: give a detector, the name of one, or 'ground-truth'")
        refuse_recorded(self.record, {one.name for one in fields(self)})
        refuse_nothing_to_resume(self.out, resume=self.resume)

    def check(self, samples: Sequence[Sample]) -> None:
        """Refuse samples that no model could be asked, or that lack the boxes which the request needs of them.

        Raises:
            InputError: see `check_boxes`, and `interp.study.sample_checks.check_samples`.
        """
        check_samples(samples, progress=self.progress)
        self.check_boxes(samples)

    def check_boxes(self, samples: Sequence[Sample]) -> None:
        """Refuse samples that lack the boxes which the request needs of them.

        Raises:
            InputError: there are no samples, or none has a box where the data set has to bring them.
        """
        if not samples:
            raise InputError("there are no samples to ask: give at least one")
        if isinstance(self.detector, str) and self.detector == GROUND_TRUTH:
            refuse_without_boxes(samples)
