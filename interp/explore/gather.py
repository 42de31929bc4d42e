"""Gathering what the page to explore shows: the runs of the model, the objects, and the tokens that are sinks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interp.boxes import Box, Boxes
from interp.datasets.sample import ROLES
from interp.errors import InputError
from interp.explore.data import AFTER, BEFORE, Exploration, Run, with_head_mean
from interp.output import record
from interp.trajectory import trajectory

if TYPE_CHECKING:
    from jaxtyping import Bool
    from PIL import Image

    from interp.detect import Detector
    from interp.hooked_vlm import HookedVLM
    from interp.images import ImageSource
    from interp.inputs import VLMInputs
    from interp.interventions import Intervention


def gather(
    vlm: HookedVLM,
    photo: ImageSource,
    question: str,
    *,
    detector: str | Path | Detector | None,
    boxes: Iterable[Box],
    intervention: Intervention | None,
    neutral: str | None,
    sinks: Bool[np.ndarray, "... token"] | None,
    prompt: str,
    max_new_tokens: int,
    download: bool,
) -> Exploration:
    """Ask the question, once untouched and once under the intervention, and keep where the last prompt row looks.

    Raises:
        SpatialLensError: something that was given can not be used; see `interp.explore.explore`.
    """
    from interp.images import load_image

    image = load_image(photo)
    _check_neutral(neutral, question)
    if intervention is not None and not hasattr(intervention, "hooks"):
        raise InputError(f"intervention {intervention!r} is none: give one such as ScaleImageLogits(0.5)")
    inputs = vlm.prepare(image, question, prompt=prompt)
    asked = None if neutral is None else vlm.prepare(image, neutral, prompt=prompt)
    if sinks is not None:
        sinks = _per_head(sinks, (vlm.cfg.n_layers, vlm.cfg.n_heads, len(inputs.grids[0])))
    objects, words, missing, source = _objects(image, question, photo_detector(detector, download=download), boxes)
    runs = [_run(vlm, inputs, None, max_new_tokens)]
    if intervention is not None:
        runs.append(_run(vlm, inputs, intervention, max_new_tokens))
    taken_out, said = (sinks, "Sinks were given.") if sinks is not None else untouched_sinks(vlm, inputs)
    return Exploration(
        image=image,
        question=question,
        layout=inputs.layouts[0],
        grid=inputs.grids[0],
        boxes=objects,
        roles=roles_of(objects, words),
        missing=missing,
        runs=tuple(runs),
        sinks=taken_out,
        sinks_said=said,
        neutral=None if asked is None else _run(vlm, asked, None, 1).weights,
        neutral_prompt=neutral,
        settings=record(
            vlm,
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            boxes=source,
            intervention=None if intervention is None else str(intervention),
            neutral=neutral,
        ),
    )


def _run(vlm: HookedVLM, inputs: VLMInputs, intervention: Intervention | None, max_new_tokens: int) -> Run:
    """Answer, and measure the row behind the first token of the answer."""
    generation, (kept,) = vlm.generate_with_cache(inputs, max_new_tokens, query_rows="last", intervention=intervention)
    looked = trajectory(kept.pattern[:, :, 0], inputs.layouts[0], inputs.grids[0])
    return Run(
        name=BEFORE if intervention is None else AFTER,
        change="untouched" if intervention is None else str(intervention),
        answer=generation.texts[0],
        confidence=generation.confidence[0],
        weights=with_head_mean(looked.image_attention[:, :, 0]),
        shares=with_head_mean(looked.shares[:, :, 0]),
    )


def photo_detector(
    detector: str | Path | Detector | None, *, download: bool = False, device: str = "cpu"
) -> Detector | None:
    """The detector to look through one photo with, loaded unless it is already.

    Raises:
        InputError: `ground-truth` is asked for, which a photo alone does not have.
        DetectorError: it can not be loaded; see `interp.detect.load_detector`.
    """
    from interp.detect import GROUND_TRUTH, load_detector

    if not isinstance(detector, (str, Path)):
        return detector
    if str(detector) == GROUND_TRUTH:
        raise InputError(
            f"{GROUND_TRUTH} stands for boxes that the samples of a data set carry, and a photo alone carries none: "
            "name a detector, or give the boxes by hand"
        )
    return load_detector(detector, download=download, device=device)


def _objects(
    image: Image.Image, question: str, detector: Detector | None, boxes: Iterable[Box]
) -> tuple[Boxes, tuple[str, ...], tuple[str, ...], str | None]:
    """The boxes, the words of the question that they may stand for, the words without a box, and who gave the boxes."""
    from interp.detect import find_objects, objects_asked

    given = boxes if isinstance(boxes, Boxes) else Boxes((boxes,) if isinstance(boxes, Box) else tuple(boxes))
    strange = [box for box in given if not isinstance(box, Box)]
    if strange:
        raise InputError(
            f"boxes hold {strange[0]!r}: give them as Box('mug', (10, 20, 50, 80)), in pixels of the photo"
        )
    if detector is None:
        words = objects_asked(question, tuple(dict.fromkeys(given.labels)))
        return given, words, (), given.source if len(given) else None
    if len(given):
        raise InputError("boxes and a detector are both given: give one of them")
    found = find_objects(image, question, detector)
    return found.boxes, found.words, found.missing, found.detector


def roles_of(boxes: Boxes, words: Sequence[str]) -> tuple[str, ...]:
    """Whether each box is of the first object of the question, of the second, or of none of the two."""
    from interp.detect import match_words

    matched = match_words(words, tuple(dict.fromkeys(boxes.labels)))
    roles: dict[str, str] = {}
    for role, word in zip(ROLES, words, strict=False):
        for label in matched[word]:
            roles.setdefault(label, role)
    return tuple(roles.get(label, "") for label in boxes.labels)


def untouched_sinks(vlm: HookedVLM, inputs: VLMInputs) -> tuple[Bool[np.ndarray, "layer head token"] | None, str]:
    """The image tokens that are sinks by their hidden state in one more run of the prompt, without any intervention.

    Returns:
        Which tokens are sinks, and by what they were found; or None, and why it can not be told.
    """
    import torch

    from interp.sinks import (
        SINK_DIMENSIONS,
        SINK_THRESHOLD,
        find_sink_dimensions,
        hidden_sinks,
        published_sink_dimensions,
    )

    width, name = vlm.cfg.d_model, str(vlm.origin.get("model", ""))
    if SINK_THRESHOLD > width**0.5 or vlm.cfg.n_layers < 3:
        return None, (
            f"Sinks are not known, so no-sinks is not offered: in a residual stream of {width} in {vlm.cfg.n_layers} "
            "layers none can be told by its hidden state. Give sinks=mass_sinks(...), from several photos."
        )
    streams = [f"blocks.{layer}.hook_resid_pre" for layer in range(vlm.cfg.n_layers)]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(inputs, names_filter=streams, device="cpu", logits_to_keep=1)
    layout = inputs.layouts[0]
    known = name in SINK_DIMENSIONS
    dimensions = published_sink_dimensions(name) if known else find_sink_dimensions(cache, layout)
    sinks = hidden_sinks(cache, layout, dimensions, threshold=SINK_THRESHOLD)
    return _per_head(sinks, (*sinks.shape[:1], vlm.cfg.n_heads, sinks.shape[1])), (
        "A sink is an image token whose sink value in what enters a layer, in the untouched run, is "
        f"{SINK_THRESHOLD:g} or more ({dimensions.describe()})."
    )


def _per_head(sinks: np.ndarray, shape: tuple[int, int, int]) -> Bool[np.ndarray, "layer head token"]:
    """Sinks of every head, from [token], [layer token] or [layer head token]."""
    given = np.asarray(sinks)
    full = given[None, None] if given.ndim == 1 else given[:, None] if given.ndim == 2 else given
    wide = (shape[0] if given.ndim > 1 else 1, shape[1] if given.ndim > 2 else 1, shape[2])
    if given.dtype != bool or full.shape != wide:
        raise InputError(
            f"sinks have shape {given.shape} and type {given.dtype}: give booleans [token], [layer token] or "
            f"[layer head token], of {shape[0]} layers, {shape[1]} heads and {shape[2]} image tokens"
        )
    return np.broadcast_to(full, shape)


def _check_neutral(neutral: str | None, question: str) -> None:
    """Refuse a neutral prompt that is none."""
    if neutral is not None and not isinstance(neutral, str):
        raise InputError(f"neutral={neutral!r}: give a prompt that asks for nothing in particular, as text")
    if neutral is not None and neutral.strip() == question.strip():
        raise InputError(
            "the neutral prompt is the question itself, so 'relative' would be even everywhere: "
            "give one such as 'Describe the image.'"
        )
