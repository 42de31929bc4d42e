"""RoPE sensitivity over a data set: what moving the image's positions does, by layer and head, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.rope import RopeSensitivity, check_delta, check_query_row, rope_sensitivity, row_of
from probes.position.rope_summary import AVERAGED, CURVES, RopeSummary, summarize_rope
from probes.position.rotary import Rotary
from probes.study.run import check_asked, check_model, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs

ALL, EACH = "all", "each"
"""All streams of positions at once; and this, and then each of them by itself."""


@fits_a_cell("n axes delta query_row summaries")
@dataclass(frozen=True, eq=False)
class RopeStudy:
    """What moving the image's positions does over a data set; intervals draw whole groups of samples.

    Attributes:
        n: how many samples.
        sample_groups: the group in which each sample is drawn, [sample].
        delta: positions by which the image keys were moved on.
        query_row: the row that was looked at.
        axes: along which axes, `all` for all streams of positions at once.
        summaries: by axis, the means over samples, see `RopeSummary`.
        largest_residual: by axis, the most that first order leaves in any sample, layer and head, in absolute value.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.

    Example:
        >>> found = study_rope(vlm, read_dataset("shapes", n=100))
        >>> found.of("all").abs_delta_g_v_over_all.low
        0.0069
    """

    n: int
    sample_groups: Shaped[np.ndarray, " sample"]
    delta: float
    query_row: str | int
    axes: tuple[str, ...]
    summaries: Mapping[str, RopeSummary]
    largest_residual: Mapping[str, float]
    settings: Mapping[str, Any]

    def of(self, axis: str = ALL) -> RopeSummary:
        """The means of one axis.

        Raises:
            InputError: it was not asked.
        """
        if axis not in self.summaries:
            raise InputError(f"axis {axis!r} was not measured: use one of {', '.join(self.axes)}")
        return self.summaries[axis]

    def to_dataframe(self) -> pd.DataFrame:
        """One row per axis, layer and head: the columns of `RopeSummary.to_dataframe` behind `axis`."""
        return self._by_axis("to_dataframe")

    def by_layer(self) -> pd.DataFrame:
        """One row per axis and layer, of means over heads: else as `to_dataframe`."""
        return self._by_axis("by_layer")

    def over_all(self) -> pd.DataFrame:
        """One row per axis, of means over layers and heads: else as `to_dataframe`, and `largest_residual`."""
        residuals = np.array([self.largest_residual[axis] for axis in self.axes], dtype=np.float32)
        return self._by_axis("over_all").assign(largest_residual=residuals)

    def plot(self, axis: str | None = None) -> np.ndarray:
        """Draw layer curves and heat maps of one axis on a new figure, the first by default; see `RopeSummary.draw`."""
        return self.of(axis or self.axes[0]).draw()

    def plot_axes(self) -> np.ndarray:
        """Draw the layer curves of all axes over each other, a panel for each measure, on a new figure."""
        from probes.position.figures.rope import plot_rope_axes

        return plot_rope_axes({one: {axis: self.of(axis).curve(one) for axis in self.axes} for one in CURVES})

    def _by_axis(self, table: str) -> pd.DataFrame:
        import pandas as pd

        parts = {name: getattr(self.of(name), table)() for name in self.axes}
        for name, part in parts.items():
            part.insert(0, "axis", name)
        return pd.concat(list(parts.values()), ignore_index=True)


@dataclass(frozen=True)
class RopeMeasurement:
    """What is measured of each sample: what moving its image keys does, in one pass for each axis.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each axis.

    Example:
        >>> RopeMeasurement.of(vlm, delta=1.0).measure(inputs)[0][0].delta_g_v.shape
        (32, 32)
    """

    vlm: HookedVLM
    delta: float
    query_row: str | int
    axes: tuple[str, ...]
    prompt: str

    @classmethod
    def of(
        cls,
        vlm: HookedVLM,
        *,
        delta: float = 1.0,
        query_row: str | int = "last",
        axis: str | None = None,
        prompt: str = "chat",
    ) -> RopeMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
            RefusedError: a decoder without RoPE in all of its layers, or without an axis that could be moved alone.
        """
        check_model(vlm)
        rotary = Rotary.of(vlm)
        if axis == EACH and not rotary.axes:
            raise InputError(
                f"axis={EACH!r}: a position of {vlm.family.name} is one number and has no axes: leave axis out"
            )
        if axis not in (ALL, EACH):
            rotary.check_axis(axis)
        axes = (ALL, *rotary.axes) if axis == EACH else (axis or ALL,)
        return cls(vlm, check_delta(delta), check_query_row(query_row), axes, prompt)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"delta": self.delta, "query_row": self.query_row, "axes": list(self.axes), "prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not, or the query row is another token in each of them, or sees no image.
        """
        from interp.study.prompter import prepare_samples

        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if isinstance(self.query_row, str):
            return
        if self.query_row >= 0:
            raise InputError(
                f"query_row={self.query_row} is another token in each sample of a data set: use 'last', "
                "'appended_eos', or a negative position, which counts from the end"
            )
        for sample in samples:
            try:
                row_of(prepare_samples(self.vlm, [sample], self.prompt), self.query_row)
            except InputError as error:
                raise InputError(f"sample {sample.id!r}: {error}") from error

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch.

        Columns: `axis`, `alpha_v`, `delta_alpha_v` and `delta_g_v`, each [layer*head], and `largest_residual`.
        """
        from interp.study.prompter import prepare_samples

        found = self.measure(prepare_samples(self.vlm, samples, self.prompt), [sample.id for sample in samples])
        return [[_row(one) for one in own] for own in found]

    def measure(self, inputs: VLMInputs, names: Sequence[str] | None = None) -> list[tuple[RopeSensitivity, ...]]:
        """What `rope_sensitivity` gives of each sample of a prepared batch, along each axis."""
        asked: dict[str, Any] = {"query_row": self.query_row, "sample_ids": names}
        by_axis = [
            rope_sensitivity(self.vlm, inputs, self.delta, axis=None if axis == ALL else axis, **asked)
            for axis in self.axes
        ]
        return list(zip(*by_axis, strict=True))


def study_rope(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    delta: float = 1.0,
    query_row: str | int = "last",
    axis: str | None = None,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> RopeStudy:
    """Measure over a data set what moving the image's positions does to the attention of one row, by layer and head.

    See `rope_sensitivity` for what is measured of each sample, and `mean_rope_sensitivity` for what is averaged: mean
    |delta g_V| and mean delta alpha_V over samples ("Beyond Semantics: Rediscovering Spatial Awareness in
    Vision-Language Models", its figure 8).

    Args:
        vlm: the model, which runs once for each batch and axis.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
        delta: positions, any real number, negative ones too.
        query_row: `last` (the last prompt row), `appended_eos` (as the paper's code), or a negative position, which
            counts from the end of each prompt.
        axis: where positions have three streams (M-RoPE), the one that is moved; None or `all` moves all of them as
            one, and `each` does that and then moves each by itself.
        prompt: prompt style, see `HookedVLM.prepare`.
        batch: samples that are measured together.
        out: a folder that keeps what was measured, so that it can be resumed; see `run_study`.
        resume: go on with what the folder holds.
        progress: show a progress bar.
        seed: the seed of the bootstrap.
        draws: draws of the bootstrap.
        level: nominal coverage.
        record: more to record beside the settings, such as the data set.

    Example:
        >>> found = study_rope(vlm, read_dataset("shapes", n=100), axis="each")
        >>> found.of("height").by_layer(), found.plot_axes()

    Raises:
        InputError: no samples, samples that can not be asked, a delta, row or axis that means nothing, fewer than two
            groups, or a folder that can not be used; all before the first pass.
        RefusedError: a decoder without RoPE in all of its layers.
        ModelError: the logits of a layer are not those of its queries and keys.
    """
    work = RopeMeasurement.of(vlm, delta=delta, query_row=query_row, axis=axis, prompt=prompt)
    groups = groups_of(samples)
    check_draws(draws, level, seed)
    table, settings = measure_samples(
        samples, work, "rope", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    summaries = {
        name: _summary(table[table["axis"] == name], name, work, groups=groups, seed=seed, n=draws, level=level)
        for name in work.axes
    }
    return RopeStudy(
        n=len(samples),
        sample_groups=groups,
        delta=work.delta,
        query_row=work.query_row,
        axes=work.axes,
        summaries=summaries,
        largest_residual=table.groupby("axis")["largest_residual"].max().astype(float).to_dict(),
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _row(found: RopeSensitivity) -> dict[str, Any]:
    """The row of one sample and axis."""
    stored: dict[str, Float[np.ndarray, " layer*head"]] = {name: getattr(found, name).ravel() for name in AVERAGED}
    residual = np.abs(found.residual).max()
    return {"axis": found.axis, **stored, "largest_residual": residual}


def _summary(rows: pd.DataFrame, axis: str, work: RopeMeasurement, **drawn: Any) -> RopeSummary:
    """The means along one axis, from the rows of all samples."""
    shape = len(rows), work.vlm.cfg.n_layers, work.vlm.cfg.n_heads
    parts = {name: np.stack(list(rows[name])).reshape(shape) for name in AVERAGED}
    return summarize_rope(parts, work.delta, axis, work.query_row, **drawn)
