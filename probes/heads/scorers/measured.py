"""Measured heads: numbers of every head in every sample, which the study runner measured and scorers take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32

from interp.errors import InputError
from interp.model.answer_token import answer_token
from interp.objects.refusals import all_of
from probes.heads.activations.checks import prompt_texts
from probes.heads.scorers.sampled import Drawing, Labels, PerHead, sampled_scores
from probes.study.run import Measurement, check_model, measure_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from probes.heads.scores import HeadScores


@dataclass(frozen=True, eq=False)
class MeasuredHeads:
    """What was measured of every head in every sample.

    Attributes:
        samples: the samples.
        labels: their functions and groups.
        columns: by name, a number of each head in each sample; NaN where there is none.
        table: whatever else was measured, a row for each sample.
        drawing: what is drawn for intervals and p-values.
        settings: what made it.
    """

    samples: Sequence[Sample]
    labels: Labels
    columns: Mapping[str, PerHead] = field(repr=False)
    table: pd.DataFrame = field(repr=False)
    drawing: Drawing
    settings: Mapping[str, Any] = field(repr=False)

    def scores(
        self,
        scorer: str,
        values: PerHead,
        *,
        null: PerHead | None = None,
        drawn: PerHead | None = None,
        may_be_empty: bool = False,
        **settings: Any,
    ) -> HeadScores:
        """Scores of these values; see `sampled_scores`."""
        return sampled_scores(
            scorer,
            values,
            self.labels,
            null=null,
            drawn=drawn,
            drawing=self.drawing,
            settings={**settings, "study": dict(self.settings)},
            may_be_empty=may_be_empty,
        )


def measure_heads(
    samples: Sequence[Sample],
    work: Measurement,
    study: str,
    *,
    drawing: Drawing,
    out: str | Path | None = None,
    resume: bool = False,
    batch: int = 16,
    progress: bool = True,
    record: Mapping[str, Any] | None = None,
) -> MeasuredHeads:
    """Measure every sample once, see `measure_samples`; rows are made by `as_row`, one for each sample.

    Args:
        samples: what is asked; `meta["functions"]` lists what it takes to answer, `group` is what is drawn together.
        work: what is measured.
        study: the name of the study.
        drawing: what is drawn for intervals and p-values.
        out: a folder that keeps what was measured.
        resume: go on with what the folder holds.
        batch: samples that are measured together.
        progress: show a progress bar.
        record: more to record, such as the data set.

    Raises:
        InputError: samples that can not be measured, or that are too few for any function; before the first pass.
    """
    labels = Labels.of(samples)
    labels.refuse_few()
    how: dict[str, Any] = {"out": out, "resume": resume, "batch": batch, "progress": progress, "record": record}
    table, settings = measure_samples(samples, work, study, **how)
    axes = (work.vlm.cfg.n_layers, work.vlm.cfg.n_heads)
    arrays = [name for name in table if isinstance(table[name].iloc[0], np.ndarray)]
    columns = {name: np.stack(list(table[name])).reshape(len(table), *axes) for name in arrays}
    return MeasuredHeads(samples, labels, columns, table.drop(columns=arrays), drawing, settings)


def as_row(columns: Mapping[str, Float[np.ndarray, "layer head"]], **more: Any) -> dict[str, Any]:
    """A row of the study from numbers of every head, and whatever else was measured."""
    return {name: flat_heads(own) for name, own in columns.items()} | more


def flat_heads(values: Float[np.ndarray, "layer head"]) -> Float32[np.ndarray, " cell"]:
    """Numbers of every head as a column of a study keeps them."""
    return np.ascontiguousarray(values, dtype=np.float32).ravel()


def check_gold(vlm: HookedVLM, samples: Sequence[Sample], prompt: str) -> None:
    """Refuse right answers that the model can not say, before the first pass.

    Raises:
        InputError: there are such; it names the first and tells how many there are.
    """
    check_model(vlm)
    errors: list[InputError] = []
    for sample, text in zip(samples, prompt_texts(vlm, samples, prompt), strict=True):
        try:
            answer_token(vlm, text, sample.answer)
        except InputError as error:
            errors.append(InputError(f"sample {sample.id!r}: {error}"))
    if errors:
        raise all_of(errors, f"of {len(samples)} samples have such an answer; nothing was asked yet")
