"""Indices of layers and heads: read, checked, and spelled for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from interp.errors import HookError, InputError
from interp.numeric import whole_numbers


def read_indices(chosen: Any, what: str) -> tuple[int, ...] | None:
    """Layers or heads as a sorted tuple; None for all."""
    if chosen is None:
        return None
    try:
        indices = tuple(sorted(set(whole_numbers(chosen))))
    except TypeError:
        raise InputError(f"{what}={chosen!r} is not understood: give whole numbers, such as {what}=(6, 7)") from None
    if not indices:
        raise InputError(f"{what} is empty, so nothing would be edited: name some, or leave it out for all")
    return indices


def check_indices(chosen: Sequence[int] | None, count: int, what: str) -> tuple[int, ...]:
    """The chosen indices, or all of them.

    Raises:
        HookError: an index does not exist.
    """
    if chosen is None:
        return tuple(range(count))
    outside = [index for index in chosen if not 0 <= index < count]
    if outside:
        raise HookError(f"{what} {outside} does not exist: there are {count}, counted from 0 to {count - 1}")
    return tuple(chosen)


def spell_number(value: float) -> str:
    """A number as short as it can be told from all others.

    Example:
        >>> spell_number(0.5), spell_number(2.0), spell_number(0.12345678)
        ('0.5', '2', '0.12345678')
    """
    short = f"{value:g}"
    return short if float(short) == value else repr(float(value))


def spell(indices: Sequence[int] | None) -> str:
    """Indices as text, runs shortened.

    Example:
        >>> spell((3, 4, 5, 9))
        '3-5,9'
    """
    if indices is None:
        return "all"
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
