"""Match the words of a question to the labels of a detector, and say what was not found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interp.errors import DetectorError, InputError
from interp.image.boxes import Boxes
from interp.image.photos import ImageSource, load_image
from interp.objects.reading import ANYTHING, NOT_THEIR_HEAD, normal_name, objects_asked, objects_of_template
from interp.objects.synonyms import broader, meanings
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.objects.detector import Detector

KINDS = ("all", "some", "none", "absent", "unread")
"""Of how many of its objects a question has boxes: `all`, `some` or `none`. A question that rightly says that something
is not there is `absent`, and one that no object could be read off is `unread`: neither is a detector's miss."""


@fits_a_cell()
@dataclass(frozen=True)
class Match:
    """One asked word: the labels it was matched to (none where the detector has no such class), and their boxes."""

    word: str
    labels: tuple[str, ...]
    boxes: Boxes


@fits_a_cell("detector words missing")
@dataclass(frozen=True)
class Found:
    """What a detector found of what was asked, word by word, in the question's order.

    Attributes:
        matches: what was found of each word.
        detector: who looked.
        absent: whether the question rightly says that what it asks after is not there, see `says_absent`.

    Example:
        >>> mug = Boxes((Box("cup", (10, 20, 50, 80)),), source="by hand")
        >>> found = Found((Match("mug", ("cup",), mug), Match("scarf", (), Boxes())), detector="by hand")
        >>> found.missing
        ('scarf',)
        >>> found.describe()
        "by hand found mug (1 box, as 'cup'); not found: scarf (it has no such class)."
    """

    matches: tuple[Match, ...]
    detector: str
    absent: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """The asked words."""
        return tuple(match.word for match in self.matches)

    @property
    def boxes(self) -> Boxes:
        """Every box that belongs to an asked word, once, with the detector's label."""
        unique = dict.fromkeys(box for match in self.matches for box in match.boxes)
        return Boxes(tuple(unique), source=self.detector)

    @property
    def missing(self) -> tuple[str, ...]:
        """The asked words without a box: no such class, or nothing of it in the picture."""
        return tuple(match.word for match in self.matches if not len(match.boxes))

    @property
    def unknown(self) -> tuple[str, ...]:
        """The asked words for which the detector has no class."""
        return tuple(match.word for match in self.matches if not match.labels)

    @property
    def kind(self) -> str:
        """What became of what was asked: one of `KINDS`."""
        return kind_of([match.boxes for match in self.matches], absent=self.absent)

    @property
    def complete(self) -> bool:
        """Whether something was asked that is there, and all of it was found."""
        return self.kind == "all"

    @property
    def shared(self) -> tuple[str, ...]:
        """Labels that stand for more than one asked word, whose boxes therefore can not be told apart."""
        labels = [label for match in self.matches for label in match.labels]
        return tuple(dict.fromkeys(label for label in labels if labels.count(label) > 1))

    def of(self, word: str) -> Boxes:
        """Give the boxes of one asked word.

        Raises:
            InputError: the word was not asked.
        """
        for match in self.matches:
            if match.word == word:
                return match.boxes
        raise InputError(f"{word!r} was not asked; asked were {', '.join(self.words) or 'no objects'}")

    def describe(self) -> str:
        """Say in one sentence what was found and what was not."""
        if not self.matches:
            return f"No object could be read off the question, so {self.detector} was asked for none: name them."
        here = [_say_found(match) for match in self.matches if len(match.boxes)]
        away = [_say_missing(match) for match in self.matches if not len(match.boxes)]
        parts = [f"{self.detector} found {', '.join(here) or 'nothing that was asked'}"]
        if away:
            parts.append("not found: " + ", ".join(away))
        if self.absent:
            parts.append("the question says rightly that it is not there, so no box counts")
        if self.shared:
            parts.append(f"several words share the class {', '.join(map(repr, self.shared))}")
        return "; ".join(parts) + "."


def kind_of(boxes: Sequence[Sized], *, absent: bool = False) -> str:
    """Say what became of the objects of a question, see `KINDS`.

    Args:
        boxes: the boxes of each object that the question names.
        absent: whether it rightly says that they are not there.

    Example:
        >>> kind_of([]), kind_of([(), ["a box"]]), kind_of([["a box"]], absent=True)
        ('unread', 'some', 'absent')
    """
    if absent or not boxes:
        return "absent" if absent else "unread"
    found = sum(len(own) > 0 for own in boxes)
    return "none" if not found else "all" if found == len(boxes) else "some"


def find_objects(image: ImageSource, asked: str | Sequence[str], detector: Detector) -> Found:
    """Look in an image for the objects of a question.

    Args:
        image: the photo, whatever `load_image` takes.
        asked: a question, or the words themselves as a list.
        detector: who looks; a detector with an empty `labels` takes any words.

    Returns:
        For each asked word its labels and boxes, in original-image pixels; see `Found.missing`.

    Raises:
        DetectorError: words, or a question "where is ...", and the detector has a class for none of them. Of other
            questions the result says so.

    Example:
        >>> from PIL import Image
        >>> from interp.objects.given import GivenBoxes
        >>> given = GivenBoxes.parse("mug=10,20,50,80")
        >>> find_objects(Image.new("RGB", (90, 90)), "Where is the mug in the photo?", given).boxes.xyxy.tolist()
        [[10.0, 20.0, 50.0, 80.0]]
    """
    words = objects_asked(asked, detector.labels) if isinstance(asked, str) else tuple(asked)
    labels = tuple(detector.labels) or words
    matched = match_words(words, labels)
    is_free = isinstance(asked, str) and not objects_of_template(asked)
    if words and not is_free and not any(matched.values()):
        if isinstance(getattr(detector, "boxes", None), Boxes):
            raise DetectorError(
                f"none of the boxes given is of {' or '.join(words)}; they are of {_shorten(labels)}: name each as the "
                "question names the object"
            )
        raise DetectorError(
            f"detector {detector.name} has no class for {', '.join(words)}; it knows {_shorten(labels)}: "
            "give another detector, or the boxes by hand"
        )
    boxes = detector.detect(load_image(image), words) if words else Boxes(source=detector.name)
    return Found(tuple(Match(word, matched[word], boxes.named(matched[word])) for word in words), detector.name)


def match_words(words: Sequence[str], labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Match each word to the labels that mean it; case, articles and plurals do not matter.

    The first of these that yields anything wins: the same name; another name of the same thing (sofa, couch); the label
    is what the word is a kind of (man, person); the labels are kinds of the word (person: man, woman); the label is the
    word's head noun (wooden chair, chair); the word is the labels' head noun (circle: red circle, blue circle), with
    `object` for any head noun (red object: red circle). A colour that differs never matches.

    Returns:
        For each word its labels, in the order of `labels`; empty where the detector has no such class.

    Example:
        >>> match_words(["men", "couch", "dragonfruit"], ["person", "sofa"])
        {'men': ('person',), 'couch': ('sofa',), 'dragonfruit': ()}
    """
    names = {label: normal_name(label) for label in labels}
    return {word: _labels_of(normal_name(word), names) for word in words}


def labels_for(words: Sequence[str], labels: Sequence[str]) -> set[str]:
    """Give every label that one of the words was matched to, see `match_words`."""
    return {label for matched in match_words(words, labels).values() for label in matched}


def _labels_of(word: str, names: Mapping[str, str]) -> tuple[str, ...]:
    head = word.split(" ")[-1]
    tests = (
        lambda name: name == word,
        lambda name: meanings(name) & meanings(word),
        lambda name: meanings(name) & broader(word),
        lambda name: meanings(word) & broader(name),
        lambda name: head != word and (meanings(name) & (meanings(head) | broader(head))),
        lambda name: _is_head_of(word, name),
    )
    for test in tests:
        labels = tuple(label for label, name in names.items() if test(name))
        if labels:
            return labels
    return ()


def _is_head_of(word: str, name: str) -> bool:
    """Whether a label is the word with more in front of it; `object` stands for any head noun."""
    if name in NOT_THEIR_HEAD or " " not in name:
        return False
    *modifiers, head = word.split(" ")
    *more, noun = name.split(" ")
    same_noun = bool(meanings(head) & meanings(noun)) or (bool(modifiers) and head in ANYTHING)
    return same_noun and set(modifiers) <= set(more)


def _say_found(match: Match) -> str:
    count = f"{len(match.boxes)} box" + ("es" if len(match.boxes) > 1 else "")
    labels = list(dict.fromkeys(match.boxes.labels))
    return f"{match.word} ({count})" if labels == [match.word] else f"{match.word} ({count}, as {_quoted(labels)})"


def _say_missing(match: Match) -> str:
    return f"{match.word} ({f'looked for {_quoted(match.labels)}' if match.labels else 'it has no such class'})"


def _quoted(labels: Sequence[str]) -> str:
    return " or ".join(map(repr, labels)) if len(labels) <= 3 else _shorten(labels)


def _shorten(labels: Sequence[str]) -> str:
    few = ", ".join(labels[:4])
    return few if len(labels) <= 4 else f"{len(labels)} classes such as {few}"
