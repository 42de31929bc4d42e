"""Mean shares: those of several samples, with intervals that draw whole groups."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_together, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, FEWEST, SHARE, Interval
from probes.position.shares import Shares

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@fits_a_cell("sample_id names samples drawn_groups")
@dataclass(frozen=True, eq=False)
class MeanShares:
    """The means over several samples, each weighing the same, with intervals that draw whole groups.

    Attributes:
        sample_id: a name for all of them.
        groups: the groups that the prompts have, of system, image and text.
        own: `kept` with its interval, each [group]; the ends are NaN where samples lie in
            fewer than three groups.
        authors: `kept_authors` with its interval, each [group].
        image: `masked` with its interval, numbers.
        coverage: mean part of a row, BOS taken out, that lies on any of the groups.
        samples: how many there are.
        drawn_groups: how many groups the samples lie in.
    """

    sample_id: str
    groups: tuple[str, ...]
    own: Interval
    authors: Interval
    image: Interval
    coverage: float
    samples: int
    drawn_groups: int

    @property
    def kept(self) -> Float[np.ndarray, " group"]:
        """Each group's part of what all of them get."""
        return np.asarray(self.own.estimate, dtype=np.float32)

    @property
    def kept_authors(self) -> Float[np.ndarray, " group"]:
        """The same as the authors compute it, see `Shares`."""
        return np.asarray(self.authors.estimate, dtype=np.float32)

    @property
    def masked(self) -> float:
        """The image's part of what image and text get."""
        return float(self.image.estimate)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per system prompt (kept or masked) and group: `share`, `share_authors` and their intervals.

        These are `low`, `high`, `low_authors` and `high_authors`. Where samples lie in fewer than three groups there
        are none.
        """
        import pandas as pd

        image = self.image
        text = Interval(1 - image.estimate, 1 - image.high, 1 - image.low)
        rows = [("kept", group, interval_at(self.own, place), interval_at(self.authors, place))
                for place, group in enumerate(self.groups)]  # fmt: skip
        rows += [("masked", "image", image, image), ("masked", "text", text, text)]
        cells = [
            {
                **{"sample": self.sample_id, "system_prompt": kind, "group": group, "share": own.estimate},
                **({"low": own.low, "high": own.high} if self.drawn_groups >= FEWEST else {}),
                "share_authors": authors.estimate,
                **({"low_authors": authors.low, "high_authors": authors.high} if self.drawn_groups >= FEWEST else {}),
            }
            for kind, group, own, authors in rows
        ]
        table = pd.DataFrame(cells)
        return table.astype(dict.fromkeys(table.columns[3:], np.float32))

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw both divisions as bars: system prompt kept, and masked."""
        from probes.position.figures.shares import plot_shares

        return plot_shares(self.groups, self.kept, self.masked, ax)


def mean_shares(
    shares: Iterable[Shares],
    groups: Iterable[str] | None = None,
    *,
    sample_id: str = "mean",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> MeanShares:
    """The mean over samples, each weighing the same, with intervals that draw whole groups.

    Args:
        shares: what `modality_shares` gave.
        groups: what is drawn together, a name for each sample; by default each sample is a group of its own.
        sample_id: a name for all of them.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Raises:
        InputError: there is none, some have a system prompt and others have none, or there is not one group for each.
    """
    every = list(shares)
    if len({one.groups for one in every}) != 1:
        raise InputError(f"can not average {len(every)} shares of {sorted({one.groups for one in every})}: give alike")
    check_draws(n, level, seed)
    named = drawn_together(len(every), groups)
    parts = [np.stack([getattr(one, name) for one in every]) for name in ("kept", "kept_authors", "masked")]
    columns = np.column_stack(parts).astype(np.float64)
    found = mean_over_groups(columns, named, seed=seed, n=n, level=level, bounds=SHARE)
    size = len(every[0].groups)
    own, authors = (
        Interval(found.estimate[part], found.low[part], found.high[part], level, found.draws)
        for part in (slice(size), slice(size, -1))
    )
    return MeanShares(
        sample_id=sample_id,
        groups=every[0].groups,
        own=own,
        authors=authors,
        image=interval_at(found, -1),
        coverage=float(np.mean([one.coverage for one in every])),
        samples=len(every),
        drawn_groups=len(set(named.tolist())),
    )


def interval_at(several: Interval, place: int) -> Interval:
    """One of the intervals of an array."""
    estimate, low, high = (float(getattr(several, name)[place]) for name in ("estimate", "low", "high"))
    return Interval(estimate, low, high, several.level, several.draws)
