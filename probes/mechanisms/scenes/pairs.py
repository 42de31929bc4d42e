"""Pairs: a sample and its counterfactual, which differ in one thing that an answer hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from interp.errors import InputError
from interp.image.photos import load_image
from interp.objects.sample import Sample
from interp.reprs import fits_a_cell
from interp.study.keys import check_ids, content_key

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
        InputError: an axis that is not known, objects that differ, or outcomes that do not begin with `clean`, the
            answer of the clean sample.
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
        if str(self.outcomes["clean"]).casefold() != self.clean.answer.casefold():
            raise InputError(
                f"pair {self.id!r} is answered {self.clean.answer!r}, and its outcome 'clean' is "
                f"{self.outcomes['clean']!r}: let it be the answer of the clean sample"
            )

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
        more = {"counterfactual": content_key(self.counterfactual), "axis": self.axis}
        return replace(self.clean, meta={**self.clean.meta, **more, "outcomes": str(dict(self.outcomes))})


def refuse_alike(pair: Pair) -> None:
    """Refuse a pair of which both sides ask one question about one photo: nothing of one would be new to the other.

    Raises:
        InputError: it is one.
    """
    here, there = pair.clean, pair.counterfactual
    photos = [load_image(side.image) for side in (here, there)] if here.question == there.question else []
    if photos and photos[0].size == photos[1].size and photos[0].tobytes() == photos[1].tobytes():
        raise InputError(f"pair {pair.id!r} asks one question about one photo on both sides: give it a counterfactual")


def check_pairs(pairs: Sequence[Pair]) -> None:
    """Refuse what is no list of pairs, no pairs, what is no `Pair`, and an id that occurs twice.

    Raises:
        InputError: one of them.
    """
    if not isinstance(pairs, Sequence):
        raise InputError(f"the pairs are a {type(pairs).__name__}: give a list of pairs, such as list(...) of it")
    if not len(pairs):
        raise InputError("there are no pairs: give at least two groups of them")
    if strangers := [own for own in pairs if not isinstance(own, Pair)]:
        raise InputError(f"{strangers[0]!r:.80} is no Pair: give pairs of a clean and a counterfactual sample")
    check_ids([pair.clean for pair in pairs])
