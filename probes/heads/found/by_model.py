"""Scorers by model: those that ask a model again, by name; what each is run with, and refusals before any is run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.store.names import given_path
from probes.heads.activations.checks import functions_of
from probes.heads.scorers.ablation import AblationMeasurement, ablation_scores
from probes.heads.scorers.attention import SCORERS as LOOKS
from probes.heads.scorers.attention import LookMeasurement, LookScorer, attention_scores
from probes.heads.scorers.divergence import DivergenceMeasurement, divergence_scores
from probes.heads.scorers.gradient import GradientMeasurement, gradient_scores
from probes.heads.scorers.id_write import IdWriteMeasurement, id_write_scores, names_placed
from probes.heads.scorers.sampled import Labels
from probes.study.run import check_model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores
    from probes.study.run import Measurement

ID_WRITE = "id_write"
"""The scorer that needs axes of the stream beside a model."""

LOOKING = {**LOOKS, "selection_frequency": LOOKS["spatial_entropy"]}
"""Scorers of where heads look, all from one pass, by the name of their scores."""

STUDIES: Mapping[str, tuple[str, ...]] = {
    "looks": tuple(LOOKING),
    "gradient": ("gradient",),
    "ablation": ("ablation", "ablation_positive", "ablation_negative"),
    "divergence": ("divergence", "divergence_relative", "divergence_cosine"),
    ID_WRITE: (ID_WRITE,),
}
"""By study, which asks the model once for all of them, the scorers that it gives."""

BY_MODEL = tuple(name for own in STUDIES.values() for name in own)
"""Scorers that need a model."""

SCORE: Mapping[str, Callable[..., Any]] = {
    "gradient": gradient_scores,
    "ablation": ablation_scores,
    "divergence": divergence_scores,
    ID_WRITE: id_write_scores,
}
WORK: Mapping[str, Callable[..., Measurement]] = {
    "ablation": AblationMeasurement,
    "divergence": DivergenceMeasurement,
}

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class AskedModel:
    """A model, and what it is asked.

    Attributes:
        vlm: the model.
        items: questions about photos, labelled with functions or all with none.
        prompt: prompt style.
        batch: items that are asked together.
        axes: of `id_write`.
    """

    vlm: HookedVLM
    items: Sequence[Sample]
    prompt: str = "chat"
    batch: int = 16
    axes: ArrayLike | None = None

    def asked_by(self, study: str) -> list[Sample]:
        """The items that a study asks: of `id_write`, those whose question names an object with a box."""
        return [item for item in self.items if study != ID_WRITE or names_placed(item)]


def studies_of(names: Sequence[str]) -> dict[str, list[str]]:
    """By study, those of its scorers that are named."""
    found = {study: [name for name in names if name in own] for study, own in STUDIES.items()}
    return {study: own for study, own in found.items() if own}


def check_by_model(asked: AskedModel, names: Sequence[str], options: Options, *, seed: int) -> None:
    """Refuse whatever any of the scorers refuses, before the model runs for the first of them.

    Raises:
        InputError: no model, options that a scorer does not have, items that can not be asked, or too few of them.
    """
    check_model(asked.vlm)
    for study, own in studies_of(names).items():
        items = asked.asked_by(study)
        if not items:
            raise InputError(
                f"{study}: none of {len(asked.items)} questions names an object that has a box: leave this scorer out"
            )
        Labels.of(items).refuse_few()
        _work(asked, study, own, options, items, seed).check(items, progress=False)


def score_by_model(
    asked: AskedModel, study: str, names: Sequence[str], options: Options, **how: Any
) -> dict[str, HeadScores]:
    """The scores of a study that are named.

    Args:
        asked: the model, and what it is asked.
        study: which of `STUDIES`.
        names: its scorers that are named.
        options: by scorer, more for it.
        how: seed, draws, level, folder, resume and progress.
    """
    items = asked.asked_by(study)
    given: dict[str, Any] = {**how, "prompt": asked.prompt, "batch": asked.batch}
    if study == "looks":
        found = attention_scores(asked.vlm, items, _looking(names, options), **given)
    elif study == ID_WRITE:
        found = {ID_WRITE: id_write_scores(asked.vlm, items, _axes(asked), **given, **_merged(study, names, options))}
        found[ID_WRITE] = _with_unnamed(found[ID_WRITE], asked.items)
    else:
        own = SCORE[study](asked.vlm, items, **given, **_merged(study, names, options))
        found = own if isinstance(own, dict) else {study: own}
    return {name: found[name] for name in names}


def _work(
    asked: AskedModel, study: str, names: Sequence[str], options: Options, items: Sequence[Sample], seed: int
) -> Measurement:
    """What a study measures."""
    if study == "looks":
        return LookMeasurement.of(asked.vlm, items, _looking(names, options), prompt=asked.prompt, seed=seed)
    merged = _merged(study, names, options)
    if study == "gradient":
        given = {name: merged[name] for name in merged if name == "answer"}
        return GradientMeasurement.of(asked.vlm, items, prompt=asked.prompt, seed=seed, **given)
    if study == ID_WRITE:
        return IdWriteMeasurement.of(asked.vlm, _axes(asked), prompt=asked.prompt)
    made = WORK[study]
    known = {own.name for own in fields(made)} & set(merged)  # type: ignore[arg-type]
    return made(asked.vlm, prompt=asked.prompt, **{name: merged[name] for name in known})


def _looking(names: Sequence[str], options: Options) -> tuple[LookScorer, ...]:
    """The scorers of these names, each once."""
    made: dict[type, LookScorer] = {}
    for name in names:
        kind, given = LOOKING[name], options.get(name, {})
        _refuse_options(name, given, kind)
        one = kind(**given)
        if made.setdefault(kind, one) != one:
            raise InputError(f"{', '.join(one.names)} are of one measurement: give them the same options")
    return tuple(made.values())


def _merged(study: str, names: Sequence[str], options: Options) -> dict[str, Any]:
    """The options of a study, from those of its scorers."""
    merged: dict[str, Any] = {}
    for name in names:
        given = options.get(name, {})
        _refuse_options(name, given, SCORE[study])
        if clash := [key for key, value in given.items() if merged.setdefault(key, value) != value]:
            raise InputError(f"{', '.join(names)} are of one measurement: give them the same {clash[0]}")
    return merged


SET_BY_FIND = ("vlm", "samples", "axes", "out", "resume", "progress", "batch", "prompt", "seed", "draws", "level")
"""Of all scorers alike, and so no options of one."""


def _refuse_options(name: str, given: Mapping[str, Any], of: Callable[..., Any]) -> None:
    known = [key for key in inspect.signature(of).parameters if key not in (*SET_BY_FIND, "record")]
    if unknown := [key for key in given if key not in known]:
        raise InputError(f"{name} has no option {unknown[0]!r:.40}: it takes {', '.join(known) or 'none'}")


def _axes(asked: AskedModel) -> ArrayLike:
    if asked.axes is None:
        raise InputError("id_write needs axes: give axes=spatial_ids(vlm, id_scenes()).axes, of other scenes")
    return asked.axes


def _with_unnamed(scores: HeadScores, items: Sequence[Sample]) -> HeadScores:
    """Scores that also tell of functions of which no question names an object with a box."""
    every = dict.fromkeys(name for item in items for name in functions_of(item))
    told = {*scores.functions, *(one["function"] for one in scores.left_out)}
    why = "none of its questions names an object that has a box"
    gone = tuple({"function": name, "why": why} for name in every if name not in told)
    unnamed = sum(not names_placed(item) for item in items)
    settings = {**scores.settings, "items_without_named_objects": unnamed}
    return replace(scores, left_out=(*scores.left_out, *gone), settings=settings)


def folder_of(out: str | Path | None, study: str, names: Sequence[str]) -> Path | None:
    """Where a study keeps what it measured; of looks, which measures what its scorers need and no more, by these."""
    if out is None:
        return None
    return given_path(out) / "measured" / ("-".join([study, *names]) if study == "looks" else study)
