"""Gathering what the page to explore shows: the runs of the model, the objects, and the tokens that are sinks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interp.detect.loading import photo_detector
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.maps.hidden_sinks import untouched_sinks
from interp.maps.sinks import sinks_per_head
from interp.maps.trajectory import trajectory
from interp.model.answer_token import token_of
from interp.model.frozen import refuse_quantised
from interp.model.record import record
from interp.objects.sample import ROLES
from interp.overlap.study.token_maps import ALSO, BY_GRADIENT, token_maps
from interp.page.data import AFTER, BEFORE, Exploration, FurtherMap, Run, with_head_mean
from interp.page.further import RELATIVE, further_map
from interp.zoo.domain import remarks_on

if TYPE_CHECKING:
    from jaxtyping import Bool
    from PIL import Image

    from interp.image.photos import ImageSource
    from interp.intervene.base import Intervention
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector
    from interp.prompt.inputs import VLMInputs


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
    also: Sequence[str],
    download: bool,
) -> Exploration:
    """Ask the question, once untouched and once under the intervention, and keep where the last prompt row looks.

    Raises:
        SpatialLensError: something that was given can not be used; see `interp.page.explore.explore`.
    """
    from interp.image.photos import load_image

    image, also = load_image(photo), _check_also(vlm, also)
    remarks = remarks_on(vlm.origin.get("model", ""), image)
    _check_neutral(neutral, question)
    if intervention is not None and not hasattr(intervention, "hooks"):
        raise InputError(f"intervention {intervention!r} is none: give one such as ScaleImageLogits(0.5)")
    inputs = vlm.prepare(image, question, prompt=prompt)
    asked = None if neutral is None else vlm.prepare(image, neutral, prompt=prompt)
    if sinks is not None:
        sinks = sinks_per_head(sinks, (vlm.cfg.n_layers, vlm.cfg.n_heads, len(inputs.grids[0])))
    objects, words, missing, source = _objects(image, question, photo_detector(detector, download=download), boxes)
    untouched, said = _run(vlm, inputs, None, max_new_tokens)
    runs = [untouched]
    if intervention is not None:
        runs.append(_run(vlm, inputs, intervention, max_new_tokens)[0])
    taken_out, sinks_said = (sinks, "Sinks were given.") if sinks is not None else untouched_sinks(vlm, inputs)
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
        sinks_said=sinks_said,
        neutral=None if asked is None else _run(vlm, asked, None, 1)[0].weights,
        neutral_prompt=neutral,
        settings=record(
            vlm,
            prompt=prompt,
            max_new_tokens=max_new_tokens,
            boxes=source,
            intervention=None if intervention is None else str(intervention),
            neutral=neutral,
            **({"also": also} if also else {}),
            **({"remarks": remarks} if remarks else {}),
        ),
        further=_further(vlm, inputs, said, also),
    )


def _run(vlm: HookedVLM, inputs: VLMInputs, intervention: Intervention | None, max_new_tokens: int) -> tuple[Run, int]:
    """Answer, and measure the row behind the first token of the answer; that token's number too."""
    generation, (kept,) = vlm.generate_with_cache(inputs, max_new_tokens, query_rows="last", intervention=intervention)
    looked = trajectory(kept.pattern[:, :, 0], inputs.layouts[0], inputs.grids[0])
    run = Run(
        name=BEFORE if intervention is None else AFTER,
        change="untouched" if intervention is None else str(intervention),
        answer=generation.texts[0],
        confidence=generation.confidence[0],
        weights=with_head_mean(looked.image_attention[:, :, 0]),
        shares=with_head_mean(looked.shares[:, :, 0]),
    )
    return run, int(generation.tokens[0, 0])


def _check_also(vlm: HookedVLM, also: Sequence[str]) -> tuple[str, ...]:
    """The further maps that are asked for, each once.

    Raises:
        InputError: a map that is not known.
        ModelError: gradients of a model with quantised weights.
    """
    names = (also,) if isinstance(also, str) else tuple(dict.fromkeys(also))
    if RELATIVE in names:
        raise InputError(
            "also='relative': here it is a normalisation, give a prompt to compare with: neutral='Describe the image.'"
        )
    if unknown := [name for name in names if name not in ALSO]:
        raise InputError(f"further maps {unknown!r} are not known: give a list of some of {', '.join(ALSO)}")
    if set(names) & set(BY_GRADIENT):
        refuse_quantised(vlm, "a gradient map")
    return names


def _further(vlm: HookedVLM, inputs: VLMInputs, said: int, also: Sequence[str]) -> tuple[FurtherMap, ...]:
    """Maps that are not raw attention, of the token that the untouched run said first."""
    if not also:
        return ()
    (made,) = token_maps(vlm, inputs, [said], also)
    return tuple(further_map(name, made[name], token_of(vlm, said).text) for name in also)


def _objects(
    image: Image.Image, question: str, detector: Detector | None, boxes: Iterable[Box]
) -> tuple[Boxes, tuple[str, ...], tuple[str, ...], str | None]:
    """The boxes, the words of the question that they may stand for, the words without a box, and who gave the boxes."""
    from interp.objects.words import find_objects, objects_asked

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
    from interp.objects.words import match_words

    matched = match_words(words, tuple(dict.fromkeys(boxes.labels)))
    roles: dict[str, str] = {}
    for role, word in zip(ROLES, words, strict=False):
        for label in matched[word]:
            roles.setdefault(label, role)
    return tuple(roles.get(label, "") for label in boxes.labels)


def _check_neutral(neutral: str | None, question: str) -> None:
    """Refuse a neutral prompt that is none."""
    if neutral is not None and not isinstance(neutral, str):
        raise InputError(f"neutral={neutral!r}: give a prompt that asks for nothing in particular, as text")
    if neutral is not None and neutral.strip() == question.strip():
        raise InputError(
            "the neutral prompt is the question itself, so 'relative' would be even everywhere: "
            "give one such as 'Describe the image.'"
        )
