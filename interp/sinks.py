"""Maps by themselves: tokens that draw attention whatever is asked (sinks), weight on the border, and how scattered."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.grid import ImageGrid
    from interp.layout import TokenLayout
    from interp.trajectory import Trajectory

SINK_THRESHOLD = 20.0
"""The sink value from which a token is a sink (Kang et al. 2025, arXiv:2503.03321)."""

SINK_DIMENSIONS = {
    "llava-hf/llava-1.5-7b-hf": (1415, 2533),
    "llava-hf/llava-1.5-13b-hf": (2100, 4743),
    "Qwen/Qwen2-VL-7B-Instruct": (458, 2570),
    "OpenGVLab/InternVL2-8B": (3584,),
}
"""The published sink dimensions of the residual stream, by checkpoint (the same source)."""

ROUNDING = 1e-12
"""Weights that differ by less than this share of their mean are the same but for the order of adding."""


@dataclass(frozen=True)
class SinkDimensions:
    """The dimensions of a residual stream in which sinks stand out.

    Attributes:
        dimensions: 0-based.
        estimated: whether `find_sink_dimensions` guessed them; else they are published for this checkpoint.
        ratios: of an estimate, how many times the median activation each of them has.
    """

    dimensions: tuple[int, ...]
    estimated: bool
    ratios: tuple[float, ...] = ()

    def describe(self) -> str:
        """Say in one sentence which they are and where they come from.

        Example:
            >>> SinkDimensions((1415, 2533), estimated=False).describe()
            'sink dimensions 1415, 2533, as published for this checkpoint'
        """
        names = ", ".join(map(str, self.dimensions))
        if not self.estimated:
            return f"sink dimensions {names}, as published for this checkpoint"
        times = ", ".join(f"{value:.1f}" for value in self.ratios)
        return f"sink dimensions {names}, an estimate: {times} times the median activation at the first position"


def published_sink_dimensions(checkpoint: str) -> SinkDimensions:
    """The sink dimensions that are known of a checkpoint, by its hub name.

    Raises:
        InputError: none are; estimate them with `find_sink_dimensions`.
    """
    if checkpoint not in SINK_DIMENSIONS:
        raise InputError(
            f"no sink dimensions are published for {checkpoint!r} (they are for {', '.join(SINK_DIMENSIONS)}): "
            "estimate them with find_sink_dimensions"
        )
    return SinkDimensions(SINK_DIMENSIONS[checkpoint], estimated=False)


def find_sink_dimensions(
    cache: Any, layout: TokenLayout, *, count: int = 2, skip_layers: int = 2, sample: int = 0
) -> SinkDimensions:
    """Estimate the sink dimensions of a model: those that stand out most at the first position, which is a sink.

    A dimension stands out by |x[d]| over the median of |x|, and by the median of that over layers. There is no test
    whether a model has sink dimensions at all: look at `ratios`, which reach hundreds where it has.

    Args:
        cache: from `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every layer.
        layout: of the sample, which says where padding ends.
        count: how many to take.
        skip_layers: the first layers, in which sinks have not formed yet, do not count.
        sample: which of the batch.

    Example:
        >>> residual = lambda name: name.startswith("blocks.") and name.endswith("hook_resid_pre")
        >>> _, cache = vlm.run_with_cache(inputs, names_filter=residual)
        >>> find_sink_dimensions(cache, inputs.layouts[0]).estimated
        True

    Raises:
        InputError: the cache lacks a layer, or no layer or dimension would be left.
    """
    first = int(np.argmax(np.array(layout.kinds) != "pad"))
    rows = np.abs(_residuals(cache, [first], sample))[skip_layers:, 0]
    if not len(rows) or not 1 <= count <= rows.shape[1]:
        raise InputError(f"skip_layers={skip_layers} and count={count} leave nothing: skip fewer, count from 1")
    times = np.median(rows / np.median(rows, axis=1, keepdims=True), axis=0)
    chosen = np.argsort(-times, kind="stable")[:count]
    return SinkDimensions(tuple(chosen.tolist()), estimated=True, ratios=tuple(times[chosen].tolist()))


def sink_values(
    residual: Float[np.ndarray, "*maps d_model"], dimensions: SinkDimensions | Sequence[int]
) -> Float[np.ndarray, "*maps"]:
    """The sink value phi(x) = max over sink dimensions d of |x[d]| / RMS(x) (Kang et al. 2025, arXiv:2503.03321).

    Args:
        residual: the stream that enters a layer.
        dimensions: the sink dimensions of this model.

    Returns:
        float64; at most the root of the stream's width, and NaN where the stream is zero.

    Example:
        >>> sink_values(np.array([0.0, 3.0, 4.0, 0.0]), [1])  # RMS 2.5
        array(1.2)

    Raises:
        InputError: a dimension that the stream does not have, or none.
    """
    chosen = list(dimensions.dimensions if isinstance(dimensions, SinkDimensions) else dimensions)
    width = np.shape(residual)[-1]
    if not chosen or not all(0 <= place < width for place in chosen):
        raise InputError(f"sink dimensions {chosen} of a stream of {width}: give some from 0 to {width - 1}")
    sizes = np.abs(np.asarray(residual, dtype=np.float64))
    return ratio(sizes[..., chosen].max(axis=-1), np.sqrt(np.mean(sizes**2, axis=-1)))


def hidden_sinks(
    cache: Any,
    layout: TokenLayout,
    dimensions: SinkDimensions | Sequence[int],
    *,
    threshold: float = SINK_THRESHOLD,
    sample: int = 0,
) -> Bool[np.ndarray, "layer token"]:
    """Which image tokens are sinks by their hidden state: phi of what enters a layer reaches the threshold.

    Args:
        cache: from `run_with_cache`, or a dict, with `blocks.{l}.hook_resid_pre` [batch pos d_model] of every layer.
        layout: of the sample.
        dimensions: from `published_sink_dimensions` or `find_sink_dimensions`.
        threshold: of `sink_values`.
        sample: which of the batch.

    Example:
        >>> sinks = hidden_sinks(cache, inputs.layouts[0], published_sink_dimensions("llava-hf/llava-1.5-7b-hf"))
        >>> overlap(measured, grid, boxes, normalisations=("image", "no-sinks"), sinks=sinks)

    Raises:
        InputError: the cache lacks a layer, or the stream is too narrow for any token to reach the threshold.
    """
    residuals = _residuals(cache, layout.image_positions, sample)
    highest = residuals.shape[-1] ** 0.5
    if threshold > highest:
        raise InputError(
            f"in a residual stream of {residuals.shape[-1]} no sink value exceeds {highest:.1f}, so a threshold of "
            f"{threshold:g} marks no token whatever it holds: give a lower one"
        )
    return sink_values(residuals, dimensions) >= threshold


def mass_sinks(
    attentions: Iterable[Trajectory | Float[np.ndarray, "... token"]], *, times: float = 5.0, most: float = 0.9
) -> Bool[np.ndarray, " token"]:
    """Which image tokens draw attention in nearly every image: sinks by mass.

    A token is one if its share of the attention within the image, mean over images, layers and heads, is above `times`
    the even share (one over the number of tokens), and its mean over layers and heads is so in at least the share
    `most` of the images. Where objects always lie in one place, their tokens can not be told from sinks by mass: take
    images whose objects lie apart, as many as there are.

    Args:
        attentions: of each image, a trajectory or weights over its image tokens [... token]; all images on one grid.
        times: how many times the even share is always on.
        most: share of the images.

    Example:
        >>> sinks = mass_sinks(trajectories)  # bool [576]

    Raises:
        InputError: fewer than two images, other numbers of tokens, an image without attention, or bad thresholds.
    """
    if not times > 0 or not 0 < most <= 1:
        raise InputError(f"times={times} and most={most}: give times above 0, and most above 0 and up to 1")
    shares = [_mean_share(getattr(one, "image_attention", one), place) for place, one in enumerate(attentions)]
    counts = sorted({len(share) for share in shares})
    if len(shares) < 2 or len(counts) != 1 or times >= counts[0]:
        raise InputError(
            f"{len(shares)} images with {counts} tokens: give at least two on one grid, and times below its tokens"
        )
    level = times / counts[0]
    return (np.mean(shares, axis=0) > level) & (np.mean(np.array(shares) > level, axis=0) >= most)


def non_sink_share(
    weights: Float[np.ndarray, "*maps token"], sinks: Bool[np.ndarray, "*maps token"]
) -> Float[np.ndarray, "*maps"]:
    """Share of the attention on the image that is not on sinks, the r of Kang et al. 2025 (arXiv:2503.03321).

    Example:
        >>> non_sink_share(np.array([0.35, 0.10, 0.20]), np.array([True, False, False])).round(4)
        0.4615
    """
    rest = np.sum(np.where(sinks, 0, weights), axis=-1, dtype=np.float64)
    return ratio(rest, np.sum(weights, axis=-1, dtype=np.float64))


def border_mass(weights: Float[np.ndarray, "*maps token"], grid: ImageGrid) -> Float[np.ndarray, "*maps"]:
    """Share of the attention on the image that lies on the outermost ring of tokens, of every view.

    Sinks tend to lie there. Compare with `border_tokens(grid).mean()`, what evenly spread attention would put there.

    Example:
        >>> border_mass(measured.image_attention, grid).shape  # [layer head step]
        (32, 32, 1)

    Raises:
        InputError: the weights have another number of tokens than the grid.
    """
    flat, _ = flat_maps(weights, grid, None)
    return ratio(flat @ border_tokens(grid), flat.sum(axis=1)).reshape(np.shape(weights)[:-1])


def border_tokens(grid: ImageGrid) -> Bool[np.ndarray, " token"]:
    """Which tokens lie in the first or last row or column of their view."""
    border = np.zeros(len(grid), dtype=bool)
    for view in np.unique(grid.view):
        own = grid.view == view
        for lines in (grid.rows, grid.cols):
            border |= own & ((lines == lines[own].min()) | (lines == lines[own].max()))
    return border


def measure_maps(
    maps: Float[np.ndarray, "*maps token"],
    grid: ImageGrid,
    *,
    kept: Bool[np.ndarray, "*maps token"] | None = None,
    weigh_by: str = "mass",
) -> dict[str, Float[np.ndarray, "*maps"]]:
    """How scattered maps are: the entropy of the separate spots that stand out, and how many there are.

    Tokens with more weight than the map's mean fall into components, connected over 8 neighbours on the lattice of
    their view (never across views). With P the share of each component, `spatial_entropy` is -sum P ln P, in nats: 0
    for one spot, ln n for n alike (Kang et al. 2025, arXiv:2503.06287), and `peaks` is their number. A map that is
    the same everywhere has 0 peaks and no entropy (NaN), as nothing stands out.

    Args:
        maps: weights, none negative; one without weight, or with NaN, gives NaN.
        grid: the geometry of the tokens.
        kept: which tokens take part, in the mean too; all by default.
        weigh_by: `mass`, what a component's tokens have above the mean, as in the authors' code, or `count`, how many
            tokens it has.

    Returns:
        float64 [*maps] each of `spatial_entropy` and `peaks`.

    Example:
        >>> measure_maps(weights, grid)["peaks"].shape  # weights [32 33 576]
        (32, 33)

    Raises:
        InputError: `weigh_by` is not known, or the maps have another number of tokens than the grid.
    """
    if weigh_by not in ("mass", "count"):
        raise InputError(f"weigh_by={weigh_by!r} is not known: use mass or count")
    weights, playing = flat_maps(maps, grid, kept)
    total = weights.sum(axis=1, keepdims=True)
    mean = ratio(total, playing.sum(axis=1, keepdims=True))
    above = weights - mean
    standing = playing & (above > ROUNDING * mean)
    amounts = above if weigh_by == "mass" else np.ones_like(above)
    which, shares = _Lattice.of(grid).components(standing, amounts)
    entropy = 0.0 - np.bincount(which, shares * np.log(shares), minlength=len(weights))
    peaks = np.bincount(which, minlength=len(weights))
    defined, shape = total[:, 0] > 0, np.shape(maps)[:-1]
    return {
        "spatial_entropy": np.where(defined & (peaks > 0), entropy, np.nan).reshape(shape),
        "peaks": np.where(defined, peaks, np.nan).reshape(shape),
    }


def with_neighbours(chosen: Float[np.ndarray, " token"], grid: ImageGrid) -> Float[np.ndarray, " token"]:
    """Chosen tokens (1, others 0) and their 8 neighbours in the same view."""
    lattice = _Lattice.of(grid)
    canvas = np.zeros((1, lattice.size))
    canvas[0, lattice.cells] = chosen
    return lattice.spread(canvas, np.maximum)[0, lattice.cells]


def flat_maps(maps: np.ndarray, grid: ImageGrid, kept: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Maps as float64 [map token], 0 where a token does not take part; and who does, bool [map token] or [1 token].

    Raises:
        InputError: the maps have another number of tokens than the grid.
    """
    shape = np.shape(maps)
    if not shape or shape[-1] != len(grid):
        raise InputError(f"maps have shape {shape} but the grid has {len(grid)} tokens: give [... token] of one image")
    weights = np.asarray(maps, dtype=np.float64).reshape(-1, len(grid))
    if kept is None:
        return weights, np.ones((1, len(grid)), dtype=bool)
    playing = np.broadcast_to(kept, shape).reshape(-1, len(grid))
    return np.where(playing, weights, 0.0), playing


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """Division, with broadcasting, that gives NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Views laid out under one another, with blank cells between, so that cell numbers 1 or `width` apart touch."""

    cells: np.ndarray
    width: int
    size: int

    @classmethod
    def of(cls, grid: ImageGrid) -> _Lattice:
        """One blank column to the right, and one blank row above, between and below."""
        width, top = int(grid.cols.max()) + 2, 1
        lines = np.zeros(len(grid), dtype=np.int64)
        for view in np.unique(grid.view):
            own = grid.view == view
            lines[own] = top + grid.rows[own]
            top += int(grid.rows[own].max()) + 2
        return cls(lines * width + grid.cols, width, top * width)

    def components(self, chosen: np.ndarray, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of every component of the chosen tokens [map token], its map and its share of their amounts there.

        Every token begins as a component of its own, named by its cell, and takes the lowest name around it, and the
        name that the token of that name has taken, until nothing changes in its map.
        """
        blank = self.size - 1
        names = np.full((len(chosen), self.size), blank, dtype=np.int16 if self.size < 2**15 else np.int32)
        names[:, self.cells] = np.where(chosen, self.cells.astype(names.dtype), names.dtype.type(blank))
        barred, left = np.where(names == blank, names, 0), np.arange(len(names))
        while len(left):
            before = lower = names[left]
            for _ in range(4):  # a step costs a quarter of looking names up
                lower = np.maximum(self.spread(lower, np.minimum), barred[left])
            lower = np.minimum(lower, lower.ravel()[lower + self.size * np.arange(len(left))[:, None]])
            names[left], left = lower, left[(lower != before).any(axis=1)]
        which, token = np.nonzero(chosen)
        sums = np.bincount(which * self.size + names[which, self.cells[token]], amounts[which, token])
        found = np.flatnonzero(sums)
        which, sums = found // self.size, sums[found]
        return which, sums / np.bincount(which, sums)[which]

    def spread(self, canvas: np.ndarray, choose: Callable[..., np.ndarray]) -> np.ndarray:
        """The lowest or highest of each cell and its 8 neighbours, [map cell]."""
        for step in (1, self.width):
            wider = canvas.copy()
            choose(wider[:, step:], canvas[:, :-step], out=wider[:, step:])
            choose(wider[:, :-step], canvas[:, step:], out=wider[:, :-step])
            canvas = wider
        return canvas


def _mean_share(weights: Any, place: int) -> np.ndarray:
    """Share of the attention within one image, mean over its maps, [token]; maps without any do not count."""
    maps = np.asarray(weights, dtype=np.float64).reshape(-1, np.shape(weights)[-1])
    total = maps.sum(axis=1, keepdims=True)
    if not (total > 0).any() or not np.isfinite(total).all():
        raise InputError(f"image {place} has no attention on its tokens, or weights that are not finite: leave it out")
    return np.mean((maps / np.where(total > 0, total, 1))[total[:, 0] > 0], axis=0)


def _layers(cache: Any) -> list[str]:
    """The names of the residual streams in a cache, layer by layer."""
    found = {int(match[1]): name for name in cache if (match := re.fullmatch(r"blocks\.(\d+)\.hook_resid_pre", name))}
    if sorted(found) != list(range(len(found))) or not found:
        raise InputError(
            f"the cache has blocks.l.hook_resid_pre for layers {sorted(found)}: capture it for every layer, from 0 on"
        )
    return [found[layer] for layer in range(len(found))]


def _residuals(cache: Any, positions: Sequence[int] | np.ndarray, sample: int) -> np.ndarray:
    """What enters each layer at some positions, float64 [layer position d_model]."""
    streams = [cache[name] for name in _layers(cache)]
    if any(stream.ndim != 3 for stream in streams):
        raise InputError("the cache has no batch axis: capture without remove_batch_dim")
    rows = (stream[sample, list(map(int, positions))] for stream in streams)
    return np.array([row.detach().double().cpu().numpy() if hasattr(row, "detach") else row for row in rows])
