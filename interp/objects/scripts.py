"""Scripts: where words begin and end in a text, also in scripts that put no space between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from unicodedata import category, name


def words_of(text: str) -> list[tuple[int, int]]:
    """Where the words of a text begin and end: runs of letters, their marks, digits and apostrophes.

    Example:
        >>> words_of("l'été, 1 кот")
        [(0, 5), (7, 8), (9, 12)]
    """
    runs = groupby(range(len(text)), key=lambda place: _is_letter(text[place]) or text[place] == "'")
    found = [list(run) for is_word, run in runs if is_word]
    return [(run[0], run[-1] + 1) for run in found]


def verbatim(wanted: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a name stands in a text word for word: not as a part of a longer word, where words have spaces between.

    Chinese, Japanese, Thai and the like have none, so there a name is found wherever it is written; in Korean, behind
    it may stand what is written to nouns.

    Example:
        >>> list(verbatim("cat", "a cat, no catalogue")), list(verbatim("猫", "黑猫在哪里"))
        ([(2, 5)], [(1, 2)])
    """
    start = text.find(wanted)
    while wanted and start >= 0:
        end = start + len(wanted)
        if not _joined(text[start - 1 : start], wanted[0]) and not _goes_on(wanted[-1], text[end:]):
            yield start, end
        start = text.find(wanted, start + 1)


_UNSPACED = ("CJK", "HIRAGANA", "KATAKANA", "THAI", "LAO", "KHMER", "MYANMAR", "TIBETAN", "BOPOMOFO", "IDEOGRAPHIC")
_ENDINGS = re.compile(
    "(?:은|는|이|가|을|를|와|과|의|도|만|에|에서|에게|께|로|으로|랑|이랑|하고|부터|까지|보다|처럼|들){0,3}(?![가-힣])"
)
"""What Korean writes to a noun, as far as the next sign that is no Hangul."""


def _goes_on(last: str, behind: str) -> bool:
    """Whether a word goes on behind its sign `last`."""
    if category(last)[0] == "L" and name(last, "").startswith("HANGUL"):
        return not _ENDINGS.match(behind)
    return _joined(last, behind[:1])


def _joined(left: str, right: str) -> bool:
    """Whether two signs side by side belong to one word; the empty text is what lies beyond an end."""
    if not left or not right or not _is_letter(left) or not _is_letter(right):
        return False
    if category(right)[0] == "M":  # a mark changes the letter that it stands on, in any script
        return True
    return not name(left, "").startswith(_UNSPACED) and not name(right, "").startswith(_UNSPACED)


def _is_letter(sign: str) -> bool:
    return category(sign)[0] in "LMN"
