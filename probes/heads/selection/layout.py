"""Layout: how few heads each function lies in, at which layers, and how much functions and models have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.numeric import ratio
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.intervals import APART, SHARE, quantiles, recentred_ends
from probes.heads.scores import HeadScores
from probes.heads.selection.agreement import DEALS, Agreement, as_table, corrected, maps_of
from probes.heads.selection.related import Pair, by_layers, pearson, permutations
from probes.heads.selection.sparsity import (
    SHARES,
    layer_centre,
    layer_profile,
    measures_of,
    share_above,
    sizes_of,
)

if TYPE_CHECKING:
    import pandas as pd

SIZES = ("absolute", "above_null")
"""What is measured of a score: its size, as of importances; or how far it lies above what chance gives, as of
accuracies, which are never far from one half."""


ANY = "any"
"""What stands for all functions together."""


@fits_a_cell("settings", table="measures")
@dataclass(frozen=True, eq=False)
class HeadLayout:
    """Sparsity and layers of each function.

    Attributes:
        measures: a row for each function and `measure`: `value` from `low` to `high`, by draws of groups, NaN where
            none are known or they say nothing; `even`, what it is where all heads have the same size; and what it is of
            random heads, `random` from `random_low` to `random_high`.
        profile: a row for each function and `layer`: the share of all size that lies there, with the same columns.
        settings: what made it.
    """

    measures: pd.DataFrame
    profile: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """The measures."""
        return self.measures


def head_layout(
    scores: HeadScores,
    *,
    sizes: str = "absolute",
    above: float = 0.001,
    top_k: int = 10,
    deals: int = DEALS,
    seed: int = 0,
    level: float = 0.95,
) -> HeadLayout:
    """Measure in how few heads each function lies, and in which layers.

    `share_above` a threshold, `gini`, `hoyer`, `effective_heads`, `participation_ratio`, `top_mass` of the largest
    `top_k`, `elbow_count`, and `layer_centre` with the profile over layers. The row of the function `any` is the share
    of heads that lie above the threshold for any function.

    No measure says anything alone: scores of nothing are not even either. So random heads stand beside the data. Of
    measures of sparsity these are sizes of noise, |N(0, 1)|, of the same mean. Of the layers they are the data's own
    sizes, dealt to other heads. Noise makes sizes more even than they are, so that all measures call the scores
    more even than they are, the more so with many heads whose true size is zero. Values and intervals alike are of
    scores as noisy as these, and say what other groups, as many, would give (`interp.stats.intervals.recentred_ends`).

    Args:
        scores: what a scorer gave.
        sizes: one of `SIZES`.
        above: the threshold of `share_above`.
        top_k: how many heads `top_mass` is of.
        deals: how many random maps are made.
        seed: their seed.
        level: nominal coverage.

    Example:
        >>> head_layout(joint).measures.query("measure == 'gini'")

    Raises:
        InputError: scores that are missing or have no null, or options that mean nothing.
    """
    check_draws(deals, level, seed)
    values, drawn = _sizes(scores, sizes)
    noise = np.abs(np.random.default_rng(seed).normal(size=(deals, values[0].size)))
    noise /= noise.mean(axis=1, keepdims=True)
    rows, profile = [], []
    for place, name in enumerate(scores.functions):
        own, draws = values[place], None if drawn is None else drawn[:, place]
        how: dict[str, Any] = {"groups": scores.groups[place], "level": level}
        for measure, of in measures_of(above, top_k).items():
            told = _sparsity(own, draws, noise, of, bounds=(0, 1 if measure in SHARES else own.size), **how)
            rows.append({"function": name, "measure": measure, **told})
        dealt = _dealt(own, deals, [seed, 1])
        last = len(own) - 1
        told = _row(*_each(layer_centre, own, draws), last / 2, layer_centre(dealt), bounds=(0, last), **how)
        rows.append({"function": name, "measure": "layer_centre", **told})
        shares, of_draws = _each(layer_profile, own, draws)
        for layer, random in enumerate(layer_profile(dealt).T):
            of_layer = None if of_draws is None else of_draws[:, layer]
            told = _row(shares[layer], of_layer, 1 / len(own), random, bounds=SHARE, **how)
            profile.append({"function": name, "layer": layer, **told})
    told = _any_above(values, drawn, above, deals=deals, seed=seed, groups=min(scores.groups), level=level)
    rows.append({"function": ANY, "measure": "share_above", **told})
    settings = {"sizes": sizes, "above": above, "top_k": top_k, "deals": deals, "seed": seed, "level": level}
    return HeadLayout(as_table(rows), as_table(profile), settings)


def functions_in_common(
    scores: HeadScores, rule: str = "elbow", *, deals: int = DEALS, seed: int = 0, level: float = 0.95, **given: Any
) -> Agreement:
    """Hold functions against each other: Pearson's correlation of their maps, and the heads that serve both.

    Beside the pairs stands one row of all functions, `several`: of the heads that serve any, the share that serves two
    or more; CogVision finds 18 of a hundred. Of every measure, p-values are corrected for all pairs, by Holm.

    Args:
        scores: what a scorer gave of two functions or more.
        rule: how heads are selected for `jaccard` and `shared`, see `select_heads`.
        deals: how often heads are dealt anew.
        seed: the seed of the deals and draws.
        level: nominal coverage.
        given: what the rule needs.

    Example:
        >>> functions_in_common(joint).table.query("first == 'spatial' and second == 'relational'")

    Raises:
        InputError: fewer than two functions, or as `select_heads`.
    """
    check_draws(deals, level, seed)
    if len(scores.functions) < 2:
        raise InputError(f"{scores.scorer} scores {', '.join(scores.functions)} alone: give two functions or more")
    chosen, chosen_drawn = maps_of(scores, rule, given)
    maps = {
        "pearson": (scores.values.astype(float), None if scores.draws is None else scores.draws.astype(float)),
        "jaccard": (chosen, chosen_drawn),
        "shared": (chosen, chosen_drawn),
    }
    rows = []
    for one, other in combinations(range(len(scores.functions)), 2):
        names = {"first": scores.functions[one], "second": scores.functions[other]}
        for measure, (own, drawn) in maps.items():
            both = None if drawn is None else (drawn[:, one], drawn[:, other])
            pair = Pair(own[one], own[other], both, min(scores.groups[one], scores.groups[other]))
            rows.append({**names, **pair.told(measure, n=deals, seed=seed, level=level)})
    how: dict[str, Any] = {"deals": deals, "seed": seed, "level": level, "groups": min(scores.groups)}
    rows.append({"first": ANY, "second": ANY, **_several(chosen, chosen_drawn, **how)})
    return Agreement(
        corrected(as_table(rows), "measure"), {"rule": rule, **given, "deals": deals, "seed": seed, "level": level}
    )


def models_in_common(
    first: HeadScores,
    second: HeadScores,
    *,
    sizes: str = "absolute",
    deals: int = DEALS,
    seed: int = 0,
    level: float = 0.95,
) -> pd.DataFrame:
    """Pearson's correlation of two models' layer profiles at relative depth, function by function.

    Layer l of L covers the depth from l / L to (l + 1) / L; the profile of the deeper model is summed up to as many
    parts as the other has layers. The null deals the heads of both models over all their layers.

    Args:
        first: the scores of one model.
        second: those of another, by the same scorer.
        sizes: one of `SIZES`.
        deals: how often heads are dealt anew.
        seed: the seed of the deals.
        level: nominal coverage.

    Returns:
        A row for each function that both have: `value` from `low` to `high`, NaN where one keeps no draws; `random`
        from `random_low` to `random_high`, and one-sided `p`; `p_holm` is corrected for all of these functions.

    Example:
        >>> models_in_common(qwen_3b, qwen_7b)

    Raises:
        InputError: other scorers, no function in common, or fewer than three layers.
    """
    check_draws(deals, level, seed)
    parts = min(first.values.shape[1], second.values.shape[1])
    names = [name for name in first.functions if name in second.functions]
    if first.scorer != second.scorer or not names or parts < 3:
        raise InputError(
            f"{first.scorer} of {', '.join(first.functions)} and {second.scorer} of {', '.join(second.functions)}, "
            f"{parts} layers at least: give the same scorer, a function in common, and three layers or more"
        )
    both = [(own, *_sizes(own, sizes)) for own in (first, second)]
    rows = []
    for name in names:
        found = []
        for at, (scores, values, draws) in enumerate(both):
            own, of_draws = values[scores.place(name)], None if draws is None else draws[:, scores.place(name)]
            maps = (own, of_draws, _dealt(own, deals, [seed, at]))
            found.append([None if each is None else _resampled(layer_profile(each), parts) for each in maps])
        value, drawn, null = (_together(*pair) for pair in zip(*found, strict=True))
        groups = min(own.groups[own.place(name)] for own in (first, second))
        told = _row(value, drawn, np.nan, null, groups=groups, bounds=APART, level=level)
        del told["even"]
        p = (1 + (null >= value - 1e-9).sum()) / (1 + deals) if np.isfinite(value) else np.nan
        rows.append({"function": name, **told, "p": float(p)})
    return corrected(as_table(rows), ps=("p",))


def _sizes(
    scores: HeadScores, sizes: str
) -> tuple[Float[np.ndarray, "function layer head"], Float[np.ndarray, "draw function layer head"] | None]:
    """What is measured of the scores, and of their draws."""
    if sizes not in SIZES:
        raise InputError(f"sizes={sizes!r} is not known: use one of {', '.join(SIZES)}")
    if sizes == "above_null" and scores.null is None:
        raise InputError(f"{scores.scorer} has no null to be above: use sizes='absolute', or a scorer with a null")
    every = [scores.values, *([] if scores.draws is None else [scores.draws])]
    if sizes == "absolute" or scores.null is None:
        found = [np.abs(own.astype(float)) for own in every]
    else:
        found = [np.maximum(own.astype(float) - scores.null, 0) for own in every]
    return found[0], found[1] if len(found) > 1 else None


def _any_above(
    values: Float[np.ndarray, "function layer head"],
    drawn: Float[np.ndarray, "draw function layer head"] | None,
    above: float,
    *,
    deals: int,
    seed: int,
    groups: int,
    level: float,
) -> dict[str, float]:
    """The share of heads above a threshold for any function, beside even heads and noise as large on average."""
    found = [share_above(sizes_of(own.max(axis=-3)), above) for own in (values, *([] if drawn is None else [drawn]))]
    means = values.mean(axis=(1, 2))
    noise = np.abs(np.random.default_rng([seed, 2]).normal(size=(deals, len(values), values[0].size)))
    noise *= means[:, None] / noise.mean(axis=2, keepdims=True)
    draws = None if drawn is None else found[1]
    even, random = float((means > above).any()), share_above(noise.max(axis=1), above)
    return _row(found[0], draws, even, random, groups=groups, bounds=SHARE, level=level)


def _several(
    chosen: Float[np.ndarray, "function layer head"],
    drawn: Float[np.ndarray, "draw function layer head"] | None,
    *,
    deals: int,
    seed: int,
    groups: int,
    level: float,
) -> dict[str, float | str]:
    """The share of the selected heads that serve several functions, and the same with each function's dealt anew."""
    functions, layers, heads = chosen.shape
    own = chosen.reshape(functions, -1)
    value = float(_serve_several(own[None])[0])
    cells = np.repeat(np.arange(layers), heads)
    if drawn is None:
        draws, units = by_layers(lambda maps: _serve_several(maps[None]), own, cells, deals, seed)
    else:
        draws, units = _serve_several(drawn.reshape(len(drawn), functions, -1)), groups
    low, high = recentred_ends(value, draws, level, units=units, bounds=SHARE)
    told: dict[str, float | str] = {"measure": "several", "value": value, "low": float(low), "high": float(high)}
    told |= {"interval": "layers" if drawn is None else "groups", "heads": float(own.shape[1])}
    for place, (name, codes) in enumerate({"random": cells * 0, "within": cells}.items()):
        dealt = permutations(codes, deals * functions, np.random.default_rng([seed, place]))
        null = _serve_several(np.take_along_axis(own[None], dealt.reshape(deals, functions, -1), axis=2))
        low, high = quantiles(null[:, None], level)[:, 0]
        told |= {name: float(null.mean()), f"{name}_low": float(low), f"{name}_high": float(high)}
        told[f"p_{name}"] = float((1 + (null >= value - 1e-9).sum()) / (1 + deals)) if np.isfinite(value) else np.nan
    return told


def _serve_several(chosen: Float[np.ndarray, "draw function cell"]) -> Float[np.ndarray, " draw"]:
    """Of the heads that are selected for any function, the share that is for two or more."""
    served = chosen.sum(axis=1)
    return ratio((served > 1).sum(axis=1), (served > 0).sum(axis=1))


def _sparsity(
    own: Float[np.ndarray, "layer head"],
    draws: Float[np.ndarray, "draw layer head"] | None,
    noise: Float[np.ndarray, "deal cell"],
    of: Callable[[np.ndarray], np.ndarray],
    **how: Any,
) -> dict[str, float]:
    """A measure of sparsity, beside heads that are all alike and noise, both as large as the data on average."""
    flat = sizes_of(own)
    even, random = of(np.full_like(flat, flat.mean())), of(noise * flat.mean())
    return _row(of(flat), None if draws is None else of(sizes_of(draws)), float(even), random, **how)


def _each(of: Callable[[np.ndarray], np.ndarray], own: np.ndarray, draws: np.ndarray | None) -> tuple[Any, Any]:
    """A measure of the data and of draws."""
    return of(own), None if draws is None else of(draws)


def _row(
    value: Any,
    draws: Any,
    even: float,
    random: np.ndarray,
    *,
    groups: int,
    bounds: tuple[float, float],
    level: float,
) -> dict[str, float]:
    """A measure, its interval, and what it is of even and of random heads."""
    low = high = np.nan
    if draws is not None:
        low, high = recentred_ends(value, draws, level, units=groups, bounds=bounds)
    random_low, random_high = quantiles(random[:, None], level)[:, 0]
    told = {"value": value, "low": low, "high": high, "even": even, "random": random.mean()}
    return {key: float(own) for key, own in {**told, "random_low": random_low, "random_high": random_high}.items()}


def _dealt(own: Float[np.ndarray, "layer head"], deals: int, seed: list[int]) -> Float[np.ndarray, "deal layer head"]:
    """The values dealt anew over all layers and heads."""
    places = permutations(np.zeros(own.size, int), deals, np.random.default_rng(seed))
    return own.reshape(-1)[places].reshape(deals, *own.shape)


def _resampled(profile: Float[np.ndarray, "*draw layer"], parts: int) -> Float[np.ndarray, "*draw part"]:
    """A profile summed over equal parts of the depth."""
    layers = profile.shape[-1]
    edges = np.linspace(0, layers, parts + 1)
    overlap = np.minimum(edges[1:, None], np.arange(1, layers + 1)) - np.maximum(edges[:-1, None], np.arange(layers))
    return profile @ overlap.clip(min=0).T


def _together(first: np.ndarray | None, second: np.ndarray | None) -> Any:
    """Pearson's correlation over the last axis of two profiles, draw by draw; None where one is not known."""
    if first is None or second is None:
        return None
    if first.ndim == 1:
        return pearson(first[None], second[None])[0]
    count = min(len(first), len(second))
    return pearson(first[:count], second[:count])
