"""Agreement: do scorers order heads alike, and select the same, more than heads in random places would."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from interp.errors import InputError
from interp.numeric import counted
from interp.reprs import fits_a_cell
from interp.stats.draws import check_draws
from interp.stats.tests import holm_where_defined
from probes.heads.scores import EVERY, HeadScores
from probes.heads.selection.related import Pair
from probes.heads.selection.selectors import select_heads

if TYPE_CHECKING:
    import pandas as pd

DEALS = 1000
"""How often heads are dealt anew where nothing else is asked for."""

ALPHA = 0.05
"""Of the tests that sentences count."""


@fits_a_cell("settings", table="table")
@dataclass(frozen=True, eq=False)
class Agreement:
    """How alike maps of heads are, two by two.

    Attributes:
        table: a row for each function, pair (`first`, `second`) and `measure`: its `value` from `low` to `high`, by
            draws of what `interval` names, `heads` that both know; what it is with heads dealt anew over all layers,
            `random` from `random_low` to `random_high` with `p_random`, and inside layers, `within` and the like;
            `p_random_holm` and `p_within_holm` are corrected by Holm, for the functions of a pair of scorers, or for
            the pairs of functions, of every measure.
        settings: what made it.
    """

    table: pd.DataFrame
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dataframe(self) -> pd.DataFrame:
        """The table."""
        return self.table


def scorer_agreement(
    several: Sequence[HeadScores],
    rule: str = "top_percent",
    *,
    deals: int = DEALS,
    seed: int = 0,
    level: float = 0.95,
    **given: Any,
) -> Agreement:
    """Hold scorers against each other: Spearman's correlation over heads, and Jaccard's overlap of selected heads.

    Two maps that peak in the same layers agree, whichever heads these have; so heads are dealt anew over all layers,
    and inside layers too. Where both scorers keep draws of groups, intervals are of those; where one does not, they
    draw whole layers. Noise makes scorers agree less: values and intervals are of scores as noisy as these.

    Args:
        several: scores of the same model, two or more, of scorers with different names. One that knows no functions is
            held against every function of the others.
        rule: how heads are selected for Jaccard, see `select_heads`; by default the highest 10 of a hundred.
        deals: how often heads are dealt anew.
        seed: the seed of the deals and draws.
        level: nominal coverage.
        given: what the rule needs.

    Example:
        >>> scorer_agreement([linear, joint]).table.query("measure == 'spearman'")

    Raises:
        InputError: fewer than two scorers, two of one name, models of different shapes, or no function in common.
    """
    check_draws(deals, level, seed)
    given = given or ({"percent": 10} if rule == "top_percent" else {})
    _check(several)
    rows = []
    for one, other in combinations(several, 2):
        for name in common_functions(one, other):
            both = [_of(own, name) for own in (one, other)]
            for measure, pair in _pairs(both, rule, given):
                told = pair.told(measure, n=deals, seed=seed, level=level)
                rows.append({"function": name, "first": one.scorer, "second": other.scorer, **told})
    table = corrected(as_table(rows), "first", "second", "measure")
    return Agreement(table, {"rule": rule, **given, "deals": deals, "seed": seed, "level": level})


def as_table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows as a table."""
    import pandas as pd

    return pd.DataFrame(rows)


def corrected(table: pd.DataFrame, *families: str, ps: Sequence[str] = ("p_random", "p_within")) -> pd.DataFrame:
    """A table with its p-values corrected by Holm, in families of the rows that have the same in some columns."""
    whole = list(families) or np.zeros(len(table), dtype=int)  # without families all rows are of one
    parts = table.groupby(whole, sort=False)
    return table.assign(**{f"{name}_holm": parts[name].transform(_holm) for name in ps})


def _holm(p: pd.Series) -> np.ndarray:
    return holm_where_defined(p.to_numpy())


def too_few_deals(deals: int, tests: int) -> str:
    """Why none of so many tests can pass, and how many deals that takes; empty where one can.

    The least p-value is 1 / (1 + deals), and Holm's correction takes it times the number of tests.

    Example:
        >>> too_few_deals(50, 6)
        'as 50 deals of heads are too few for 6 tests, and 119 are enough (--deals 119)'
    """
    least = math.ceil(round(tests / ALPHA, 6)) - 1
    if deals >= least:
        return ""
    return (
        f"as {deals} deals of heads are too few for {counted(tests, 'test')}, and {least} are enough (--deals {least})"
    )


def maps_of(
    scores: HeadScores, rule: str, given: dict[str, Any]
) -> tuple[Float[np.ndarray, "function layer head"], Float[np.ndarray, "draw function layer head"] | None]:
    """Which heads a rule selects, 1 or 0, of all functions, and in draws; None where the rule can not be drawn."""

    def masks(values: np.ndarray) -> np.ndarray:
        own = replace(scores, values=values)
        return np.stack([select_heads(own, name, rule, **given).mask() for name in scores.functions]).astype(float)

    if scores.draws is None or rule in ("fdr", "max_t"):
        return masks(scores.values), None
    return masks(scores.values), np.stack([masks(own) for own in scores.draws])


def _pairs(both: Sequence[HeadScores], rule: str, given: dict[str, Any]) -> Iterator[tuple[str, Pair]]:
    """The maps of two scorers, of one function each: scores, and selections."""
    values = [own.values[0].astype(float) for own in both]
    draws = [None if own.draws is None else own.draws[:, 0].astype(float) for own in both]
    groups = min(own.groups[0] for own in both)
    yield "spearman", Pair(values[0], values[1], _joined(draws), groups)
    chosen, drawn = zip(*(maps_of(own, rule, given) for own in both), strict=True)
    masks = _joined([None if own is None else own[:, 0] for own in drawn])
    yield "jaccard", Pair(chosen[0][0], chosen[1][0], masks, groups)


def _joined(draws: Sequence[np.ndarray | None]) -> tuple[np.ndarray, np.ndarray] | None:
    """Both draws; None where one is not known."""
    first, second = draws
    return None if first is None or second is None else (first, second)


def _of(scores: HeadScores, name: str) -> HeadScores:
    """The scores of one function alone; of a scorer that knows none, those of all."""
    place = 0 if scores.functions == (EVERY,) else scores.place(name)
    changed: dict[str, Any] = {
        key: None if (own := getattr(scores, key)) is None else own[place : place + 1]
        for key in ("values", "low", "high", "null", "p", "p_any")
    }
    changed |= {key: getattr(scores, key)[place : place + 1] for key in ("functions", "samples", "groups")}
    changed["draws"] = None if scores.draws is None else scores.draws[:, place : place + 1]
    return replace(scores, **changed)


def common_functions(one: HeadScores, other: HeadScores) -> list[str]:
    """The functions that two scorers can be held against each other by."""
    knows = [own for own in (one, other) if own.functions != (EVERY,)]
    if not knows:
        return [EVERY]
    found = [name for name in knows[0].functions if name in knows[-1].functions]
    if not found:
        raise InputError(
            f"{one.scorer} scores {', '.join(one.functions)} and {other.scorer} {', '.join(other.functions)}: they "
            "have no function in common"
        )
    return found


def _check(several: Sequence[HeadScores]) -> None:
    """Refuse what can not be held against each other."""
    names = [own.scorer for own in several]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"scorers are {', '.join(names) or 'none'}: give two or more with different names")
    shapes = {own.scorer: own.values.shape[1:] for own in several}
    if len(set(shapes.values())) > 1:
        told = ", ".join(f"{name} {layers} x {heads}" for name, (layers, heads) in shapes.items())
        raise InputError(f"scores are of different layers x heads, {told}: give scores of one model")
