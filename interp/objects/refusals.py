"""Refusals: all rows of a data set that can not be used, in one error, or left out where that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from interp.errors import InputError, SpatialLensError

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
    """While this is on, rows and samples that can not be used are noted and left out; records tell them as `skipped`.

    Rows are noted by whatever reads them, samples by `interp.study.sample_checks.askable`. Where leaving out is not
    `asked_for`, as in a command without --skip-bad, `askable` refuses all that was noted once it knows the model: rows,
    photos and prompts in one error, which says how to leave them out. What nobody has refused is refused at the end.

    Example:
        >>> with leaving_out() as left_out:
        ...     samples = askable(read_folder("holiday"), vlm, prompt="paper")
        ...     study = study_overlap(vlm, samples, detector="ground-truth")
    """
    token = _now.set(LeftOut(asked_for))
    try:
        yield _now.get() or LeftOut()
        refuse_noted()
    except SpatialLensError as error:
        if (told := noted()) and not isinstance(error, _Refused):
            error.add_note(f"Besides, {all_of(told, 'rows can not be used')}")
        raise
    finally:
        _now.reset(token)


def takes_notes() -> bool:
    """Whether what can not be used is noted, to be left out or to be refused together."""
    return _now.get() is not None


def leaves_out() -> bool:
    """Whether what can not be used is left out for good."""
    now = _now.get()
    return now is not None and now.asked_for


def note_bad(why: str, sample: str | None = None, row: object = None) -> bool:
    """Note what can not be used, where that is done; if not, it is to be refused at once."""
    now = _now.get()
    if now is None:
        return False
    now.told.append({"sample": sample, "row": row if isinstance(row, (int, str)) else None, "why": why})
    return True


def noted() -> list[InputError]:
    """What was noted and is still to be refused; nothing, where it is left out for good."""
    now = _now.get()
    return [] if now is None or now.asked_for else [InputError(_named(one)) for one in now.told]


def refuse_noted(samples: int = 0) -> None:
    """Refuse all that was noted and is not left out.

    Args:
        samples: how many others there are, which can be asked.

    Raises:
        InputError: there is something; it names the first and tells how many there are.
    """
    if told := noted():
        raise refused(told, samples + len(told))


def skipped() -> dict[str, Any]:
    """What was left out so far, for a record: as `skipped`, if there is something."""
    now = _now.get()
    return {"skipped": [dict(one) for one in now.told]} if now is not None and now.asked_for and now.told else {}


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


def each_row(rows: Iterable[_Row], make: Callable[[_Row], _Made], *, together: bool = True) -> Iterator[_Made]:
    """What is made of each row. Those that can not be used are noted, see `leaving_out`, or refused, all in one error.

    Args:
        rows: the rows.
        make: makes something of one; raises InputError where that can not be done.
        together: whether refusing them may wait for what is wrong with samples; not where samples would lack what these
            rows say of them.

    Raises:
        InputError: rows can not be used, and nothing is noted or left of them; it names the first and tells how many
            there are.

    Example:
        >>> list(each_row([1, 2], lambda row: 10 * row))
        [10, 20]
    """
    bad: list[InputError] = []
    total = used = 0
    waits = leaves_out() or (together and takes_notes())
    for row in rows:
        total += 1
        try:
            made = make(row)
        except InputError as error:
            if not (waits and note_bad(str(error))):
                bad.append(error)
            continue
        used += 1
        if not bad:
            yield made
    if bad:
        raise refused_rows(bad, f"of {total} rows can not be used")
    if not used:
        refuse_noted()


def refused(errors: Sequence[InputError], total: int) -> InputError:
    """One error for all of so many samples that can not be asked."""
    return refused_rows(errors, f"of {total} samples can not be asked; nothing was asked yet")


def refused_rows(errors: Sequence[InputError], what: str) -> InputError:
    """One error for rows or samples of a data set, see `all_of`; where they can be left out, it says how."""
    error = _Refused(str(all_of(errors, what)))
    if takes_notes():
        error.add_note("(to go on without what is named: --skip-bad)")
    return error


def all_of(errors: Sequence[InputError], what: str) -> InputError:
    """One error for several, of which the first are named; a single one is as it was."""
    if len(errors) == 1:
        return errors[0]
    named = "; ".join(str(error) for error in errors[:NAMED])
    more = f"; and {len(errors) - NAMED} more" if len(errors) > NAMED else ""
    return InputError(f"{len(errors)} {what}: {named}{more}")


class _Refused(InputError):
    """Rows or samples of a data set can not be used."""


_now: ContextVar[LeftOut | None] = ContextVar("left out", default=None)


def _named(one: dict[str, Any]) -> str:
    row = "" if one["row"] is None else f" (row {one['row']})"
    return one["why"] if one["sample"] is None else f"sample {one['sample']!r}{row}: {one['why']}"
