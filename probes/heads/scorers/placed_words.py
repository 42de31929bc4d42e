"""Placed words: what heads write where objects are named, and how well it tells where the objects lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped

from interp.errors import InputError
from interp.numeric import counted
from interp.stats.clusters import drawn_sums
from interp.stats.intervals import SHARE, spread_ends
from interp.stats.scores import codes_of
from interp.stats.shuffles import dealt_rows, pooled_p
from probes.heads.scorers.items import LEAST
from probes.heads.scores import KEPT, HeadScores

if TYPE_CHECKING:
    import pandas as pd

    from interp.objects.sample import Sample
    from probes.heads.scorers.sampled import Drawing, Labels

NOTHING = 1e-10
"""Share of a write's own size, squared, below which what changes of it from word to word is rounding."""

Projected = Float[np.ndarray, "word axis cell"]
Places = Float[np.ndarray, "word 2"]


@dataclass(frozen=True, eq=False)
class PlacedWords:
    """Words of objects: what heads wrote there, and where the objects lie.

    Attributes:
        sample: the place of each word's sample.
        name: the object's name.
        written: [word axis cell], a cell being a head of a layer.
        places: (x, y) [word 2].
        size: the mean square of what each head wrote, before any mean was taken from it, [cell].
        groups: the group of each word's sample.
    """

    sample: Int[np.ndarray, " word"]
    name: Shaped[np.ndarray, " word"]
    written: Projected
    places: Places
    size: Float[np.ndarray, " cell"]
    groups: Shaped[np.ndarray, " word"]

    @classmethod
    def of(cls, table: pd.DataFrame, samples: Sequence[Sample], labels: Labels, axes: Sequence[str]) -> PlacedWords:
        """The rows of a study: `id`, `object`, `x`, `y`, and a column of all heads for each axis."""
        number = {sample.id: place for place, sample in enumerate(samples)}
        sample = table["id"].map(number).to_numpy(dtype=int)
        written = np.stack([np.stack(list(table[name])) for name in axes], axis=1).astype(np.float64)
        places = table[["x", "y"]].to_numpy(dtype=np.float64)
        size = (written**2).mean(axis=(0, 1))
        return cls(sample, table["object"].to_numpy(dtype=object), written, places, size, labels.groups[sample])

    def beyond_objects(self) -> PlacedWords:
        """Each word less the mean over the words of its object; without objects that are named once.

        Raises:
            InputError: all are named once.
        """
        _, codes, counts = np.unique(self.name.astype(str), return_inverse=True, return_counts=True)
        written, places = (_less_means(own, codes, counts) for own in (self.written, self.places))
        kept = counts[codes] > 1
        if not kept.any():
            raise InputError(
                f"each of {len(counts)} objects is named once, so that no word can be held against others of its "
                "object: name objects more often, or use by_object=False"
            )
        return replace(self, written=written, places=places).some(kept)

    def some(self, kept: Bool[np.ndarray, " word"]) -> PlacedWords:
        """Some of the words, less their mean."""
        written, places = (own[kept] - own[kept].mean(axis=0) for own in (self.written, self.places))
        return replace(
            self,
            sample=self.sample[kept],
            name=self.name[kept],
            written=written,
            places=places,
            groups=self.groups[kept],
        )


def _less_means(values: np.ndarray, codes: Int[np.ndarray, " word"], counts: Int[np.ndarray, " object"]) -> np.ndarray:
    sums = np.zeros((len(counts), *values.shape[1:]))
    np.add.at(sums, codes, values)
    return values - (sums / counts.reshape(-1, *[1] * (values.ndim - 1)))[codes]


def place_scores(
    words: PlacedWords,
    labels: Labels,
    axes: tuple[int, int],
    drawing: Drawing,
    shuffles: int,
    options: Mapping[str, Any],
) -> HeadScores:
    """The scores of all functions that enough words are of.

    Raises:
        InputError: there is none.
    """
    told: dict[str, str] = {}
    found: list[dict[str, np.ndarray]] = []
    sizes: list[tuple[str, int, int]] = []
    for place, name in enumerate(labels.functions):
        kept = labels.table[words.sample, place]
        groups = len(set(words.groups[kept]))
        if kept.sum() < LEAST or groups < 2:
            told[name] = (
                f"{counted(int(kept.sum()), 'word')} in {counted(groups, 'group')}: at least {LEAST} in two groups "
                "are needed"
            )
            continue
        found.append(_of_words(words.some(kept), drawing, shuffles))
        sizes.append((name, len(set(words.sample[kept].tolist())), groups))
    if not found:
        raise InputError(
            f"no function can be scored: {'; '.join(f'{name}: {why}' for name, why in told.items())} (by_object=True "
            "leaves out objects that are named once)"
        )

    def made(name: str) -> Float32[np.ndarray, "function layer head"]:
        return np.stack([one[name].reshape(axes) for one in found]).astype(np.float32)

    return HeadScores(
        scorer="id_write",
        functions=tuple(name for name, _, _ in sizes),
        values=made("value"),
        samples=tuple(count for _, count, _ in sizes),
        groups=tuple(count for _, _, count in sizes),
        low=made("low"),
        high=made("high"),
        null=made("null"),
        p=made("p"),
        p_any=made("p_any"),
        draws=np.stack([one["drawn"].reshape(-1, *axes) for one in found], axis=1).astype(np.float32),
        left_out=tuple({"function": name, "why": why} for name, why in told.items()),
        settings=options,
    )


def _of_words(words: PlacedWords, drawing: Drawing, shuffles: int) -> dict[str, np.ndarray]:
    """R^2 of each head, its interval, and what it is where places are dealt anew."""
    x, y = words.written, words.places
    moves = (x**2).mean(axis=(0, 1)) > NOTHING * words.size
    x = np.where(moves | np.isnan(words.size), x, 0.0)  # what is left of a write that never changes is rounding
    products = [x[:, 0] ** 2, x[:, 0] * x[:, 1], x[:, 1] ** 2]
    mixed = [x[:, axis] * y[:, [side]] for axis in range(2) for side in range(2)]
    sizes = np.broadcast_to((y**2).sum(axis=1, keepdims=True), (len(y), 1))
    value = explained(*(own.sum(axis=0) for own in (*products, *mixed, sizes)))
    sums = drawn_sums([*products, *mixed, sizes], words.groups, seed=drawing.seed, n=drawing.draws)
    drawn = explained(*sums)
    codes, names = codes_of(words.groups, len(y), "groups")
    low, high = spread_ends(value, drawn, drawing.level, units=len(names), bounds=SHARE)
    dealt = dealt_rows(codes, shuffles, np.random.default_rng([drawing.seed, 5]))
    whole = [own.sum(axis=0) for own in products]

    def by_chance(order: Int[np.ndarray, " word"]) -> Float[np.ndarray, " cell"]:
        dealt_places = y[order]
        crossed = [x[:, axis].T @ dealt_places[:, side] for axis in range(2) for side in range(2)]
        return explained(*[*whole, *crossed, sizes.sum(axis=0)])

    null = np.stack([by_chance(order) for order in dealt])
    writes = moves & np.isfinite(value)
    p, p_any = pooled_p(np.where(writes, value, np.nan), np.where(writes, null, np.nan))
    still = np.isfinite(value) & ~writes
    return {
        "value": value,
        "low": low,
        "high": high,
        "drawn": drawn[:KEPT],
        "null": null.mean(axis=0),
        "p": np.where(still, 1.0, p),
        "p_any": np.where(still, 1.0, p_any),
    }


def explained(
    hh: Float[np.ndarray, "*axes"],
    hv: Float[np.ndarray, "*axes"],
    vv: Float[np.ndarray, "*axes"],
    hx: Float[np.ndarray, "*axes"],
    hy: Float[np.ndarray, "*axes"],
    vx: Float[np.ndarray, "*axes"],
    vy: Float[np.ndarray, "*axes"],
    size: Float[np.ndarray, "*#axes"],
) -> Float[np.ndarray, "*axes"]:
    """R^2 of x and y together from h and v, from sums of their products; 0 where neither varies, NaN where they are.

    Where h and v say the same, one of them alone.
    """
    det = hh * vv - hv**2
    two = vv * (hx**2 + hy**2) - 2 * hv * (hx * vx + hy * vy) + hh * (vx**2 + vy**2)
    alone, larger = np.where(hh >= vv, hx**2 + hy**2, vx**2 + vy**2), np.maximum(hh, vv)
    plane = det > 1e-9 * hh * vv
    one = np.divide(alone, larger, out=np.zeros_like(det), where=larger > 0)
    both = np.divide(two, det, out=one, where=plane)
    r2 = np.divide(both, size, out=np.full_like(both, np.nan), where=size > 0)
    return np.where(np.isnan(det), np.nan, r2)
