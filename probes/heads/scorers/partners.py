"""Partners: another question of the same kind for each, about another photo, and each the other's: a draw of chance."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Int

from interp.errors import InputError
from interp.image.photos import check_image
from interp.numeric import agree
from probes.heads.activations.checks import functions_of
from probes.heads.scorers.sampled import Labels

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample

Kinds = Sequence[Hashable | None]
Pairs = list[tuple[list[int], list[int]]]


@dataclass(frozen=True, eq=False)
class Partners:
    """Samples two by two, in pairs of whole groups.

    What a sample would have of its partner's photo is one draw of chance where looking has nothing to do with what is
    shown: exchanged in all samples of two groups, numbers and draws change places. So the two groups change their sign
    together, and a sample without a partner says nothing.

    Attributes:
        samples: the samples.
        places: the place of each sample's partner; its own where it has none.
        pairs: the number of each sample's pair of groups; of groups without a partner, a number of their own.
    """

    samples: Sequence[Sample] = field(repr=False)
    places: Int[np.ndarray, " sample"]
    pairs: Int[np.ndarray, " sample"]

    @classmethod
    def of(cls, vlm: HookedVLM, samples: Sequence[Sample], *, seed: int) -> Partners:
        """Pair samples of the same functions whose photos have the same grid of image tokens.

        Of these, groups with the same options come first, and then answers that differ: the same answer about another
        photo often gains at the same places, and tells less.

        Raises:
            InputError: fewer than two groups, or functions that are none.
        """
        labels = Labels.of(samples)
        grids = _grids(vlm, samples)
        loose = [
            None if grid is None else (grid, tuple(sorted(functions_of(sample))))
            for sample, grid in zip(samples, grids, strict=True)
        ]
        strict = [
            None if kind is None else (*kind, tuple(sorted(sample.options)))
            for sample, kind in zip(samples, loose, strict=True)
        ]
        answers = [sample.answer for sample in samples]
        return cls(samples, *paired([strict, loose], labels.groups.tolist(), answers, seed=seed))

    @property
    def there(self) -> Bool[np.ndarray, " sample"]:
        """Which samples have a partner."""
        return self.places != np.arange(len(self.places))

    @property
    def labels(self) -> Labels:
        """The labels of the samples, in which pairs of groups change their sign together."""
        return replace(Labels.of(self.samples), pairs=self.pairs)

    @cached_property
    def _by_id(self) -> Mapping[str, int]:
        return {sample.id: place for place, sample in enumerate(self.samples)}

    def other(self, sample: Sample) -> Sample | None:
        """The partner of a sample; None where it has none."""
        place = self._by_id[sample.id]
        return self.samples[self.places[place]] if self.there[place] else None

    def refuse_few(self) -> None:
        """Refuse samples of which no function can be scored, as too few have a partner.

        Raises:
            InputError: there are only such.
        """
        try:
            self.labels.refuse_few(self.there)
        except InputError as error:
            raise InputError(
                f"{int(self.there.sum())} of {len(self.samples)} samples "
                f"{agree(int(self.there.sum()), 'has', 'have')} a partner, which is a sample of the same functions "
                f"in another group whose photo has the same grid of image tokens: {error}. Give photos of one size, "
                "or more questions about photos of each size"
            ) from None


def paired(
    kinds: Sequence[Kinds], groups: Sequence[Hashable], answers: Sequence[str], *, seed: int
) -> tuple[Int[np.ndarray, " sample"], Int[np.ndarray, " sample"]]:
    """The place of each sample's partner, and the number of its pair of groups; see `Partners`.

    Args:
        kinds: what partners have in common, the most first; the last is needed. None has no partner.
        groups: what belongs together.
        answers: partners have other ones where they can.
        seed: the seed of the pairs.

    Example:
        >>> paired([["a", "a", "b", "a"]], ["g0", "g1", "g2", "g3"], ["left", "left", "left", "right"], seed=0)
        (array([0, 3, 2, 1]), array([1, 0, 2, 0]))
    """
    members = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    blocks = list(members.values())
    left = [blocks[place] for place in np.random.default_rng([seed, 6]).permutation(len(blocks))]
    found: Pairs = []
    for own in kinds:
        alike, left = _alike(left, own, answers)
        found += alike
    found += _most_alike(left, kinds[-1])
    places, pairs = np.arange(len(groups)), np.full(len(groups), -1)
    for number, (one, other) in enumerate(found):
        pairs[[*one, *other]] = number
        for first, second in _matched(one, other, kinds):
            places[first], places[second] = second, first
    for number, block in enumerate([block for block in blocks if pairs[block[0]] < 0], start=len(found)):
        pairs[block] = number
    return places, pairs


def _alike(blocks: list[list[int]], kinds: Kinds, answers: Sequence[str]) -> tuple[Pairs, list[list[int]]]:
    """Pairs of groups that are made up alike, of different answers where there are such; and what is left."""
    found: dict[Hashable, list[list[int]]] = defaultdict(list)
    for block in blocks:
        found[frozenset(Counter(kinds[place] for place in block).items())].append(block)
    pairs: Pairs = []
    left: list[list[int]] = []
    for own in found.values():
        if any(kinds[place] is None for place in own[0]):
            left += own
            continue
        half = len(own) // 2
        left += own[2 * half :]
        # Of answers in order, those half of all apart are different ones, unless most are the same.
        ordered = sorted(own[: 2 * half], key=lambda block: [answers[place] for place in _sorted(block, kinds)])
        pairs += zip(ordered[:half], ordered[half:], strict=True)
    return pairs, left


def _most_alike(blocks: list[list[int]], kinds: Kinds) -> Pairs:
    """Pairs of groups with as much in common as there is: each, in turn, with the one that has most of it."""
    made = [Counter(kinds[place] for place in block if kinds[place] is not None) for block in blocks]
    holders: dict[Hashable, dict[int, None]] = defaultdict(dict)  # in their order
    for number, own in enumerate(made):
        for kind in own:
            holders[kind][number] = None
    pairs: Pairs = []
    for number, own in enumerate(made):
        others = [other for kind in own for other in holders[kind] if number in holders[kind] and other != number]
        gone = [number]
        if others:
            best = max(others, key=lambda other: ((own & made[other]).total(), -other))
            pairs.append((blocks[number], blocks[best]))
            gone.append(best)
        for one in gone:
            for kind in made[one]:
                holders[kind].pop(one, None)
    return pairs


def _matched(one: list[int], other: list[int], kinds: Sequence[Kinds]) -> list[tuple[int, int]]:
    """The partners inside a pair of groups: those with the most in common first, each in their order."""
    found: list[tuple[int, int]] = []
    for own in kinds:
        free: dict[Hashable, list[int]] = defaultdict(list)
        taken = {place for pair in found for place in pair}
        for place in other:
            if place not in taken and own[place] is not None:
                free[own[place]].append(place)
        found += [(place, free[own[place]].pop(0)) for place in one if place not in taken and free[own[place]]]
    return found


def _sorted(block: list[int], kinds: Kinds) -> list[int]:
    return sorted(block, key=lambda place: (repr(kinds[place]), place))


def _grids(vlm: HookedVLM, samples: Sequence[Sample]) -> list[Hashable | None]:
    """The grid of each photo's image tokens, to be compared; None of a photo that can not be read."""
    known: dict[tuple[int, int], Hashable] = {}

    def made(sample: Sample) -> Hashable:
        size = check_image(sample.image)
        if size not in known:
            grid = vlm.grid_of(size)
            known[size] = (grid.rows.tobytes(), grid.cols.tobytes(), grid.view.tobytes())
        return known[size]

    return [_none_if_refused(made, sample) for sample in samples]


def _none_if_refused(make: Callable[[Sample], Hashable], sample: Sample) -> Hashable | None:
    try:
        return make(sample)
    except InputError:
        return None
