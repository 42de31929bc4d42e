"""Counts: how many heads a scorer and a selector find for each function, beside what dealt labels give, arm by arm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from interp.errors import InputError
from interp.reprs import fits_a_cell
from interp.stats.intervals import DRAWS, quantiles, recentred_ends
from interp.stats.scores import codes_of
from interp.stats.shuffles import dealt_rows
from probes.heads.scorers.linear_probe import linear_probe
from probes.heads.selection.agreement import maps_of
from probes.heads.selection.selectors import RULES, check_selection, select_heads

if TYPE_CHECKING:
    from probes.heads.activations.features import HeadFeatures
    from probes.heads.scores import HeadScores
    from probes.heads.selection.head_set import HeadSet

Scorer = Callable[..., "HeadScores"]
"""What scores heads from features, labels and groups, with `functions`, `seed`, `draws`, `level` and `progress`."""

FIXED = ("top_k", "top_percent")
"""Rules that select so many heads as they are told: their number can not rise."""

BY_CHANCE = ("fdr", "max_t")
"""Rules that ask a null, which draws of a bootstrap do not have."""


TOGETHER = 4
"""Deals of labels that linear probes read together: a table of them all would not fit into memory."""


@fits_a_cell("scores.functions heads scores.scorer")
@dataclass(frozen=True, eq=False)
class HeadCounts:
    """How many heads are selected for each function.

    Attributes:
        scores: of the heads.
        sets: the heads that are selected, by function.
        heads: how many they are, by function.
        drawn: how many they are in draws of whole groups, [draw function]; None of a scorer without draws.
        null: how many they are with labels dealt anew, [deal function]; NaN where dealt labels can not be scored.
    """

    scores: HeadScores
    sets: tuple[HeadSet, ...] = field(repr=False)
    heads: Int[np.ndarray, " function"]
    drawn: Float[np.ndarray, "draw function"] | None = field(repr=False)
    null: Float[np.ndarray, "deal function"] = field(repr=False)

    def told(self, function: str, level: float) -> dict[str, float]:
        """The number of heads of a function: its interval, what dealt labels give, and how often these give as many."""
        place = self.scores.place(function)
        count, of = int(self.heads[place]), self.scores.values[place].size
        drawn = None if self.drawn is None else self.drawn[:, place]
        return {
            "value": float(count),
            **_ends(count, drawn, level, self.scores.groups[place], (0, of)),
            "of": float(of),
            **_beside(self.null[:, place], count, level),
        }

    def told_against(self, other: HeadCounts, function: str, level: float) -> dict[str, float]:
        """How many more these are than those of another arm: same draws of groups in both, same deals of labels."""
        here, there = self.scores.place(function), other.scores.place(function)
        more = int(self.heads[here]) - int(other.heads[there])
        drawn = None
        if self.drawn is not None and other.drawn is not None:
            drawn = self.drawn[:, here] - other.drawn[:, there]
        null, of = self.null[:, here] - other.null[:, there], self.scores.values[here].size
        groups = min(self.scores.groups[here], other.scores.groups[there])
        return {"value": float(more), **_ends(more, drawn, level, groups, (-of, of)), **_beside(null, more, level)}


def count_heads(
    features: HeadFeatures | np.ndarray,
    labels: Bool[np.ndarray, "item function"],
    groups: Sequence[str],
    *,
    functions: Sequence[str],
    scorer: Scorer = linear_probe,
    rule: str = "fdr",
    given: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    deals: int = 20,
    seed: int = 0,
    draws: int = DRAWS,
    level: float = 0.95,
    progress: bool = True,
) -> HeadCounts:
    """Score heads, select those of each function, count them, and do the same with labels that are dealt anew.

    What main questions are labelled goes to other main questions of their size, see `dealt_rows`. Draws of groups and
    deals hang on the seed and the groups alone, so that arms of the same items have the same ones. Draws are noisier
    than the data: where a rule asks a score to lie high, a draw finds rather too many. Intervals have that taken out,
    and are of how many heads as many groups give on average, see `interp.stats.intervals.recentred_ends`. Rules that
    ask a null are drawn by the lowest score that the data's rule took, or, where it took none, by what lies above all
    scores of the data.

    Args:
        features: [item layer head d_head], or a reader of them, see `HeadFeatures`.
        labels: whether each item is of each function.
        groups: the main question of each item.
        functions: their names.
        scorer: such as `probes.linear_probe`.
        rule: how heads are selected, one whose number is not fixed; see `select_heads`.
        given: what the rule needs.
        options: more for the scorer, such as `shuffles`.
        deals: how often labels are dealt anew.
        seed: of the scorer, the draws and the deals.
        draws: draws of the scorer's bootstrap.
        level: nominal coverage.
        progress: show the scorer's progress bar.

    Raises:
        InputError: a rule that selects so many heads as it is told, or what scorer and selector refuse.

    Example:
        >>> count_heads(heads, heads.labels(FUNCTIONS), heads.groups, functions=FUNCTIONS).told("spatial", 0.95)
    """
    check_rule(rule, given)
    own, more = dict(given or {}), dict(options or {})
    how: dict[str, Any] = {"seed": seed, "level": level, "progress": progress, **more}
    scores = scorer(features, labels, groups, functions=tuple(functions), draws=draws, **how)
    sets = tuple(select_heads(scores, name, rule, **own) for name in scores.functions)
    counts = np.array([len(one) for one in sets])
    codes, _ = codes_of(groups, len(labels), "groups")
    dealt = dealt_rows(codes, deals, np.random.default_rng([seed, 3]))

    def again(names: tuple[str, ...], table: np.ndarray) -> HeadScores:
        return scorer(features, table, groups, functions=names, draws=1, **how)

    def selected(found: HeadScores, name: str) -> int:
        return len(select_heads(found, name, rule, **own))

    null = _null(again, selected, labels, dealt, scores.functions, tuple(functions), together=scorer is linear_probe)
    return HeadCounts(scores, sets, counts, _drawn(scores, sets, rule, own), null)


def check_rule(rule: str, given: Mapping[str, Any] | None = None) -> None:
    """Refuse a rule that does not exist, whose number is fixed, or that is not given what it needs.

    Raises:
        InputError: it is one.
    """
    if rule not in RULES or rule in FIXED:
        why = "selects as many heads as it is told, and never more" if rule in RULES else "is not known"
        raise InputError(f"rule={rule!r} {why}: use one of {', '.join(name for name in RULES if name not in FIXED)}")
    check_selection(rule, **dict(given or {}))


def _null(
    call: Callable[[tuple[str, ...], np.ndarray], HeadScores],
    select: Callable[[HeadScores, str], int],
    labels: Bool[np.ndarray, "item function"],
    dealt: Int[np.ndarray, "deal item"],
    wanted: Sequence[str],
    functions: tuple[str, ...],
    *,
    together: bool,
) -> Float[np.ndarray, "deal scored"]:
    """How many heads are selected under each deal of the labels, of the functions whose number is wanted.

    Linear probes read each function by itself, so that several deals are columns of one table and the features are read
    but once for them; other scorers are asked deal by deal.
    """
    out = np.full((len(dealt), len(wanted)), np.nan)
    named = {(deal, name): f"{name}\0{deal}" for deal in range(len(dealt)) for name in functions}
    several = TOGETHER if together else 1
    for start in range(0, len(dealt), several):
        deals = range(start, min(start + several, len(dealt)))
        names = tuple(named[deal, name] for deal in deals for name in functions)
        found = call(names, np.concatenate([labels[dealt[deal]] for deal in deals], axis=1))
        for deal in deals:
            for place, name in enumerate(wanted):
                if (own := named[deal, name]) in found.functions:
                    out[deal, place] = select(found, own)
    return out


def _drawn(
    scores: HeadScores, sets: Sequence[HeadSet], rule: str, given: dict[str, Any]
) -> Float[np.ndarray, "draw function"] | None:
    """How many heads are selected in draws of whole groups."""
    if scores.draws is None:
        return None
    if rule not in BY_CHANCE:
        drawn = maps_of(scores, rule, given)[1]
        assert drawn is not None
        return drawn.sum(axis=(2, 3))
    cuts = [min(own.values) if own.values else np.inf for own in sets]
    most = np.nanmax(scores.values.reshape(len(sets), -1), axis=1)
    passed = [
        draws >= cut if np.isfinite(cut) else draws > top
        for draws, cut, top in zip(np.moveaxis(scores.draws, 1, 0), np.array(cuts, dtype=np.float32), most, strict=True)
    ]
    return np.stack([own.sum(axis=(1, 2)) for own in passed], axis=1).astype(float)


def _ends(
    value: int, drawn: Float[np.ndarray, " draw"] | None, level: float, groups: int, bounds: tuple[int, int]
) -> dict[str, float]:
    """Both ends of a number of heads, or of a difference of two; NaN where nothing was drawn."""
    low = high = np.nan
    if drawn is not None:
        low, high = recentred_ends(value, drawn, level, units=groups, bounds=bounds)
    return {"low": float(low), "high": float(high)}


def _beside(null: Float[np.ndarray, " deal"], value: int, level: float) -> dict[str, float]:
    """What deals give, and how often they give as much: one-sided, the data as one of them."""
    known = null[~np.isnan(null)]
    if not len(known):
        return {"null": np.nan, "null_high": np.nan, "p": np.nan, "deals": 0.0}
    p = (1 + int((known >= value).sum())) / (1 + len(known))
    return {
        "null": float(known.mean()),
        "null_high": float(quantiles(known, level)[1]),
        "p": float(p),
        "deals": float(len(known)),
    }
