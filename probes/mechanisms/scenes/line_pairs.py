"""Pairs of lines: three items in a row or column, asked by their place, and counterfactuals whose order differs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice, permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from interp.datasets.synthetic.line_items import (
    ORANGE,
    PALETTE,
    Item,
    compatible,
    known_shapes,
    paired_shapes,
    squares,
    thumbnails,
)
from interp.datasets.synthetic.lines import WHITE, LineGeometry, draw_alone, draw_blank, draw_line
from interp.errors import InputError
from interp.objects.sample import Object, Sample
from interp.prompt.templates import OPTIONS_IN_RELATION, where_in_relation
from interp.reprs import fits_a_cell
from probes.mechanisms.scenes.pairs import Pair
from probes.mechanisms.scenes.sides import AXIS_OF, DIRECTIONS, OPPOSITE
from probes.mechanisms.scenes.vocabulary import Vocabulary, single_token_words

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

PHRASES = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}

KINDS = {"reversed": 3, "last": 5}
"""How many items a pair needs: a line and its reverse, or two lines that share the middle alone."""

FORMS = ("item", "relation")
"""Whether a question asks which item lies at a place, or at which place an item lies."""

ONE_WORD = "Reply with one word. "
"""What comes before a question for an item."""

GREY = (144, 144, 144)
"""About the middle of the backgrounds that the embedded model was trained on."""


@fits_a_cell()
@dataclass(frozen=True)
class Setting:
    """A pool of items, the canvas they lie on, and how a question for one of them is put.

    Attributes:
        name: what the setting is called.
        items: the pool.
        ask: the question, with `{where}` for the direction and `{middle}` for what a question calls the middle item.
        canvas: the colour of the background.
    """

    name: str
    items: tuple[Item, ...]
    ask: str
    canvas: tuple[int, int, int] = WHITE

    def only(self, words: Sequence[str]) -> Setting:
        """The setting with those items alone whose answer is among these words."""
        return replace(self, items=tuple(item for item in self.items if item.word in words))


def setting_of(name: str, folder: str | Path | None = None) -> Setting:
    """A setting by name.

    * `squares`: the paper's colours, brown and orange both.
    * `shapes`: the paper's six shapes, each in its colour.
    * `objects`: thumbnails of the user's.
    * `known`: the shapes and colours that the embedded model was trained on, on grey.

    Args:
        name: one of them.
        folder: where the thumbnails lie.

    Raises:
        InputError: there is none of that name, thumbnails without a folder, or a folder for what is drawn.

    Example:
        >>> len(setting_of("squares").items)
        7
    """
    if name not in (*_DRAWN, "objects"):
        raise InputError(f"there is no setting {name!r}: use {', '.join(_DRAWN)}, or objects with a folder")
    if name != "objects":
        if folder is not None:
            raise InputError(f"{name} is drawn and reads no files: leave the folder out")
        return _DRAWN[name]()
    if folder is None:
        raise InputError("objects are thumbnails of your own: name the folder that holds one picture of each object")
    return Setting("objects", thumbnails(folder), "The object {where} the {middle} is a(n)")


_DRAWN: Mapping[str, Callable[[], Setting]] = {
    "squares": lambda: Setting(
        "squares", squares({**PALETTE, "Orange": ORANGE}), "The color of the square {where} the middle square is"
    ),
    "shapes": lambda: Setting("shapes", paired_shapes(), "The color of the shape {where} the {middle} is"),
    "known": lambda: Setting("known", known_shapes(), "The shape {where} the {middle} is", GREY),
}


def said_by(vlm: HookedVLM, setting: Setting, *, form: str, after: str | None = None) -> tuple[Setting, Vocabulary]:
    """The setting with the items whose words the model says in one token, and what was dropped.

    Of a question for a relation, the four directions are looked at, and no item is dropped.

    Args:
        vlm: the hooked model.
        setting: the pool.
        form: `item` or `relation`.
        after: a prompt, to keep to the spelling that follows it; see `single_token_words`.

    Raises:
        InputError: too few words are left, or a form that is not known.
    """
    _check_one(form, FORMS, "form")
    if form == "relation":
        return setting, single_token_words(vlm, DIRECTIONS, after=after, at_least=len(DIRECTIONS))
    found = single_token_words(vlm, [item.word for item in setting.items], after=after, at_least=KINDS["reversed"])
    return setting.only(found.words), found


def line_pairs(
    setting: Setting,
    geometry: LineGeometry,
    *,
    kind: str = "reversed",
    form: str = "item",
    directions: Sequence[str] = DIRECTIONS,
    n: int = 50,
    seed: int = 0,
) -> list[Pair]:
    """Draw pairs of lines, `n` for each direction asked; see sections 3 and 4 of the paper.

    `reversed`: the counterfactual is the same line in reverse order, and the question is the same. Its outcomes are
    `clean`, the answer, and `place`, the answer if the places of the two side items were exchanged.

    `last`: five items t0 to t4. For `left` and `above`, the clean line is (t0, t1, t2) and the counterfactual
    (t4, t1, t3), asked for the opposite direction; for `right` and `below` both are mirrored. The outcomes are `clean`
    (t0), `place` (t2: what lies in the clean picture where the counterfactual question points) and `content` (t3: the
    counterfactual answer itself). Side items differ, so that such a pair names no objects.

    A question for an item ("The color of the square to the left of the middle square is") is the paper's own, behind
    `ONE_WORD` in the user's turn, where every template takes it; the paper had that in the system prompt. A question
    for a relation ("Where is the red circle in relation to the blue square?") names the two side items and is answered
    by a direction; there, place and content are one outcome.

    Args:
        setting: the pool of items.
        geometry: where items lie, such as `geometry_of(vlm)`.
        kind: `reversed` or `last`.
        form: `item` or `relation`.
        directions: what is asked.
        n: pairs for each direction, drawn without repetition from all permutations of the pool.
        seed: of the draws.

    Returns:
        Pairs, direction after direction. Both samples have `meta` with `items` and `words` (of the three items, in
        order of their places), `form`, `kind`, `direction`, `axis`, `geometry`, `boxes` (of all three), and, for
        ablations, `alone` (each item alone in the middle, in the same order) and `blank` (the canvas). The side items
        are the objects, with boxes: first that of the clean answer. Pairs of the same three items are one group.

    Raises:
        InputError: a kind, form or direction that is not known, or fewer permutations than pairs.

    Example:
        >>> pairs = line_pairs(setting_of("squares"), PAPER_GEOMETRIES["qwen2vl"], n=2)
        >>> len(pairs), pairs[0].clean.question
        (8, 'Reply with one word. The color of the square to the left of the middle square is')
    """
    _check_one(kind, KINDS, "kind")
    _check_one(form, FORMS, "form")
    for direction in directions:
        _check_one(direction, DIRECTIONS, "direction")
    if not directions or len(set(directions)) < len(directions):
        raise InputError(f"directions={tuple(directions)}: name at least one, and each once")
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InputError(f"n={n!r} pairs for each direction: give a whole number of 1 or more")
    make = _Maker(setting, geometry, kind, form)
    pairs = []
    for direction in directions:
        rng = np.random.default_rng([seed, DIRECTIONS.index(direction), list(KINDS).index(kind)])
        for place, items in enumerate(draw_items(setting.items, kind, n, rng)):
            pairs.append(make.pair(items, direction, f"{setting.name}-{kind}-{form}-{direction}-{seed}-{place:04d}"))
    return pairs


def draw_items(pool: Sequence[Item], kind: str, n: int, rng: np.random.Generator) -> list[tuple[Item, ...]]:
    """Draw `n` different ordered choices of items for a kind of pair; items of one picture share no trait.

    Raises:
        InputError: there are fewer.
    """
    k = KINDS[kind]
    if math.perm(len(pool), k) <= _ALL:
        every = [choice for choice in permutations(pool, k) if _fits(choice)]
        found = [every[place] for place in rng.permutation(len(every))[:n]]
    else:
        found = list(islice(_strewn(pool, k, rng, tries=1000 * n), n))
    if len(found) < n:
        words = ", ".join(item.word for item in pool)
        raise InputError(
            f"{len(pool)} items ({words}) make {len(found)} choices of {k} that may lie in a line, and {n} pairs a "
            "direction were asked for: ask for fewer, or give more items"
        )
    return found


_ALL = 20_000
"""Up to so many permutations are listed; more are drawn one by one."""


def _strewn(pool: Sequence[Item], k: int, rng: np.random.Generator, *, tries: int) -> Iterator[tuple[Item, ...]]:
    """Choices one after another, none twice, until so many were tried."""
    seen = set()
    for _ in range(tries):
        places = tuple(rng.permutation(len(pool))[:k].tolist())
        choice = tuple(pool[place] for place in places)
        if places not in seen and _fits(choice):
            seen.add(places)
            yield choice


def _fits(choice: Sequence[Item]) -> bool:
    """Whether those of each picture of a pair may share it: the first three, and of five, all but t0 and t2 as well."""
    pictures = (choice[:3], (choice[4], choice[1], choice[3])) if len(choice) == KINDS["last"] else (choice,)
    return all(map(compatible, pictures))


class _Maker:
    """Makes pairs of one setting; pictures of an item alone are drawn once."""

    def __init__(self, setting: Setting, geometry: LineGeometry, kind: str, form: str) -> None:
        self.setting, self.geometry, self.kind, self.form = setting, geometry, kind, form
        self.blank = draw_blank(geometry, canvas=setting.canvas)
        self._alone: dict[str, Image.Image] = {}

    def pair(self, items: Sequence[Item], direction: str, name: str) -> Pair:
        """The pair of three or five items (t0, t1, ...), where t0 is what the clean question asks for."""
        first = direction in ("left", "above")
        if self.kind == "reversed":
            line, other, asked = items, items[::-1], direction
        else:
            t0, t1, t2, t3, t4 = items
            line, other, asked = (t0, t1, t2), (t4, t1, t3), OPPOSITE[direction]
        line, other = (tuple(order if first else order[::-1]) for order in (line, other))
        shared = self.kind == "reversed"
        names = [items[0].name, items[2].name] if shared else []
        group = f"{self.setting.name}-" + "|".join(sorted(item.name for item in items[:3]))
        clean = self._sample(line, direction, name, group, names)
        counterfactual = self._sample(other, asked, f"{name}-counterfactual", group, names, subject=items[0])
        return Pair(clean, counterfactual, self._outcomes(items, direction), AXIS_OF[direction])

    def _outcomes(self, items: Sequence[Item], direction: str) -> dict[str, str]:
        if self.form == "relation":
            return {"clean": direction, "place": OPPOSITE[direction]}
        outcomes = {"clean": items[0].word, "place": items[2].word}
        return outcomes | ({"content": items[3].word} if self.kind == "last" else {})

    def _sample(
        self,
        line: Sequence[Item],
        direction: str,
        name: str,
        group: str,
        names: Sequence[str],
        subject: Item | None = None,
    ) -> Sample:
        axis = AXIS_OF[direction]
        drawn = draw_line(line, axis, self.geometry, canvas=self.setting.canvas)
        boxes = {item.name: box for item, box in zip(line, drawn.boxes, strict=True)}
        question, options, answer = self._asked(line, direction, subject)
        return Sample(
            id=name,
            image=drawn.image,
            question=question,
            options=options,
            answer=answer,
            objects=tuple(Object(thing, boxes[thing]) for thing in names),
            relation=direction,
            group=group,
            meta={
                "dataset": f"lines-{self.setting.name}",
                "items": [item.name for item in line],
                "words": [item.word for item in line],
                "form": self.form,
                "kind": self.kind,
                "direction": direction,
                "axis": axis,
                "geometry": asdict(self.geometry),
                "boxes": drawn.boxes,
                "alone": tuple(self._drawn_alone(item) for item in line),
                "blank": self.blank,
            },
        )

    def _asked(self, line: Sequence[Item], direction: str, subject: Item | None) -> tuple[str, tuple[str, ...], str]:
        """Question, options and answer about one line; of a reversed line, the subject is that of the clean one."""
        at, opposite = (line[0], line[2]) if direction in ("left", "above") else (line[2], line[0])
        if self.form == "item":
            text = self.setting.ask.format(where=PHRASES[direction], middle=line[1].name)
            return ONE_WORD + text, tuple(item.word for item in line), at.word
        if subject is opposite:
            at, opposite, direction = opposite, at, OPPOSITE[direction]
        return where_in_relation(at.name, opposite.name), OPTIONS_IN_RELATION, direction

    def _drawn_alone(self, item: Item) -> Image.Image:
        if item.name not in self._alone:
            self._alone[item.name] = draw_alone(item, self.geometry, canvas=self.setting.canvas)
        return self._alone[item.name]


def _check_one(value: Any, known: Sequence[str] | Mapping[str, Any], what: str) -> None:
    if value not in known:
        raise InputError(f"{what}={value!r} of pairs of lines is not known: use one of {', '.join(known)}")
