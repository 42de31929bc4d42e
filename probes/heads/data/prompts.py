"""Queries: what a model is asked of each step, with the main question and the steps before it, as samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from interp.errors import InputError
from interp.objects.refusals import all_of
from interp.objects.sample import Object, Sample
from interp.reprs import fits_a_cell
from probes.heads.data.record import Step, SteppedQuestion, step_id

if TYPE_CHECKING:
    from PIL import Image

CONTEXTS = ("all", "retrieval_only", "none")
"""Which earlier steps a query shows: all, as the papers say; those of retrieval alone, as the released code does; none.

Without an earlier step of retrieval, `retrieval_only` shows nothing.
"""

RETRIEVAL = ("retrieval", "information")
"""The primary functions that `retrieval_only` takes for retrieval: CogQA's, and the one of the eight nearest to it."""

TERSE = "Answer with one word or a short phrase, and say nothing else."

Given = Mapping[str, str] | Callable[[SteppedQuestion, int], str]
"""Answers to earlier steps: by the step's id (`step_id`), or what is called with the question and the step's place."""


@dataclass(frozen=True)
class QueryPrompt:
    """How a step is asked.

    Attributes:
        context: which earlier steps are shown, see `CONTEXTS`.
        main: whether the main question is shown.
        instruction: what is said of the answer; nothing where it is empty.

    Example:
        >>> print(QueryPrompt().text(question, 1))
        Main question: Is the red circle left of the blue square?
        Q1: What color is the circle? Answer with red, green, blue, yellow, purple or orange.
        A1: red
        Question: What shape is the blue object? Answer with circle, square, triangle or cross.
        Answer with one word or a short phrase, and say nothing else.
    """

    context: str = "all"
    main: bool = True
    instruction: str = TERSE

    def __post_init__(self) -> None:
        """Refuse a context that does not exist."""
        if self.context not in CONTEXTS:
            raise InputError(f"there is no context {self.context!r} of earlier steps: use one of {', '.join(CONTEXTS)}")

    def shown(self, question: SteppedQuestion, place: int) -> list[int]:
        """The places of the earlier steps that the query of a step shows."""
        if self.context == "none":
            return []
        everything = self.context == "all"
        return [earlier for earlier in range(place) if everything or question.steps[earlier].primary in RETRIEVAL]

    def text(self, question: SteppedQuestion, place: int, given: Given | None = None) -> str:
        """What is asked of one step.

        Args:
            question: the main question with its steps.
            place: which step, from 0.
            given: answers to the earlier steps; the right ones by default.

        Raises:
            InputError: there is no such step, or no answer is given to one that is shown.
        """
        if not 0 <= place < len(question.steps):
            raise InputError(f"{question.id} has {len(question.steps)} steps and no step {place}: they count from 0")
        lines = [f"Main question: {question.question}"] if self.main else []
        for earlier in self.shown(question, place):
            step = question.steps[earlier]
            lines += [f"Q{earlier + 1}: {step.subquestion}", f"A{earlier + 1}: {_answer(question, earlier, given)}"]
        asked = question.steps[place].subquestion
        lines.append(f"Question: {asked}" if lines else asked)
        return "\n".join([*lines, self.instruction] if self.instruction else lines)


BARE = QueryPrompt(context="none", main=False, instruction="")
"""The step's question alone, word for word; what a small model was trained on is asked so."""


@fits_a_cell("id text answer functions")
@dataclass(frozen=True)
class Query:
    """One step as it is asked, with or without an image.

    Attributes:
        id: of the step, see `step_id`.
        text: what is asked.
        question: the main question.
        place: which of its steps, from 0.
        prompt: how it is asked.
        own: whether answers to earlier steps were given, rather than the right ones taken.
    """

    id: str
    text: str
    question: SteppedQuestion
    place: int
    prompt: QueryPrompt
    own: bool = False

    @property
    def step(self) -> Step:
        """The step."""
        return self.question.steps[self.place]

    @property
    def answer(self) -> str:
        """Its right answer."""
        return self.step.answer

    @property
    def functions(self) -> tuple[str, ...]:
        """Its functions, the primary one first."""
        return self.step.functions

    def sample(self, image: Image.Image | Path | None = None) -> Sample:
        """The query as a sample; its own image, or the given one where it is text alone.

        Raises:
            InputError: it has no image or several.
        """
        images = self.question.images or (() if image is None else (image,))
        if len(images) != 1:
            raise InputError(_image_told(self.id, len(images)))
        return Sample(
            id=self.id,
            image=images[0],
            question=self.text,
            options=self.step.options,
            answer=self.answer,
            objects=_distinct(self.step.objects),
            relation=self.step.primary,
            group=self.question.group or self.question.id,
            meta={
                **self.step.meta,
                "dataset": self.question.source,
                "split": self.question.split,
                "main_question": self.question.id,
                "step": self.place,
                "subquestion": self.step.subquestion,
                "function": self.step.primary,
                "functions": list(self.functions),
                "query": asdict(self.prompt),
                "earlier_answers": "given" if self.own else "reference",
                "image_of": "question" if self.question.images else "placeholder",
            },
        )


def step_queries(
    questions: Iterable[SteppedQuestion],
    prompt: QueryPrompt | None = None,
    *,
    given: Given | None = None,
    place: int | None = None,
) -> list[Query]:
    """What is asked of the steps of questions, text alone included.

    Args:
        questions: the questions.
        prompt: how steps are asked; with the main question and all earlier steps by default.
        given: answers to earlier steps, such as a model's own; the right ones by default (teacher forcing).
        place: only the step at this place of each question that has it. A model's own answers are fed forward by asking
            place 0 of all questions, then place 1 with what was answered, and so on.

    Raises:
        InputError: a step's earlier answer is not given; it tells how many.
    """
    how = prompt or QueryPrompt()
    wanted = [(one, at) for one in questions for at in range(len(one.steps)) if place is None or at == place]
    if not wanted:
        raise InputError(
            "there are no steps to ask" + ("" if place is None else f" at place {place}: they count from 0")
        )
    return list(_each(wanted, how, given))


def step_samples(
    questions: Iterable[SteppedQuestion],
    prompt: QueryPrompt | None = None,
    *,
    given: Given | None = None,
    place: int | None = None,
    image: Image.Image | Path | None = None,
) -> list[Sample]:
    """The steps of questions as samples that studies take: `group` is the main question, `relation` the function.

    Args:
        questions: the questions; see `step_queries` for the rest.
        prompt: how steps are asked.
        given: answers to earlier steps.
        place: only the step at this place of each question.
        image: what questions of text alone are shown, as every prompt holds an image; `meta["image_of"]` then says
            `placeholder`. Its tokens stand in the prompt and are attended to like any others, so that what is measured
            is a question of text behind an image, not one without; ask behind two images to see how much that matters.

    Raises:
        InputError: a question has several images, or none and `image` is not given; it tells how many.

    Example:
        >>> step_samples(synthetic_steps(2))[0].group
        'steps-train-0-00000'
    """
    queries = step_queries(questions, prompt, given=given, place=place)
    wrong = [one for one in queries if len(one.question.images) > 1 or (not one.question.images and image is None)]
    if wrong:
        told = _image_told(wrong[0].id, len(wrong[0].question.images))
        raise InputError(f"{len(wrong)} of {len(queries)} steps can not be shown to a model: {told}")
    return [one.sample(image) for one in queries]


def _each(wanted: list[tuple[SteppedQuestion, int]], how: QueryPrompt, given: Given | None) -> Iterator[Query]:
    errors = []
    for one, at in wanted:
        try:
            text = how.text(one, at, given)
        except InputError as error:
            errors.append(error)
            continue
        yield Query(step_id(one, at), text, one, at, how, given is not None and bool(how.shown(one, at)))
    if errors:
        raise all_of(errors, f"of {len(wanted)} steps can not be asked")


def _answer(question: SteppedQuestion, place: int, given: Given | None) -> str:
    """The answer to an earlier step that a query shows."""
    if given is None:
        return question.steps[place].answer
    name = step_id(question, place)
    answer = given.get(name) if isinstance(given, Mapping) else given(question, place)
    if not isinstance(answer, str):
        raise InputError(f"no answer is given to {name}, which a later step shows: ask it first")
    return " ".join(answer.split())


def _distinct(objects: tuple[Object, ...]) -> tuple[Object, ...]:
    return tuple(dict.fromkeys(objects))


def _image_told(name: str, images: int) -> str:
    if images:
        return f"{name} has {images} images, and a prompt takes one: stitch them into one, or leave the question out"
    return (
        f"{name} is text alone, and a prompt of these models holds one image: pass image= (--image) to show one to all "
        "of them, or ask a text model with the texts of step_queries"
    )
