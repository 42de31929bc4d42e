"""Items: what scorers know of each subquestion beside activations: its functions, its main question, right or not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Int
from numpy.typing import ArrayLike

from interp.errors import InputError
from interp.numeric import agree, counted
from interp.stats.scores import codes_of

LEAST = 10
"""Items that a function needs, and others beside them: of fewer no score is worth its name."""


@dataclass(frozen=True, eq=False)
class Items:
    """Functions, main question and correctness of each item.

    Attributes:
        labels: whether an item is of a function; it may be of several.
        functions: their names.
        groups: the code of each item's main question, by first appearance.
        correct: whether the model answered each rightly; None where nobody said.
        left_out: `function` and `why` of functions that can not be scored; the labels hold them no more.
    """

    labels: Bool[np.ndarray, "item function"]
    functions: tuple[str, ...]
    groups: Int[np.ndarray, " item"]
    correct: Bool[np.ndarray, " item"] | None = None
    left_out: tuple[dict[str, str], ...] = ()

    @classmethod
    def of(
        cls,
        labels: ArrayLike,
        groups: ArrayLike,
        *,
        functions: Sequence[str],
        correct: ArrayLike | None = None,
        count: int | None = None,
    ) -> Items:
        """Read what was given.

        Args:
            labels: bool [item function].
            groups: the main question of each item, [item].
            functions: the names of the functions.
            correct: bool [item].
            count: how many items the features are of.

        Raises:
            InputError: shapes that do not fit, values that are no labels, items of no function, or one group.
        """
        table, named = np.asarray(labels), tuple(functions)
        if table.ndim != 2 or not np.isin(table, (0, 1)).all() or 0 in table.shape:
            raise InputError(f"labels have shape {table.shape} and type {table.dtype}: give bool [item function]")
        if table.shape[1] != len(named) or len(set(named)) < len(named):
            raise InputError(
                f"labels have {table.shape[1]} columns for the functions {', '.join(map(str, named))}: name each once"
            )
        if count not in (None, len(table)):
            raise InputError(f"features are of {count} items, labels of {len(table)}: give the same items in both")
        own = table.astype(bool)
        if without := int((~own.any(axis=1)).sum()):
            first = int(np.argmin(own.any(axis=1)))
            raise InputError(
                f"{without} of {counted(len(own), 'item')} {agree(without, 'is', 'are')} of no function, first "
                f"item {first}: leave them out, or label them"
            )
        codes, _ = codes_of(groups, len(own), "groups")
        return cls(own, named, codes, None if correct is None else _as_answers(correct, len(own)))

    def with_primary(self, primary: ArrayLike | None) -> Items:
        """The same with one function for each item, named for each; as it is where none are named.

        Raises:
            InputError: a name for each is missing, or an item is not labelled with the one that is named.
        """
        if primary is None:
            return self
        named = np.asarray(primary, dtype=object)
        own = named[:, None] == np.array(self.functions, dtype=object) if named.shape == (len(self.labels),) else None
        if own is None or (bad := int((~(own & self.labels).any(axis=1)).sum())):
            what = f"shape {named.shape}" if own is None else f"{bad} that are no function of their item"
            raise InputError(f"primary has {what}, for {len(self.labels)} items: name one of each item's functions")
        return replace(self, labels=own)

    def without_rare(self, chosen: Bool[np.ndarray, " item"], trainings: Sequence[Int[np.ndarray, " train"]]) -> Items:
        """The same without functions that can not be scored on the chosen items, and why each can not.

        Args:
            chosen: which items are used.
            trainings: the training items of each fold, which have to hold both classes.

        Raises:
            InputError: no function is left.
        """
        told = {name: self._why_not(place, chosen, trainings) for place, name in enumerate(self.functions)}
        kept = [place for place, name in enumerate(self.functions) if told[name] is None]
        left_out = tuple({"function": name, "why": why} for name, why in told.items() if why is not None)
        if not kept:
            raise InputError(
                "no function can be scored: " + "; ".join(f"{one['function']}: {one['why']}" for one in left_out)
            )
        names = tuple(self.functions[place] for place in kept)
        return replace(self, labels=self.labels[:, kept], functions=names, left_out=left_out)

    def _why_not(self, place: int, chosen: np.ndarray, trainings: Sequence[Int[np.ndarray, " train"]]) -> str | None:
        """Why a function can not be scored; None where it can."""
        yes, no = chosen & self.labels[:, place], chosen & ~self.labels[:, place]
        right = "" if chosen.all() else ", rightly answered"
        if yes.sum() < LEAST or no.sum() < LEAST:
            return (
                f"{counted(int(yes.sum()), 'item')} of it and {no.sum()} others{right}: at least {LEAST} of "
                "each are needed to read anything from them"
            )
        if any(not own[train].any() for train in trainings for own in (yes, no)):
            groups = [len(np.unique(self.groups[own])) for own in (yes, no)]
            return (
                f"its {counted(int(yes.sum()), 'item')} {agree(int(yes.sum()), 'lies', 'lie')} in "
                f"{counted(groups[0], 'main question')} and the {no.sum()} others in {groups[1]}, so "
                "that one fold holds them all: label it in more main questions"
            )
        return None


def _as_answers(correct: ArrayLike, count: int) -> Bool[np.ndarray, " item"]:
    """Whether each item was answered rightly."""
    own = np.asarray(correct)
    if own.shape != (count,) or not np.isin(own, (0, 1)).all():
        raise InputError(f"correct has shape {own.shape} for {count} items: give one truth value for each")
    return own.astype(bool)
