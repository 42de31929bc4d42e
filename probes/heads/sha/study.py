"""SHA over a data set: the same questions in four arms, whether answers improve, and whether more heads are found."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from interp.errors import InputError
from interp.image.photos import upright_size
from interp.numeric import whole_number
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from interp.store.folder import OutputFolder
from interp.store.names import given_path
from interp.study.keys import photo_keys
from probes.heads.activations.checks import check_items, check_lengths
from probes.heads.activations.collect import collect_heads
from probes.heads.activations.measurement import HeadMeasurement
from probes.heads.functions import in_order
from probes.heads.scorers.linear_probe import linear_probe
from probes.heads.sha.arms import ARMS, BOTH, BOXED, ELSEWHERE, MASKED, ORIGINAL
from probes.heads.sha.boxes import Given, detected_boxes, known_boxes, moved_by_item, refuse_unshown
from probes.heads.sha.counts import HeadCounts, Scorer, check_rule, count_heads
from probes.heads.sha.measures import answers_of, measure_answers, measure_counts
from probes.heads.sha.result import ShaStudy
from probes.heads.sha.transform import ShaView, overlap_of
from probes.study.run import check_how, groups_of

if TYPE_CHECKING:
    from interp.image.boxes import Box
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.detector import Detector
    from interp.objects.sample import Sample
    from probes.heads.activations.result import HeadActivations


def study_sha(
    vlm: HookedVLM,
    items: Sequence[Sample],
    *,
    out: str | Path,
    boxes: Given | Detector | None = None,
    source: str | None = None,
    view: ShaView | None = None,
    control: bool = True,
    scorer: Scorer = linear_probe,
    rule: str = "fdr",
    given: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    deals: int = 20,
    tokens: str = "topk",
    k: int = 3,
    alignment: str = "at",
    max_new_tokens: int = 32,
    prompt: str = "chat",
    batch: int = 16,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> ShaStudy:
    """Ask every item in four arms: as it is, with boxes, with its objects hidden, and with both.

    "Attention in Space" (arXiv 2603.20662) hides objects so that what they look like is no way to the answer, and says
    where they are: then spatial heads that lay idle should have to work. Two claims follow, and both are tested: that
    answers improve, item by item against the original; and that a scorer finds more heads of the spatial functions.

    The control `elsewhere` has as many boxes and masks of the same sizes where no object is. What it does to answers
    is not done by knowing or hiding objects.

    Every arm is collected by `collect_heads` into a folder of its name inside `out`; photos that were made lie in
    `out/photos`, to be looked at. Heads are counted over items that were answered with anything in every arm.

    Args:
        vlm: the model.
        items: questions with their answers, each with an id of its own, such as `step_samples` gives.
            `meta["functions"]` lists what each takes; where no item has any, answers alone are told.
        out: the folder that keeps it all.
        boxes: by id, the boxes of its photo; a detector; or None for those that the items of the same photo carry.
        source: who found boxes that are given by id, for the record.
        view: how boxes and masks are shown.
        control: whether `elsewhere` is asked too.
        scorer: what scores heads, from features, labels and main questions.
        rule: what selects them; see `probes.select_heads`.
        given: what the rule needs.
        options: more for the scorer.
        deals: how often labels are dealt anew, for the null of the number of heads.
        tokens: which tokens of answers, see `collect_heads`; as are `k`, `alignment` and `max_new_tokens`.
        k: see there.
        alignment: see there.
        max_new_tokens: see there.
        prompt: prompt style; not `raw` where boxes are told, as the question then is the whole prompt.
        batch: items that are heard together.
        resume: go on with what the folder holds.
        progress: show progress bars.
        seed: of the control's places, the probes, the deals and the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = study_sha(vlm, step_samples(synthetic_steps(100), BARE), out="out/sha", view=ShaView("drawn"))
        >>> found.against("accuracy", "bbox_mask", "spatial"), found.heads.query("function == 'spatial'")

    Raises:
        InputError: items that can not be asked, boxes that can not be shown, options that mean nothing, prompts that
            are too long with boxes in them, or a folder that can not be used; all before the first pass.
    """
    check_draws(draws, level, seed)
    check_rule(rule, given)
    whole_number(deals, "deals", 1)
    view, arms = view or ShaView(), (*ARMS, ELSEWHERE) if control else ARMS
    if prompt == "raw" and view.told:
        raise InputError("prompt='raw' makes the question the whole prompt, before which no box can be told: draw them")
    batch = check_how(out=out, resume=resume, batch=batch, progress=progress, record=record, parts=arms)
    check_items(items)
    if prompt == "paper" and view.told and any("paper_prompt" in item.meta for item in items):
        raise InputError(
            "prompt='paper' asks these items word for word as released, with no box told: draw boxes, or chat"
        )
    groups_of(items)
    who, there = _boxes(items, boxes, source, batch, progress)
    refuse_unshown(items, there, view, ARMS)
    moved = moved_by_item(items, there, seed=seed) if control else {}
    refuse_unshown(items, moved, view, (BOTH,) if control else ())
    heard: dict[str, Any] = {
        "tokens": tokens,
        "k": k,
        "alignment": alignment,
        "max_new_tokens": max_new_tokens,
        "prompt": prompt,
    }
    by_arm = {arm: moved if arm == ELSEWHERE else there for arm in arms}
    work = HeadMeasurement.of(vlm, items, batch=batch, **heard)
    work.check(items, progress=progress)
    for arm in arms:
        check_lengths(vlm, list(_blank(items, by_arm[arm], view, arm)), prompt, work.max_new_tokens)
    told = {**(record or {}), "sha": view.recorded(), "boxes": who, "sha_seed": int(seed)}
    place = given_path(out)
    found: dict[str, HeadActivations] = {}
    for arm in arms:
        shown = list(_shown(items, by_arm[arm], view, arm, place))
        how: dict[str, Any] = {**heard, "batch": batch, "resume": resume, "progress": progress}
        found[arm] = collect_heads(vlm, shown, out=place / arm, **how, record={**told, "arm": arm})
    asked: dict[str, Any] = {"view": view.recorded(), "boxes": who, "control": control}
    if control:
        asked["control_overlap"] = float(np.mean([*_overlaps(items, there, moved)]))
    answers = answers_of(found, items)
    drawn: dict[str, Any] = {"seed": seed, "n": draws, "level": level}
    accuracy, against, untold = measure_answers(answers, **drawn)
    chosen = {"scorer": getattr(scorer, "__name__", str(scorer)), "rule": rule, "given": dict(given or {})}
    counting = {"options": dict(options or {}), "deals": deals}
    counts, why = _counts(
        found, lambda own, names: count_heads(
            own, own.labels(names), own.groups, functions=names, scorer=scorer, rule=rule, given=given, options=options,
            deals=deals, seed=seed, draws=draws, level=level, progress=progress,
        ),
    )  # fmt: skip
    heads, more_heads, left_out = measure_counts(counts, level, why)
    settings = dict(found[ORIGINAL].settings)
    settings = {name: own for name, own in settings.items() if name not in ("arm", "study", "sha", "sha_seed", "boxes")}
    return ShaStudy(
        arms=arms,
        answers=answers,
        accuracy=accuracy,
        against_original=against,
        heads=heads,
        heads_against_original=more_heads,
        left_out=_joined(untold, left_out),
        counts=counts,
        boxes={item.id: there[item.id] for item in items},
        settings={**settings, "study": "sha", **asked, **chosen, **counting, "seed": seed, "draws": draws,
                  "level": level},
    )  # fmt: skip


def _boxes(
    items: Sequence[Sample], given: Given | Detector | None, source: str | None, batch: int, progress: bool
) -> tuple[dict[str, Any], Given]:
    """Where boxes come from, for the record, and the boxes."""
    if given is None:
        return {"source": "data set"}, known_boxes(items)
    if isinstance(given, Mapping):
        return {"source": source or "given"}, given
    if not hasattr(given, "detect") and not hasattr(given, "for_sample"):
        raise InputError(
            f"boxes are a {type(given).__name__}: give them by id, a detector, or None for the samples' own"
        )
    settings = getattr(given, "settings", None)
    told = {"source": given.name, "detector_settings": dict(settings) if settings else {}}
    return told, detected_boxes(items, given, batch=batch, progress=progress)


def _blank(items: Sequence[Sample], boxes: Given, view: ShaView, arm: str) -> Iterator[Sample]:
    """The items as an arm asks them, with a grey photo of its size: how long their prompts are."""
    photos: dict[tuple[int, int], Image.Image] = {}
    for item in items:
        size = upright_size(item.image)
        shown = view.shown_size(size, arm)
        if shown not in photos:
            photos[shown] = Image.new("RGB", shown, (128, 128, 128))
        yield replace(item, image=photos[shown], question=view.question(item.question, boxes[item.id], size, arm))


def _shown(items: Sequence[Sample], boxes: Given, view: ShaView, arm: str, out: Path) -> Iterator[Sample]:
    """The items as an arm shows them; photos are written once, however many items show them."""
    drawn = arm in MASKED or (arm in BOXED and view.drawn)
    folder = OutputFolder(out / "photos")
    for item, key in zip(items, photo_keys(items), strict=True):
        if arm == ORIGINAL or not drawn:
            yield view.sample(item, boxes[item.id], arm, image=item.image)
            continue
        name = f"{arm}-{_digest(key, boxes[item.id], view)}.png"
        if not (folder.path / name).is_file():
            folder.write(name, view.photo(item.image, boxes[item.id], arm).save)
        yield view.sample(item, boxes[item.id], arm, image=folder.path / name)


def _digest(photo: str, boxes: Sequence[Box], view: ShaView) -> str:
    """By what a photo that was made is known again."""
    content = [photo, [[box.label, *map(float, box.xyxy)] for box in boxes], view.recorded()]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def _overlaps(items: Sequence[Sample], boxes: Given, moved: Given) -> Iterator[float]:
    """The share of each item's objects that the control covers after all."""
    for item in items:
        yield overlap_of(moved[item.id], boxes[item.id], upright_size(item.image))


def _counts(
    found: Mapping[str, HeadActivations], count: Callable[[HeadActivations, tuple[str, ...]], HeadCounts]
) -> tuple[dict[str, HeadCounts], str]:
    """The heads of every arm, over the items that all arms have; or none, and why."""
    common = set.intersection(*(set(own.ids) for own in found.values()))
    first = found[ORIGINAL]
    rows = {arm: [place for place, name in enumerate(own.ids) if name in common] for arm, own in found.items()}
    if not rows[ORIGINAL] or not all(first.functions[place] for place in rows[ORIGINAL]):
        return {}, "items are labelled with no function, or none was answered in every arm"
    names = in_order(name for place in rows[ORIGINAL] for name in first.functions[place])
    try:
        return {arm: count(own.select(rows[arm]), names) for arm, own in found.items()}, ""
    except InputError as error:
        return {}, str(error)


def _joined(first: Any, second: Any) -> Any:
    """Two tables, one below the other; an empty one adds nothing."""
    import pandas as pd

    parts = [own for own in (first, second) if len(own)]
    return pd.concat(parts, ignore_index=True) if parts else first
