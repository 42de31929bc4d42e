"""Ordering ablation: a question asked with the order of its items taken out of the image tokens, and with it kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, DRAWS, SHARE
from probes.mechanisms.ablation.measurement import ABLATED, ARMS, KEPT, RANDOM, UNTOUCHED, AblationMeasurement
from probes.mechanisms.scenes.sides import DIRECTIONS
from probes.study.parts import ALL, parts_of, row_of
from probes.study.run import ONE_GROUP, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.mechanisms.ablation.ordered_photos import OrderedPhoto

DIFFERENCES = {
    "removed - untouched": (ABLATED, UNTOUCHED),
    "kept - untouched": (KEPT, UNTOUCHED),
    "random - untouched": (RANDOM, UNTOUCHED),
    "removed - kept": (ABLATED, KEPT),
}
"""Differences of accuracy that are told, sample by sample; the last is what the order is worth."""


@fits_a_cell("arms samples=right chance measures")
@dataclass(frozen=True, eq=False)
class OrderingAblation:
    """How often a model is right with the order of items taken out of its image tokens.

    Measures, over all photos (`all`) and by relation, each with a percentile bootstrap interval that draws whole
    groups:

        accuracy      of each arm: share of right answers by the strict rule
        over_chance   of each arm: that less what a blind guess scores
        difference    of two arms, as in `DIFFERENCES`: accuracy of the first less that of the second, paired

    What can not be told is left out of the table and named, with the reason, in `left_out`.

    Attributes:
        right: bool [arm sample].
        arms: `untouched`, `ordering removed`, `ordering kept`, `random tokens`.
        measures: one row per relation, arm and measure: `relation`, `arm`, `measure`, `value`, `low`, `high`,
            `samples`, `groups`.
        left_out: one row per relation, arm and measure that is missing there: `relation`, `arm`, `measure`, `why`.
        answers: one row per photo and arm: `id`, `arm`, `text`, `predicted` (missing where the text names no option),
            `correct`, `confidence` and others.
        chance: share of right answers of a blind guess, by relation, where options are listed.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.
    """

    right: Bool[np.ndarray, "arm sample"]
    arms: tuple[str, ...]
    measures: pd.DataFrame
    left_out: pd.DataFrame
    answers: pd.DataFrame
    chance: Mapping[str, float]
    settings: Mapping[str, Any]

    def row(self, measure: str, arm: str, relation: str = ALL) -> pd.Series:
        """The row of one measure.

        Raises:
            InputError: it is not there; the message says why.
        """
        return row_of(self.measures, self.left_out, measure=measure, arm=arm, relation=relation)

    def value(self, measure: str, arm: str, relation: str = ALL) -> float:
        """One measure; see `row`."""
        return float(self.row(measure, arm, relation)["value"])

    def to_dataframe(self) -> pd.DataFrame:
        """The measures, numbers as float32 columns."""
        return self.measures.copy()

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the accuracy of each arm with intervals, by relation, and chance."""
        from probes.mechanisms.ablation.figure import plot_arms

        return plot_arms(self.measures, ax, chance=self.chance, level=self.settings["level"])


def ablate_ordering(
    vlm: HookedVLM,
    photos: Sequence[OrderedPhoto],
    *,
    prompt: str = "chat",
    max_new_tokens: int = 10,
    chance: float | None = None,
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> OrderingAblation:
    """Take the order of items out of the image tokens, and see how much of it the language model makes anew.

        token[item i, place k] <- middle token k of the photo with item i alone in the middle
        every other token      <- the same token of a blank photo

    (Cui et al. 2026, arXiv:2603.22278, section 5.3.1.) It is done where the tokens enter the language model, over the
    whole grid. What is still right then, over chance, needs no order from the vision tower: places of the items are
    kept, and the language model may read them. That the middle item keeps the middle place is one such cue.

    Controls: `ordering kept` replaces as much, with tokens that each item has alone at its own place, so that
    `removed - kept` is what the order is worth; `random tokens` makes as many tokens blank as the items have, among
    those without items.

    Args:
        vlm: the model.
        photos: what to ask, with reference photos; each with an id of its own.
        prompt: prompt style, see `HookedVLM.prepare`.
        max_new_tokens: the most tokens that an answer has.
        chance: share of right answers of a blind guess; by default, of each sample, one of two where a side of the
            items' axis is asked for, which a photo shows whatever their order; else one over its number of options.
        batch: photos that are asked together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap, and of the random tokens.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = ablate_ordering(vlm, photos)
        >>> found.value("accuracy", "ordering removed"), found.value("difference", "removed - kept")

    Raises:
        InputError: no photos, photos that can not be asked, references of another size or form, items outside of the
            grid, fewer than two groups, no draw or no such level, or a folder that can not be used; all before the
            first pass.
        RefusedError: a model with DeepStack.
    """
    check_draws(draws, level, seed)
    work = AblationMeasurement.of(vlm, photos, prompt=prompt, max_new_tokens=max_new_tokens, seed=seed)
    samples = [photo.as_sample() for photo in photos]
    groups, chances = groups_of(samples), _chances([photo.sample for photo in photos], chance)
    table, settings = measure_samples(
        samples, work, "ablate", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    answers = _judged(table, {photo.sample.id: photo for photo in photos})
    wide = answers.pivot(index="id", columns="arm", values="correct")
    right = wide.loc[[sample.id for sample in samples], list(ARMS)].to_numpy(dtype=bool).T
    relations = np.array([sample.relation for sample in samples], dtype=object)
    measures, left_out = measure_ablation(right, chances, relations, groups, seed=seed, n=draws, level=level)
    means = {name: float(chances[own].mean()) for name, own in parts_of(relations).items()}
    return OrderingAblation(
        right=right,
        arms=ARMS,
        measures=measures,
        left_out=left_out,
        answers=answers,
        chance={name: value for name, value in means.items() if np.isfinite(value)},
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def measure_ablation(
    right: Bool[np.ndarray, "arm sample"],
    chances: Float[np.ndarray, " sample"],
    relations: Shaped[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of `OrderingAblation`, and what is left out of them and why.

    Args:
        right: whether each answer is right, arms as in `ARMS`.
        chances: what a blind guess scores on each sample; NaN where its options are not listed.
        relations: the relation of each sample.
        groups: what is drawn together.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.
    """
    import pandas as pd

    of = dict(zip(ARMS, right.astype(float), strict=True))
    told = {("accuracy", arm): own for arm, own in of.items()}
    told |= {("over_chance", arm): own - chances for arm, own in of.items()}
    told |= {("difference", name): of[first] - of[second] for name, (first, second) in DIFFERENCES.items()}
    rows: list[dict[str, Any]] = []
    out: list[dict[str, str]] = []
    for relation, own in parts_of(relations).items():
        counts = {"samples": int(own.sum()), "groups": len(set(groups[own]))}
        for (measure, arm), values in told.items():
            named = {"relation": relation, "arm": arm, "measure": measure}
            if why := _untold(values[own], counts["groups"]):
                out.append({**named, "why": why})
                continue
            limits = {"accuracy": SHARE, "over_chance": (-chances[own].max(), 1 - chances[own].min())}
            bounds = limits.get(measure, APART)
            found = mean_over_groups(values[own, None], groups[own], seed=seed, n=n, level=level, bounds=bounds)
            rows.append({**named, **{end: float(part[0]) for end, part in found.cells("value").items()}, **counts})
    columns = ["relation", "arm", "measure"]
    shown = pd.DataFrame(rows, columns=[*columns, "value", "low", "high", "samples", "groups"])
    numbers = dict.fromkeys(("value", "low", "high"), np.float32)
    return shown.astype(numbers), pd.DataFrame(out, columns=[*columns, "why"])


def _untold(values: Float[np.ndarray, " sample"], groups: int) -> str:
    """Why the mean of values can not be told; nothing where it can."""
    if not np.isfinite(values).all():
        return "chance is not known, as some samples list no options"
    return ONE_GROUP if groups < 2 else ""


def guess_of(sample: Sample) -> float:
    """What a guess scores that sees along which axis items lie: of a question for a side, one of the axis' two.

    Of any other question it is one over the number of options; NaN where these are not listed.
    """
    if sample.answer in DIRECTIONS:
        return 0.5
    return 1 / len(sample.options) if sample.options else np.nan


def _chances(samples: Sequence[Sample], chance: float | None) -> Float[np.ndarray, " sample"]:
    """What a blind guess scores on each sample; NaN where that is not known."""
    if chance is None:
        return np.array([guess_of(sample) for sample in samples])
    if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0 <= chance < 1:
        raise InputError(f"chance={chance!r}: give a share of right answers, from 0 to below 1")
    return np.full(len(samples), float(chance))


def _judged(table: pd.DataFrame, photos: Mapping[str, OrderedPhoto]) -> pd.DataFrame:
    """The answers of a study with what was right, judged."""
    from interp.answers.scoring import score

    told = [photos[name].sample for name in table["id"]]
    full = table.drop(columns="key").assign(
        gold=[sample.answer for sample in told],
        options=[sample.options for sample in told],
        relation=[sample.relation for sample in told],
        group=[sample.group for sample in told],
    )
    names = [str(sample.meta.get("dataset", "")) for sample in told]
    judged = score(full.assign(dataset=names)).drop(columns="dataset")
    return judged.assign(confidence=judged["confidence"].astype(np.float32))
