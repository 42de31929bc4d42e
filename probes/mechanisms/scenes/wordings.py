"""Wordings: where one of two things lies, asked with the two sides in either order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from interp.errors import InputError
from interp.objects.sample import Sample
from interp.prompt.templates import is_or_are, list_options, where_in_relation
from probes.mechanisms.scenes.sides import DIRECTIONS, SIDES
from probes.mechanisms.scenes.vocabulary import plain_word

Sides = tuple[str, str]


def _qwen(name: str, reference: str, sides: Sides) -> str:
    where = f"which side {is_or_are(name)} the {name} on"
    if set(sides) == set(SIDES["vertical"]):
        where = f"where {is_or_are(name)} the {name} located"
    return f"Using the {reference} as the reference point, {where}? Answer with one word: {list_options(sides)}."


def _gemma(name: str, reference: str, sides: Sides) -> str:
    verb, horizontal = is_or_are(name).capitalize(), set(sides) == set(SIDES["horizontal"])
    first, second = (f"to the {side}" if horizontal else side for side in sides)
    return f"{verb} the {name} {first} or {second} {'of ' * horizontal}the {reference}? Answer with one word."


def _where(name: str, reference: str, sides: Sides) -> str:
    return where_in_relation(name, reference, sides)


WORDINGS: dict[str, Callable[[str, str, Sides], str]] = {
    "where_in_relation": _where,
    "qwen": _qwen,
    "gemma": _gemma,
}
"""Wordings by name, of a thing, what it is held against, and the two sides in order.

`qwen` and `gemma` are those that "The Dual Mechanisms" asks models of these names (the former Pixtral, too);
`where_in_relation` is the template of this toolkit, with all options of a sample that lists more than the two sides.
"""


def axis_of(sample: Sample) -> str:
    """The axis that a sample asks about, by its relation.

    Raises:
        InputError: the relation is none of the four sides.
    """
    for axis, sides in SIDES.items():
        if sample.relation in sides:
            return axis
    raise InputError(
        f"sample {sample.id!r} has the relation {sample.relation!r}: keep samples with left, right, above or below"
    )


def in_both_orders(samples: Sequence[Sample], wording: str) -> tuple[list[Sample], list[Sample]]:
    """Every sample twice: asked with its sides in order (left or right, above or below), and the other way about.

    Example:
        >>> first, second = in_both_orders(samples, "gemma")
        >>> first[0].question, second[0].question.partition("?")[0]
        ('Is the mug to the left or to the right of the dog? Answer with one word.',
         'Is the mug to the right or to the left of the dog')

    Raises:
        InputError: a wording that is not known, a sample without two things to name or without a side, or one whose
            answer is not its relation.
    """
    if wording not in WORDINGS:
        raise InputError(f"wording={wording!r} is not known: use one of {', '.join(WORDINGS)}")
    both = [_of_sample(sample, wording) for sample in samples]
    return [first for first, _ in both], [second for _, second in both]


def _of_sample(sample: Sample, wording: str) -> tuple[Sample, Sample]:
    sides = SIDES[axis_of(sample)]
    if len(sample.objects) != 2:
        raise InputError(f"sample {sample.id!r} names {len(sample.objects)} objects: where one of two lies is asked")
    if sample.answer != sample.relation:
        raise InputError(
            f"sample {sample.id!r} has the answer {sample.answer!r} and the relation {sample.relation!r}: what is "
            "right has to be the side"
        )
    name, reference = (thing.name for thing in sample.objects)
    listed: Any = sides
    if wording == "where_in_relation" and set(sides) < set(sample.options):
        listed = sample.options
    other = {**dict(zip(sides, sides[::-1], strict=True)), **_other_axes(sides)}
    made = []
    for options in (listed, tuple(other.get(option, option) for option in listed)):
        meta = {key: value for key, value in sample.meta.items() if key != "paper_prompt"}
        question = WORDINGS[wording](name, reference, options)
        made.append(replace(sample, question=question, options=tuple(options), meta=meta))
    return made[0], made[1]


def _other_axes(sides: Sides) -> dict[str, str]:
    """What each side of the other axes changes places with."""
    others = [own for own in SIDES.values() if own != sides]
    return {one: two for first, second in others for one, two in ((first, second), (second, first))}


def check_words(tokenizer: Any) -> None:
    """Refuse a model that says a side in several tokens: the first of them would be taken for its answer.

    Raises:
        InputError: a side is no single token, in small or capital letters, with or without a space before it.
    """
    if split := [side for side in DIRECTIONS if not _is_one_token(tokenizer, side)]:
        raise InputError(
            f"{', '.join(split)}: no single token of this model says so, and answers are read from the first token "
            "alone: use another model"
        )


def _is_one_token(tokenizer: Any, word: str) -> bool:
    spelled = (f"{space}{form}" for space in ("", " ") for form in (word, word.capitalize()))
    ids = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in spelled)
    return any(len(own) == 1 and plain_word(tokenizer.decode(own)) == word for own in ids)


def two_sided(samples: Sequence[Sample]) -> list[Sample]:
    """The samples that `in_both_orders` takes: two things, and one side of an axis as relation and answer.

    Raises:
        InputError: there is none.
    """
    own = [
        one for one in samples if one.relation in DIRECTIONS and one.answer == one.relation and len(one.objects) == 2
    ]
    if not own:
        raise InputError(
            f"of {len(samples)} samples none asks where one of two things lies, left, right, above or below: name "
            "another data set"
        )
    return own
