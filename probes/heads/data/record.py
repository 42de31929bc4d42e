"""Stepped questions: a main question, and the ordered steps that lead to its answer, each with its functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, overload

from interp.numeric import counted
from interp.objects.sample import Object
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image


@dataclass(frozen=True)
class Step:
    """One step: a question of its own, its answer, and what it takes to answer it.

    Attributes:
        subquestion: the step's question, which may build on the steps before it.
        answer: its right answer.
        functions: one or more functions, the first of which is the primary one; see `probes.heads.functions`.
        options: the answers to choose from, where the file gives them.
        objects: what the step speaks of, with boxes in pixels of the image where they are known.
        meta: anything else that is known of it.
    """

    subquestion: str
    answer: str
    functions: tuple[str, ...]
    options: tuple[str, ...] = ()
    objects: tuple[Object, ...] = ()
    meta: Mapping[str, object] = field(default_factory=dict)

    @property
    def primary(self) -> str:
        """The function that it is counted as where one is asked for."""
        return self.functions[0]


@fits_a_cell("id question answer steps split")
@dataclass(frozen=True)
class SteppedQuestion:
    """One main question with its steps.

    Attributes:
        id: unique inside its file.
        source: the data set that it comes from.
        images: photos or paths of their files, none for a question of text alone.
        question: the main question.
        answer: its answer.
        steps: the steps, in order.
        options: the answers to choose from, where the file gives them.
        split: `train`, `val` or `test`; empty where it is in none.
        group: what must not be torn apart by splits and is drawn together by intervals.

    Example:
        >>> [step.primary for step in synthetic_steps(1)[0].steps][:3]
        ['information', 'relational', 'spatial']
    """

    AS_SAMPLES: ClassVar[str] = "probes.step_samples(questions), a sample for each step"

    id: str
    source: str
    images: tuple[Image.Image | Path, ...]
    question: str
    answer: str
    steps: tuple[Step, ...]
    options: tuple[str, ...] = ()
    split: str = ""
    group: str = ""


@dataclass(frozen=True)
class Dropped:
    """A label, a step or a whole question that was left out.

    Attributes:
        id: of the question.
        subquestion: the step; empty where the question itself was left out.
        why: the reason, in words.
    """

    id: str
    subquestion: str
    why: str


@fits_a_cell("questions steps functions dropped repaired")
@dataclass(frozen=True)
class SteppedQuestions(Sequence[SteppedQuestion]):
    """Stepped questions, with what was left out of them and what was mended.

    Attributes:
        questions: the questions, in the file's order.
        dropped: what was left out, see `Dropped`.
        repaired: how often something was read that a strict reader would refuse, by what it was.
    """

    questions: tuple[SteppedQuestion, ...]
    dropped: tuple[Dropped, ...] = ()
    repaired: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        """Count the questions."""
        return len(self.questions)

    @overload
    def __getitem__(self, place: int) -> SteppedQuestion: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[SteppedQuestion, ...]: ...

    def __getitem__(self, place: int | slice) -> SteppedQuestion | tuple[SteppedQuestion, ...]:
        """One question, or a tuple of some."""
        return self.questions[place]

    def __iter__(self) -> Iterator[SteppedQuestion]:
        """Iterate over the questions."""
        return iter(self.questions)

    @property
    def steps(self) -> int:
        """Count the steps of all questions."""
        return sum(len(one.steps) for one in self.questions)

    @property
    def functions(self) -> dict[str, int]:
        """How many steps have each function, as the primary one or beside it; the most frequent first."""
        return dict(count_functions(self.questions).most_common())

    def describe(self) -> str:
        """What there is, what was left out and why, as lines of text."""
        each = ", ".join(f"{name} {count}" for name, count in self.functions.items())
        lines = [f"{counted(len(self), 'question')}, {counted(self.steps, 'step')}: {each or 'none'}"]
        for why, count in Counter(one.why for one in self.dropped).most_common():
            first = next(one for one in self.dropped if one.why == why)
            lines.append(f"  left out {count}: {why} (the first in {first.id})")
        lines += [f"  mended {count}: {what}" for what, count in self.repaired.items()]
        return "\n".join(lines)

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each step: its question, place, texts, `function` (the primary one) and `functions`."""
        import pandas as pd

        names = ("id", "source", "split", "group", "step", "subquestion", "answer", "function", "functions")
        rows = [
            (
                one.id,
                one.source,
                one.split,
                one.group,
                place,
                step.subquestion,
                step.answer,
                step.primary,
                _named(step),
            )
            for one in self.questions
            for place, step in enumerate(one.steps)
        ]
        return pd.DataFrame(rows, columns=list(names))


def _named(step: Step) -> str:
    """The functions of a step in one text, the primary one first."""
    return "+".join(step.functions)


def count_functions(questions: Sequence[SteppedQuestion]) -> Counter[str]:
    """How many steps have each function."""
    return Counter(name for one in questions for step in one.steps for name in step.functions)


def step_id(question: SteppedQuestion, place: int) -> str:
    """The id of a step, such as `vsr-17/step-2`."""
    return f"{question.id}/step-{place}"
