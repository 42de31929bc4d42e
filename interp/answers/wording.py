"""Wording: one form for the words of an answer, and what of a text is said and not denied."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interp.errors import InputError
from interp.objects.synonyms import singular

DIRECTIONS: dict[str, tuple[str, ...]] = {
    "left": ("left", "leftmost", "leftward", "leftwards", "lefthand"),
    "right": ("right", "rightmost", "rightward", "rightwards", "righthand"),
    "above": (
        *("above", "over", "top", "topmost", "atop", "up", "upper", "upward"),
        *("upwards", "uppermost", "higher", "highest"),
    ),
    "below": (
        *("below", "under", "underneath", "beneath", "bottom", "bottommost", "down", "lower"),
        *("downward", "downwards", "lowermost", "lowest"),
    ),
}
"""Words that say the same direction: at the top of a picture and above a shape are one, as are bottom and below."""

NOTHING = ("no", "none", "nothing", "zero", "nobody")
"""Words that say of a number that it is 0."""


def says(text: str, answer: str, answers: Sequence[str] = ()) -> bool:
    """Whether a text says an answer, and no other.

    All words of the answer have to occur, as whole words and one behind the other, in the form of `normal_words`: a
    direction counts by what it means, a number as a word or in digits, a noun in the singular or plural. What is denied
    (`not green`) is not said. It is wrong to name another direction beside, or another of the possible answers, unless
    that is a part of the right one. Of numbers the first counts; `none` and `no dogs` are 0.

    Args:
        text: what was said.
        answer: the right answer.
        answers: what else could be right, such as the answers of all questions of its category.

    Example:
        >>> says("It is at the bottom.", "below"), says("Left or right.", "left"), says("Two dogs", "2")
        (True, False, True)
        >>> says("Yellow, not green", "yellow", ["green"]), says("Yellow, not green", "green")
        (True, False)

    Raises:
        InputError: the answer holds no word.
    """
    said, wanted = normal_words(text if denies(answer) else undenied(text)), normal_words(answer)
    if not wanted:
        raise InputError(f"the gold answer {answer!r} holds no word, and every text says nothing: give another")
    if len(wanted) == 1 and (is_number(wanted[0]) or wanted[0] in NOTHING[1:]):
        return _says_number(text, said, wanted[0])
    if not _holds(said, wanted) or (set(said) - set(wanted)) & _directions_against(wanted):
        return False
    others = {normal_words(other) for other in answers} - {wanted, ()}
    return not any(_holds(said, other) for other in others if not _holds(wanted, other))


def normal_words(text: str, *, directions: bool = True) -> tuple[str, ...]:
    """The words of a text in one form.

    Lower case, without articles and punctuation, nouns in the singular, numbers in digits, American spelling, and one
    word for each direction, unless `directions` are to stay as they are.

    Example:
        >>> normal_words("At the Bottom-left."), normal_words("two grey circles"), normal_words("twenty-one")
        (('at', 'below', 'left'), ('2', 'gray', 'circle'), ('21',))
    """
    lower = text.casefold().replace("’", "'").replace("'s ", " ")
    found = _WORD.findall(_THOUSANDS.sub("", _T_SHIRT.sub("tshirt", _POINTED_OUT.sub(r"\1", lower))))
    words: list[str] = []
    for word in (_one_form(word, directions) for word in found if word not in _ARTICLES):
        if words and word.isdigit() and int(word) < 10 and words[-1] in _TENS:
            word = str(int(words.pop()) + int(word))
        words.append(word)
    return tuple(words)


def is_number(word: str) -> bool:
    """Whether a word of `normal_words` is a number."""
    return word[:1].isdigit()


def undenied(text: str) -> str:
    """A text with spaces in place of what it denies: `yellow, not green` says yellow, `not red but blue` says blue.

    What is denied are up to four words behind `not`, `n't`, `never`, `without`, `neither`, `nor`, `rather than` or
    `instead of`, or two behind `no`, as far as the next comma, full stop or `but`.

    Example:
        >>> undenied("Yellow, not green.").split(), undenied("It isn't red but blue").split()
        (['Yellow,', 'not', '.'], ['It', "isn't", 'but', 'blue'])
    """
    text = text.replace("’", "'")
    for pattern in _DENIED:
        text = pattern.sub(lambda found: found[1] + " " * len(found[2]), text)
    return text


def denies(text: str) -> bool:
    """Whether a text holds a word that denies."""
    return bool(_DENIER.search(text))


def has_variants(text: str) -> bool:
    """Whether a text has a number, or a word that is spelt in several ways."""
    return any(is_number(word) or word in _VARIANTS for word in normal_words(text, directions=False))


def _says_number(text: str, said: tuple[str, ...], wanted: str) -> bool:
    """Whether the first number that is said is the wanted one; without any, whether nothing is said to be there."""
    numbers = [word for word in said if is_number(word)]
    wanted = wanted if is_number(wanted) else "0"
    return numbers[0] == wanted if numbers else wanted == "0" and bool(set(normal_words(text)) & set(NOTHING))


def _holds(words: tuple[str, ...], part: tuple[str, ...]) -> bool:
    """Whether some words stand in others, one behind the other."""
    return any(words[start : start + len(part)] == part for start in range(len(words) - len(part) + 1))


def _directions_against(wanted: tuple[str, ...]) -> set[str]:
    """The directions that an answer with a direction rules out: all that it does not say."""
    return set(DIRECTIONS) - set(wanted) if set(DIRECTIONS) & set(wanted) else set()


def _one_form(word: str, directions: bool) -> str:
    if directions and word in _MEANS:
        return _MEANS[word]
    word = _NUMBERS.get(word, word)
    word = singular(_SPELT.get(word, word))
    return _SPELT.get(word, word)


_WORD = re.compile(r"\d+(?:[.:]\d+)*|[^\W\d_]+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")
_T_SHIRT = re.compile(r"\bt[ -]shirt")
_POINTED_OUT = re.compile(
    r"\b((?:the|this|that|a|an|which|each|every|another|other|no|his|her)"
    r"(?: (?!(?:is|are|was|only|just)\b)[\w-]+){0,2}) one\b"
)
"""Where `one` is no number: `the red one`."""
_ARTICLES = frozenset({"a", "an", "the"})
_MEANS = {word: direction for direction, words in DIRECTIONS.items() for word in words}
_UNITS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_BY_TEN = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_NUMBERS = {word: str(number) for number, word in enumerate(_UNITS)}
_NUMBERS |= {word: str(10 * number) for number, word in enumerate(_BY_TEN, start=2)} | {"hundred": "100", "dozen": "12"}
_TENS = frozenset(str(10 * number) for number in range(2, 10))
_SPELT = {
    **{"grey": "gray", "greyish": "grayish", "colour": "color", "coloured": "colored", "centre": "center"},
    **{"metre": "meter", "theatre": "theater", "fibre": "fiber", "tyre": "tire", "kerb": "curb", "plough": "plow"},
    **{"doughnut": "donut", "aeroplane": "airplane", "pyjamas": "pajamas", "yoghurt": "yogurt", "mould": "mold"},
    **{"aluminium": "aluminum", "jewellery": "jewelry", "moustache": "mustache", "cheque": "check"},
    **{"harbour": "harbor", "parlour": "parlor", "armour": "armor", "storey": "story", "whisky": "whiskey"},
    **{"licence": "license", "racquet": "racket", "disk": "disc", "catsup": "ketchup"},
    **{"travelling": "traveling", "practise": "practice", "programme": "program", "cosy": "cozy", "ageing": "aging"},
}
"""British spellings and the like by the form that counts; forms in the singular."""
_VARIANTS = frozenset(_SPELT.values())

_SURELY = r"(?:sure|certain|clear|only|just|necessarily|entirely|exactly|possible)"
_NO = rf"\bnot(?!\s+{_SURELY}\b)|n't(?!\s+{_SURELY}\b)|\b(?:never|neither|nor|without)|\brather than|\binstead of"
_NO_NOUN = r"\bno(?!\s+(?:the|it|there|this|that|he|she|they|i|a|an)\b)"
_GOES_ON = r"[\s-]+(?!(?:but|it|because|rather|instead)\b)[\w']+"
_DENIER = re.compile(rf"{_NO}|\bno\b", re.IGNORECASE)
_DENIED = (
    re.compile(rf"({_NO})((?:{_GOES_ON}){{1,4}})", re.IGNORECASE),
    re.compile(rf"({_NO_NOUN})((?:{_GOES_ON}){{1,2}})", re.IGNORECASE),
)
