"""Reading: which objects a question names, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple
from unicodedata import normalize

from interp.objects.nouns import nouns
from interp.objects.scripts import verbatim, words_of
from interp.objects.synonyms import singular

ANYTHING = ("object", "thing", "shape", "item", "one")
"""Nouns that stand for any other."""

NOT_THEIR_HEAD = frozenset({"hot dog", "teddy bear", "toilet paper", "toilet roll"})
"""Names that are not a kind of what their last word says: a hot dog is not a dog."""


def objects_asked(question: str, labels: Sequence[str] = ()) -> tuple[str, ...]:
    """Name the objects of a question, in its order.

    The templates "Where is the X in relation to the Y?", "Where is the X in the photo?" and "Where is the X?" are read
    as they stand. Any other question is searched for the given labels and for the nouns of `interp.objects.nouns`, as
    whole words, in the singular or plural, longest first. A noun directly before another says of which kind that is
    (`train station` is no train). Parts (a hand), where something is (`in a field`) and whose it is count where nothing
    else is named. A label that stands in the question word for word is found in any script, also where no spaces are
    written.

    Args:
        question: the question, with or without its list of options.
        labels: the classes that a detector can find, as further nouns. Others are read as well: that a detector has no
            class for something does not mean that it was not asked about.

    Example:
        >>> objects_asked("Where is the mug in relation to the table? Answer with left, right, on or under.")
        ('mug', 'table')
        >>> objects_asked("How many zebras are standing in an open field?"), objects_asked("Is the sky clear?")
        (('zebras',), ('sky',))
        >>> objects_asked("猫在狗的哪一边？", ["狗", "猫"])
        ('猫', '狗')
    """
    return objects_of_template(question) or _scan(question, tuple(labels))


def objects_of_template(question: str) -> tuple[str, ...]:
    """The objects of a question that is worded as one of the templates; none for any other."""
    for template in _TEMPLATES:
        found = template.search(question)
        if found:
            names = tuple(dict.fromkeys(without_article(name) for name in found.groups()))
            return () if template is _TEMPLATES[-1] and _says_what_it_does(names[-1]) else names
    return ()


def _says_what_it_does(name: str) -> bool:
    """Whether what follows `where is` ends with a verb, as in `the dog sitting`."""
    last = name.split(" ")[-1].lower()
    is_noun = any(singular(last) in names for names in nouns())
    return last.endswith(("ing", "ed")) and not is_noun and bool(_scan(name, ()))


def without_article(name: str) -> str:
    """A name without `the`, `my` and the like before it."""
    return _ARTICLES.sub("", name.strip())


def normal_name(name: str) -> str:
    """A name in the form in which names are compared: lower case, in the singular, without an article."""
    words = normalize("NFC", re.sub(r"[\s_-]+", " ", without_article(name)).strip().lower())
    return singular(words)


class _Known(NamedTuple):
    """What a question is searched for: names, and single words that begin or end a label."""

    things: frozenset[str]
    parts: frozenset[str]
    places: frozenset[str]
    modifiers: frozenset[str]
    longest: int


class _Name(NamedTuple):
    """A name that stands in a question: its place, first and last word, itself, and whether it is asked about."""

    start: int
    first: int
    last: int
    said: str
    is_thing: bool


@lru_cache(256)
def _known(labels: tuple[str, ...]) -> _Known:
    targets = frozenset(normal_name(label) for label in labels) - {""}
    heads = frozenset(name.split(" ")[-1] for name in targets - NOT_THEIR_HEAD)
    every = nouns()
    things = every.things | targets | heads
    modifiers = frozenset(part for name in targets for part in name.split(" ")[:-1])
    longest = max(len(name.split(" ")) for name in things)
    return _Known(things, every.parts - things, every.places - things, modifiers, longest)


def _scan(question: str, labels: tuple[str, ...]) -> tuple[str, ...]:
    """Find known names in free text, the longest first; what one name covers is not searched again."""
    text = normalize("NFC", _OPTIONS.sub("", question).replace("’", "'").lower())
    text = _MATERIAL.sub(lambda found: " " * len(found[0]), text)
    free = [True] * len(text)
    found = _names(text, _known(labels), free)
    named = [(name.start, name.said) for name in found if name.is_thing] or [(name.start, name.said) for name in found]
    for label in sorted({normalize("NFC", label.strip().lower()) for label in labels} - {""}, key=len, reverse=True):
        for start, end in verbatim(label, text):
            if all(free[start:end]):
                named.append((start, label))
                free[start:end] = [False] * (end - start)
    return tuple(dict.fromkeys(name for _, name in sorted(named)))


def _names(text: str, known: _Known, free: list[bool]) -> list[_Name]:
    """The names in a text, in order; what they cover is marked as no longer free."""
    tokens = words_of(text)
    words = [text[start:end] for start, end in tokens]
    found: list[_Name] = []
    for length in range(min(known.longest, len(tokens)), 0, -1):
        for first in range(len(tokens) - length + 1):
            last = first + length - 1
            start, end = tokens[first][0], tokens[last][1]
            if not all(free[start:end]):
                continue
            said = _OWNER.sub("", " ".join(words[first : last + 1]))
            name = singular(said)
            is_any = length == 2 and words[first] in known.modifiers and singular(words[last]) in ANYTHING
            is_place = name in known.places
            if not (name in known.things or name in known.parts or is_place or is_any):
                continue
            free[start:end] = [False] * (end - start)
            is_where = is_place and bool(_LOCATIVE & set(words[max(0, first - 3) : first]))
            is_thing = not (name in known.parts or is_where or _OWNER.search(words[last]))
            found.append(_Name(start, first, last, said, is_thing))
    found.sort()
    found = [name for name in found if not (_is_colour(name, words, found) or _is_verb(name, words, found))]
    return list(_heads(found, text, tokens))


def _heads(found: list[_Name], text: str, tokens: list[tuple[int, int]]) -> Iterator[_Name]:
    """Names without those that only say of which kind the next one is; that of a part says whose it is."""
    following = {name.first: name for name in found}
    for name in found:
        after = following.get(name.last + 1)
        if after is not None and name.is_thing and singular(after.said) not in nouns().parts:
            between = text[tokens[name.last][1] : tokens[after.first][0]]
            if not between.strip(" -") and (name.said + after.said).isascii():  # compounds as English makes them
                continue
        yield name


def _is_colour(name: _Name, words: list[str], found: list[_Name]) -> bool:
    """Whether a name such as `orange` is that of a colour here: there is no article before it, or a colour beside."""
    if name.said not in _COLOUR_NAMES:
        return False
    before, beside = words[max(0, name.first - 2) : name.first], words[name.last + 1 : name.last + 3]
    if len(beside) == 2 and beside[0] in ("and", "or") and beside[1] in _COLOURS:
        return True
    if before and before[-1] in _DETERMINERS:
        return False
    nouns_before = {words[place] for other in found for place in range(other.first, other.last + 1)}
    return not (len(before) == 2 and before[0] in _DETERMINERS and before[1] not in nouns_before | _COLOURS)


def _is_verb(name: _Name, words: list[str], found: list[_Name]) -> bool:
    """Whether a name such as `watch` is what somebody does here: `does the man watch`."""
    before = words[: name.first]
    if name.said not in _VERBS or not before or not _AUXILIARIES & set(before):
        return False
    return before[-1] in _PRONOUNS or any(other.last == name.first - 1 for other in found)


_NOUN = r"([\w][\w' -]*?)"
_PICTURE = r"(?:photo|photograph|image|picture|scene)"
_PREPOSITION = r"(?:in|on|at|of|to|by|under|above|below|behind|beside|near|between|with)\b"
_TEMPLATES = (
    re.compile(rf"\bwhere (?:is|are) {_NOUN} in relation to {_NOUN}\s*(?:[?.]|$)", re.IGNORECASE),
    re.compile(rf"\bwhere (?:is|are) {_NOUN} in (?:the|this) {_PICTURE}\b", re.IGNORECASE),
    re.compile(rf"\bwhere(?: is| are|'s) ((?:(?!{_PREPOSITION})[\w'-]+ ?){{1,5}})\?", re.IGNORECASE),
)
_OPTIONS = re.compile(r"\banswer with\b.*|^\s*(?:\(A\)|A[.):])\s.*", re.IGNORECASE | re.DOTALL | re.MULTILINE)
_MATERIAL = re.compile(r"\bmade (?:out )?(?:of|from)\b[^?.,;]*")
_ARTICLES = re.compile(r"^(?:(?:the|a|an|this|that|these|those|my|your|his|her|their|our|some)\s+)+", re.IGNORECASE)
_OWNER = re.compile(r"(?<=\w)'s?$")
_LOCATIVE = frozenset("in on at across through along into onto over".split())
_COLOURS = frozenset("red orange yellow green blue purple pink brown black white gray grey tan gold silver".split())
_COLOUR_NAMES = frozenset({"orange", "rose", "olive", "lime", "peach", "plum"})
_DETERMINERS = frozenset("a an the this that any some one each every another no his her their its my your".split())
_AUXILIARIES = frozenset("do does did can could will would should may might to".split())
_PRONOUNS = frozenset("i you he she it we they who people everyone anyone somebody someone".split())
_VERBS = frozenset(
    "bark bat board book brush comb cook cross dock dress drink drum duck face fan fish fly hand head hook light lock "
    "paddle park plant race ram ride rock sail seat sign skate ski stick surf swing train watch water wave".split()
)
