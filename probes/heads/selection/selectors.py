"""Selectors: which heads serve a function, by the shape of their scores, by number, by size, or against chance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from interp.errors import InputError
from interp.numeric import real, whole_number
from interp.stats.tests import benjamini_hochberg_where_defined
from probes.heads.scorers.elbow import elbow as elbow
from probes.heads.scores import HeadScores
from probes.heads.selection.head_set import HeadSet


def select_heads(scores: HeadScores, function: str | None = None, rule: str = "elbow", **given: Any) -> HeadSet:
    """The heads that serve a function.

    - `elbow`: scores from the largest size down, until the point of that curve that lies farthest from its chord, which
      is not in any more; see `elbow`.
    - `top_k`: the `k` highest; none where fewer have a score.
    - `top_percent`: the highest, `percent` of a hundred of all heads, rounded down, one at least; CogVision takes 10.
    - `threshold`: those `above` a score.
    - `fdr`: those that chance does not score as high, of which at most the share `level` is there by chance (Benjamini
      and Hochberg over the heads of the function). Needs scores with a null.
    - `max_t`: those so high that chance scores any head as high at most so often as `level`. Needs scores with a null.

    `level` is 0.05 where it is not given. Of equal scores the earlier layer and head comes first. Where no head passes,
    the set is empty, and its `why` says why.

    Args:
        scores: what a scorer gave.
        function: the function; the only one where none is named.
        rule: one of `RULES`.
        given: what the rule needs, by name.

    Example:
        >>> select_heads(scores, "spatial", "top_percent", percent=10)

    Raises:
        InputError: no such rule or function, an option that the rule lacks or does not have, or scores without a null.
    """
    place = scores.place(function)
    options = _options(rule, given)
    passed, why = RULES[rule].select(_Asked(scores, place, options))
    values = scores.values[place].ravel().astype(np.float64)
    size = np.abs(values) if rule == "elbow" else values
    chosen = np.flatnonzero(passed)
    order = chosen[np.argsort(-size[chosen], kind="stable")]
    heads = zip(*np.unravel_index(order, scores.values.shape[1:]), strict=True)
    return HeadSet(
        function=scores.functions[place],
        scorer=scores.scorer,
        rule=", ".join([rule, *(f"{name}={value:g}" for name, value in options.items())]),
        heads=tuple((int(layer), int(head)) for layer, head in heads),
        why="" if len(order) else why,
        values=tuple(values[order].tolist()),
        shape=(scores.values.shape[1], scores.values.shape[2]),
        left_out=int(np.isnan(values).sum()),
    )


def select_all(scores: HeadScores, rule: str = "elbow", **given: Any) -> tuple[HeadSet, ...]:
    """The heads of every function, in the order of the scores; see `select_heads`."""
    return tuple(select_heads(scores, function, rule, **given) for function in scores.functions)


def check_selection(rule: str, **given: Any) -> None:
    """Refuse a rule that does not exist, and options that it lacks or does not have, before anything is scored.

    Raises:
        InputError: as `select_heads`.
    """
    _options(rule, given)


def check_count(k: int, heads: int) -> None:
    """Refuse to select more heads than a model has, before anything is scored.

    Raises:
        InputError: it has fewer.
    """
    if k > heads:
        raise InputError(f"k={k} of {heads} heads: ask for fewer")


@dataclass(frozen=True)
class _Asked:
    """One function's scores and the options of a rule."""

    scores: HeadScores
    place: int
    options: dict[str, float]

    @property
    def values(self) -> Float[np.ndarray, " head"]:
        return self.scores.values[self.place].ravel().astype(np.float64)

    @property
    def known(self) -> int:
        return int((~np.isnan(self.values)).sum())

    def highest(self, count: int, size: Float[np.ndarray, " head"]) -> Bool[np.ndarray, " head"]:
        """The so many highest; of equal ones the first."""
        order = np.argsort(np.where(np.isnan(size), np.inf, -size), kind="stable")
        out = np.zeros(len(size), dtype=bool)
        out[order[: min(count, self.known)]] = True
        return out


Selected = tuple[Bool[np.ndarray, " head"], str]
"""Which heads pass, and what to say where none does."""


def _elbow(asked: _Asked) -> Selected:
    why = f"the sizes of the {asked.known} scores lie on a straight line, which has no elbow"
    return asked.highest(elbow(asked.scores.values[asked.place]), np.abs(asked.values)), why


def _top_k(asked: _Asked) -> Selected:
    count = int(asked.options["k"])
    check_count(count, len(asked.values))
    if count > asked.known:
        return np.zeros(len(asked.values), dtype=bool), f"k={count} of {asked.known} heads with a score: ask for fewer"
    return asked.highest(count, asked.values), ""


def _top_percent(asked: _Asked) -> Selected:
    percent = real(asked.options["percent"])
    count = max(1, int(len(asked.values) * percent / 100 + 1e-9))
    return asked.highest(count, asked.values), "no head has a score"


def _threshold(asked: _Asked) -> Selected:
    above = real(asked.options["above"])
    largest = np.nanmax(asked.values) if asked.known else np.nan
    passed = asked.values > np.float32(above)  # as exact as scores are: 0.6 does not lie above 0.6
    return passed, f"no score lies above {above:g}; the largest is {largest:.4g}"


def _fdr(asked: _Asked) -> Selected:
    p = _of_null(asked, "p")
    return _below(benjamini_hochberg_where_defined(p), asked, "corrected by Benjamini and Hochberg")


def _max_t(asked: _Asked) -> Selected:
    return _below(_of_null(asked, "p_any"), asked, "corrected by maxT")


def _below(p: Float[np.ndarray, " head"], asked: _Asked, how: str) -> Selected:
    level = real(asked.options["level"])
    least = np.nanmin(p) if (~np.isnan(p)).any() else np.nan
    passed = p.astype(np.float32) <= np.float32(level)  # as exact as p-values are kept: 1 of 20 is 0.05
    return passed, f"no p-value, {how} for {asked.known} heads, is {level:g} or less; the least is {least:.3g}"


def _of_null(asked: _Asked, name: str) -> Float[np.ndarray, " head"]:
    own = getattr(asked.scores, name)
    if own is None:
        raise InputError(
            f"{asked.scores.scorer} gave no {name}, so that heads can not be held against chance: select by elbow, "
            "top_k, top_percent or threshold, or use a scorer with a null"
        )
    return own[asked.place].ravel().astype(np.float64)


@dataclass(frozen=True)
class _Rule:
    select: Callable[[_Asked], Selected]
    needs: tuple[str, ...] = ()
    defaults: tuple[tuple[str, float], ...] = ()


RULES = {
    "elbow": _Rule(_elbow),
    "top_k": _Rule(_top_k, needs=("k",)),
    "top_percent": _Rule(_top_percent, needs=("percent",)),
    "threshold": _Rule(_threshold, needs=("above",)),
    "fdr": _Rule(_fdr, defaults=(("level", 0.05),)),
    "max_t": _Rule(_max_t, defaults=(("level", 0.05),)),
}
"""The rules by name."""


def _options(rule: str, given: dict[str, Any]) -> dict[str, Any]:
    """What a rule is given; refuses what it does not have, and what it lacks."""
    if rule not in RULES:
        raise InputError(f"rule={rule!r} is not known: use one of {', '.join(RULES)}")
    own = RULES[rule]
    known = (*own.needs, *(name for name, _ in own.defaults))
    if unknown := [name for name in given if name not in known]:
        raise InputError(
            f"rule {rule!r} has no {', '.join(unknown)}: it takes {', '.join(known) if known else 'nothing'}"
        )
    if missing := [name for name in own.needs if name not in given]:
        raise InputError(f"rule {rule!r} needs {', '.join(missing)}: give {missing[0]}=...")
    options = {**dict(own.defaults), **given}
    for name, value in options.items():
        _check_value(name, value)
    return options


def _check_value(name: str, value: Any) -> None:
    """Refuse a value that the option of a rule can not have, whatever the scores."""
    if name == "k":
        whole_number(value, "k", 1)
    if name == "percent" and not 0 < real(value) <= 100:
        raise InputError(f"percent={value!r}: give how many of a hundred heads, above 0 and up to 100")
    if name == "above" and not np.isfinite(real(value)):
        raise InputError(f"above={value!r} is no threshold: give a number")
    if name == "level" and not 0 < real(value) < 1:
        raise InputError(f"level={value!r}: give a number between 0 and 1, such as 0.05")
