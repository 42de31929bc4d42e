"""Sampled scores: a number of every head in every sample, made into scores of functions with interval and null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped

from interp.errors import InputError
from interp.numeric import agree, counted, mean_of_known, ratio, whole_number
from interp.stats.clusters import drawn_sums, groups_with
from interp.stats.draws import check_draws
from interp.stats.intervals import DRAWS, spread_ends
from interp.stats.shuffles import pooled_p
from interp.stats.sign_flips import flipped
from probes.heads.activations.checks import functions_of
from probes.heads.functions import in_order
from probes.heads.scorers.items import LEAST
from probes.heads.scores import EVERY, KEPT, HeadScores
from probes.study.run import groups_of

if TYPE_CHECKING:
    from interp.objects.sample import Sample

FLIPS = 999
"""How often signs are flipped for the p-values."""

ROUNDING = 1e-6
"""Differences smaller than this part of the largest number are rounding, and count as none."""

PerHead = Float[np.ndarray, "sample layer head"]


@dataclass(frozen=True)
class Drawing:
    """What is drawn to say how sure scores are.

    Attributes:
        seed: the seed of all draws.
        draws: draws of whole groups, for intervals.
        level: nominal coverage of these.
        flips: flips of signs, for p-values.

    Raises:
        InputError: numbers that draw nothing.
    """

    seed: int = 0
    draws: int = DRAWS
    level: float = 0.95
    flips: int = FLIPS

    def __post_init__(self) -> None:
        """Refuse what draws nothing."""
        check_draws(self.draws, self.level, self.seed)
        object.__setattr__(self, "flips", whole_number(self.flips, "flips", 1))

    def recorded(self) -> dict[str, Any]:
        """Its numbers by name."""
        return {"seed": self.seed, "draws": self.draws, "level": self.level, "flips": self.flips}


@dataclass(frozen=True, eq=False)
class Labels:
    """Which functions samples are of, and what is drawn together.

    Attributes:
        functions: their names: in the order of `in_order`; `("all",)` of samples that name none.
        table: whether each sample is of each function.
        groups: the group of each sample.
        pairs: the pair of groups of each sample, whose numbers and draws of chance can be exchanged only together; by
            default each group's can by itself.
    """

    functions: tuple[str, ...]
    table: Bool[np.ndarray, "sample function"]
    groups: Shaped[np.ndarray, " sample"]
    pairs: Int[np.ndarray, " sample"] | None = None

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Labels:
        """Read them from samples; functions by `meta["functions"]`, a list of names.

        Raises:
            InputError: fewer than two groups, something else than names, or functions of some samples alone.
        """
        groups = groups_of(samples)
        each = []
        for sample in samples:
            own = functions_of(sample)
            if not isinstance(own, (list, tuple)) or not all(isinstance(name, str) and name.strip() for name in own):
                raise InputError(f"sample {sample.id!r} has the functions {own!r:.60}: give a list of names")
            each.append(tuple(own))
        if not any(each):
            return cls((EVERY,), np.ones((len(samples), 1), dtype=bool), groups)
        if bare := [sample.id for sample, own in zip(samples, each, strict=True) if not own]:
            raise InputError(
                f"{len(bare)} of {len(samples)} samples {agree(len(bare), 'has', 'have')} no function, the first is "
                f"{bare[0]!r}: label all or none"
            )
        functions = in_order(name for own in each for name in own)
        table = np.array([[name in own for name in functions] for own in each])
        return cls(functions, table, groups)

    def why_not(self, place: int, known: Bool[np.ndarray, " sample"]) -> str | None:
        """Why a function can not be scored on the samples that have a number; None where it can."""
        own = self.table[:, place] & known
        groups, one = len(set(self.flipped[own])), "group" if self.pairs is None else "pair of groups"
        called = "groups" if self.pairs is None else "pairs of groups"
        if own.sum() >= LEAST and groups > 1:
            return None
        return (
            f"{int(own.sum())} of its {counted(int(self.table[:, place].sum()), 'sample')} "
            f"{agree(int(own.sum()), 'has', 'have')} a number, in {counted(groups, one, called)}: at least "
            f"{LEAST} in two {called} are needed"
        )

    @property
    def flipped(self) -> Shaped[np.ndarray, " sample"]:
        """What changes its sign together under the null."""
        return self.groups if self.pairs is None else self.pairs

    def refuse_few(self, known: Bool[np.ndarray, " sample"] | None = None) -> None:
        """Refuse samples of which no function can be scored.

        Args:
            known: which samples will have a number; all by default.

        Raises:
            InputError: there are only such.
        """
        own = np.ones(len(self.table), dtype=bool) if known is None else known
        told = {name: self.why_not(place, own) for place, name in enumerate(self.functions)}
        if all(told.values()):
            raise InputError("no function can be scored: " + "; ".join(f"{name}: {why}" for name, why in told.items()))


def sampled_scores(
    scorer: str,
    values: PerHead,
    labels: Labels,
    *,
    null: PerHead | None = None,
    drawn: PerHead | None = None,
    drawing: Drawing | None = None,
    settings: Mapping[str, Any] | None = None,
    may_be_empty: bool = False,
) -> HeadScores:
    """The mean of each head's number over the samples of each function, beside what it would be by chance.

    Intervals draw whole groups, the same for all functions. The p-values are one-sided and by flips of the signs of
    `values - drawn`, whole groups together, or what `Labels.pairs` says, each head's mean over its spread: under the
    null a number and one draw of chance can be exchanged, and then the test is exact; where `drawn` is no draw but a
    mean, it is one by the central limit. Values of all heads under all flips are pooled, see
    `interp.stats.shuffles.pooled_p`.

    Args:
        scorer: its name.
        values: NaN where a head has no number in a sample.
        labels: the functions and groups of the samples.
        null: what each number is expected to be by chance.
        drawn: one draw of chance for each number; `null` by default.
        drawing: what is drawn.
        settings: what made it.
        may_be_empty: whether scores of no function at all may be given back, with the reasons in `left_out`.

    Raises:
        InputError: no function can be scored, and that may not be.
    """
    how = drawing or Drawing()
    known = np.isfinite(values).any(axis=(1, 2))
    if not may_be_empty:
        labels.refuse_few(known)
    told = {name: labels.why_not(place, known) for place, name in enumerate(labels.functions)}
    kept = [place for place, name in enumerate(labels.functions) if told[name] is None]
    chances = null if drawn is None else drawn
    found = [_of_function(values, labels, place, null, chances, how) for place in kept]
    shape = (len(kept), *values.shape[1:])

    def made(name: str) -> Float32[np.ndarray, "function layer head"]:
        own = np.zeros(shape, np.float32)
        for place, one in enumerate(found):
            own[place] = one[name].reshape(shape[1:])
        return own

    members = [labels.table[:, place] & known for place in kept]
    draws = [one["drawn"].reshape(-1, *values.shape[1:]) for one in found]
    return HeadScores(
        scorer=scorer,
        functions=tuple(labels.functions[place] for place in kept),
        values=made("value"),
        samples=tuple(int(own.sum()) for own in members),
        groups=tuple(len(set(labels.groups[own])) for own in members),
        low=made("low"),
        high=made("high"),
        null=None if null is None else made("null"),
        p=None if null is None else made("p"),
        p_any=None if null is None else made("p_any"),
        draws=np.stack(draws, axis=1).astype(np.float32) if draws else None,
        left_out=tuple({"function": name, "why": why} for name, why in told.items() if why is not None),
        settings={**(settings or {}), **how.recorded()},
    )


def _of_function(
    values: PerHead, labels: Labels, place: int, null: PerHead | None, drawn: PerHead | None, how: Drawing
) -> dict[str, np.ndarray]:
    """What is said of each head, laid flat, from the samples of one function."""
    own = labels.table[:, place]
    flat = np.where(own[:, None], values.reshape(len(values), -1).astype(np.float64), np.nan)
    there = np.isfinite(flat)
    sums = drawn_sums([np.where(there, flat, 0.0), there.astype(float)], labels.groups, seed=how.seed, n=how.draws)
    means, value = ratio(*sums), mean_of_known(flat)
    low, high = spread_ends(value, means, how.level, units=groups_with(there, labels.groups))
    told = {"value": value, "low": low, "high": high, "drawn": means[:KEPT]}
    if null is None or drawn is None:
        return told
    expected = np.where(there, null.reshape(len(null), -1), np.nan)
    p, p_any = _chances(flat[own], drawn.reshape(len(drawn), -1)[own].astype(np.float64), labels.flipped[own], how)
    return told | {"null": mean_of_known(expected), "p": p, "p_any": p_any}


def _chances(
    values: Float[np.ndarray, "sample cell"],
    drawn: Float[np.ndarray, "sample cell"],
    groups: Shaped[np.ndarray, " sample"],
    how: Drawing,
) -> tuple[Float[np.ndarray, " cell"], Float[np.ndarray, " cell"]]:
    """One-sided p-values, see `sampled_scores`; a number that is missing on either side says nothing.

    Heads of which no number differs from chance have p = 1, and are not pooled: they would make others look rarer.
    """
    both = np.isfinite(values) & np.isfinite(drawn)
    more = np.where(both, values - drawn, 0.0)
    largest = max(float(np.abs(one[both]).max(initial=0.0)) for one in (values, drawn))
    more[np.abs(more) <= ROUNDING * largest] = 0.0
    far = flipped(more, groups, seed=how.seed, n=how.flips)
    moving = more.any(axis=0)
    still = both.any(axis=0) & ~moving
    p, p_any = pooled_p(np.where(moving, far[0], np.nan), far[1:])
    return np.where(still, 1.0, p), np.where(still, 1.0, p_any)
