"""Norms over a data set: how long image and words are, as the model receives them and by depth, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Shaped

from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS
from probes.position.mean_residual_norms import MeanResidualNorms, mean_residual_norms
from probes.position.norm_quantiles import NormQuantiles, parts_of, pool_norms
from probes.position.residual_norms import (
    CONVENTIONS,
    ResidualNorms,
    check_convention,
    groups_in,
    residual_norms_in,
    stream_points,
)
from probes.position.stream_norms import GROUPS, norms_at
from probes.position.token_norms import DEFINITIONS, TokenNorms, check_definition, token_norms_in, token_points
from probes.study.run import check_asked, check_model, groups_of, measure_samples

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs


@fits_a_cell("n received residual")
@dataclass(frozen=True, eq=False)
class NormsStudy:
    """How long the image's tokens and the words are over a data set.

    Tokens are pooled, each weighing the same; norms by depth are means over samples, each weighing the same, and their
    ratio is the mean of the samples' ratios. All intervals draw whole groups of samples.

    Attributes:
        n: how many samples.
        sample_groups: the group in which each sample is drawn, [sample].
        received: norms of tokens as the first block receives them, see `probes.position.token_norms.DEFINITIONS`.
        paper: the same by the paper's definition.
        residual: norms by depth; the last depth is what leaves the last block, see
            `probes.position.residual_norms.CONVENTIONS`.
        residual_paper: the same by the paper's convention: the last depth is after the final norm.
        settings: what made it, and `seed`, `draws` and `level` of the intervals.

    Example:
        >>> found = study_norms(vlm, read_dataset("shapes", n=100))
        >>> found.received.median("image"), found.residual.ratio.estimate.shape  # 12 blocks
        ((8.1, 8.0, 8.2), (13,))
    """

    n: int
    sample_groups: Shaped[np.ndarray, " sample"]
    received: NormQuantiles
    paper: NormQuantiles
    residual: MeanResidualNorms
    residual_paper: MeanResidualNorms
    settings: Mapping[str, Any]

    def tokens(self, definition: str = "received") -> NormQuantiles:
        """The norms of tokens by one of `probes.position.token_norms.DEFINITIONS`.

        Raises:
            InputError: it is none of them.
        """
        check_definition(definition)
        return self.received if definition == "received" else self.paper

    def stream(self, convention: str = "stream") -> MeanResidualNorms:
        """The norms by depth by one of `probes.position.residual_norms.CONVENTIONS`.

        Raises:
            InputError: it is none of them.
        """
        check_convention(convention)
        return self.residual if convention == "stream" else self.residual_paper

    def to_dataframe(self) -> pd.DataFrame:
        """The ratio of image to words, one row per convention and depth, with its interval; see `ratios_to_dataframe`.

        `MeanResidualNorms.ratios_to_dataframe` tells the columns; `convention` stands first.
        """
        return self._by_convention("ratios_to_dataframe")

    def norms_to_dataframe(self) -> pd.DataFrame:
        """Mean norms, one row per convention, depth and group of positions; see `MeanResidualNorms.to_dataframe`."""
        return self._by_convention("to_dataframe")

    def quartiles(self) -> pd.DataFrame:
        """Quartiles of the tokens' norms, one row per definition, group and quartile; see `NormQuantiles`."""
        import pandas as pd

        return pd.concat([self.tokens(name).to_dataframe() for name in DEFINITIONS], ignore_index=True)

    def plot(self, axes: Sequence[Axes] | None = None, *, convention: str = "stream") -> np.ndarray:
        """Draw norm of the words, of the image, and log10 of their ratio by depth, its interval as a band."""
        return self.stream(convention).plot(axes)

    def plot_tokens(self, axes: Sequence[Axes] | None = None) -> np.ndarray:
        """Draw the violins of image tokens and words, by both definitions; returns the two axes."""
        from probes.position.figures.token_norms import plot_definitions

        norms = {name: self.tokens(name).by_group() for name in DEFINITIONS}
        return plot_definitions(norms, axes, counts=self.received.counts())

    def _by_convention(self, table: str) -> pd.DataFrame:
        import pandas as pd

        parts = [getattr(self.stream(name), table)().drop(columns="sample") for name in CONVENTIONS]
        named = [part.assign(convention=name) for part, name in zip(parts, CONVENTIONS, strict=True)]
        every = pd.concat(named, ignore_index=True)
        return every[["convention", *(name for name in every if name != "convention")]]


@dataclass(frozen=True)
class NormsMeasurement:
    """What is measured of each sample: norms of its tokens and of the stream at them, in one pass.

    It is what `run_study` calls: `work(samples)` gives, for each sample, a row for each group of positions that it has.

    Example:
        >>> NormsMeasurement.of(vlm)(samples)[0][0]["group"]
        'bos'
    """

    vlm: HookedVLM
    prompt: str

    @classmethod
    def of(cls, vlm: HookedVLM, *, prompt: str = "chat") -> NormsMeasurement:
        """Read what is asked for, and refuse what means nothing.

        Raises:
            InputError: something does.
        """
        check_model(vlm)
        return cls(vlm, prompt)

    def recorded(self) -> dict[str, Any]:
        """What the numbers depend on besides the model."""
        return {"prompt": self.prompt}

    def check(self, samples: Sequence[Sample], *, progress: bool = True) -> None:
        """Refuse samples that can not be asked, before the first pass.

        Raises:
            InputError: some can not.
        """
        from interp.study.prompter import prepare_samples

        check_asked(self.vlm, samples, self.prompt, progress=progress)
        if self.prompt == "raw":  # a whole prompt may be a photo alone
            for sample in samples:
                groups_in(prepare_samples(self.vlm, [sample], self.prompt), [sample.id])

    def __call__(self, samples: list[Sample]) -> list[list[dict[str, Any]]]:
        """The rows of each sample of a batch.

        Columns: `group`, `tokens`, `norms` [depth], `normalized`, and of the norms of tokens `received` and `paper`,
        each [part], see `parts_of`.
        """
        from interp.study.prompter import prepare_samples

        inputs = prepare_samples(self.vlm, samples, self.prompt)
        tokens, streams = self.measure(inputs, [sample.id for sample in samples])
        return [_rows(*own) for own in zip(tokens, streams, strict=True)]

    def measure(
        self, inputs: VLMInputs, names: Sequence[str]
    ) -> tuple[tuple[TokenNorms, ...], tuple[ResidualNorms, ...]]:
        """What `token_norms` and `residual_norms` give of each sample of a prepared batch, in one pass for both.

        Raises:
            InputError: a prompt without image or without words.
            ModelError: a norm is not finite.
        """
        places = groups_in(inputs, names)
        points = dict.fromkeys((*token_points(self.vlm, inputs), *stream_points(self.vlm)))
        kept = norms_at(self.vlm, inputs, list(points))
        return token_norms_in(kept, self.vlm, inputs, names), residual_norms_in(kept, self.vlm, names, places)


def study_norms(
    vlm: HookedVLM,
    samples: Sequence[Sample],
    *,
    prompt: str = "chat",
    batch: int = 16,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    record: Mapping[str, Any] | None = None,
) -> NormsStudy:
    """Measure over a data set how long image tokens and words are, as the model receives them and at every depth.

    See `token_norms` and `residual_norms` for what is measured of each sample. Of the tokens of a sample a few norms
    are kept, each for an equal part of them (`parts_of`), so that nothing grows with the number of image tokens;
    quartiles over all tokens are those of these. R(l) is the mean of the samples' ratios ("Beyond Semantics:
    Rediscovering Spatial Awareness in Vision-Language Models", its figures of input norms and of norms by depth).

    Args:
        vlm: the model, which runs once for each batch.
        samples: what to ask, each with an id of its own; `group` says what is drawn together.
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
        >>> found = study_norms(vlm, read_dataset("shapes", n=100), out="out/norms-shapes")
        >>> found.plot(), found.quartiles()

    Raises:
        InputError: no samples, samples that can not be asked, fewer than two groups, or a folder that can not be used;
            all before the first pass.
        ModelError: a norm is not finite.
    """
    work, groups = NormsMeasurement.of(vlm, prompt=prompt), groups_of(samples)
    check_draws(draws, level, seed)
    table, settings = measure_samples(
        samples, work, "norms", out=out, resume=resume, batch=batch, progress=progress, record=record
    )
    drawn: dict[str, Any] = {"seed": seed, "n": draws, "level": level}
    results = [_residual(name, rows, vlm.cfg.d_model) for name, rows in table.groupby("id", sort=False)]
    residual, residual_paper = (
        mean_residual_norms(results, convention=name, groups=groups, sample_id="all", **drawn) for name in CONVENTIONS
    )
    received, paper = (_pooled(table, samples, groups, name, drawn) for name in DEFINITIONS)
    return NormsStudy(
        n=len(samples),
        sample_groups=groups,
        received=received,
        paper=paper,
        residual=residual,
        residual_paper=residual_paper,
        settings={**settings, "seed": seed, "draws": draws, "level": level},
    )


def _rows(tokens: TokenNorms, stream: ResidualNorms) -> list[dict[str, Any]]:
    """The rows of one sample, one for each group of positions that it has."""
    norms = {name: tokens.by_group(name) for name in DEFINITIONS}
    return [
        {
            "group": group,
            "tokens": int(stream.tokens[place]),
            "norms": np.ascontiguousarray(stream.norms[:, place]),
            "normalized": stream.normalized[place],
            **{name: parts_of(norms[name][group]) for name in DEFINITIONS},
        }
        for place, group in enumerate(stream.groups)
    ]


def _residual(name: Any, rows: pd.DataFrame, d_model: int) -> ResidualNorms:
    """One sample's norms by depth, from its rows."""
    return ResidualNorms(
        sample_id=str(name),
        d_model=d_model,
        groups=tuple(rows["group"]),
        tokens=rows["tokens"].to_numpy(dtype=np.int64),
        norms=np.stack(list(rows["norms"]), axis=1),
        normalized=rows["normalized"].to_numpy(dtype=np.float32),
    )


def _pooled(
    table: pd.DataFrame,
    samples: Sequence[Sample],
    groups: Shaped[np.ndarray, " sample"],
    definition: str,
    drawn: dict[str, Any],
) -> NormQuantiles:
    """The quartiles over all tokens by one definition, from the rows of all samples."""
    named = dict(zip((sample.id for sample in samples), groups, strict=True))
    rows = {group: own for group in GROUPS if len(own := table[table["group"] == group])}
    parts: dict[str, Float[np.ndarray, "sample part"]] = {
        group: np.stack(list(own[definition])) for group, own in rows.items()
    }
    tokens = {group: own["tokens"].to_numpy(dtype=np.int64) for group, own in rows.items()}
    together = {group: np.array([named[name] for name in own["id"]], dtype=object) for group, own in rows.items()}
    return pool_norms(parts, tokens, together, definition, **drawn)
