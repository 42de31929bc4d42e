"""TokenLayout: which position of the prompt is what."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Int

from interp.errors import InputError
from interp.prompt.system import cut_head
from interp.reprs import fits_a_cell

KINDS = ("pad", "bos", "system", "image", "image_marker", "question", "template", "answer")
"""Every position is exactly one of these: `template` is role words and option lists, `answer` what was generated."""


@fits_a_cell("length image_positions kinds")
@dataclass(frozen=True)
class TokenLayout:
    """A partition of the positions of one sample, in the padded coordinates of its batch.

    Attributes:
        kinds: one of `KINDS` per position.
        tokens: the text of each position's token.

    Example:
        >>> layout = TokenLayout(("bos", "image", "image", "question"), ("<s>", "<image>", "<image>", "where"))
        >>> layout.image_positions, layout.last
        (array([1, 2]), 3)
    """

    kinds: tuple[str, ...]
    tokens: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse kinds that are not known."""
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown or len(self.kinds) != len(self.tokens):
            raise InputError(
                f"layout has kinds {unknown} or lengths that differ: use one of {', '.join(KINDS)} per token"
            )

    def __getstate__(self) -> dict[str, tuple[str, ...]]:
        """What is copied and saved: the fields alone, without what was read from them."""
        return {"kinds": self.kinds, "tokens": self.tokens}

    def __len__(self) -> int:
        """Count the positions, padding included."""
        return len(self.kinds)

    @property
    def length(self) -> int:
        """Number of positions, padding included."""
        return len(self.kinds)

    def positions(self, *kinds: str) -> Int[np.ndarray, " position"]:
        """Positions of the given kinds, int64, ascending.

        Raises:
            InputError: a kind does not exist.
        """
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown:
            raise InputError(f"no position is of kind {unknown}: use one of {', '.join(KINDS)}")
        return np.flatnonzero(np.isin(np.array(self.kinds), kinds))

    @cached_property
    def image_positions(self) -> Int[np.ndarray, " image_token"]:
        """Positions of the image tokens, in the order of the image grid."""
        return self.positions("image")

    @cached_property
    def placeholders(self) -> Int[np.ndarray, " slot"]:
        """Positions of all image placeholders: the image tokens and, in some families, the row ends between them."""
        image = {self.tokens[place] for place in self.image_positions}
        there = [kind != "pad" and token in image for kind, token in zip(self.kinds, self.tokens, strict=True)]
        return np.flatnonzero(there)

    @property
    def after_image(self) -> Int[np.ndarray, " position"]:
        """Positions of the prompt behind the last image token: the rows that see the whole image."""
        return np.arange(self.image_positions[-1] + 1, self.last + 1)

    @property
    def last(self) -> int:
        """Position of the last prompt token: the row whose output is the first answer token."""
        return int(np.flatnonzero(np.array(self.kinds) != "answer")[-1])

    def extended(self, tokens: Sequence[str]) -> TokenLayout:
        """The layout with generated tokens after it."""
        return TokenLayout(self.kinds + ("answer",) * len(tokens), self.tokens + tuple(tokens))


def find_kinds(
    prompt: str,
    question: str,
    spans: Sequence[tuple[int, int]],
    *,
    image_token: str,
    special: Sequence[bool],
    bos: str = "",
) -> list[str]:
    """Kinds of the tokens of one unpadded prompt, from the characters that each of them covers.

    Args:
        prompt: the prompt's text.
        question: the question as it stands in the prompt, with its option list.
        spans: start and end character of each token.
        image_token: the text of the image placeholder, with what the prompt wraps it in.
        special: whether each token is the one that begins a text; only the first counts.
        bos: the text of that token.
    """
    text = np.full(len(prompt) + 1, "template", dtype=object)
    start = prompt.rfind(question) if question else -1
    head = cut_head(prompt, question, image_token, bos=bos)
    text[: head.begin] = "template" if head.in_turn else "bos"
    text[head.begin : head.end] = "system"
    if start >= 0:
        listed = _OPTIONS.search(question)
        text[start : start + len(question)] = "question"
        if listed:
            text[start + listed.start() : start + listed.end()] = "template"
    for match in re.finditer(re.escape(image_token), prompt):
        text[match.start() : match.end()] = "image"
    first = next((place for place, flag in enumerate(special) if flag), None)
    return [_kind_of(text, prompt, span, bos=place == first) for place, span in enumerate(spans)]


_OPTIONS = re.compile(r"\bAnswer with\b(?:[^:.?!]*:(?=\s*\S)|.*)", re.DOTALL)
"""The list of options, up to the end or to a colon, behind which a question may have what it is about."""


def _kind_of(text: np.ndarray, prompt: str, span: tuple[int, int], *, bos: bool) -> str:
    """The kind of most of a token's characters, white space apart."""
    if bos:
        return "bos"
    start, end = span
    own = [text[place] for place in range(start, end) if not prompt[place].isspace()] or [text[start]]
    return max(set(own), key=own.count)
