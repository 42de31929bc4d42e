"""Annotations: which steps of a question several people found valid, and what is kept of it by the papers' rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from interp.errors import InputError
from interp.numeric import agree, counted
from interp.objects.refusals import all_of
from probes.heads.data.record import Dropped, SteppedQuestion, SteppedQuestions

VALID = 0.6
"""The share of a question's steps that must be valid."""


def keep_valid(
    questions: Iterable[SteppedQuestion],
    annotations: Mapping[str, Sequence[Sequence[bool]]],
    *,
    share: float = VALID,
) -> SteppedQuestions:
    """Keep what annotators found valid, by the rule of "CogVision" (arXiv 2512.10300).

    A question is left out whole if any annotator finds less than `share` of its steps valid. A step is invalid if more
    than half of the annotators reject it (two of three), and a question is left out whole if less than `share` of its
    steps are then valid. What becomes of a lone invalid step of a question that is kept is not told in the paper: here
    the step alone is left out.

    Args:
        questions: the questions.
        annotations: by the id of a question, of each annotator whether each step is valid.
        share: the share of steps that must be valid.

    Returns:
        The questions that are kept, without their invalid steps, and what was left out.

    Raises:
        InputError: a question without annotations, annotations of no question, or of another number of steps.

    Example:
        >>> kept = keep_valid(questions, {"vsr-1": [[True, True, False], [True, True, True], [True, True, False]]})
        >>> len(kept[0].steps), kept.dropped[0].why
        (2, 'more than half of the annotators reject the step')
    """
    given = list(questions)
    if not 0.0 <= share <= 1.0:
        raise InputError(f"share={share!r} of steps must be valid: give a number from 0 to 1")
    _check(given, annotations)
    kept: list[SteppedQuestion] = []
    dropped: list[Dropped] = []
    for one in given:
        votes = [[bool(valid) for valid in own] for own in annotations[one.id]]
        valid = [2 * sum(not own[place] for own in votes) <= len(votes) for place in range(len(one.steps))]
        if any(sum(own) < share * len(own) for own in votes):
            dropped.append(Dropped(one.id, "", f"an annotator finds less than {share:.0%} of its steps valid"))
        elif sum(valid) < share * len(valid) or not any(valid):
            dropped.append(Dropped(one.id, "", f"less than {share:.0%} of its steps are valid"))
        else:
            kept.append(replace(one, steps=tuple(step for step, good in zip(one.steps, valid, strict=True) if good)))
            dropped += [
                Dropped(one.id, step.subquestion, "more than half of the annotators reject the step")
                for step, good in zip(one.steps, valid, strict=True)
                if not good
            ]
    return SteppedQuestions(tuple(kept), tuple(dropped))


def _check(questions: Sequence[SteppedQuestion], annotations: Mapping[str, Sequence[Sequence[bool]]]) -> None:
    """Refuse annotations that are not of these questions and all their steps."""
    errors = []
    for one in questions:
        own = annotations.get(one.id)
        if not own:
            errors.append(InputError(f"{one.id} has no annotations: give them, or leave the question out"))
        elif {len(votes) for votes in own} != {len(one.steps)}:
            told = sorted({len(votes) for votes in own})
            errors.append(
                InputError(f"{one.id} has {counted(len(one.steps), 'step')} and annotations of {told}: give one a step")
            )
    strangers = sorted(set(annotations) - {one.id for one in questions})
    if strangers:
        errors.append(
            InputError(
                f"{counted(len(strangers), 'annotation')} {agree(len(strangers), 'is', 'are')} of no question, "
                f"such as {strangers[0]!r}"
            )
        )
    if errors:
        raise all_of(errors, "annotations do not fit")
