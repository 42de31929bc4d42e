"""Numbers: division where there may be nothing to divide by, means where values may be missing, shares and counts."""

from __future__ import annotations

from numbers import Real
from operator import index
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from interp.errors import InputError

_NOTHING = 1e-12  # what is left of rounding


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """Division, with broadcasting, that gives NaN where there is nothing to divide by."""
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def mean_of_known(values: Float[np.ndarray, " sample *axes"]) -> Float[np.ndarray, "*axes"]:
    """The mean over the samples that have a value, [...] of [sample ...], place by place; NaN where none has.

    Example:
        >>> mean_of_known(np.array([[1.0, 2.0], [3.0, np.nan]]))
        array([2., 2.])
    """
    known = np.isfinite(values)
    return ratio(np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0))


def bounded(*ends: ArrayLike) -> bool:
    """Whether any number has an interval, by the lower ends of some, NaN or None where there is none.

    Example:
        >>> bounded([0.2, np.nan], []), bounded([np.nan], np.nan)
        (True, False)
    """
    return any(bool(np.isfinite(np.asarray(own, dtype=np.float64)).any()) for own in ends)


def percentage(share: float, digits: int = 1, *, of: float = 100) -> str:
    """A share in percent, or of whatever all are called, rounded, where only all are 100 and only none are 0.

    Example:
        >>> percentage(1.0), percentage(0.9997), percentage(0.0002), percentage(0.5, 0), percentage(0.9997, 2, of=1)
        ('100.0', '>99.9', '<0.1', '50', '>0.99')
    """
    share = float(share)  # of single precision it would be rounded otherwise than as the same number of a table
    told, least = f"{of * share:z.{digits}f}", 10.0**-digits
    if _NOTHING < share < 1 - _NOTHING and float(told) in (0.0, of):
        return f"<{least:.{digits}f}" if share < 0.5 else f">{of - least:.{digits}f}"
    return told


def named_level(level: float) -> str:
    """The level of an interval in percent, with as many decimals as it has.

    Example:
        >>> named_level(0.95), named_level(0.975), named_level(0.999)
        ('95 %', '97.5 %', '99.9 %')
    """
    return f"{100 * level:.12g} %"


def counted(count: int, noun: str, plural: str = "") -> str:
    """So many things, with the noun's plural, by default with an s, where they are not one.

    Example:
        >>> counted(1, "seed"), counted(3, "seed"), counted(2, "policy", "policies")
        ('1 seed', '3 seeds', '2 policies')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def agree(count: int, one: str, several: str) -> str:
    """The form of a verb that goes with a count.

    Example:
        >>> f"1 of 4 items {agree(1, 'is', 'are')} left out"
        '1 of 4 items is left out'
    """
    return one if count == 1 else several


def whole_number(value: Any, name: str, least: int | None = None) -> int:
    """A whole number as a plain one, whatever kind of number it came as.

    Args:
        value: what was given.
        name: what it is called in the refusal.
        least: the lowest that means something; None for any.

    Raises:
        InputError: it is no whole number, or a lower one.

    Example:
        >>> whole_number(np.int64(16), "batch", 1)
        16
    """
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(plain(value), bool) or (least is not None and number < least):
        from_here = "" if least is None else f" from {least} on"
        raise InputError(f"{name} {value!r:.60} can not be used: give a whole number{from_here}")
    return number


def read_flag(given: Any, name: str) -> bool:
    """A truth value; words such as "no", which are true of themselves, are refused.

    Args:
        given: what was given.
        name: what it is called in the refusal.

    Raises:
        InputError: it is none.

    Example:
        >>> read_flag(np.bool_(True), "resume")
        True
    """
    own = plain(given)
    if not isinstance(own, bool):
        raise InputError(f"{name}={given!r:.40} is not understood: give True or False")
    return own


def real(value: Any) -> float:
    """A number as a plain one; of what is none, NaN, which lies inside no bounds.

    Example:
        >>> 0 < real("half") <= 1, 0 < real(np.float32(0.5)) <= 1
        (False, True)
    """
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else float("nan")


def listed(given: Any, name: str) -> tuple[Any, ...]:
    """What was given for a list, read once; a single text is a list of one.

    Args:
        given: the list.
        name: what it is called in the refusal.

    Raises:
        InputError: it is no list.

    Example:
        >>> listed("left", "words"), listed(["left", "right"], "words")
        (('left',), ('left', 'right'))
    """
    if isinstance(given, str):
        return (given,)
    try:
        return tuple(given)
    except TypeError:
        raise InputError(f"{name}={given!r:.60} is no list: give several, or one in brackets") from None


def whole_numbers(given: Any) -> tuple[int, ...]:
    """Indices as plain numbers; truth values are none, so that a mask is not taken for the indices 0 and 1.

    Example:
        >>> whole_numbers(np.array([3, -1]))
        (3, -1)

    Raises:
        TypeError: one is no whole number.
    """
    own = [plain(one) for one in plain(given)]
    if any(isinstance(one, bool) for one in own):
        raise TypeError(f"{given!r:.60} are truth values, not numbers")
    return tuple(index(one) for one in own)


def plain(given: Any) -> Any:
    """What an array, a tensor or one of their numbers holds, as Python's own; anything else as it is."""
    return given.tolist() if hasattr(given, "tolist") else given
