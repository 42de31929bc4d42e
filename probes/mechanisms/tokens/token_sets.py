"""Token sets: which positions of the clean prompt are patched, by name, and from where in the counterfactual's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from interp.errors import InputError, RefusedError
from interp.model.object_words import tokens_of_names, written_prompts
from interp.numeric import plain, whole_numbers
from interp.reprs import fits_a_cell
from interp.stats.draws import own_draws
from probes.mechanisms.scenes.pairs import MIRRORED
from probes.mechanisms.tokens.views import by_kind, in_order, middles, thirds, whole_photo

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Object, Sample
    from interp.prompt.inputs import VLMInputs
    from interp.prompt.layout import TokenLayout
    from probes.mechanisms.scenes.pairs import Pair

IMAGE_SETS = ("object", "strip", "background", "outer_strip", "all_image", "random_same_size")
"""Sets of image tokens, by name."""

NAMES = ("last", *IMAGE_SETS, "words")
"""All sets that have a name; see `token_set`."""

TOUCHED = 1e-6
"""Share of a token's area from which on an object touches it."""

Positions = str | Sequence[int] | tuple[Sequence[int], Sequence[int]]
"""The name of a set; positions in prompts without padding (negative ones count from the end), the same on both sides;
or those of the clean and those of the counterfactual prompt."""


@fits_a_cell()
@dataclass(frozen=True, eq=False)
class TokenSet:
    """Positions of a clean prompt, and for each the position of the counterfactual prompt that it is patched from.

    Both count the padding of their batch.
    """

    name: str
    target: Int[np.ndarray, " token"]
    source: Int[np.ndarray, " token"]

    def __len__(self) -> int:
        """Count the tokens."""
        return len(self.target)


@dataclass(frozen=True, eq=False)
class Side:
    """One prompt of a pair as a model is given it: what was asked, its layout, its grid, and how its text is cut."""

    sample: Sample
    layout: TokenLayout
    grid: ImageGrid
    prompt: str = field(default="", repr=False)
    tokenizer: Any = field(default=None, repr=False)

    @property
    def padding(self) -> int:
        """Positions in front of the prompt."""
        return self.layout.kinds.count("pad")


def sides_of(vlm: HookedVLM, inputs: VLMInputs, samples: Sequence[Sample]) -> list[Side]:
    """The prompts of a batch, each with its sample."""
    parts = zip(samples, inputs.layouts, inputs.grids, written_prompts(vlm, inputs), strict=True)
    return [Side(*own, tokenizer=vlm.processor.tokenizer) for own in parts]


def read_set(positions: Any) -> Positions:
    """A token set by its name, or positions of both prompts as plain numbers.

    Raises:
        InputError: an unknown name, or positions that are no whole numbers.
    """
    if isinstance(positions, str):
        if positions not in NAMES:
            raise InputError(f"positions={positions!r} is no token set: use one of {', '.join(NAMES)}, or positions")
        return positions
    here, there = _explicit(positions)
    return tuple(here), tuple(there)


def token_set(
    positions: Positions,
    pair: Pair,
    clean: Side,
    counterfactual: Side,
    *,
    seed: int = 0,
    same_size_as: Positions = "object",
) -> TokenSet:
    """The positions of one pair that a name stands for, in the order of the image grid inside each part.

    * `last`: the last prompt row, from the counterfactual's.
    * `object`: tokens that lie by half or more in the box of an object that stands elsewhere in the counterfactual,
      object after object along the pair's axis, from the tokens of the same object there: of a mirrored photo, each
      from its mirror image.
    * `strip`: the third of the photo along the axis that each of these objects stands in, from the third that the same
      object stands in there.
    * `background`: of each of these thirds, what no object touches, from the like there, in order.
    * `outer_strip`: the first and the last third, from the last and the first, whatever stands there; without boxes.
    * `all_image`: all image tokens, each from its like.
    * `random_same_size`: as many image tokens as `same_size_as` has, from as many others, both drawn for each pair.
    * `words`: tokens of the question that name the objects, from those that name the same object there.

    The first and the last third are round(N/3) of the N rows or columns wide, the middle one what is left (Cui et al.
    2026, released code). A photo that is seen whole and in tiles is patched in both, each view from its like: what
    stayed in the other would still show the clean photo. Objects, strips and background are looked for in the whole
    photo's view, and hold what tiles show of the same place; `random_same_size` has as many tokens of each kind.

    Args:
        positions: the name, or the positions themselves; see `Positions`.
        pair: the pair.
        clean: its clean prompt.
        counterfactual: its counterfactual prompt.
        seed: the seed of `random_same_size`; with the pair's id it alone says what is drawn.
        same_size_as: what `random_same_size` has as many tokens as.

    Example:
        >>> found = token_set("strip", pair, *(sides_of(vlm, inputs, [sample])[0] for inputs, sample in both))
        >>> len(found.target) == len(found.source)
        True

    Raises:
        InputError: an unknown name, an empty set, sides of different size, other grids, no boxes, or positions that are
            not there.
        RefusedError: a photo without a view of the whole.
    """
    positions = read_set(positions)
    if not isinstance(positions, str):
        return _given(positions, pair, clean, counterfactual)
    if positions == "last":
        return TokenSet("last", np.array([clean.layout.last]), np.array([counterfactual.layout.last]))
    if positions == "words":
        return _checked("words", pair, *_word_positions(pair, clean, counterfactual))
    _check_grids(pair, clean.grid, counterfactual.grid)
    if positions == "random_same_size":
        like = token_set(same_size_as, pair, clean, counterfactual, seed=seed)
        target, source = _random(pair, clean, like, seed)
    else:
        target, source = _IMAGE[positions](pair, clean, counterfactual)
    places = clean.layout.image_positions[target], counterfactual.layout.image_positions[source]
    return _checked(positions, pair, *places)


def _check_grids(pair: Pair, clean: ImageGrid, other: ImageGrid) -> None:
    """Refuse photos whose tokens do not lie in the same rows, columns and views."""
    parts = ("rows", "cols", "view")
    if not all(np.array_equal(getattr(clean, part), getattr(other, part)) for part in parts):
        told = [f"{grid.rows.max() + 1} x {grid.cols.max() + 1} ({len(grid)} tokens)" for grid in (clean, other)]
        raise InputError(f"pair {pair.id!r} has grids of {told[0]} and {told[1]}: give photos of one size")


def _tokens_of(thing: Object, grid: ImageGrid, pair: Pair) -> Int[np.ndarray, " token"]:
    """The tokens that lie in an object's box by half or more, those of the whole photo's view first."""
    assert thing.box is not None
    found = in_order(grid, np.flatnonzero(grid.membership(thing.box) >= 0.5 - TOUCHED))
    if not whole_photo(grid)[found].any():
        raise InputError(
            f"pair {pair.id!r}: no image token lies in the box of {thing.name!r} by half or more: it is too small for "
            "this model's tokens, or was not seen"
        )
    return found


def _mirror_of(tokens: np.ndarray, grid: ImageGrid) -> Int[np.ndarray, " token"]:
    """The tokens of the same kind of view as far from the other side: what shows the same in the mirrored photo."""
    x, y = middles(grid)
    far = np.abs(x[None] - (grid.image_size[0] - x[tokens, None])) + np.abs(y[None] - y[tokens, None])
    other = (grid.view[None] > 0) != (grid.view[tokens, None] > 0)
    return np.where(other, np.inf, far).argmin(axis=1)


def _moved(pair: Pair, clean: Side, other: Side) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The objects that have other tokens in the counterfactual: name and tokens on both sides, along the axis."""
    both = [
        (thing, there)
        for thing, there in zip(pair.clean.objects, pair.counterfactual.objects, strict=True)
        if thing.box is not None and there.box is not None
    ]
    if not both:
        raise InputError(f"pair {pair.id!r} has no object with a box in both photos: give boxes, or use 'outer_strip'")
    place = 0 if pair.axis == "horizontal" else 1
    both.sort(key=lambda own: own[0].box.xyxy[place] + own[0].box.xyxy[place + 2])  # type: ignore[union-attr]
    found = []
    for thing, there in both:
        here = _tokens_of(thing, clean.grid, pair)
        mirrored = pair.counterfactual.meta.get(MIRRORED)
        found.append(
            (thing.name, here, _mirror_of(here, other.grid) if mirrored else _tokens_of(there, other.grid, pair))
        )
    moved = [own for own in found if not np.array_equal(own[1], own[2])]
    if not moved:
        raise InputError(f"pair {pair.id!r}: no object stands elsewhere in the counterfactual, so the set is empty")
    return moved


def _join(
    pair: Pair, parts: Sequence[tuple[str, np.ndarray, np.ndarray]], grid: ImageGrid | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of a set, one after another, each checked; those of image tokens by kind of view."""
    if grid is not None:
        parts = [own for part in parts for own in by_kind(grid, *part)]
    if not parts:
        raise InputError(f"pair {pair.id!r}: objects leave nothing of this set free, so it is empty: name another")
    for name, here, there in parts:
        if len(here) != len(there):
            advice = (
                "name it by as many tokens in both questions, or use a set of image tokens"
                if grid is None
                else "use 'outer_strip', which takes the outer thirds whatever stands there"
            )
            raise InputError(
                f"pair {pair.id!r}: {name} has {len(here)} tokens in the clean prompt and {len(there)} in the "
                f"counterfactual, and each needs one to come from: {advice}"
            )
    return tuple(np.concatenate([part[side] for part in parts]) for side in (1, 2))  # type: ignore[return-value]


def _object(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    return _join(pair, _moved(pair, clean, other), clean.grid)


def _strip(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    return _join(pair, _strips(pair, clean, other), clean.grid)


def _strips(pair: Pair, clean: Side, other: Side) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """The thirds that objects have moved between: whose, and the tokens on both sides."""
    which, parts = thirds(clean.grid, pair.axis), []
    base, lines = whole_photo(clean.grid), clean.grid.cols if pair.axis == "horizontal" else clean.grid.rows
    for name, here, there in _moved(pair, clean, other):
        ends = [_third_of(lines[own[base[own]]].mean(), which[base], lines[base]) for own in (here, there)]
        if ends[0] != ends[1]:
            first, last = (in_order(clean.grid, np.flatnonzero(which == end)) for end in ends)
            parts.append((f"the strip of {name}", first, last))
    if not parts:
        raise InputError(f"pair {pair.id!r}: no object stands in another third along the {pair.axis} axis")
    return parts


def _third_of(line: float, which: np.ndarray, lines: np.ndarray) -> int:
    """The third whose rows or columns the middle of an object is nearest to."""
    return int(which[np.abs(lines - line).argmin()])


def _background(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    touched = _touched(clean), _touched(other)
    strips = _strips(pair, clean, other)
    return _join(
        pair,
        [
            (f"the background of {name}", here[~touched[0][here]], there[~touched[1][there]])
            for name, here, there in strips
        ],
        clean.grid,
    )


def _touched(side: Side) -> np.ndarray:
    """Which tokens an object of the sample touches, bool [token]."""
    boxes = [thing.box for thing in side.sample.objects if thing.box is not None]
    return side.grid.union_membership(boxes) > TOUCHED


def _outer_strip(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    which = thirds(clean.grid, pair.axis)
    first, last = (in_order(clean.grid, np.flatnonzero(which == end)) for end in (0, 2))
    return _join(pair, [("the first third", first, last), ("the last third", last, first)], clean.grid)


def _all_image(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(len(clean.grid)), np.arange(len(other.grid))


_IMAGE: dict[str, Callable[[Pair, Side, Side], tuple[np.ndarray, np.ndarray]]] = {
    "object": _object,
    "strip": _strip,
    "background": _background,
    "outer_strip": _outer_strip,
    "all_image": _all_image,
}


def _random(pair: Pair, clean: Side, like: TokenSet, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As many image tokens of each kind of view as a set has, and where each comes from: both drawn."""
    own = np.isin(clean.layout.image_positions, like.target)
    kinds = [among for tiles in (False, True) if len(among := np.flatnonzero((clean.grid.view > 0) == tiles))]
    counts = [int(own[among].sum()) for among in kinds]
    counts[0] += len(like) - sum(counts)  # tokens of the text
    rng, drawn = own_draws(seed, pair.id), []
    for among, many in zip(kinds, counts, strict=True):
        if many > len(among):
            raise InputError(f"pair {pair.id!r}: {many} tokens can not be drawn from {len(among)} image tokens")
        drawn.append((np.sort(rng.choice(among, many, replace=False)), rng.choice(among, many, replace=False)))
    return tuple(np.concatenate(part) for part in zip(*drawn, strict=True))  # type: ignore[return-value]


def _checked(name: str, pair: Pair, target: np.ndarray, source: np.ndarray) -> TokenSet:
    """The set, if it holds something, and no position twice."""
    if not len(target):
        raise InputError(f"pair {pair.id!r}: the token set {name!r} is empty")
    if len(set(target.tolist())) < len(target) and name == "positions":
        raise InputError(f"pair {pair.id!r}: positions name one of its clean prompt twice: name each once")
    if len(set(target.tolist())) < len(target):
        raise InputError(
            f"pair {pair.id!r}: two objects share tokens of {name!r}, which can not be patched from two places"
        )
    return TokenSet(name, target, source)


def _explicit(positions: Any) -> tuple[list[int], list[int]]:
    """Positions of both prompts, as they were given for one or for both."""
    try:
        each = list(plain(positions))
        two = len(each) == 2 and all(isinstance(own, Iterable) and not isinstance(own, str) for own in each)
        found = [list(whole_numbers(own)) for own in (each if two else (each, each))]
    except TypeError:
        raise InputError(
            f"positions={positions!r:.80} are not understood: give a name ({', '.join(NAMES)}) or numbers"
        ) from None
    if not found[0]:
        raise InputError("positions names none, so that the set is empty: give at least one")
    if len(found[0]) != len(found[1]):
        raise InputError(f"positions names {len(found[0])} and {len(found[1])}: give as many for both prompts")
    return found[0], found[1]


def _given(positions: Any, pair: Pair, clean: Side, other: Side) -> TokenSet:
    """Positions that were named one by one."""
    here, there = _explicit(positions)
    lengths = [len(side.layout) - side.padding for side in (clean, other)]
    if here == there and lengths[0] != lengths[1] and any(place >= 0 for place in here):
        raise InputError(
            f"pair {pair.id!r} has prompts of {lengths[0]} and {lengths[1]} tokens, in which one position is not the "
            "same: name the positions of both, as (clean, counterfactual), or use a token set by name"
        )
    found = []
    for side, length, own in zip((clean, other), lengths, (here, there), strict=True):
        outside = [place for place in own if not -length <= place < length]
        if outside:
            raise InputError(f"pair {pair.id!r}: positions {outside} lie outside its prompt of {length} tokens")
        found.append(np.array([place % length + side.padding for place in own]))
    return _checked("positions", pair, *found)


def _word_positions(pair: Pair, clean: Side, other: Side) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that name each object in both questions."""
    names = [thing.name for thing in pair.clean.objects]
    parts = [(f"the name of {name!r}", _naming(name, clean), _naming(name, other)) for name in names]
    found = [part for part in parts if len(part[1]) or len(part[2])]
    if not found:
        raise InputError(f"pair {pair.id!r}: neither question names any of its objects {names}, so the set is empty")
    return _join(pair, found)


def _naming(name: str, side: Side) -> Int[np.ndarray, " token"]:
    """The positions of the tokens that a name in the question is made of, wherever it stands there."""
    (each,) = tokens_of_names(
        [name], side.prompt, side.sample.question, tokenizer=side.tokenizer, length=len(side.layout)
    )
    places = np.array(sorted({place for one in each for place in one}), dtype=np.int64)
    image = min(side.layout.image_positions) if len(side.layout.image_positions) else 0
    if len(places) and places.min() < image:
        raise RefusedError(f"{name!r} is named in front of the photo, where prompts are not followed: ask behind it")
    return places
