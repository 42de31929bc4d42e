"""Items of files of stepped questions: what JSON has them as, what is wrong with one, and what they become."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.sample import Object
from interp.store.names import is_text, stays_inside
from probes.heads.data.names import function_of, own_name
from probes.heads.data.record import Dropped, Step, SteppedQuestion

UNKNOWN = ("refuse", "drop", "keep")
"""What a label of an unknown function means."""

SPLITS = ("", "train", "val", "test")

ITEM = ("id", "source", "image", "question", "answer", "options", "generated", "split", "group")
"""Fields of an item; `question`, `answer` and `generated` are needed."""

STEP = ("subquestion", "answer", "cognitive_skill", "primary", "options", "objects", "meta")
"""Fields of a step; the first three are needed."""


@dataclass(frozen=True)
class Problem:
    """Something that keeps an item from being read.

    Attributes:
        item: its number in the file, from 0.
        field: where in it, such as `generated[2].answer`.
        what: what is wrong, and what to do.
        file: the file; empty for questions that were given.
    """

    item: int
    field: str
    what: str
    file: str = ""

    def __str__(self) -> str:
        """The problem in one line."""
        of = f" of {self.file!r}" if self.file else ""
        return f"item {self.item}{of}: {self.field} {self.what}"


class Reader:
    """How items are read, and what was found on the way: `problems`, what was `dropped`, what was `repaired`."""

    def __init__(self, file: Path, vocabulary: str, unknown: str, root: Path) -> None:
        """Nothing is read yet.

        Args:
            file: the file, for ids and problems.
            vocabulary: whose function names these are.
            unknown: what a label of an unknown function means, see `UNKNOWN`.
            root: the folder that paths of images are below.
        """
        self.file, self.vocabulary, self.unknown, self.root = file, vocabulary, unknown, root
        self.problems: list[Problem] = []
        self.dropped: list[Dropped] = []
        self.repaired: Counter[str] = Counter()

    def question(self, number: int, item: Any) -> SteppedQuestion | None:
        """One item as a question; None where it can not be used, which `problems` or `dropped` then tell."""
        before = len(self.problems)
        if not isinstance(item, Mapping):
            self._bad(number, "the item", f"is {item!r:.60}, no object: write {{...}} with {', '.join(ITEM)}")
            return None
        name = self._text(number, item, "id", default=f"{self.file.stem}-{number:05d}")
        made = SteppedQuestion(
            id=name,
            source=self._text(number, item, "source", default=self.file.stem),
            images=tuple(self._images(number, item.get("image"))),
            question=self._text(number, item, "question"),
            answer=self._text(number, item, "answer"),
            steps=tuple(self._steps(number, name, item.get("generated"))),
            options=self._texts(number, item, "options", ""),
            split=self._text(number, item, "split", default=""),
            group=self._text(number, item, "group", default="") or name,
        )
        if made.split not in SPLITS:
            self._bad(number, "split", f"is {made.split!r}: write {', '.join(filter(None, SPLITS))}, or leave it out")
        if made.options and made.answer not in made.options:
            self._bad(number, "answer", f"is {made.answer!r:.60}, which is none of its options {made.options}")
        if len(self.problems) > before:
            return None
        if not made.steps:
            self.dropped.append(Dropped(name, "", "no step was left"))
            return None
        return made

    def _steps(self, number: int, name: str, cell: Any) -> Iterator[Step]:
        if not isinstance(cell, list) or not cell:
            self._bad(number, "generated", f"is {cell!r:.60}, no list of steps: write one step or more")
            return
        for place, step in enumerate(cell):
            where = f"generated[{place}]"
            if not isinstance(step, Mapping):
                self._bad(number, where, f"is {step!r:.60}, no object: write {{...}} with {', '.join(STEP)}")
                continue
            asked = self._text(number, step, "subquestion", where)
            answer = self._text(number, step, "answer", where)
            options = self._texts(number, step, "options", where)
            if options and answer not in options:
                self._bad(number, f"{where}.answer", f"is {answer!r:.60}, which is none of its options {options}")
            functions = self._functions(number, name, step, where, asked)
            objects, meta = tuple(self._objects(number, step.get("objects"), where)), step.get("meta", {})
            if not isinstance(meta, Mapping):
                self._bad(number, f"{where}.meta", f"is {meta!r:.60}, no object")
            elif functions:
                yield Step(asked, answer, functions, options, objects, dict(meta))

    def _functions(self, number: int, name: str, step: Mapping[str, Any], where: str, asked: str) -> tuple[str, ...]:
        """The functions of a step, the primary one first; none where all its labels were left out."""
        cell, at = step.get("cognitive_skill"), f"{where}.cognitive_skill"
        labels = [cell] if isinstance(cell, str) else cell
        if (
            not isinstance(labels, list)
            or not labels
            or not all(isinstance(one, str) and one.strip() for one in labels)
        ):
            self._bad(number, at, f"is {cell!r:.60}, no label: write the name of a function, or a list of names")
            return ()
        found = {label: self._function(number, at, name, asked, label) for label in labels}
        functions = tuple(dict.fromkeys(one for one in found.values() if one))
        if not functions and self.unknown == "drop":
            self.dropped.append(Dropped(name, asked, "none of its labels is a known function"))
        first = step.get("primary")
        if first is None or not functions:
            return functions
        if not isinstance(first, str) or first not in found:
            self._bad(number, f"{where}.primary", f"is {first!r:.60}, which is none of its labels {labels}")
            return ()
        primary = found[first] or functions[0]
        return (primary, *(one for one in functions if one != primary))

    def _function(self, number: int, at: str, name: str, asked: str, label: str) -> str | None:
        known = function_of(label, self.vocabulary)
        if known is not None:
            return known
        if self.unknown == "keep":
            self.repaired[f"unknown function {label!r} kept as {own_name(label)!r}"] += 1
            return own_name(label)
        if self.unknown == "drop":
            self.dropped.append(Dropped(name, asked, f"unknown function {label!r}"))
            return None
        self._bad(
            number,
            at,
            f"has {label!r}, no function of {self.vocabulary}: correct it, or pass unknown='drop' or 'keep'",
        )
        return None

    def _objects(self, number: int, cell: Any, where: str) -> Iterator[Object]:
        if cell is None:
            return
        if not isinstance(cell, list):
            self._bad(number, f"{where}.objects", f"is {cell!r:.60}, no list: write [{{name, box}}, ...]")
            return
        for place, one in enumerate(cell):
            at = f"{where}.objects[{place}]"
            if not isinstance(one, Mapping) or not isinstance(one.get("name"), str) or not one["name"].strip():
                self._bad(number, at, f"is {one!r:.60}, which has no name: write {{name, box}}")
                continue
            box = one.get("box")
            if box is None:
                yield Object(one["name"])
                continue
            try:
                if any(isinstance(corner, (bool, str)) for corner in box):
                    raise ValueError
                x0, y0, x1, y1 = map(float, box)
                yield Object(one["name"], Box(one["name"], (x0, y0, x1, y1)))
            except (TypeError, ValueError, InputError):
                self._bad(number, f"{at}.box", f"is {box!r:.60}: write x0, y0, x1, y1 in pixels, x0 < x1 and y0 < y1")

    def _images(self, number: int, cell: Any) -> Iterator[Path]:
        """The paths of an item's images; none of one that is text alone."""
        for place, path in enumerate(cell if isinstance(cell, list) else [] if cell is None else [cell]):
            where = f"image[{place}]" if isinstance(cell, list) else "image"
            if not isinstance(path, str) or not stays_inside(path):
                self._bad(number, where, f"is {path!r:.60}, which is no path below the folder of the images")
            else:
                yield self.root / path

    def _text(
        self, number: int, item: Mapping[str, Any], name: str, where: str = "", *, default: str | None = None
    ) -> str:
        at, value = f"{where}.{name}" if where else name, item.get(name, default)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            self.repaired[f"{name} that is a number, read as text"] += 1
            value = str(value)
        if value is None:
            self._bad(number, at, "is missing: fill it in")
        elif not isinstance(value, str):
            self._bad(number, at, f"is {value!r:.60}, no text")
        elif not is_text(value):
            self._bad(number, at, f"is {value!r:.60}, which holds broken letters: write it in UTF-8")
        elif not value.strip() and default is None:
            self._bad(number, at, "is empty: fill it in")
        return value if isinstance(value, str) else ""

    def _texts(self, number: int, item: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
        at, cell = f"{where}.{name}" if where else name, item.get(name)
        if cell is None:
            return ()
        if not isinstance(cell, list) or not all(isinstance(one, str) and one.strip() for one in cell):
            self._bad(number, at, f"is {cell!r:.60}, no list of texts")
            return ()
        if len(set(cell)) < len(cell):
            self._bad(number, at, f"is {cell!r:.60}, which names an option twice")
        return tuple(cell)

    def _bad(self, number: int, where: str, what: str) -> None:
        self.problems.append(Problem(number, where, what, str(self.file)))
