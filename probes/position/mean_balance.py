"""Mean balance: that of several samples by layer and head, with intervals, and how many heads look at the image."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Shaped

from interp.errors import InputError
from interp.numeric import ratio
from interp.reprs import fits_a_cell
from interp.stats.clusters import drawn_sums, drawn_together, mean_over_groups
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, FEWEST, SHARE, Bounds, Interval, spread_ends
from interp.stats.student import students_tail
from interp.stats.tests import holm
from probes.position.balance import HALF, ROUNDING, Balance

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@fits_a_cell("sample_id samples groups even")
@dataclass(frozen=True, eq=False)
class MeanBalance:
    """The means over several samples, each weighing the same, with intervals that draw whole groups.

    Attributes:
        sample_id: a name for all of them.
        balance: the balance with its interval, each [layer head]; the ends are NaN where samples lie in
            fewer than three groups.
        by_layer: the same of the mean over heads, each [layer].
        image_mass: float32 [layer head], mean attention on the image.
        text_mass: float32 [layer head], mean attention on the words.
        even: the balance of even attention, mean over samples: image tokens over image tokens and words.
        image_heads: how many heads have a mean balance above one half, with its interval.
        over_even: how many heads have more than even attention would give them, with its interval: the mean of their
            balance less `even` of the same sample is above zero. Heads that do not differ from even attention lie on
            either side of it by chance, so that about half of those are counted.
        surely_over_even: how many of these are above it beyond chance: one-sided, the standard error from the draws of
            groups, by Holm over all heads at 1 less the level. None with fewer than three groups.
        samples: how many there are.
        groups: how many groups these lie in.
    """

    sample_id: str
    balance: Interval
    by_layer: Interval
    image_mass: Float[np.ndarray, "layer head"]
    text_mass: Float[np.ndarray, "layer head"]
    even: float
    image_heads: Interval
    over_even: Interval
    surely_over_even: int | None
    samples: int
    groups: int

    @property
    def values(self) -> Float[np.ndarray, "layer head"]:
        """The mean balance, 0 (only words) to 1 (only image)."""
        return np.asarray(self.balance.estimate, dtype=np.float32)

    def to_dataframe(self) -> pd.DataFrame:
        """One row per layer and head: `balance`, `low`, `high`, `image_mass`, `text_mass` as float32 columns.

        Of fewer than three groups there is no interval, and no such columns.
        """
        import pandas as pd

        layer, head = (axis.ravel().astype(np.int32) for axis in np.indices(self.values.shape))
        cells = self.balance.cells("balance")
        if self.groups < FEWEST:
            cells = {"balance": cells["balance"]}
        measures = cells | {"image_mass": self.image_mass, "text_mass": self.text_mass}
        told = {name: np.asarray(value, dtype=np.float32).ravel() for name, value in measures.items()}
        return pd.DataFrame({"sample": self.sample_id, "layer": layer, "head": head, **told})

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the heat map of the paper: layers down, heads across, colours from 0 to 1."""
        from interp.plots.balance import plot_balance

        return plot_balance(self.values, ax)


def mean_balance(
    balances: Iterable[Balance],
    groups: Iterable[str] | None = None,
    *,
    sample_id: str = "mean",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> MeanBalance:
    """The mean over samples, each weighing the same, with intervals that draw whole groups.

    Args:
        balances: what `cross_modality_balance` gave, for samples of one model.
        groups: what is drawn together, a name for each sample; by default each sample is a group of its own.
        sample_id: a name for all of them.
        seed: the seed of the draws.
        n: the number of draws.
        level: nominal coverage.

    Example:
        >>> mean_balance(cross_modality_balance(rows, layout) for rows, layout in captured).plot()

    Raises:
        InputError: there is none, their layers and heads differ, or there is not one group for each.
    """
    every = list(balances)
    shapes = {balance.values.shape for balance in every}
    if len(shapes) != 1:
        raise InputError(f"can not average {len(every)} balances of shapes {sorted(shapes)}: give some of one model")
    check_draws(n, level, seed)
    values, image, words = (
        np.stack([getattr(balance, name) for balance in every]) for name in ("values", "image_mass", "text_mass")
    )
    even = np.array([balance.even for balance in every])
    named = drawn_together(len(every), groups)
    return balance_over_groups(values, image, words, even, named, sample_id=sample_id, seed=seed, n=n, level=level)


def balance_over_groups(
    values: Float[np.ndarray, "sample layer head"],
    image_mass: Float[np.ndarray, "sample layer head"],
    text_mass: Float[np.ndarray, "sample layer head"],
    even: Float[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    sample_id: str = "mean",
    seed: int = 0,
    n: int = DRAWS,
    level: float = 0.95,
) -> MeanBalance:
    """`mean_balance` of arrays."""
    flat, by_layer = (
        mean_over_groups(column, groups, seed=seed, n=n, level=level, bounds=SHARE)
        for column in (values.reshape(len(values), -1), values.mean(axis=2, dtype=np.float64))
    )
    shape = values.shape[1:]
    low, high = flat.low.reshape(shape), flat.high.reshape(shape)
    here, draws = head_counts(values, even, groups, seed=seed, n=n)
    image_heads, over_even = (
        counted(here[place], draws[:, place], level, units=len(set(groups.tolist())), bounds=(0, values[0].size))
        for place in range(2)
    )
    return MeanBalance(
        sample_id=sample_id,
        balance=Interval(flat.estimate.reshape(shape), low, high, level, flat.draws),
        by_layer=by_layer,
        image_mass=image_mass.mean(axis=0, dtype=np.float32),
        text_mass=text_mass.mean(axis=0, dtype=np.float32),
        even=float(even.mean()),
        image_heads=image_heads,
        over_even=over_even,
        surely_over_even=heads_over_even(values, even, groups, seed=seed, n=n, level=level),
        samples=len(values),
        groups=len(set(groups.tolist())),
    )


def head_counts(
    values: Float[np.ndarray, "sample layer head"],
    even: Float[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int,
) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, "draw count"]]:
    """How many heads look mostly at the image, and more than evenly: here, and in each draw of whole groups.

    The same groups are drawn the same way, so that the difference of two arms of the same samples is paired. Draws of a
    single group say nothing: NaN.
    """
    flat = values.reshape(len(values), -1).astype(np.float64)
    columns = [flat, flat - even[:, None], np.ones(len(flat))]
    here = _counts([column.sum(axis=0)[None] for column in columns])[0]
    if len(set(groups.tolist())) < 2:
        return here, np.full((1, 2), np.nan)
    return here, _counts(drawn_sums(columns, groups, seed=seed, n=n))


def heads_over_even(
    values: Float[np.ndarray, "sample layer head"],
    even: Float[np.ndarray, " sample"],
    groups: Shaped[np.ndarray, " sample"],
    *,
    seed: int,
    n: int,
    level: float,
) -> int | None:
    """How many heads are above even attention beyond chance; see `MeanBalance.surely_over_even`."""
    if (count := len(set(groups.tolist()))) < FEWEST:
        return None
    apart = values.reshape(len(values), -1) - even[:, None]
    drawn = ratio(*drawn_sums([apart, np.ones_like(apart)], groups, seed=seed, n=n))
    mean, error = apart.mean(axis=0), np.maximum(drawn.std(axis=0, ddof=1), ROUNDING) * math.sqrt(count / (count - 1))
    tail = np.array([students_tail(t, count - 1) for t in mean / error])
    return int((holm(tail) < 1 - level).sum())


def counted(here: float, draws: Float[np.ndarray, " draw"], level: float, *, units: int, bounds: Bounds) -> Interval:
    """A number with the interval of its draws of so many groups."""
    low, high = spread_ends(here, draws, level, units=units, bounds=bounds)
    return Interval(float(here), float(low), float(high), level, int(np.isfinite(draws).sum()))


def _counts(sums: list[Float[np.ndarray, "draw ..."]]) -> Float[np.ndarray, "draw count"]:
    """How many heads have a mean above one half, and above even attention."""
    whole, apart, samples = sums
    means = ratio(whole, samples[:, None])
    return np.stack([(means > HALF).sum(axis=1), (apart > ROUNDING * samples[:, None]).sum(axis=1)], axis=1).astype(
        np.float64
    )
