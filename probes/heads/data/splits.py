"""Splits of stepped questions: whole main questions go to one side, never a step of one, and leaks are named."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interp.errors import InputError
from interp.image.digests import picture_digest
from interp.numeric import agree, counted
from probes.heads.data.record import SteppedQuestion

if TYPE_CHECKING:
    from PIL import Image

NAMED = 3
"""How many leaks a message names."""


def split_by_question(
    questions: Iterable[SteppedQuestion], *, share: float = 0.8, seed: int = 0
) -> tuple[tuple[SteppedQuestion, ...], tuple[SteppedQuestion, ...]]:
    """Split questions into `train` and `test`, so that no main question has steps on both sides.

    Questions of one group stay together, and so do those that ask the same of the same image. What is drawn are these
    bundles, in an order that hangs on the seed and on the questions alone; `train` is filled with them until it holds
    its share of the questions.

    Args:
        questions: the questions; a split that they are in already is written over.
        share: how much of the questions `train` gets; 4 of 5 by default, as in the papers.
        seed: which draw.

    Returns:
        Train and test, each in the given order, with `split` set.

    Raises:
        InputError: the share lies not between 0 and 1, or the bundles are too few or too large for two sides.

    Example:
        >>> train, test = split_by_question(synthetic_steps(50))
        >>> len(train), len(test)
        (40, 10)
    """
    given = list(questions)
    if not 0.0 < share < 1.0:
        raise InputError(f"share={share!r} of the questions was asked for train: give a number between 0 and 1")
    if seed < 0:
        raise InputError(f"seed={seed!r} is negative: give 0 or more")
    bundles = _bundles(given)
    if len(bundles) < 2:
        raise InputError(
            f"{counted(len(given), 'question')} {agree(len(given), 'lies', 'lie')} in "
            f"{counted(len(bundles), 'bundle')} that stays whole (a group, or one question on one image): give at "
            "least two"
        )
    ordered = sorted(bundles, key=lambda places: min(given[place].id for place in places))
    drawn = [ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered))]
    wanted, taken = share * len(given), set[int]()
    for places in drawn[:-1]:
        if taken and len(taken) + len(places) / 2 > wanted:
            break
        taken |= set(places)
    sides = {place: "train" if place in taken else "test" for place in range(len(given))}
    named = [replace(one, split=sides[place]) for place, one in enumerate(given)]
    return tuple(one for one in named if one.split == "train"), tuple(one for one in named if one.split == "test")


def of_split(questions: Iterable[SteppedQuestion], split: str) -> tuple[SteppedQuestion, ...]:
    """The questions of one split.

    Raises:
        InputError: there are none; the message tells the splits that there are.
    """
    given = list(questions)
    found = tuple(one for one in given if one.split == split)
    if not found:
        there = sorted({one.split for one in given} - {""})
        raise InputError(
            f"none of {len(given)} questions is in the split {split!r}: "
            + (f"there are {', '.join(there)}" if there else "make splits with split_by_question, or ask all of them")
        )
    return found


def refuse_leaks(train: Sequence[SteppedQuestion], test: Sequence[SteppedQuestion]) -> None:
    """Refuse two sides that share a main question.

    Raises:
        InputError: some are in both, by id, by group, or as one question on one image; it tells how many.
    """
    sides = [*(replace(one, split="train") for one in train), *(replace(one, split="test") for one in test)]
    leaks = find_leaks(sides)
    if leaks:
        named = "; ".join(f"{sides[place].id} {what}" for place, what in leaks[:NAMED])
        raise InputError(
            f"{counted(len(leaks), 'question')} of test {agree(len(leaks), 'leaks', 'leak')} from train "
            f"({named}): make the splits with split_by_question"
        )


def find_leaks(questions: Sequence[SteppedQuestion]) -> list[tuple[int, str]]:
    """Where questions share an id, a group, or text and image with an earlier one that is in another split."""
    leaks, first = [], dict[tuple[object, ...], SteppedQuestion]()
    for place, one in enumerate(questions):
        for key in _keys(one) if one.split else ():
            other = first.setdefault(key, one)
            if other.split != one.split:
                leaks.append((place, f"is {one.split!r}, and shares its {key[0]} with {other.id}, of {other.split!r}"))
                break
    return leaks


def _bundles(questions: Sequence[SteppedQuestion]) -> list[list[int]]:
    """Places of the questions that must stay together, by every key that any of them share."""
    parent = list(range(len(questions)))

    def root(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    first: dict[tuple[object, ...], int] = {}
    for place, one in enumerate(questions):
        for key in _keys(one):
            parent[root(place)] = root(first.setdefault(key, place))
    together: dict[int, list[int]] = {}
    for place in range(len(questions)):
        together.setdefault(root(place), []).append(place)
    return list(together.values())


def _keys(one: SteppedQuestion) -> list[tuple[object, ...]]:
    """What two questions may share that makes them one main question."""
    asked = " ".join(one.question.lower().split())
    keys: list[tuple[object, ...]] = [("id", one.id), ("question and image", asked, *map(_picture, one.images))]
    return [*keys, ("group", one.group)] if one.group else keys


def _picture(image: Image.Image | Path) -> str:
    """What tells one image from another: its path, or its pixels."""
    if isinstance(image, Path):
        return str(image)
    return picture_digest(image)
