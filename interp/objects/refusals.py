"""Refusals: all rows of a data set that can not be used, in one error, or left out where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from interp.errors import InputError

NAMED = 20
"""How many of them a message names."""

_Row = TypeVar("_Row")
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class LeftOut:
    """What of data sets can not be used and is left out, if it is `asked_for`; else it is refused.

    Attributes:
        asked_for: whether to leave out or to refuse.
        told: what was left out: the id of a `sample` and its `row`, where they are known, and `why`.
    """

    asked_for: bool = True
    told: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def leaving_out(asked_for: bool = True) -> Iterator[LeftOut]:
    """While this is on, rows and samples that can not be used are left out, and every record tells them as `skipped`.

    Rows are left out by whatever reads them, samples by `interp.study.sample_checks.askable`. Where it is on and not
    `asked_for`, they are refused as ever, and the refusal says how to leave them out.

    Example:
        >>> with leaving_out() as left_out:
        ...     samples = askable(read_folder("holiday"), vlm, prompt="paper")
        ...     study = study_overlap(vlm, samples, detector="ground-truth")
    """
    token = _now.set(LeftOut(asked_for))
    try:
        yield _now.get() or LeftOut()
    finally:
        _now.reset(token)


def leaves_out() -> bool:
    """Whether what can not be used is left out."""
    now = _now.get()
    return now is not None and now.asked_for


def is_left_out(why: str, sample: str | None = None, row: object = None) -> bool:
    """Whether what can not be used is to be left out, which is noted then; if not, it is to be refused."""
    now = _now.get()
    if now is None or not now.asked_for:
        return False
    now.told.append({"sample": sample, "row": row if isinstance(row, (int, str)) else None, "why": why})
    return True


def skipped() -> dict[str, Any]:
    """What was left out so far, for a record: as `skipped`, if there is something."""
    now = _now.get()
    return {"skipped": [dict(one) for one in now.told]} if now is not None and now.told else {}


def tell_skipped(told: Sequence[dict[str, Any]]) -> str:
    """What was left out, in one sentence; nothing, where that is nothing.

    Example:
        >>> tell_skipped([{"sample": "a-3", "row": 3, "why": "its question is empty: ask something"}])
        "1 row can not be asked and is skipped: sample 'a-3' (row 3): its question is empty: ask something."
    """
    if not told:
        return ""
    named = "; ".join(_named(one) for one in told[:NAMED])
    more = f"; and {len(told) - NAMED} more" if len(told) > NAMED else ""
    one = len(told) == 1
    count = f"{len(told)} row{'' if one else 's'} can not be asked and {'is' if one else 'are'} skipped"
    return f"{count}: {named}{more}."


def each_row(rows: Iterable[_Row], make: Callable[[_Row], _Made]) -> Iterator[_Made]:
    """What is made of each row; from the first that can not be used on, the others are only looked at.

    Raises:
        InputError: rows can not be used and are not left out; it names the first and tells how many there are.

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
            if not is_left_out(str(error)):
                bad.append(error)
            continue
        if not bad:
            yield made
    if bad:
        raise refused_rows(bad, f"of {total} rows can not be used")


def refused_rows(errors: Sequence[InputError], what: str) -> InputError:
    """One error for rows or samples of a data set, see `all_of`; where they can be left out, it says how."""
    error = all_of(errors, what)
    if _now.get() is not None:
        error.add_note("(to go on without what is named: --skip-bad)")
    return error


def all_of(errors: Sequence[InputError], what: str) -> InputError:
    """One error for several, of which the first are named; a single one is as it was."""
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(str(error) for error in errors[:NAMED])
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    return InputError(f"{len(errors)} {what}: {named}{more}")


_now: ContextVar[LeftOut | None] = ContextVar("left out", default=None)


def _named(one: dict[str, Any]) -> str:
    row = "" if one["row"] is None else f" (row {one['row']})"
    return one["why"] if one["sample"] is None else f"sample {one['sample']!r}{row}: {one['why']}"
