"""Scoring: whether an answer is right, by a strict rule and by the paper's substring rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from interp.answers.wording import denies, has_variants, normal_words, says, undenied
from interp.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

YES_NO = ("yes", "no")
"""The options of a question that asks whether a statement holds."""

VSR = "vsr"
"""The data set whose yes and no the released code judges by a rule of its own."""

# "on the left" says left: there "on" belongs to the phrase and is not an answer of its own.
_LEADS_TO_ANOTHER = r"\s+(?:(?:the|its|your|my)\s+)?(?:{others})\b"


def score(table: pd.DataFrame) -> pd.DataFrame:
    """Judge every answer of a table by the strict rule and by the paper's.

    Args:
        table: a table with the columns `text` (the answer), `gold` and `options` (a sequence, or text with `|` or `,`
            between). A row without options is an open question: the strict rule then asks whether the text says the
            gold answer, see `interp.answers.wording.says`. With a column `dataset`, the paper's rule for VSR, which
            minds upper and lower case, is that of the rows of `VSR`; all others are judged by `paper_substring`.

    Returns:
        The table with the columns `predicted` (the option that is named first, missing where none is), `correct`
        (strict), `correct_paper` and `parsed` (whether an option is named). A gold answer that is not among the options
        is never right by the strict rule.

    Example:
        >>> score(pd.DataFrame({"text": ["Left."], "gold": ["left"], "options": [("left", "right")]})).correct.item()
        True

    Raises:
        InputError: a column is missing, or a gold answer is empty.
    """
    import pandas as pd

    missing = [name for name in ("text", "gold", "options") if name not in table.columns]
    if missing:
        raise InputError(f"the table has no column {missing}, only {list(table.columns)}: give text, gold and options")
    names = table["dataset"] if "dataset" in table else [""] * len(table)
    judged = [
        _judge(text_of(text), text_of(gold), read_options(listed), name == VSR)
        for text, gold, listed, name in zip(table["text"], table["gold"], table["options"], names, strict=True)
    ]
    predicted = pd.Series([name for name, _, _ in judged], index=table.index, dtype=object)
    strict, paper = [right for _, right, _ in judged], [right for _, _, right in judged]
    return table.assign(predicted=predicted, correct=strict, correct_paper=paper, parsed=predicted.notna())


def first_option(text: str, options: Sequence[str]) -> str | None:
    """The option that an answer names first, as a whole word in any case; None where it names none.

    The second half of a compound ("bottom-on") is no whole word, and "on" that only leads to another option
    ("on the left") is no answer, nor is one that is denied ("not left but right"). Numbers count as words or in digits,
    and spelling as in American or British English.

    Example:
        >>> first_option("It is to the Left, not right.", ("left", "right"))
        'left'
        >>> first_option("On the left.", ("left", "right", "on", "under"))
        'left'
    """
    said = undenied(text)
    found = [
        (match.start(), -len(option), option)
        for option in options
        if (match := re.search(_whole_word(option, options), text if denies(option) else said, re.IGNORECASE))
    ]
    return min(found)[2] if found else _in_other_words(said, options)


def paper_substring(text: str, answer: str) -> bool:
    """Whether an answer is right by the released code's rule: the gold word stands anywhere in it, in any case.

    "left and right" is right for both; "on" is also found inside "person", but not where "front" occurs.

    Example:
        >>> paper_substring("Left and right", "right"), paper_substring("In front", "on")
        (True, False)

    Raises:
        InputError: the gold answer is empty, which every text would contain.
    """
    if not answer.strip():
        raise InputError("the gold answer is empty, and every text contains it: give the right option")
    said, gold = text.lower(), answer.lower()
    return gold in said and not (gold == "on" and "front" in said)


def paper_yes_no(text: str, answer: str) -> bool:
    """Whether a yes/no answer is right by the released code's rule for VSR, which minds upper and lower case.

    Where the statement holds, "Yes" has to occur; where it does not, "No" has to. Text with both is right for both, and
    text with neither is wrong for both.

    Example:
        >>> paper_yes_no("Yes, it is.", "yes"), paper_yes_no("no", "no")
        (True, False)

    Raises:
        InputError: the gold answer is neither yes nor no.
    """
    return _said(answer) in text


def read_options(cell: str | Iterable[str] | None) -> tuple[str, ...]:
    """The options in one cell of a table: a sequence, text with `|` or `,` between them, or nothing.

    Example:
        >>> read_options("left|right")
        ('left', 'right')
    """
    if cell is None or _is_missing(cell):
        return ()
    listed = re.split(r"[|,]", cell) if isinstance(cell, str) else cell
    return tuple(name for option in listed if (name := str(option).strip()))


def text_of(cell: object) -> str:
    """The text of a cell; a missing one is empty (as text it would hold "no")."""
    return "" if _is_missing(cell) else str(cell)


def _is_missing(cell: object) -> bool:
    """Whether pandas has nothing there: None, NaN or NA."""
    return cell is None or type(cell).__name__ == "NAType" or (isinstance(cell, float) and cell != cell)


def _whole_word(option: str, options: Sequence[str]) -> str:
    """The pattern of an option as a word of its own."""
    word = rf"(?<!\w)(?<!\w-){re.escape(option)}(?!\w)"
    others = [re.escape(other) for other in options if other != option]
    if option.lower() == "on" and others:
        word += f"(?!{_LEADS_TO_ANOTHER.format(others='|'.join(others))})"
    return word


def _in_other_words(text: str, options: Sequence[str]) -> str | None:
    """The option that a text names first by another way to write its numbers or to spell it."""
    said = normal_words(text, directions=False)
    forms = {option: normal_words(option, directions=False) for option in options if has_variants(option)}
    found = [
        (place, -len(words), option)
        for option, words in forms.items()
        for place in range(len(said) - len(words) + 1)
        if said[place : place + len(words)] == words
    ]
    return min(found)[2] if found else None


def _judge(text: str, gold: str, options: tuple[str, ...], is_vsr: bool) -> tuple[str | None, bool, bool]:
    """The option that is named first, whether it is right, and whether the answer is by the paper's rule."""
    is_yes_no = {option.lower() for option in options} == set(YES_NO)
    paper = paper_yes_no(text, gold) if is_vsr and is_yes_no else paper_substring(text, gold)
    if options or not normal_words(gold):
        predicted = first_option(text, options or (gold,))
    else:
        predicted = gold if says(text, gold) else None
    return predicted, predicted is not None and predicted.casefold() == gold.casefold(), paper


def _said(answer: str) -> str:
    """The word that the released code looks for."""
    if answer.lower() not in YES_NO:
        raise InputError(f"the gold answer {answer!r} is neither yes nor no: use `paper_substring` for other options")
    return answer.capitalize()
