"""Mean residual norms: those of several samples, and the mean of their ratios with its interval."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from interp.errors import InputError
from interp.numeric import mean_of_known
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_together, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, Interval
from probes.position.residual_norms import (
    ResidualNorms,
    check_convention,
    place_of,
    ratio_of,
    rows_of_table,
    table_of_norms,
)
from probes.position.stream_norms import GROUPS

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@fits_a_cell("sample_id convention norms groups samples ratio d_model")
@dataclass(frozen=True, eq=False)
class MeanResidualNorms:
    """The means over several samples, each weighing the same.

    Attributes:
        sample_id: a name for all of them.
        convention: what the last depth and a ratio over zero are, one of `probes.position.residual_norms.CONVENTIONS`.
        d_model: width of the stream.
        groups: the groups that at least one sample has.
        samples: int64 [group], how many have it.
        norms: float32 [depth group], mean over the samples that have the group.
        normalized: float32 [group], the same after the final norm.
        ratios: float32 [sample depth], each sample's image over words; NaN where it has none.
        normalized_ratios: float32 [sample], the same after the final norm.
        ratio: mean over the samples of these ratios with its bootstrap interval, each [depth]. Where samples lie in
            fewer than three groups, the ends of the interval are NaN.
        normalized_ratio: the same after the final norm, numbers.

    Example:
        >>> mean_residual_norms(found).ratio.estimate.shape  # 12 blocks
        (13,)
    """

    sample_id: str
    convention: str
    d_model: int
    groups: tuple[str, ...]
    samples: Int[np.ndarray, " group"]
    norms: Float[np.ndarray, "depth group"]
    normalized: Float[np.ndarray, " group"]
    ratios: Float[np.ndarray, "sample depth"]
    normalized_ratios: Float[np.ndarray, " sample"]
    ratio: Interval
    normalized_ratio: Interval

    def of(self, group: str) -> Float[np.ndarray, " depth"]:
        """The norms of one group by depth.

        Raises:
            InputError: no sample has the group.
        """
        return self.norms[:, place_of(group, self.groups)]

    @property
    def after_final_norm(self) -> dict[str, float]:
        """The norms after the final norm, by group, and as `image_over_text` the mean of their ratios."""
        found = {group: float(norm) for group, norm in zip(self.groups, self.normalized, strict=True)}
        return found | {"image_over_text": float(self.normalized_ratio.estimate)}

    @property
    def rms(self) -> Float[np.ndarray, "depth group"]:
        """The norms as root mean squares over the stream's width."""
        return self.norms / np.float32(self.d_model**0.5)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per depth and group, and last those after the final norm, told apart by `point`, the hook's name.

        Columns: `sample, depth, point, group, samples`, and `norm` and `rms` as float32 columns. By the paper's
        convention the last depth is after the final norm already.
        """
        rows = self.norms if self.convention == "paper" else np.vstack([self.norms, self.normalized])
        counts = {"samples": self.samples}
        return table_of_norms(self.sample_id, self.d_model, self.groups, counts, rows, self.convention)

    def ratios_to_dataframe(self) -> pd.DataFrame:
        """One row per depth, and last the one after the final norm, as in `to_dataframe`.

        Columns: `sample, depth, point, samples` (how many have a ratio), `ratio`, and where there is an interval
        `low` and `high`. A depth at which no sample has a ratio has no row.
        """
        import pandas as pd

        depth, point = rows_of_table(len(self.norms), self.convention)
        known = np.isfinite(np.column_stack([self.ratios, self.normalized_ratios])).sum(axis=0)[: len(depth)]
        columns = {"sample": self.sample_id, "depth": depth, "point": point, "samples": known}
        columns["ratio"] = self._with_final("estimate")
        if self._has_interval:
            columns |= {"low": self._with_final("low"), "high": self._with_final("high")}
        table = pd.DataFrame(columns)
        return table[known > 0].reset_index(drop=True)

    def plot(self, axes: Sequence[Axes] | None = None) -> np.ndarray:
        """Draw the three panels of the paper, the interval of the ratio as a band."""
        from probes.position.figures.residual_norms import plot_residual_norms

        after = None if self.convention == "paper" else self.after_final_norm
        band = (self.ratio.low, self.ratio.high) if self._has_interval else None
        curves = self.of("text"), self.of("image"), self.ratio.estimate
        return plot_residual_norms(*curves, after=after, band=band, level=self.ratio.level, axes=axes)

    @property
    def _has_interval(self) -> bool:
        """Whether the samples lie in several groups, so that something says how sure the means are."""
        return bool(np.isfinite(self.ratio.low).any())

    def _with_final(self, name: str) -> Float[np.ndarray, " row"]:
        """An end or the middle of the ratio's interval, of each row of the table."""
        own = np.asarray(getattr(self.ratio, name), dtype=np.float32)
        return own if self.convention == "paper" else np.append(own, np.float32(getattr(self.normalized_ratio, name)))


def mean_residual_norms(
    results: Iterable[ResidualNorms],
    *,
    convention: str = "stream",
    groups: Sequence[str] | Shaped[np.ndarray, " sample"] | None = None,
    sample_id: str = "mean",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> MeanResidualNorms:
    """The means over samples, each weighing the same: of norms by group, and of the ratio of image to words.

        R(l) = mean over samples of [N_image(l) / N_text(l)]

    It is the mean of ratios and not the ratio of means ("Beyond Semantics: Rediscovering Spatial Awareness in
    Vision-Language Models", its figure of norms by depth). The interval is a bootstrap that draws whole groups.

    Args:
        results: what `residual_norms` gave, for samples of one model.
        convention: one of `probes.position.residual_norms.CONVENTIONS`.
        groups: what is drawn together, a name for each sample, such as its photo; each by itself by default.
        sample_id: a name for all of them.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> mean_residual_norms(residual_norms(vlm, inputs)).plot()

    Raises:
        InputError: there is none, their depths or widths differ, there is not one group for each, or the convention is
            not known.
    """
    every = list(results)
    shapes = {(len(one.norms), one.d_model) for one in every}
    if len(shapes) != 1:
        raise InputError(
            f"can not average {len(every)} residual norms of depths and widths {sorted(shapes)}: give some of one model"
        )
    check_convention(convention)
    check_draws(n, level, seed)
    drawn = drawn_together(len(every), groups)
    there = tuple(group for group in GROUPS if any(group in one.groups for one in every))
    norms = _means(every, there, lambda one, group: one.of(group, convention))
    normalized = _means(every, there, lambda one, group: one.normalized[place_of(group, one.groups)])
    ratios = np.stack([ratio_of(one.of("image", convention), one.of("text", convention), convention) for one in every])
    after = np.array([one.after_final_norm["image_over_text"] for one in every])
    columns = np.column_stack([ratios, after])
    whole = mean_over_groups(columns, drawn, seed=seed, n=n, level=level, bounds=(0, np.inf))
    by_depth, final = (
        Interval(whole.estimate[own], whole.low[own], whole.high[own], level, whole.draws) for own in (slice(-1), -1)
    )
    return MeanResidualNorms(
        sample_id=sample_id,
        convention=convention,
        d_model=every[0].d_model,
        groups=there,
        samples=np.array([sum(group in one.groups for one in every) for group in there], dtype=np.int64),
        norms=norms,
        normalized=normalized,
        ratios=ratios.astype(np.float32),
        normalized_ratios=after.astype(np.float32),
        ratio=by_depth,
        normalized_ratio=final,
    )


def _means(
    results: Sequence[ResidualNorms], groups: Sequence[str], take: Callable[[ResidualNorms, str], np.ndarray]
) -> Float[np.ndarray, "*depth group"]:
    """The mean of what is taken of each group over the samples that have it."""
    there = ([np.float64(take(one, group)) for one in results if group in one.groups] for group in groups)
    return np.stack([mean_of_known(np.stack(own)) for own in there], axis=-1).astype(np.float32)
