"""Positions: which tokens of an answer the activations are taken at, by the words of the answer and numbers alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from interp.reprs import fits_a_cell

ALIGNMENTS = ("at", "predicts")
"""Whether the activation AT a token is meant, or the one from which it is predicted, a position before."""

SHORT = 6
"""Answers of fewer tokens are taken whole where the `topk` are asked for."""

FUNCTION_WORDS = frozenset(
    """a an the this that these those it its itself he she they them his her their there here i we you my our your
    is are was were be been being am do does did has have had can could will would shall should may might must
    and or but so if then than as of to for with by at from which who whom whose what also very just""".split()
)
"""Words that say nothing by themselves. Prepositions of place (on, in, under) are none, nor are yes, no and not."""


class Choice(NamedTuple):
    """The tokens that were chosen, ascending, and by which rule: `topk` may fall back to another."""

    tokens: tuple[int, ...]
    rule: str


@fits_a_cell("text answer pieces span")
@dataclass(frozen=True)
class SaidAnswer:
    """An answer, and where each of its tokens stands in it.

    Attributes:
        text: all that was said.
        answer: what of that is the answer: the value of `answer` where the text is JSON, else the text.
        pieces: first and last character of each token, the last excluded; both are one where it says nothing.
        span: the tokens of the answer, ascending.
    """

    text: str
    answer: str
    pieces: tuple[tuple[int, int], ...]
    span: tuple[int, ...]

    @classmethod
    def of(cls, tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> SaidAnswer:
        """Read what tokens say.

        Args:
            tokens: those of the answer, without the one that ends it.
            decode: makes a text of tokens.

        Example:
            >>> SaidAnswer.of([1, 2, 3], lambda ids: "on the left"[: 3 * len(ids) + 2]).span
            (0, 1, 2)
        """
        text, ends = decode(tokens), [0]
        for count in range(1, len(tokens) + 1):
            end = len(decode(tokens[:count]).rstrip("\N{REPLACEMENT CHARACTER}")) if count < len(tokens) else len(text)
            ends.append(min(max(end, ends[-1]), len(text)))  # half a character says nothing until it is whole
        pieces = tuple(zip(ends[:-1], ends[1:], strict=True))
        start, end = _span(text)
        span = tuple(
            place for place, (own, last) in enumerate(pieces) if text[max(own, start) : min(last, end)].strip()
        )
        return cls(text, _unescaped(text[start:end]), pieces, span)

    @property
    def content(self) -> tuple[int, ...]:
        """The first token of each word of the answer that is no function word."""
        inside = set(self.span)
        starts = {
            match.start() for match in re.finditer(r"\w+", self.text) if match[0].casefold() not in FUNCTION_WORDS
        }
        first = (
            next((at for at, (own, last) in enumerate(self.pieces) if own <= start < last), -1) for start in starts
        )
        return tuple(sorted(inside.intersection(first)))


def choose(
    tokens: str, said: SaidAnswer, log_probs: Float[np.ndarray, " token"], *, k: int = 3, right: bool = True
) -> Choice:
    """The tokens of an answer that activations are taken at, 0-based.

    `first` and `last` are those of all that was said, end tokens left out. `meaning_first` is the first token of the
    answer, `full` are all of them; these are fewer where the answer stands in JSON. `topk` are the `k` tokens that were
    least expected among the first tokens of content words. Where the answer has fewer than `SHORT` tokens (rule
    `short`) or is wrong (`wrong`), all of its tokens are taken, and where it has no content word (`no content`), the
    last: fall-backs of "Cognitive Mirrors" (arXiv 2512.10978), where a language model names the tokens.

    Args:
        tokens: one of `probes.heads.activations.features.POSITIONS`.
        said: the answer; it has tokens.
        log_probs: the log-probability of each token that was said.
        k: how many at most, for `topk`.
        right: whether the answer is right.

    Returns:
        The tokens, and the rule they were chosen by.
    """
    span = said.span or tuple(range(len(said.pieces)))
    if tokens != "topk":
        chosen = {"first": (0,), "last": (len(said.pieces) - 1,), "meaning_first": span[:1], "full": span}[tokens]
        return Choice(chosen, tokens)
    if len(span) < SHORT or not right:
        return Choice(span, "short" if len(span) < SHORT else "wrong")
    content = said.content
    if not content:
        return Choice(span[-1:], "no content")
    unexpected = sorted(content, key=lambda place: (float(log_probs[place]), place))
    return Choice(tuple(sorted(unexpected[:k])), "topk")


_VALUE = re.compile(r"""["']answer["']\s*:\s*(?:"((?:[^"\\]|\\.)*)|'([^']*)|([^\s"',}\]][^,}\]]*))""")


def _span(text: str) -> tuple[int, int]:
    """Where the answer stands in a text: in JSON, also in unfinished one, at the last value of `answer`."""
    found = next((match for match in reversed(list(_VALUE.finditer(text)))), None)
    group = next((number for number in (1, 2, 3) if found and (found[number] or "").strip()), None)
    if found and group:
        return found.start(group), found.start(group) + len(found[group].rstrip())
    start = len(text) - len(text.lstrip())
    return start, max(len(text.rstrip()), start)


def _unescaped(value: str) -> str:
    """A value of JSON as what it says."""
    try:
        return str(json.loads(f'"{value}"')).strip() if "\\" in value else value.strip()
    except ValueError:
        return value.strip()
