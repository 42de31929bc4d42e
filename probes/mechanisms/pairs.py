"""Pairs: a sample and its counterfactual, which differ in one thing that an answer hangs on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.reprs import fits_a_cell

AXES = ("horizontal", "vertical")
"""Along which axis the objects of a pair are told apart."""

MIRRORED = "mirrored"
"""In `meta` of a counterfactual whose photo is the mirror image of the clean one."""


@fits_a_cell()
@dataclass(frozen=True)
class Pair:
    """A sample, its counterfactual, and what it would mean that the model says which word.

    What is patched goes from the counterfactual run into the clean one. `objects` of both samples are the same things
    by name, in the same order, so that the tokens of each can be taken from where the other photo shows it.

    Attributes:
        clean: what is asked.
        counterfactual: another photo, another question, or both.
        outcomes: the word of each outcome; `clean`, the answer of the clean sample, first.
        axis: `horizontal` or `vertical`.

    Raises:
        InputError: an axis that is not known, objects that differ, or outcomes that do not begin with `clean`.
    """

    clean: Sample
    counterfactual: Sample
    outcomes: Mapping[str, str]
    axis: str

    def __post_init__(self) -> None:
        """Refuse parts that do not fit together."""
        if self.axis not in AXES:
            raise InputError(f"pair {self.id!r}: axis={self.axis!r} is not known: use one of {', '.join(AXES)}")
        names = [[thing.name for thing in sample.objects] for sample in (self.clean, self.counterfactual)]
        if names[0] != names[1]:
            raise InputError(
                f"pair {self.id!r} names the objects {names[0]} and {names[1]}: name the same in one order"
            )
        if next(iter(self.outcomes), "") != "clean":
            raise InputError(f"pair {self.id!r} has the outcomes {list(self.outcomes)}: begin with 'clean'")

    @property
    def id(self) -> str:
        """The id of its clean sample."""
        return self.clean.id

    @property
    def group(self) -> str:
        """What it is drawn together with; the group of its clean sample."""
        return self.clean.group

    def as_sample(self) -> Sample:
        """The clean sample, with all else that makes the pair in its `meta`: what a study knows it again by."""
        from interp.study.keys import content_key

        more = {"counterfactual": content_key(self.counterfactual), "axis": self.axis}
        return replace(self.clean, meta={**self.clean.meta, **more, "outcomes": str(dict(self.outcomes))})


def measured_as_samples(
    pairs: Sequence[Pair], measure: Callable[[list[Pair]], list[list[dict[str, Any]]]]
) -> tuple[list[Sample], Callable[[list[Sample]], list[list[dict[str, Any]]]]]:
    """Pairs as the samples of a study, and what is measured of them as a function of samples.

    Example:
        >>> samples, work = measured_as_samples(pairs, measure)
        >>> table = run_study(samples, work, "out/interchange", settings=settings)
    """
    known = {pair.id: pair for pair in pairs}
    return [pair.as_sample() for pair in pairs], lambda samples: measure([known[sample.id] for sample in samples])
