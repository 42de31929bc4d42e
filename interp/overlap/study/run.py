"""The run of an overlap study: each sample asked, answered and measured in one pass, beside its nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from interp.detect.loading import loaded
from interp.errors import InputError
from interp.objects.detector import GROUND_TRUTH
from interp.overlap.nulls import REGIONS, BoxPool
from interp.overlap.study.measurement import OverlapMeasurement
from interp.overlap.study.request import OverlapRequest
from interp.overlap.study.roles import Roles, digest, find_roles, has_boxes
from interp.overlap.study.token_maps import token_settings
from interp.overlap.study.vision import ALSO as OVER_PATCHES
from interp.overlap.study.vision import tower_settings
from interp.store.names import given_path
from interp.study.prompter import Prompter
from interp.study.requests import takes
from interp.study.sample_checks import check_prompts
from interp.zoo.domain import remarks_on_images

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.overlap.study.result import OverlapStudy

FOUND = ("detector_settings", "boxes", "true_boxes", "regions", "sinks", "arrays", "remarks")
"""What the manifest has to say of a study beside its model and its request."""

PILOT = 32
"""Photos in which sinks are looked for, before the study begins: those of samples evenly spread over it."""


@takes(OverlapRequest)
def study_overlap(vlm: HookedVLM, samples: Sequence[Sample], *, request: OverlapRequest) -> OverlapStudy:
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
        request: what to measure and how, in the place of these fields of it as keywords.

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
    from interp.model.record import refuse_recorded
    from interp.overlap.study.result import as_study
    from interp.store.folder import plain
    from interp.store.guard import refuse_begun
    from interp.study.prompter import prepare_samples
    from interp.study.run import run_study, with_runs

    run = run_record()
    if not isinstance(vlm, HookedVLM):
        raise InputError(f"the model is a {type(vlm).__name__}: load it with HookedVLM.from_pretrained first")
    recorded = record_of(vlm, study="overlap", **{**request.recorded(), **run})
    refuse_recorded(request.record, {*recorded, *FOUND})
    request.check(samples)
    prompt, batch, out, resume = request.prompt, request.batch, request.out, request.resume
    normalisations, also, progress = tuple(request.normalisations), tuple(request.also), request.progress
    layers = check_indices(request.layers, vlm.cfg.n_layers, "layer")
    if out is not None:
        refuse_begun(out, resume=resume)
    check_prompts(vlm, samples, prompt, progress=progress)
    if "relative" in normalisations:
        check_prompts(vlm, [replace(samples[0], question=request.neutral_prompt, meta={})], prompt)
    axes = token_settings(vlm, also, request.nulls)
    if set(also) & set(OVER_PATCHES):
        axes |= tower_settings(vlm, prepare_samples(vlm, samples[:1], prompt))
    looking = loaded(request.detector)
    roles = find_roles(samples, detector=looking, batch=batch, cache=_cache(looking, out), progress=progress)
    neutral = request.neutral_prompt if "relative" in normalisations else None
    prompter = Prompter(vlm, prompt, request.max_new_tokens, neutral)
    sinks = find_sinks(prompter, samples, batch) if "no-sinks" in normalisations else None
    compared = not hasattr(looking, "for_sample") and has_boxes(samples)
    truth = find_roles(samples, GROUND_TRUTH, progress=False) if compared else None
    work = OverlapMeasurement(
        prompter=prompter,
        places={sample.id: place for place, sample in enumerate(samples)},
        roles=roles,
        pool=_pool(samples, roles) if "shuffled" in request.nulls else None,
        normalisations=normalisations,
        layers=layers,
        nulls=tuple(request.nulls),
        draws=request.draws,
        seed=request.seed,
        sinks=sinks,
        also=also,
        truth=truth,
    )
    found = {
        "layers": list(layers),
        "detector": looking.name,
        "detector_settings": getattr(looking, "settings", None),
        "boxes": digest(roles),
        "true_boxes": None if truth is None else digest(truth),
        "regions": list(REGIONS),
        "neutral_prompt": neutral,
        "sinks": None if sinks is None else np.flatnonzero(sinks).tolist(),
        "arrays": work.arrays,
        "also": {maps: axes[maps] for maps in also},
        "remarks": remarks_on_images(vlm.origin.get("model", ""), [sample.image for sample in samples]),
    }
    settings = {**recorded, **found, **(request.record or {})}
    table = run_study(samples, work, out, settings=settings, batch=batch, resume=resume, progress=progress)
    return as_study(table, plain(settings if out is None else with_runs(settings, out)))


def find_sinks(prompter: Prompter, samples: Sequence[Sample], batch: int) -> Bool[np.ndarray, " token"]:
    """Which image tokens draw attention in nearly every one of up to `PILOT` photos of a study, bool [token]."""
    from interp.maps.sinks import mass_sinks

    chosen = np.unique(np.linspace(0, len(samples) - 1, PILOT).round().astype(int)).tolist()
    weights = []
    for start in range(0, len(chosen), batch):
        _, rows, _ = prompter.answers([samples[place] for place in chosen[start : start + batch]])
        weights += [row.pattern[:, :, 0][..., row.layout.image_positions] for row in rows]
    return mass_sinks(weights)


def _pool(samples: Sequence[Sample], roles: Sequence[Roles]) -> BoxPool:
    """The boxes of all samples; refuses where no sample has another photo's boxes to be compared with."""
    from interp.image.photos import upright_size
    from interp.study.keys import photo_keys

    photos = photo_keys(samples)
    if len({photo for photo, own in zip(photos, roles, strict=True) if own.boxes}) == 1:
        raise InputError(
            "only one photo has boxes, so there are no boxes of other photos to compare with: give more photos, or, "
            "from Python, nulls without 'shuffled'"
        )
    sizes: dict[str, tuple[int, int]] = {}
    for photo, sample in zip(photos, samples, strict=True):
        if photo not in sizes:
            sizes[photo] = upright_size(sample.image)
    return BoxPool([own.boxes for own in roles], [sizes[photo] for photo in photos], photos)


def _cache(detector: Any, out: str | Path | None) -> Path | None:
    """Where what is detected is kept: nowhere for boxes that are the data set's own."""
    keeps = out is not None and hasattr(detector, "settings") and not hasattr(detector, "for_sample")
    return given_path(out) / "boxes" if keeps and out is not None else None
