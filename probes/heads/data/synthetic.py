"""Synthetic stepped questions: all eight functions asked of drawn scenes, with answers and boxes that are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from interp.datasets.synthetic.shapes import (
    COLORS,
    SHAPES,
    Scene,
    SceneObject,
    place_in_photo,
    place_named,
    relation_between,
    render,
    scene_rng,
)
from interp.errors import InputError
from interp.objects.sample import Object
from interp.prompt.templates import OPTIONS_IN_PHOTO, OPTIONS_IN_RELATION, OPTIONS_OF_STATEMENT, list_options
from probes.heads.data.record import Step, SteppedQuestion
from probes.heads.data.turns import Turns
from probes.heads.data.wording import CUES, INFORMATION, MAIN, OF, OPPOSITE, OPTIONS, RECALL, SIDES, STEPS
from probes.heads.functions import FUNCTIONS

N_OBJECTS = (2, 3, 4)
BESIDE = {"spatial": ("high_level",), "relational": ("spatial",), "decision": ("relational",)}
"""Functions that a step needs beside its primary one, where several labels are asked for."""

_SCENES, _TURNS = 71, 72  # of streams; see `scene_rng`


def synthetic_steps(
    n: int = 200,
    *,
    split: str = "train",
    seed: int = 0,
    decide: str = "which",
    labels: str = "one",
) -> list[SteppedQuestion]:
    """Make `n` main questions about scenes of their own, each with one step of every function.

    The main question asks which of two objects lies on a side (or whether one lies there), and its steps are, in an
    order that is drawn for each question, but that the decision comes after the relation:

    * information: a colour, shape or side that the main question names; recall: an opposite, or the colour or shape of
      something known; neither needs the image.
    * high_level: the shape of the object of a colour; low_level: the colour of a shape; math: how many objects there
      are; spatial: where in the photo one lies; relational: where one lies in relation to the other.
    * decision: the answer of the main question.

    Answers are balanced within each list of options of each function, and drawn independently of one another: a head
    that always says one word is right no more often than chance. All answers but `yes` and `no` are single tokens of
    `shapes-vlm`. `meta` of a step says `kind`, `template`, and `trained_form`: whether that model was trained on
    questions of this very form. It learnt four of them (`spatial`, `relational`, `low_level`, `high_level`), asked
    alone (`BARE`): with a main question and earlier steps before them, and in all other forms, it was trained on none.

    What confounds remain, and a probe may read in the place of a function:

    * words: every function has two wordings or more and no word of its own that is in all of them, but its words
      taken together still tell it.
    * answers: every word is an answer of two functions or more but the digits of `math` and the words of `yes_no`; yet
      not equally often, so that an answer makes some functions likelier than others.
    * place: the relation comes before the decision, so it is early and the decision late; all others come anywhere.
    * image: `information` and `recall` can be answered without it and have no boxes, all others can not.
    * geometry: what lies left of the other has no room on the right of the photo, and so on; the spatial step asks of
      the one that has.
    * context: with earlier steps shown, the decision follows from the relation and the main question.

    Args:
        n: number of main questions.
        split: `train`, `val` or `test`; no scene of one is in another, and each is balanced for itself.
        seed: the seed of the set.
        decide: `which` of two shapes, or `yes_no`, whose answers `shapes-vlm` has no tokens for.
        labels: `one` function a step, or `several`: then spatial steps are high_level, relational ones spatial and
            decisions relational as well, after the primary function.

    Raises:
        InputError: a split, a form or labels that do not exist, or a number below 1.

    Example:
        >>> question = synthetic_steps(1)[0]
        >>> sorted(step.primary for step in question.steps) == sorted(FUNCTIONS)
        True
    """
    if n < 1:
        raise InputError(f"n={n} main questions were asked for: give 1 or more")
    if decide not in MAIN:
        raise InputError(f"decide={decide!r} is not known: use {', '.join(MAIN)}")
    if labels not in ("one", "several"):
        raise InputError(f"labels={labels!r} is not known: use one, several")
    turns = Turns(scene_rng(split, seed, 0, family=(_TURNS,)))
    return [_question(turns, split, seed, index, decide, labels) for index in range(n)]


@dataclass(frozen=True)
class _Plan:
    """What a main question and its scene are to be.

    Attributes:
        relation: where the first object lies in relation to the second.
        side: which side the main question asks for; the relation, or its opposite.
        placed: which of the two the spatial step asks for, and `place`, where that one lies.
        colors: of all objects, the first and the second one first; `shapes` likewise.
    """

    relation: str
    side: str
    placed: int
    place: str
    colors: tuple[str, ...]
    shapes: tuple[str, ...]

    def fits(self, objects: Sequence[SceneObject]) -> bool:
        """Whether objects lie as planned."""
        return (
            relation_between(objects[0], objects[1]) == self.relation
            and place_in_photo(objects[self.placed]) == self.place
        )


def _plan(turns: Turns) -> _Plan:
    relation = turns.next("relational", OPTIONS_IN_RELATION)
    holds = turns.next(f"holds {relation}", OPTIONS_OF_STATEMENT) == "yes"
    wanted = turns.next("decision", SHAPES)
    other = turns.next(f"other than {wanted}", [shape for shape in SHAPES if shape != wanted])
    color = turns.next("color", tuple(COLORS))
    second = turns.next(f"other than {color}", [one for one in COLORS if one != color])
    place = turns.next("spatial", OPTIONS_IN_PHOTO)
    more = int(turns.next("math", list(map(str, N_OBJECTS)))) - 2
    colors = turns.shuffled([one for one in COLORS if one not in (color, second)])[:more]
    shapes = turns.shuffled([shape for shape in SHAPES if shape not in (wanted, other)])[:more]
    return _Plan(
        relation,
        relation if holds else OPPOSITE[relation],
        _placed(turns, relation, place),
        place,
        (color, second, *colors),
        ((wanted, other) if holds else (other, wanted)) + tuple(shapes),
    )


def _placed(turns: Turns, relation: str, place: str) -> int:
    """Which of the two is asked for: the one that lies left of the other has no room on the right of the photo."""
    side = {"top": "above", "bottom": "below"}.get(place, place)
    return {relation: 0, OPPOSITE[relation]: 1}.get(side, int(turns.any("01")))


def _question(turns: Turns, split: str, seed: int, index: int, decide: str, labels: str) -> SteppedQuestion:
    plan, rng = _plan(turns), scene_rng(split, seed, index, family=(_SCENES,))
    while not plan.fits(objects := place_named(rng, plan.colors, plan.shapes)):
        pass
    first, second = objects[:2]
    main = turns.any(MAIN[decide]).format(first=first.name, second=second.name, side=SIDES[plan.side], of=OF[plan.side])
    options = (first.shape, second.shape) if decide == "which" else OPTIONS_OF_STATEMENT
    holds = plan.relation == plan.side
    answer = options[0 if holds else 1]
    steps = {step.primary: step for step in _steps(turns, plan, objects, main, options, answer, labels)}
    name = f"steps-{split}-{seed}-{index:05d}"
    return SteppedQuestion(
        id=name,
        source="synthetic",
        images=(Scene(render(objects, rng), objects).image,),
        question=main,
        answer=answer,
        steps=tuple(steps[function] for function in _order(turns)),
        options=options,
        split=split,
        group=name,
    )


def _order(turns: Turns) -> list[str]:
    """The functions in an order that is drawn, but that the decision comes after the relation."""
    order = turns.shuffled(FUNCTIONS)
    early, late = sorted((order.index("relational"), order.index("decision")))
    order[early], order[late] = "relational", "decision"
    return order


def _steps(
    turns: Turns,
    plan: _Plan,
    objects: Sequence[SceneObject],
    main: str,
    options: tuple[str, ...],
    answer: str,
    labels: str,
) -> Iterator[Step]:
    """One step of every function."""
    first, second = objects[:2]
    placed = objects[plan.placed]
    color = turns.least("low_level", [first.color, second.color])
    shape = turns.least("high_level", [first.shape, second.shape])
    colored = first if first.color == color else second
    shaped = first if first.shape == shape else second
    asked: dict[str, tuple[str, tuple[str, ...], Sequence[SceneObject], dict[str, str]]] = {
        "spatial": (plan.place, OPTIONS["spatial"], [placed], {"name": placed.name}),
        "relational": (
            plan.relation,
            OPTIONS["relational"],
            [first, second],
            {"first": first.name, "second": second.name},
        ),
        "low_level": (color, OPTIONS["low_level"], [colored], {"shape": colored.shape}),
        "high_level": (shape, OPTIONS["high_level"], [shaped], {"color": shaped.color}),
        "math": (str(len(objects)), OPTIONS["math"], objects, {}),
        "decision": (answer, options, [first, second], {"main": main, "options": list_options(options)}),
    }
    for function, (right, choice, spoken_of, words) in asked.items():
        template = int(turns.any("012"))
        wording = STEPS[function][template]
        beside = BESIDE.get(function, ()) if labels == "several" else ()
        yield Step(
            wording.text.format(**words),
            right,
            (function, *beside),
            choice,
            tuple(Object(item.name, item.box) for item in spoken_of),
            {"kind": function, "template": template, "trained_form": wording.trained},
        )
    yield _information(turns, plan, first, second, main)
    yield _recall(turns)


def _information(turns: Turns, plan: _Plan, first: SceneObject, second: SceneObject, main: str) -> Step:
    """What the main question's words say."""
    kind = turns.next(f"information of {plan.side}", list(INFORMATION))
    named = {"color": [first.color, second.color], "shape": [first.shape, second.shape], "side": [plan.side]}[kind]
    answer = turns.least(f"information {kind}", named)
    return _text_step(turns, "information", kind, INFORMATION[kind], answer, main=main, place=_place(named, answer))


def _place(named: Sequence[str], answer: str) -> str:
    return ("first", "second")[named.index(answer)]


def _recall(turns: Turns) -> Step:
    """What is commonly known."""
    kind = turns.next("recall", list(RECALL))
    answer = turns.next(f"recall {kind}", OPTIONS[kind])
    return _text_step(turns, "recall", kind, RECALL[kind], answer, cue=turns.any(CUES[kind][answer]))


def _text_step(turns: Turns, function: str, kind: str, wordings: Sequence[str], answer: str, **words: str) -> Step:
    """A step that needs no image."""
    template = int(turns.any("01"))
    meta = {"kind": f"{function} {kind}", "template": template, "trained_form": False}
    return Step(wordings[template].format(**words), answer, (function,), OPTIONS[kind], (), meta)
