"""Progress: bars that show how far a loop is, and end it between two steps where a signal has asked for that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm

from interp.store.signals import check_stopped


class ProgressBar(tqdm):
    """A progress bar of tqdm; while it is gone through or updated, shown or not, signals are heard.

    Example:
        >>> [step for step in ProgressBar(range(3), disable=True)]
        [0, 1, 2]
    """

    def __iter__(self) -> Iterator[Any]:
        """Give one item after the other.

        Raises:
            Stopped: a signal has asked us to end.
        """
        for item in super().__iter__():
            check_stopped()
            yield item

    def update(self, n: float | None = 1) -> bool | None:
        """Show that `n` more steps are done.

        Raises:
            Stopped: a signal has asked us to end.
        """
        shown = super().update(n)
        check_stopped()
        return shown


def patient_bar(
    items: Iterable[Any] | None, label: str, unit: str, *, total: int | None = None, show: bool = True
) -> ProgressBar:
    """The items, with a progress bar where going through them takes more than two seconds.

    Args:
        items: what is gone through; None for a bar that is told by `update`.
        label: what the bar says.
        unit: what is counted; `B` are bytes.
        total: how many there are, where `items` do not say so.
        show: whether there is a bar.
    """
    how: dict[str, Any] = {"desc": label, "unit": unit, "unit_scale": unit == "B", "leave": False, "delay": 2.0}
    return ProgressBar(items, total=total, disable=not show, **how)
