"""What position probes read at each site: accuracy, strips, and what controls read, with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import ratio_over_groups
from interp.stats.intervals import APART, SHARE, Bounds
from interp.stats.linear_probe import LinearProbe
from probes.mechanisms.probe.sites import Site
from probes.study.parts import row_of, rows_of
from probes.study.run import ONE_GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from PIL import Image

    from interp.image.boxes import Box
    from interp.image.grid import ImageGrid

NO_BACKGROUND = "no photo has background both in every strip and outside it"
"""The reason for which there is no strip score."""


@dataclass(frozen=True, eq=False)
class Photo:
    """A held-out photo for figures: its pixels, its tokens and its boxes."""

    image: Image.Image
    grid: ImageGrid
    boxes: tuple[Box, ...]


@dataclass(frozen=True, eq=False)
class ReadPhotos:
    """What probes were right about in each held-out photo, and how its strips score.

    Attributes:
        tokens: object tokens, [sample].
        right: of these, how many the probe is right about, [sample site].
        control: the same of probes of shuffled labels, by their own labels, mean over shuffles, [sample site].
        position: the same of a probe of the photo of nothing, [sample site].
        strip: the strip score, NaN where it can not be told, [sample site]; `strip_control` and `strip_position`, of
            the two controls.
        groups: what is drawn together, [sample].
    """

    tokens: Int[np.ndarray, " sample"]
    right: Float[np.ndarray, "sample site"]
    control: Float[np.ndarray, "sample site"]
    position: Float[np.ndarray, "sample site"]
    strip: Float[np.ndarray, "sample site"]
    strip_control: Float[np.ndarray, "sample site"]
    strip_position: Float[np.ndarray, "sample site"]
    groups: Shaped[np.ndarray, " sample"]


@fits_a_cell("sites n_train n_test")
@dataclass(frozen=True, eq=False)
class PositionProbe:
    """Linear probes of objects' places along an axis, trained on object tokens and read on all patches.

    `measures` tells, of each site, with intervals that draw the held-out groups:

    - `accuracy`: share of held-out object tokens whose class the probe finds likeliest; `chance` is what the commonest
      class would score.
    - `control`: the same of probes whose labels were dealt anew among all objects; `selectivity` is accuracy - control.
    - `position`: the same of a probe that sees, in the place of each photo, one of nothing: what a token says about
      where it is whatever is there. `beyond_position` is accuracy - position.
    - `strip`: the strip score, see `probes.mechanisms.tokens.object_tokens.strip_weights`; `strip_control`,
      `strip_position` and `strip_beyond_position` accordingly.

    Attributes:
        sites: where image tokens were read, in the order in which a photo passes them.
        probes: by site, the probe.
        maps: mean softmax over the held-out photos, float32 [site class row col]; `maps_position`, of the photo of
            nothing.
        photos: what was read in each held-out photo.
        measures: a row per site and measure: `site`, `part`, `layer` (-1 at the projector), `measure`, `value`, `low`,
            `high`, `samples`, `groups`.
        left_out: a row per site and measure that can not be told: `site`, `part`, `layer`, `measure`, `why`.
        chance: share of the commonest class among the held-out object tokens.
        p_values: of the strip score at each site, and corrected for all of them, see
            `probes.mechanisms.probe.strips.strip_chance`, [site 2].
        axis: along which objects are told apart.
        example: a held-out photo.
        n_train: photos that the probes were trained on.
        n_test: photos that they were read on.
        settings: what made it.

    Example:
        >>> found = position_probe(vlm, scenes, axis="horizontal")
        >>> found.value("accuracy", "projector"), found.plot(), found.plot_strips("projector")
    """

    sites: tuple[Site, ...]
    probes: Mapping[str, LinearProbe] = field(repr=False)
    maps: Float32[np.ndarray, "site class row col"]
    maps_position: Float32[np.ndarray, "site class row col"]
    photos: ReadPhotos = field(repr=False)
    measures: pd.DataFrame
    left_out: pd.DataFrame
    chance: float
    p_values: Float32[np.ndarray, "site 2"]
    axis: str
    example: Photo = field(repr=False)
    n_train: int
    n_test: int
    settings: Mapping[str, Any]

    def to_dataframe(self) -> pd.DataFrame:
        """The measures, one row per site and measure; what can not be told is in `left_out`."""
        return self.measures.copy()

    def value(self, measure: str, site: str = "projector") -> float:
        """A measure at a site.

        Raises:
            InputError: there is none; the reason, where there is one.
        """
        return float(self.row(measure, site)["value"])

    def row(self, measure: str, site: str = "projector") -> pd.Series:
        """A measure at a site with its interval; see `value`."""
        return row_of(self.measures, self.left_out, measure=measure, site=site)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the sites."""
        return tuple(site.name for site in self.sites)

    def strips(self) -> pd.DataFrame:
        """A row per site with a strip score: `site`, `part`, `layer`, `strip`, `p_value` and `p_corrected`.

        `p_corrected` is of all sites together: below a level, all that are err at most at that rate.
        """
        told = rows_of(self.measures, measure="strip").reset_index(drop=True)
        p_values = self.p_values[[self.names.index(name) for name in told["site"]]]
        own = told[["site", "part", "layer"]].assign(strip=told["value"])
        return own.assign(p_value=p_values[:, 0], p_corrected=p_values[:, 1])

    def map(self, site: str = "projector") -> Float32[np.ndarray, "class row col"]:
        """The mean softmax of each class over the held-out photos, by row and column of image tokens.

        Raises:
            InputError: the site was not probed.
        """
        return self.maps[self._place(site)]

    def save(self, path: str | Path) -> Path:
        """Keep all probes in one safetensors file; `load_probes` reads it."""
        from probes.mechanisms.probe.saved import save_probes

        return save_probes(path, self.probes)

    def plot(self, ax: Axes | None = None, *, measure: str = "accuracy") -> Axes:
        """Draw accuracy (or `strip`, the strip score) by site, with its controls and their intervals."""
        from probes.mechanisms.probe.figure import plot_sites

        return plot_sites(self.measures, self.sites, measure, self.chance, ax, level=self.settings["level"])

    def plot_strips(self, site: str = "projector", axes: Sequence[Axes] | None = None) -> np.ndarray:
        """Draw the mean softmax of each class over one held-out photo, in its own pixels; returns the axes.

        Raises:
            InputError: the site was not probed.
        """
        from probes.mechanisms.probe.figure import plot_strip_maps

        seen = self.example
        return plot_strip_maps(seen.image, seen.grid, seen.boxes, self.map(site), site, self.axis, self.n_test, axes)

    def _place(self, site: str) -> int:
        if site not in self.names:
            raise InputError(f"site {site!r} was not probed: use one of {', '.join(self.names)}")
        return self.names.index(site)


def measure_photos(
    photos: ReadPhotos, sites: Sequence[Site], *, seed: int, draws: int, level: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The measures of each site with intervals, and what can not be told; see `PositionProbe`."""
    import pandas as pd

    rows: list[pd.DataFrame] = []
    missing: list[pd.DataFrame] = []
    table = _of_sites(sites)
    for measure, above, below, bounds in _measured(photos):
        found = ratio_over_groups(above, below, photos.groups, seed=seed, n=draws, level=level, bounds=bounds)
        known = np.isfinite(above) & np.isfinite(below)
        counts = [len({*photos.groups[own].tolist()}) for own in known.T]
        own = table.assign(measure=measure, value=found.estimate, low=found.low, high=found.high)
        own = own.assign(samples=known.sum(axis=0), groups=counts)
        told = np.isfinite(own[["value", "low", "high"]]).all(axis=1)
        rows.append(own[told])
        why = np.where(known.any(axis=0), ONE_GROUP, NO_BACKGROUND)
        missing.append(table.assign(measure=measure, why=why)[~told])
    order = {site.name: place for place, site in enumerate(sites)}
    together, out = (
        pd.concat(parts).sort_values("site", key=lambda names: names.map(order), kind="stable", ignore_index=True)
        for parts in (rows, missing)
    )
    return together.astype(dict.fromkeys(("value", "low", "high"), np.float32)), out


def _measured(photos: ReadPhotos) -> Iterator[tuple[str, np.ndarray, np.ndarray, Bounds]]:
    """Name of each measure, what it is a ratio of, [sample site] each, and the least and most that it can be."""
    tokens = np.broadcast_to(photos.tokens[:, None], photos.right.shape).astype(float)
    one = np.ones_like(tokens)
    yield "accuracy", photos.right, tokens, SHARE
    yield "control", photos.control, tokens, SHARE
    yield "selectivity", photos.right - photos.control, tokens, APART
    yield "position", photos.position, tokens, SHARE
    yield "beyond_position", photos.right - photos.position, tokens, APART
    yield "strip", photos.strip, one, APART
    yield "strip_control", photos.strip_control, one, APART
    yield "strip_position", photos.strip_position, one, APART
    yield "strip_beyond_position", photos.strip - photos.strip_position, one, (-2, 2)


def _of_sites(sites: Iterable[Site]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([(site.name, site.part, site.layer) for site in sites], columns=["site", "part", "layer"])
