"""Vocabulary: which words a model can say in one token, and which tokens say a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.model.answer_token import LINE, added_ids, follows_bare
from interp.numeric import agree, counted
from interp.reprs import fits_a_cell

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM

MANY = 7
"""Dropped words that a message names."""


@fits_a_cell()
@dataclass(frozen=True)
class Vocabulary:
    """The words of a list that a model says in one token each, and those that were dropped.

    Attributes:
        words: those that are kept, in the order of the list.
        ids: the tokens of each.
        dropped: why each of the others is not among them.
    """

    words: tuple[str, ...]
    ids: Mapping[str, tuple[int, ...]]
    dropped: Mapping[str, str]

    def describe(self) -> str:
        """Say in one sentence what was kept and dropped.

        Example:
            >>> single_token_words(vlm, ["red", "crimson"], after="ASSISTANT:", at_least=1).describe()
            "1 of 2 words is kept; dropped: crimson (' crimson' is not one token)"
        """
        whole = len(self.words) + len(self.dropped)
        kept = len(self.words)
        said = f"{kept} of {counted(whole, 'word')} {agree(kept, 'is', 'are')} kept"
        lost = "; ".join(f"{word} ({why})" for word, why in list(self.dropped.items())[:MANY])
        more = f"; and {len(self.dropped) - MANY} more" if len(self.dropped) > MANY else ""
        return f"{said}; dropped: {lost}{more}" if lost else said


def single_token_words(
    vlm: HookedVLM, words: Iterable[str], *, after: str | None = None, at_least: int = 2
) -> Vocabulary:
    """Keep the words that are one token, so that their probability can be read at one position.

    By default by the paper's rule: in all four spellings {lower case, Capital} x {bare, behind a space}. With `after`,
    in the spelling alone that follows a prompt: as it stands in the list, behind a space where the prompt ends in none.

    Args:
        vlm: the hooked model.
        words: the list.
        after: a prompt as text, such as `inputs.prompts[0]`, to keep to the spelling that follows it.
        at_least: fewer words than this are refused.

    Raises:
        InputError: a word that is empty or listed twice, or too few that are kept; the message says why each was lost.

    Example:
        >>> single_token_words(vlm, ["left", "right", "leftmost"], after="ASSISTANT:").words
        ('left', 'right')
    """
    listed = _listed(words)
    tokenizer = vlm.processor.tokenizer
    found = {word: _tokens(tokenizer, word, after) for word in listed}
    ids = {word: _own(own) for word, own in found.items() if None not in own.values()}
    dropped = {word: _why(own) for word, own in found.items() if None in own.values()}
    kept = Vocabulary(tuple(ids), ids, dropped)
    if len(kept.words) < at_least:
        rule = (
            "each of a word's four spellings, in which an answer may begin,"
            if after is None
            else "the spelling that follows the prompt"
        )
        raise InputError(
            f"{kept.describe()}; {rule} has to be one token: give more words that are one token for this model, "
            f"{at_least} at least"
        )
    return kept


def spelled_ids(vlm: HookedVLM, word: str, *, after: str | None = None) -> tuple[int, ...]:
    """The tokens that say a word: those of its four spellings that are one token, whose probabilities are summed.

    Args:
        vlm: the hooked model.
        word: one word.
        after: a prompt as text, to keep to the spelling that follows it; see `single_token_words`.

    Raises:
        InputError: it is several tokens in every spelling, or unknown to the tokenizer.

    Example:
        >>> spelled_ids(vlm, "left")  # the embedded model knows the word in one spelling
        (30,)
    """
    (word,) = _listed([word])
    found = _tokens(vlm.processor.tokenizer, word, after)
    ids = _own(found)
    if not ids:
        raise InputError(f"the word {word!r} can not be read at one position: {_why(found)}; use another word")
    return ids


def spellings(word: str) -> tuple[str, ...]:
    """A word in lower case and with a capital, bare and behind a space.

    Example:
        >>> spellings("Red")
        ('red', 'Red', ' red', ' Red')
    """
    cases = (word.lower(), word[:1].upper() + word[1:].lower())
    return (*cases, *(f" {case}" for case in cases))


def plain_word(text: str) -> str:
    """A token's letters and digits, but for capitals: as the paper compares answers.

    Example:
        >>> plain_word(" Left.")
        'left'
    """
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _listed(words: Iterable[str]) -> list[str]:
    """The words as a list, refused where one is no word or comes twice."""
    listed = [words] if isinstance(words, str) else list(words)
    for word in listed:
        if not isinstance(word, str) or not word.strip() or word != word.strip():
            raise InputError(f"{word!r} is no word: give text without space around it")
    seen = {word.lower() for word in listed}
    if len(seen) < len(listed):
        raise InputError(f"of the words {listed} some are the same but for capitals: list each once")
    return listed


def _tokens(tokenizer: Any, word: str, after: str | None) -> dict[str, int | None]:
    """The token of each spelling that is asked for; None where it is not one."""
    if after is None:
        return {text: _token(tokenizer, text, LINE) for text in spellings(word)}
    text = word if follows_bare(tokenizer, after) else f" {word}"
    return {text: _token(tokenizer, text, after)}


def _own(found: Mapping[str, int | None]) -> tuple[int, ...]:
    """The tokens of those spellings that have one, each once."""
    return tuple(dict.fromkeys(token for token in found.values() if token is not None))


def _token(tokenizer: Any, text: str, before: str) -> int | None:
    """The one token that a text adds behind another; None where it adds several, or one that stands for all unknown.

    Where the other text's last token would be another for what follows, it counts as a line end.
    """
    added = added_ids(tokenizer, text, before)
    if added is None:
        return None if before == LINE else _token(tokenizer, text, LINE)
    return added[0] if len(added) == 1 and added[0] != tokenizer.unk_token_id else None


def _why(found: Mapping[str, int | None]) -> str:
    """Which spellings are not one token."""
    lost = [repr(text) for text, token in found.items() if token is None]
    return f"{', '.join(lost)} {'is' if len(lost) == 1 else 'are'} not one token"
