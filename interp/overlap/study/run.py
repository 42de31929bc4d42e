"""The run of an overlap study: each sample asked, answered and measured in one pass, beside its nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.detect.loading import loaded
from interp.errors import InputError
from interp.maps.trajectory import NORMALISATIONS
from interp.objects.detector import GROUND_TRUTH
from interp.overlap.nulls import NULLS, REGIONS, BoxPool
from interp.overlap.study.measuring import Measuring
from interp.overlap.study.roles import Roles, digest, find_roles, has_boxes, refuse_without_boxes
from interp.overlap.study.vision import ALSO, tower_settings
from interp.study.asking import Asking
from interp.study.sample_checks import check_prompts, check_samples
from interp.zoo import EMBEDDED
from interp.zoo.tiny import PREFIX

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector
    from interp.objects.sample import Sample
    from interp.overlap.study.result import OverlapStudy

NEUTRAL_PROMPT = "Write a general description of the image."
"""What the neutral pass of `relative` asks, as in Zhang et al. 2025 (arXiv:2502.17422)."""

PILOT = 32
"""Photos in which sinks are looked for, before the study begins: those of samples evenly spread over it."""


def study_overlap(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    detector: Detector | str | Path,
    normalisations: Sequence[str] = ("image",),
    layers: Sequence[int] | None = None,
    nulls: Sequence[str] = NULLS,
    draws: int = 10,
    out: str | Path | None = None,
    batch: int = 8,
    resume: bool = False,
    seed: int = 0,
    prompt: str = "paper",
    max_new_tokens: int = 10,
    neutral_prompt: str = NEUTRAL_PROMPT,
    also: Sequence[str] = (),
    record: dict[str, Any] | None = None,
    progress: bool = True,
) -> OverlapStudy:
    """Ask every sample, and measure how well the attention of the last prompt row lies on the question's objects.

    One pass gives the answer and the attention behind its first token, of all heads. Roles are the first and the second
    object that the sample, or else its question, names; with several boxes of one name a role has them all. Samples
    without a box stay in the table, with NaN for measures: how many there are is a result. Whether an answer is right
    is told by the strict rule of `interp.answers.scoring`.

    `no-sinks` takes out what `interp.maps.sinks.mass_sinks` finds in the first pass over up to `PILOT` photos of the
    study, which must all have one grid. `relative` costs a second pass, without an answer.

    Args:
        vlm: the model.
        samples: what to ask, each with an id of its own.
        detector: who looks for the objects: a detector, the name or weights of one, or `ground-truth` for the boxes of
            the samples themselves.
        normalisations: of `interp.maps.trajectory.NORMALISATIONS`.
        layers: 0-based, that are measured; all by default. The others are NaN.
        nulls: of `interp.overlap.nulls.NULLS`; even attention is always there.
        draws: of each null and sample.
        out: a folder that keeps what was measured, and in `boxes/` what was detected, so that a run that breaks off can
            be resumed; nothing is kept by default.
        batch: samples that share a pass.
        resume: go on with what lies in `out`.
        seed: of the nulls.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: length of an answer at most.
        neutral_prompt: what the second pass of `relative` asks.
        also: maps of `interp.overlap.study.vision.ALSO` that are measured beside the rows, by `study.of(name)`:
            `two-stage`, the rows seen through the vision tower, and `vision`, the tower's own attention. They cost one
            more run of the tower for each sample.
        record: what else the manifest has to say.
        progress: show progress bars.

    Example:
        >>> study = study_overlap(vlm, read_dataset("shapes", n=100), detector="ground-truth")
        >>> study.values("mass").shape  # sample layer head+1
        (100, 12, 9)

    Raises:
        InputError: no samples, samples that can not be asked (all are looked at before the first pass), a name that is
            not known, a layer that does not exist, nothing to draw `shuffled` boxes from, or a folder that can not be
            used.
        DetectorError: the detector can not be loaded, or knows none of the objects.
        RefusedError: `also`, of a model that can not show what feeds its image tokens.
    """
    from interp.intervene.indices import check_indices
    from interp.model.hooked_vlm import HookedVLM
    from interp.model.provenance import run_record
    from interp.model.record import record as record_of
    from interp.overlap.study.result import as_study
    from interp.store.folder import plain
    from interp.store.guard import refuse_begun
    from interp.study.asking import prepare_samples
    from interp.study.run import run_study, with_runs

    run = run_record()
    if not isinstance(vlm, HookedVLM):
        raise InputError(f"the model is a {type(vlm).__name__}: load it with HookedVLM.from_pretrained first")
    asked: dict[str, Any] = {"normalisations": normalisations, "nulls": nulls, "also": also}
    check_request(samples, detector, **asked, draws=draws, batch=batch, seed=seed, progress=progress)
    measured = tuple(range(vlm.cfg.n_layers)) if layers is None else check_indices(layers, vlm.cfg.n_layers, "layer")
    if not measured:
        raise InputError("layers is empty, so nothing would be measured: name some, or leave it out")
    if out is not None:
        refuse_begun(out, resume=resume)
    check_prompts(vlm, samples, prompt, progress=progress)
    if "relative" in normalisations:
        check_prompts(vlm, [replace(samples[0], question=neutral_prompt, meta={})], prompt)
    tower = tower_settings(vlm, prepare_samples(vlm, samples[:1], prompt)) if also else {}
    looking = loaded(detector)
    roles = find_roles(samples, detector=looking, batch=batch, cache=_cache(looking, out), progress=progress)
    asking = Asking(vlm, prompt, max_new_tokens, neutral_prompt if "relative" in normalisations else None)
    sinks = find_sinks(asking, samples, batch) if "no-sinks" in normalisations else None
    compared = not hasattr(looking, "for_sample") and has_boxes(samples)
    truth = find_roles(samples, GROUND_TRUTH, progress=False) if compared else None
    work = Measuring(
        asking=asking,
        places={sample.id: place for place, sample in enumerate(samples)},
        roles=roles,
        pool=_pool(samples, roles) if "shuffled" in nulls else None,
        normalisations=tuple(normalisations),
        layers=measured,
        nulls=tuple(nulls),
        draws=draws,
        seed=seed,
        sinks=sinks,
        also=tuple(also),
        truth=truth,
    )
    settings = record_of(
        vlm,
        study="overlap",
        prompt=prompt,
        max_new_tokens=max_new_tokens,
        detector=looking.name,
        detector_settings=getattr(looking, "settings", None),
        boxes=digest(roles),
        true_boxes=None if truth is None else digest(truth),
        normalisations=list(normalisations),
        regions=list(REGIONS),
        layers=list(measured),
        nulls=list(nulls),
        draws=draws,
        seed=seed,
        neutral_prompt=asking.neutral_prompt,
        sinks=None if sinks is None else np.flatnonzero(sinks).tolist(),
        arrays=work.arrays,
        also={maps: tower[maps] for maps in also},
        remarks=_remarks(vlm, samples),
        **run,
        **(record or {}),
    )
    table = run_study(samples, work, out, settings=settings, batch=batch, resume=resume, progress=progress)
    return as_study(table, plain(settings if out is None else with_runs(settings, out)))


def check_request(
    samples: Sequence[Sample],
    detector: Any,
    *,
    normalisations: Sequence[str],
    nulls: Sequence[str],
    draws: int,
    batch: int,
    seed: int,
    also: Sequence[str] = (),
    progress: bool = True,
) -> None:
    """Refuse what no model is needed to refuse: a request that can not be, and samples that nobody could be asked.

    Raises:
        InputError: see `study_overlap`.
    """
    lists = (("normalisation", normalisations, NORMALISATIONS), ("null", nulls, NULLS), ("further map", also, ALSO))
    for what, given, known in lists:
        unknown = [name for name in given if name not in known]
        if unknown or len(set(given)) < len(given):
            raise InputError(f"{what}s {', '.join(given)}: give each once, of {', '.join(known)}")
    if not normalisations:
        raise InputError(f"no normalisation was asked for: use some of {', '.join(NORMALISATIONS)}")
    for name, number, least in (("draws", draws, 1), ("batch", batch, 1), ("seed", seed, 0)):
        if not isinstance(number, int) or number < least:
            raise InputError(f"{name} {number!r} can not be used: give a whole number from {least} on")
    if not samples:
        raise InputError("there are no samples to ask: give at least one")
    check_samples(samples, progress=progress)
    if isinstance(detector, str) and detector == GROUND_TRUTH:
        refuse_without_boxes(samples)


def find_sinks(asking: Asking, samples: Sequence[Sample], batch: int) -> np.ndarray:
    """Which image tokens draw attention in nearly every one of up to `PILOT` photos of a study, bool [token]."""
    from interp.maps.sinks import mass_sinks

    chosen = np.unique(np.linspace(0, len(samples) - 1, PILOT).round().astype(int)).tolist()
    weights = []
    for start in range(0, len(chosen), batch):
        _, rows, _ = asking.answers([samples[place] for place in chosen[start : start + batch]])
        weights += [row.pattern[:, :, 0][..., row.layout.image_positions] for row in rows]
    return mass_sinks(weights)


def _remarks(vlm: HookedVLM, samples: Sequence[Sample]) -> list[str]:
    """What a reader has to know of this model on these samples."""
    name = str(vlm.origin.get("model", ""))
    if name.startswith(PREFIX):
        return [f"{name} has random weights, so its answers and maps mean nothing."]
    if name in EMBEDDED and any(isinstance(sample.image, (str, Path)) for sample in samples):
        return [
            f"{name} was trained on drawn scenes of coloured shapes alone. These are photos, so its answers and where "
            "it looks mean nothing; coverage, geometry and nulls are what can be read off here."
        ]
    return []


def _pool(samples: Sequence[Sample], roles: Sequence[Roles]) -> BoxPool:
    """The boxes of all samples; refuses where no sample has another photo's boxes to be compared with."""
    from interp.image.photos import upright_size
    from interp.study.keys import photo_keys

    photos = photo_keys(samples)
    if len({photo for photo, own in zip(photos, roles, strict=True) if own.boxes}) == 1:
        raise InputError(
            "only one photo has boxes, so there are no boxes of other photos: leave the null 'shuffled' out, or give "
            "more photos"
        )
    sizes = [upright_size(sample.image) for sample in samples]
    return BoxPool([own.boxes for own in roles], sizes, photos)


def _cache(detector: Any, out: str | Path | None) -> Path | None:
    """Where what is detected is kept: nowhere for boxes that are the data set's own."""
    keeps = out is not None and hasattr(detector, "settings") and not hasattr(detector, "for_sample")
    return Path(out).expanduser() / "boxes" if keeps and out is not None else None
