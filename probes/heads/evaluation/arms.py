"""Arms: which head sets are edited, and how strongly, with the sets that control them, each drawn and named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from interp.errors import InputError
from interp.intervene.head_sets import check_heads, random_heads, read_heads
from interp.intervene.indices import spell_number
from interp.numeric import listed, whole_number
from probes.heads.selection.head_set import HeadSet

if TYPE_CHECKING:
    from interp.hooks.shape import ModelShape
    from interp.intervene.head_sets import Head
    from probes.heads.scores import HeadScores

UNTOUCHED, TESTED = "untouched", "tested"
"""The role of the model as it is, and of a set that is asked about."""

RANDOM, LAYERS, LOWEST, OTHER, DIRECTIONS, REGIONS = (
    "random", "same_layers", "lowest", "other", "directions", "regions",
)  # fmt: skip

CONTROLS = {
    RANDOM: "as many heads, drawn from all others",
    LAYERS: "as many heads of each layer, drawn from the others of that layer",
    LOWEST: "as many heads with the lowest scores",
    OTHER: "heads of other functions, as many where there are so many",
    DIRECTIONS: "the same heads, steered as far along random directions",
    REGIONS: "the same heads, turned towards as many other image tokens, drawn for each sample",
}
"""What controls a set, by role."""

DRAWN = (RANDOM, LAYERS, DIRECTIONS, REGIONS)
"""Controls of which there are several draws."""

FEWEST = 5
"""Draws of each random control, at least."""

TRIES = 20
"""So many draws are made for each one that is wanted, until they differ from each other."""

COUNT, FACTOR = "count", "factor"
"""What a dose is of: the number of heads, or how strongly they are edited."""


@dataclass(frozen=True)
class Arm:
    """One head set, edited in one way.

    Attributes:
        name: its name in every table.
        role: `untouched`, `tested`, or a control, see `CONTROLS`.
        of: the tested set that it belongs to; empty of the untouched arm.
        heads: layer and head of each.
        factor: how strongly they are edited.
        dose: `count` or `factor` where it is a point of a dose curve; empty for the whole set.
        draw: which draw of a random control it is.
    """

    name: str
    role: str
    of: str = ""
    heads: tuple[Head, ...] = ()
    factor: float = 1.0
    dose: str = ""
    draw: int | None = None


@dataclass(frozen=True)
class ArmPlan:
    """What arms are asked for.

    Attributes:
        sets: the tested sets by name, the strongest head of each first.
        factor: how strongly they are edited.
        controls: of `CONTROLS`, those that are wanted.
        draws: how many draws there are of each random control.
        counts: numbers of heads, from the strongest on, that make a dose curve.
        factors: strengths that make a dose curve.
        lowest: by tested set, heads from the lowest score up.
        others: heads of other functions by name.
        seed: the seed of the draws.
    """

    sets: Mapping[str, tuple[Head, ...]]
    factor: float
    controls: tuple[str, ...]
    draws: int = FEWEST
    counts: tuple[int, ...] = ()
    factors: tuple[float, ...] = ()
    lowest: Mapping[str, tuple[Head, ...]] | None = None
    others: Mapping[str, tuple[Head, ...]] | None = None
    seed: int = 0

    def arms(self, shape: ModelShape) -> tuple[tuple[Arm, ...], list[dict[str, str]]]:
        """All arms, the untouched one first; and the controls that there can not be: `arm`, `measure`, `why`.

        Raises:
            HookError: a head that the model does not have.
        """
        for heads in [*self.sets.values(), *(self.others or {}).values()]:
            check_heads(heads, shape)
        found, out = [Arm(UNTOUCHED, UNTOUCHED)], []
        for number, (name, heads) in enumerate(self.sets.items()):
            found.append(Arm(name, TESTED, name, heads, self.factor))
            drawn: dict[str, list[tuple[Head, ...]]] = {}
            for role in self.controls:
                own, why = self._control(role, name, heads, shape, number)
                found += own
                if why:
                    out.append({"arm": name, "measure": f"beyond_{role}", "why": why})
                drawn[role] = [arm.heads for arm in own]
            found += self._doses(name, heads, drawn.get(RANDOM, []), number)
        return tuple(found), out

    def _control(
        self, role: str, name: str, heads: tuple[Head, ...], shape: ModelShape, number: int
    ) -> tuple[list[Arm], str]:
        """The arms of one control, and why there are none or fewer."""
        if role in (RANDOM, LAYERS):
            same = role == LAYERS
            try:
                sets = distinct_sets(heads, shape, self.draws, (self.seed, number, int(same)), same_layers=same)
            except InputError as error:
                return [], str(error)
            few = len(sets) < self.draws
            why = f"there are only {len(sets)} different sets to draw, of {self.draws}" if few else ""
            own = [Arm(f"{name}, {role} {i}", role, name, one, self.factor, draw=i) for i, one in enumerate(sets)]
            return own, why
        if role in (DIRECTIONS, REGIONS):
            each = range(self.draws)
            return [Arm(f"{name}, {role} {i}", role, name, heads, self.factor, draw=i) for i in each], ""
        if role == LOWEST:
            rest = [one for one in (self.lowest or {}).get(name, ()) if one not in heads]
            if len(rest) < len(heads):
                return [], f"{len(rest)} other heads have a score, and the set has {len(heads)}"
            return [Arm(f"{name}, {role}", role, name, tuple(rest[: len(heads)]), self.factor)], ""
        arms: list[Arm] = []
        shared: list[str] = []
        for other, given in (self.others or {}).items():
            rest = [one for one in given if one not in heads][: len(heads)]
            if rest:
                arms.append(Arm(f"{name}, {role} {other}", role, name, tuple(rest), self.factor))
            else:
                shared.append(other)
        return arms, f"all heads of {', '.join(shared)} are in the set" if shared else ""

    def _doses(
        self, name: str, heads: tuple[Head, ...], drawn: Sequence[tuple[Head, ...]], number: int
    ) -> Iterator[Arm]:
        """The points of both dose curves, each beside the same of the random sets, which are nested as the set is."""
        mixed = [_mixed(one, (self.seed, number, 2, i)) for i, one in enumerate(drawn)]
        for count in self.counts:
            if count < len(heads):  # the whole set is there already
                yield Arm(f"{name}, {count} heads", TESTED, name, heads[:count], self.factor, COUNT)
                for i, own in enumerate(mixed):
                    part = tuple(sorted(own[:count]))
                    yield Arm(f"{name}, {count} heads, {RANDOM} {i}", RANDOM, name, part, self.factor, COUNT, i)
        for factor in self.factors:
            if factor != self.factor:
                said = spell_number(factor)
                yield Arm(f"{name}, factor {said}", TESTED, name, heads, factor, FACTOR)
                for i, one in enumerate(drawn):
                    yield Arm(f"{name}, factor {said}, {RANDOM} {i}", RANDOM, name, one, factor, FACTOR, i)


def distinct_sets(
    like: Sequence[Head], shape: ModelShape, draws: int, seed: Sequence[int], *, same_layers: bool = False
) -> list[tuple[Head, ...]]:
    """Random sets beside a set, no two alike, see `random_heads`; fewer where so many are not found.

    Example:
        >>> len(distinct_sets(spatial.heads, vlm.cfg, 5, (0,)))
        5

    Raises:
        InputError: there are fewer other heads than heads.
    """
    found: list[tuple[Head, ...]] = []
    for attempt in range(draws * TRIES):
        own = random_heads(like, shape, (*seed, attempt), same_layers=same_layers)
        if own not in found:
            found.append(own)
        if len(found) == draws:
            break
    return found


def read_sets(heads: Any, arms: Any = None) -> dict[str, tuple[Head, ...]]:
    """Tested sets by name: of a `HeadSet` its function, of heads alone `heads`, and what else is named.

    Raises:
        InputError: no set, an empty one, heads that are not understood, or a name that can not be one.
    """
    given = dict(heads) if isinstance(heads, Mapping) else {_name_of(heads): heads}
    more = arms if arms is not None else {}
    if not isinstance(more, Mapping):
        raise InputError(f"arms={arms!r:.60} name no sets: give a mapping from names to heads")
    if twice := sorted(set(given) & set(more)):
        raise InputError(f"arms and heads both name {twice[0]!r}: give each set a name of its own")
    found = {}
    for name, own in {**given, **more}.items():
        if not isinstance(name, str) or not name.strip() or "," in name or name == UNTOUCHED:
            raise InputError(f"{name!r:.40} can not name a set: give a text without commas, other than {UNTOUCHED!r}")
        if isinstance(own, HeadSet) and not len(own):
            raise InputError(f"the set {name!r} is empty, so that nothing would be edited ({own.why}): leave it out")
        found[name] = read_heads(own.heads if isinstance(own, HeadSet) else own)
    if not found:
        raise InputError("no head set is given: name at least one")
    return found


def read_controls(given: Any, known: Sequence[str], *, missing: Mapping[str, str]) -> tuple[str, ...]:
    """The controls that are asked for; by default all of the edit's that nothing is missing for.

    Args:
        given: names, or None.
        known: the controls of the edit.
        missing: by control, what it needs and was not given.

    Raises:
        InputError: a name that is none, one twice, or one that lacks what it needs.
    """
    if given is None:
        return tuple(role for role in known if role not in missing)
    asked = listed(given, "controls")
    if len(set(asked)) < len(asked) or set(asked) - set(known):
        raise InputError(f"controls={asked}: name each once, of {', '.join(known)}")
    if lacking := [role for role in asked if role in missing]:
        raise InputError(f"the control {lacking[0]!r} needs {missing[lacking[0]]}: give it, or leave the control out")
    return asked


def read_counts(given: Iterable[int]) -> tuple[int, ...]:
    """Numbers of heads, ascending, each once.

    Raises:
        InputError: one is no whole number from 1 on.
    """
    return tuple(sorted({whole_number(one, "a dose", 1) for one in listed(given, "doses")}))


def lowest_heads(scores: HeadScores, function: str | None) -> tuple[Head, ...]:
    """All heads that have a score, from the lowest up; of equal ones the earlier layer and head first."""
    own = scores.of(function)
    order = np.argsort(own, axis=None, kind="stable")
    there = [place for place in order.tolist() if np.isfinite(own.flat[place])]
    return tuple((place // own.shape[1], place % own.shape[1]) for place in there)


def _name_of(heads: Any) -> str:
    return heads.function if isinstance(heads, HeadSet) else "heads"


def _mixed(heads: Sequence[Head], seed: Sequence[int]) -> list[Head]:
    """A random set in a random order, so that its first heads are a random set as well."""
    return [heads[place] for place in np.random.default_rng(seed).permutation(len(heads))]
