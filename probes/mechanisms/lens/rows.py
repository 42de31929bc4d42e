"""Rows of the lens: how much of one photo's tokens say a word, inside boxes and at tokens that should not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid
    from interp.objects.sample import Object, Sample
    from probes.mechanisms.lens.photo import PhotoLens

OBJECT, OUTSIDE, OTHER, IMAGE = "object", "outside", "other", "image"
"""Where words are looked for: at the tokens of an object, outside all boxes, at those of another, at all tokens."""

SHARE, PROBABILITY, RANK = "share", "probability", "reciprocal_rank"
"""Share of the tokens that say a word among their first ones; its mean probability; mean of 1 over its rank."""

MEASURES = (SHARE, PROBABILITY, RANK)


@dataclass(frozen=True)
class LookedFor:
    """What is looked for in photos.

    Attributes:
        words: those that are named.
        words_of: the words of an object's name that can be looked for.
        top: how many of a token's first words count as said.
        at_least: share of a token's area in a box from which on it is the object's.
    """

    words: tuple[str, ...]
    words_of: Callable[[str], tuple[str, ...]]
    top: int
    at_least: float


def rows_of(work: LookedFor, found: PhotoLens, sample: Sample) -> list[dict[str, Any]]:
    """The rows of one sample: of each object's words and of each word that is named, by where they are looked for.

    Words that two objects share, such as `square`, tell neither from the other and count for none that has words of
    its own.
    """
    inside = {place: _tokens(work, found.grid, thing) for place, thing in enumerate(sample.objects)}
    covered = [own for own in inside.values() if isinstance(own, np.ndarray)]
    outside = ~np.any(covered, axis=0) if covered else None
    rows: list[dict[str, Any]] = []
    for place, thing in enumerate(sample.objects):
        named = [set(other.name.split()) for at, other in enumerate(sample.objects) if at != place]
        own, every = inside[place], work.words_of(thing.name)
        words = tuple(word for word in every if not any(word in other for other in named)) or every
        if not words or not isinstance(own, np.ndarray):
            rows.append(_missing(found, thing.name, own if isinstance(own, str) else "none of its words is one token"))
            continue
        rest = [at for at in range(len(inside)) if at != place]
        others = [inside[at] for at, other in zip(rest, named, strict=True) if not other & set(words)]
        boxed = [tokens for tokens in others if isinstance(tokens, np.ndarray)]
        elsewhere = {OBJECT: own, OUTSIDE: outside, OTHER: np.any(boxed, axis=0) & ~own if boxed else None}
        rows += [_row(work, found, "object", thing.name, words, *where) for where in elsewhere.items()]
    everywhere = {IMAGE: np.ones(len(found.grid), dtype=bool)}
    everywhere |= {} if outside is None else {OBJECT: ~outside, OUTSIDE: outside}
    rows += [_row(work, found, "word", word, (word,), *where) for word in work.words for where in everywhere.items()]
    return rows or [_missing(found, "", "no object is named")]


def _tokens(work: LookedFor, grid: ImageGrid, thing: Object) -> Bool[np.ndarray, " token"] | str:
    """Which image tokens an object's box covers; or why none."""
    if thing.box is None:
        return "it has no box"
    try:
        own = grid.tokens_in(thing.box, at_least=work.at_least)
    except InputError:
        return f"no image token lies in its box by {work.at_least:.0%}"
    return np.isin(np.arange(len(grid)), own)


def _row(
    work: LookedFor, found: PhotoLens, kind: str, what: str, words: tuple[str, ...], where: str, at: Any
) -> dict[str, Any]:
    """One row: of several words of a name, whichever says it best at a token."""
    if at is None or not at.any():
        missing = "no other object with a box and another name" if where == OTHER else "no token is there"
        return _missing(found, what, missing, where)
    columns = [found.words.index(word) for word in words]
    rank = found.rank[:, at][..., columns].min(-1)
    means = {
        SHARE: (rank <= work.top).mean(1),
        PROBABILITY: found.probability[:, at][..., columns].max(-1).mean(1),
        RANK: (1 / rank).mean(1),
    }
    return {"kind": kind, "what": what, "where": where, "tokens": int(at.sum()), "why": ""} | _as_float(means)


def _missing(found: PhotoLens, what: str, why: str, where: str = OBJECT) -> dict[str, Any]:
    nothing = np.full(len(found.rank), np.nan, dtype=np.float32)
    return {"kind": "left out", "what": what, "where": where, "tokens": 0, "why": why} | dict.fromkeys(
        MEASURES, nothing
    )


def _as_float(means: dict[str, np.ndarray]) -> dict[str, Float32[np.ndarray, " slot"]]:
    return {name: own.astype(np.float32) for name, own in means.items()}
