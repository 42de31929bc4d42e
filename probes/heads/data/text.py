"""Text steps: stepped questions without an image, of CogQA's functions and form, with answers that are known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from interp.errors import InputError
from interp.numeric import whole_number
from interp.prompt.templates import OPTIONS_OF_STATEMENT
from probes.heads.data.files import FORMS
from probes.heads.data.record import Step, SteppedQuestion
from probes.heads.data.text_wording import (
    ASKED_FOR,
    DIGITS,
    KNOWN,
    MAIN,
    MEANT,
    PEOPLE,
    PRONOUN,
    SENTENCES,
    STEPS,
    STORY,
    THINGS,
    WORDS,
)
from probes.heads.data.turns import Turns

TEXT_FUNCTIONS = tuple(STEPS)
"""The eight functions of CogQA, by their names here."""

KINDS = ("name", "thing", "number", "yes_no")
"""What an answer is: someone's name, what was bought, a digit, or yes or no. Each function has answers of each kind."""

PAIRS = ("23", "24", "25", "26", "27", "34", "35", "36", "45")
"""How many things are bought, fewer and more: together a digit."""

MOST = 500
"""Main questions of one set: far more would repeat each other."""

Words = dict[str, str]


def text_steps(n: int = 48, *, seed: int = 0, form: str = "cogqa") -> list[SteppedQuestion]:
    """Make `n` main questions about short texts of their own, each with one step of each of CogQA's eight functions.

    A text says who bought how many of what, and the main question asks for a comparison or a sum. Its steps, in an
    order that is drawn for each question, but that the decision comes after the retrieval:

    * retrieval: what the text says; inference: what follows from it, though it does not say so; decision: the answer
      of the main question.
    * recall: what is commonly known; semantic: what words mean; syntactic: how sentences are built; logical: what
      follows from premises that the step gives; math: sums and differences. These five need no text.

    Answers of each function are names, things, digits, and yes or no, equally often, each drawn independently of the
    others; a function is told by no kind of answer. Each of these has two wordings; where there is a choice of two, as
    of names, neither place in the text is more often right.

    Models of images and text are asked them behind a placeholder, see `step_samples`.

    What confounds remain, and a probe may read in the place of a function: words, which taken together tell a function
    (a step of math has digits, one of syntax quotes a sentence); place, as a decision comes late; that some need the
    text and others do not; digits, of which each function has a distribution of its own.

    Args:
        n: number of main questions.
        seed: the seed of the set; sets of two seeds may share questions, so split one set by `split_by_question`.
        form: `cogqa`, without options, which that form does not hold: an answer is then right where it names the right
            word. With `cogvsr` each step has its options, and an answer is right where it names the right one first.

    Raises:
        InputError: a form that does not exist, or a number that is none or too large.

    Example:
        >>> sorted(step.primary for step in text_steps(1)[0].steps) == sorted(TEXT_FUNCTIONS)
        True
        >>> write_steps(text_steps(48), "out/text.json", form="cogqa")
        PosixPath('out/text.json')
    """
    count, seed = whole_number(n, "n", 1), whole_number(seed, "seed", 0)
    if count > MOST:
        raise InputError(f"n={n} main questions were asked for: give up to {MOST}, more would repeat each other")
    if form not in FORMS:
        raise InputError(f"there is no form {form!r} of stepped questions: use one of {', '.join(FORMS)}")
    turns, made = Turns(np.random.default_rng([seed, 73])), dict[str, SteppedQuestion]()
    while len(made) < count:
        one = _question(turns, f"text-{seed}-{len(made):05d}", with_options=form == "cogvsr")
        made.setdefault(one.question, one)
    return list(made.values())


def _question(turns: Turns, name: str, *, with_options: bool) -> SteppedQuestion:
    """One main question with its steps."""
    story = _story(turns)
    kind = _kind(turns, "decision")
    words = _words(turns, story, "decision", kind, turned=False)
    asked, answer = _drawn(turns, MAIN[kind])
    told = turns.any(STORY).format(**words)
    main, right = asked.format(**words), answer.format(**words)
    steps = {}
    for function in TEXT_FUNCTIONS:
        own = kind if function == "decision" else _kind(turns, function)
        step_words = {**_words(turns, story, function, own, turned=function != "decision"), "main": main}
        text, said = _drawn(turns, STEPS[function][own])
        steps[function] = Step(
            f"{text} {ASKED_FOR[own]}".format(**step_words),
            said.format(**step_words, answer=right),
            (function,),
            _options(own, words) if with_options else (),
            meta={"kind": own},
        )
    return SteppedQuestion(
        id=name,
        source="synthetic text",
        images=(),
        question=f"{told} {main}",
        answer=right,
        steps=tuple(steps[function] for function in _order(turns)),
        options=_options(kind, words) if with_options else (),
        group=name,
    )


def _story(turns: Turns) -> Mapping[str, tuple[str, str]]:
    """Two people, what each bought and how many; the first of each is who bought more."""
    sorts = turns.shuffled(tuple(PEOPLE))
    groups = turns.shuffled(tuple(THINGS))[:2]
    pair = turns.next("numbers", PAIRS)
    return {
        "people": (turns.any(PEOPLE[sorts[0]]), turns.any(PEOPLE[sorts[1]])),
        "sorts": (sorts[0], sorts[1]),
        "things": (turns.any(tuple(THINGS[groups[0]])), turns.any(tuple(THINGS[groups[1]]))),
        "groups": (groups[0], groups[1]),
        "numbers": (pair[1], pair[0]),
        "named": ("0", "1") if turns.next("named", "01") == "0" else ("1", "0"),
    }


def _words(turns: Turns, story: Mapping[str, tuple[str, str]], function: str, kind: str, *, turned: bool) -> Words:
    """What stands in the templates; `p` is who bought more, or, if it may be turned, either of the two."""
    own = int(turns.next(f"whose of {function} {kind}", "01")) if turned else 0
    first, second = (int(place) for place in story["named"])
    n = turns.next(f"number of {function}", DIGITS) if kind == "number" else turns.any(DIGITS)
    m = turns.any([digit for digit in DIGITS if digit != n])
    low, high = sorted((m, n))
    own_first = (high, low) if first == own else (low, high)
    less = str(turns.rng.integers(1, int(n)))
    rest = str(int(n) - int(less))
    word, alike, unlike = WORDS[int(turns.rng.integers(len(WORDS)))]
    p, q = story["people"][own], story["people"][1 - own]
    x, y = story["things"][own], story["things"][1 - own]
    group, sort = story["groups"][own], story["sorts"][own]
    return {
        "p": p, "q": q, "x": x, "y": y, "x_one": THINGS[group][x],
        "a": story["numbers"][own], "b": story["numbers"][1 - own],
        "first": story["people"][first], "second": story["people"][second],
        "one": story["things"][first], "two": story["things"][second],
        "many": story["numbers"][first], "more": story["numbers"][second],
        "sum": str(sum(map(int, story["numbers"]))), "group": group, "sort": sort, "she": PRONOUN[sort],
        "n": n, "m": m, "low": low, "high": high, **dict(zip(("first_n", "second_n"), own_first, strict=True)),
        "less": less, "rest": rest, "n_more": str(int(n) + int(rest)),
        "known": turns.any(KNOWN[n]), "meant": turns.any(MEANT[n]), "sentence": SENTENCES[n].format(p=p, q=q, x=x),
        "word": word, "alike": alike, "unlike": unlike,
    }  # fmt: skip


def _kind(turns: Turns, function: str) -> str:
    """What kind of answer a step has: yes and no take turns among themselves."""
    kind = turns.next(f"kind of {function}", KINDS)
    return turns.next(f"yes or no of {function}", OPTIONS_OF_STATEMENT) if kind == "yes_no" else kind


def _drawn(turns: Turns, wordings: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """One of several wordings, with its answer."""
    return wordings[int(turns.rng.integers(len(wordings)))]


def _options(kind: str, words: Words) -> tuple[str, ...]:
    """The answers of a kind that there are to choose from."""
    own = {"name": (words["first"], words["second"]), "thing": (words["one"], words["two"]), "number": DIGITS}
    return own.get(kind, OPTIONS_OF_STATEMENT)


def _order(turns: Turns) -> list[str]:
    """The functions in an order that is drawn, but that the decision comes after the retrieval."""
    order = turns.shuffled(TEXT_FUNCTIONS)
    early, late = sorted((order.index("retrieval"), order.index("decision")))
    order[early], order[late] = "retrieval", "decision"
    return order
