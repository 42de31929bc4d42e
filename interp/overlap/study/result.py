"""Overlap study: over a whole data set, how well attention lies on the objects, beside its nulls and the answers."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.layers import HEAD_MEAN
from interp.numeric import ratio
from interp.objects.given import GroundTruth
from interp.objects.sample import ROLES
from interp.overlap.map_measures import MAP_MEASURES
from interp.overlap.measures import MEASURES
from interp.overlap.nulls import NULL_MEASURES, NULLS, null_column, other_heads
from interp.overlap.regions import UNION
from interp.overlap.study.coverage import coverage_of, coverage_says, kinds_as_now
from interp.overlap.study.vision import ROWS
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd


@fits_a_cell("settings.model samples n_layers n_heads regions normalisations measures maps further", table="samples")
@dataclass(frozen=True, eq=False)
class OverlapStudy:
    """What `study_overlap` measured. The head axis of every array ends with the head mean: index -1 is it.

    Attributes:
        samples: one row per sample: what was asked and answered, `right` (by the strict rule), `confidence`, what was
            `found`, and the areas of the boxes.
        measures: float32 [sample normalisation region layer head+1] per measure, and per measure under a null, such as
            `mass_shuffled`, the mean over its draws; measures of the map alone are [sample normalisation layer head+1].
            NaN where undefined: without a box that the model saw, and in layers that were not measured.
        normalisations: names of the second axis.
        regions: names of the third axis.
        n_layers: the number of layers of the model.
        n_heads: the number of heads of the model, the mean not counted.
        settings: model, data set, detector, nulls, seed, and all else that made this.
        maps: what was measured: `rows`, the language model's; for others see `of`.
        further: the same study of other maps, by their names.

    Example:
        >>> study.values("cosine")[:, 17, -1].shape  # layer 17, head mean
        (412,)
        >>> study.of("vision").values("cosine")[:, 22, -1].shape  # layer 22 of the vision tower
        (412,)
        >>> study.lift("shuffled")[:, 17, -1].mean()  # how many times the mass of boxes of other photos
        2.1
    """

    samples: pd.DataFrame
    measures: dict[str, Float[np.ndarray, "sample normalisation ..."]]
    normalisations: tuple[str, ...]
    regions: tuple[str, ...]
    n_layers: int
    n_heads: int
    settings: dict[str, Any]
    maps: str = ROWS
    further: dict[str, OverlapStudy] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.samples)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that were measured, 0-based."""
        return tuple(self.settings["layers"])

    @property
    def nulls(self) -> tuple[str, ...]:
        """The nulls that were measured."""
        return tuple(self.settings["nulls"])

    @property
    def right(self) -> Bool[np.ndarray, " sample"]:
        """Whether each answer was right, bool [sample]."""
        return self.samples["right"].to_numpy(dtype=bool)

    @property
    def relations(self) -> tuple[str, ...]:
        """The relations, in the order of the samples."""
        return tuple(dict.fromkeys(self.samples["relation"].astype(str)))

    def of(self, maps: str) -> OverlapStudy:
        """The same study of other maps, such as `vision` or `lens`: its layers, heads and normalisations are theirs.

        Raises:
            InputError: they were not measured.
        """
        known = {self.maps: self, **self.further}
        if maps not in known:
            raise InputError(
                f"maps {maps!r} were not measured, only {', '.join(known)}: run the study with also=({maps!r},)"
            )
        return known[maps]

    def values(
        self, measure: str, region: str = UNION, normalisation: str = "image"
    ) -> Float[np.ndarray, "sample layer head_and_mean"]:
        """One measure, float32 [sample layer head+1]; a measure of the map alone takes no other region than `union`.

        Raises:
            InputError: the measure, region or normalisation is not here.
        """
        known: dict[str, Collection[str]] = {"measure": self.measures, "region": self.regions}
        known["normalisation"] = self.normalisations
        for what, name in (("measure", measure), ("region", region), ("normalisation", normalisation)):
            if name not in known[what]:
                raise InputError(f"{what} {name!r} is not in this study: use one of {', '.join(known[what])}")
        found = self.measures[measure][:, self.normalisations.index(normalisation)]
        if measure not in MAP_MEASURES:
            return found[:, self.regions.index(region)]
        if region != UNION:
            raise InputError(f"{measure!r} is of the map alone and knows no region: leave out region={region!r}")
        return found

    def lift(
        self, null: str, region: str = UNION, normalisation: str = "image"
    ) -> Float[np.ndarray, "sample layer head_and_mean"]:
        """How many times the attention in the boxes is that under a null: mass over the null's mass, float32.

        Args:
            null: one of the study's, or `even`.
            region: the region whose boxes count.
            normalisation: the normalisation of the attention.

        Raises:
            InputError: the null, region or normalisation is not here, or the region is a difference.
        """
        if region not in (*ROLES, UNION):
            raise InputError(f"a lift of {region!r} says nothing: use one of {', '.join((*ROLES, UNION))}")
        mass, chance = (self.values(name, region, normalisation) for name in ("mass", null_column("mass", null)))
        return ratio(mass.astype(np.float64), chance.astype(np.float64)).astype(np.float32)

    def coverage(self) -> pd.DataFrame:
        """In how many samples the objects were found: see `interp.overlap.study.coverage.coverage_of`."""
        return coverage_of(self.samples)

    def describe(self) -> str:
        """Say in a few sentences of how many questions the objects were found.

        Example:
            >>> print(study.describe())
            All objects have boxes in 180 of 200 questions, 90.0 % [95 % CI 85.1, 93.4]; some in 12, none in 8.
        """
        return coverage_says(self.samples)

    def to_dataframe(
        self,
        measures: Sequence[str] | None = None,
        *,
        regions: Sequence[str] | None = None,
        normalisations: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """One row per sample, measured layer, head, region and normalisation; measures are float32 columns.

        Head `HEAD_MEAN` (-1) is the head mean: leave it out before averaging over heads. Every row says of its sample
        `sample` (the `id` of `samples`), `relation`, `group`, `right`, `confidence` and `found`. Columns are called as
        in `Overlap.to_dataframe`.

        Args:
            measures: which; all by default. Those of the map alone are repeated in every region.
            regions: which; all by default.
            normalisations: which; all by default.

        Raises:
            InputError: one of them is not here.
        """
        import pandas as pd

        regions, normalisations = regions or self.regions, normalisations or self.normalisations
        layers = list(self.layers)
        shape = (len(self), len(normalisations), len(regions), len(layers), self.n_heads + 1)
        sample, kind, region, layer, head = (axis.ravel() for axis in np.indices(shape, dtype=np.int32))
        head[head == self.n_heads] = HEAD_MEAN
        about = self.samples[["id", "relation", "group", "right", "confidence", "found"]].iloc[sample]
        about = about.rename(columns={"id": "sample"})
        columns: dict[str, Any] = {
            "normalisation": np.array(normalisations, dtype=object)[kind],
            "region": np.array(regions, dtype=object)[region],
            "layer": np.array(layers, dtype=np.int32)[layer],
            "head": head,
        }
        for name in measures or self.measures:
            wanted = [[UNION] * len(regions) if name in MAP_MEASURES else regions] * len(normalisations)
            parts = [
                np.stack([self.values(name, own, norm)[:, layers] for own in row], axis=1)
                for row, norm in zip(wanted, normalisations, strict=True)
            ]
            columns[name] = np.stack(parts, axis=1).ravel()
        return pd.concat([about.reset_index(drop=True), pd.DataFrame(columns)], axis=1)


def read_overlap_study(folder: str | Path, *, partial: bool = False) -> OverlapStudy:
    """Read a study that `study_overlap` has kept in a folder.

    Args:
        folder: its `out`.
        partial: take one that is not finished too.

    Raises:
        InputError: the folder holds no study, another kind of study, or one that is not finished.

    Example:
        >>> read_overlap_study("out/controlled-a").coverage()
    """
    from interp.study.run import read_study

    table, manifest = read_study(folder, partial=partial)
    if manifest["settings"].get("study") != "overlap":
        raise InputError(f"{str(folder)!r} holds another kind of study: name one of python -m interp overlap")
    return as_study(table, manifest["settings"])


def as_study(table: pd.DataFrame, settings: Mapping[str, Any]) -> OverlapStudy:
    """The study of a table as `run_study` gives it: arrays laid out, the null of other heads drawn."""
    also = settings.get("also", {})
    arrays = [f"{front}{name}" for front in ("", *(f"{maps}_" for maps in also)) for name in settings["arrays"]]
    samples = table.drop(columns=[*(name for name in arrays if name in table), "key"])
    samples, absent = kinds_as_now(samples, has_boxes=settings.get("detector") == GroundTruth().name)
    rows = _of_maps(table, samples, settings, "", absent)
    further = {
        maps: replace(_of_maps(table, samples, {**settings, **axes}, f"{maps}_", absent), maps=maps)
        for maps, axes in also.items()
    }
    return replace(rows, further=further)


def _of_maps(
    table: pd.DataFrame,
    samples: pd.DataFrame,
    settings: Mapping[str, Any],
    front: str,
    absent: Bool[np.ndarray, " sample"],
) -> OverlapStudy:
    """The study of the maps whose columns have `front` in front of their names; NaN where objects are absent."""
    normalisations, regions = tuple(settings["normalisations"]), tuple(settings["regions"])
    n_layers, n_heads, layers = int(settings["n_layers"]), int(settings["n_heads"]), list(settings["layers"])
    measures: dict[str, np.ndarray] = {}
    for name in (name for name in settings["arrays"] if front + name in table):
        axes = (len(normalisations),) if name in MAP_MEASURES else (len(normalisations), len(regions))
        values = np.stack(table[front + name].tolist()) if len(table) else np.zeros((0, 0), np.float32)
        if name not in MAP_MEASURES and absent.any():
            values[absent] = np.nan
        one_for_all = values.shape[1] == int(np.prod(axes))  # what does not depend on layer and head
        every = (len(table), *axes, n_layers, n_heads + 1)
        if one_for_all and len(layers) == n_layers:
            measures[_as_now(name)] = np.broadcast_to(values.reshape(len(table), *axes, 1, 1), every)
            continue
        inner = (1, 1) if one_for_all else (len(layers), n_heads + 1)
        own = np.full(every, np.nan, np.float32)
        own[..., layers, :] = values.reshape(len(table), *axes, *inner)
        measures[_as_now(name)] = own
    if "heads" in settings["nulls"] and measures:
        for name in NULL_MEASURES:
            drawn = other_heads(measures[name], draws=settings["draws"], seed=settings["seed"])
            measures[null_column(name, "heads")] = drawn
    return OverlapStudy(samples, measures, normalisations, regions, n_layers, n_heads, dict(settings))


def _as_now(name: str) -> str:
    """What an array is called now: studies of earlier versions have the null before the measure, `even_cosine`."""
    null, _, measure = name.partition("_")
    return null_column(measure, null) if null in ("even", *NULLS) and measure in MEASURES else name
