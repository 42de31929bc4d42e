"""Refusals: all rows of a data set that can not be used, in one error, rather than one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from interp.errors import InputError

NAMED = 3
"""How many of them a message names."""

_Row = TypeVar("_Row")
_Made = TypeVar("_Made")


def each_row(rows: Iterable[_Row], make: Callable[[_Row], _Made]) -> Iterator[_Made]:
    """What is made of each row; from the first that can not be used on, the others are only looked at.

    Raises:
        InputError: rows can not be used; it names the first and tells how many there are.

    Example:
        >>> list(each_row([1, 2], lambda row: 10 * row))
        [10, 20]
    """
    bad: list[InputError] = []
    total = 0
    for row in rows:
        total += 1
        try:
            made = make(row)
        except InputError as error:
            bad.append(error)
            continue
        if not bad:
            yield made
    if bad:
        raise all_of(bad, f"of {total} rows can not be used")


def all_of(errors: Sequence[InputError], what: str) -> InputError:
    """One error for several, of which the first few are named; a single one is as it was."""
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(str(error) for error in errors[:NAMED])
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    return InputError(f"{len(errors)} {what}: {named}{more}")
