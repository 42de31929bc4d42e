"""The pieces of a text that its tokens stand for, as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_HALF = "\N{REPLACEMENT CHARACTER}"  # what a tokenizer writes for bytes that are no whole letter yet


def pieces(tokenizer: Any, ids: Sequence[int]) -> tuple[str, ...]:
    """What each token adds to the text: `' left'` where the vocabulary has `'Ġleft'` or `'▁left'`.

    A letter that is made of several tokens belongs to the last of them; those before it add nothing.

    Args:
        tokenizer: the tokenizer of a model.
        ids: tokens that follow each other.

    Example:
        >>> pieces(vlm.processor.tokenizer, generation.tokens[0].tolist())
        ('Left', ' of', ' it', '</s>')
    """
    before, found = "", []
    for end in range(1, len(ids) + 1):
        text = str(tokenizer.decode(list(ids[:end]), clean_up_tokenization_spaces=False))
        whole = text if end == len(ids) else text.rstrip(_HALF)
        if whole.startswith(before):
            found.append(whole[len(before) :])
        else:  # a tokenizer that spells what stands before anew
            found.append(str(tokenizer.decode([ids[end - 1]], clean_up_tokenization_spaces=False)))
        before = whole
    return tuple(found)
