"""Placeholders: the tokens of a prompt that stand for a photo, a video or a sound, which no question may hold."""

from __future__ import annotations

import re
from typing import Any

from jaxtyping import Int
from torch import Tensor

from interp.errors import InputError

_OF_PHOTOS = re.compile(r"image|img|vision|row_\d", re.IGNORECASE)
_OF_OTHERS = re.compile(r"video|audio", re.IGNORECASE)
_KINDS = ("image", "video", "audio")
_BEGINS = ("<", "[")


def refuse_placeholders(
    question: str, processor: Any, config: Any = None, *, raw: bool = False, photo: bool = True
) -> None:
    """Refuse a question with a word that the processor or the model takes for something else than words.

    Args:
        question: the question.
        processor: the processor.
        config: the model's configuration, which may name placeholders that the processor does not.
        raw: whether it is a whole prompt, which holds the placeholder of its photo, and what is written around it.
        photo: whether there is a photo, which a whole prompt could hold the placeholder of.

    Raises:
        InputError: there is one; the message names it.
    """
    if not any(sign in question for sign in _BEGINS):
        return
    words = _placeholders(processor, config)
    held = sorted((word for word, kind in words.items() if word in question and not (raw and kind == "image")), key=len)
    if held:
        stands_for = words[held[-1]]
        way = "leave it out" if raw or not photo or stands_for != "image" else "leave it out, or use prompt='raw'"
        raise InputError(f"the question holds the {stands_for} placeholder {held[-1]!r}: {way}")


def refuse_placeholder_ids(ids: Int[Tensor, "batch pos"], processor: Any, config: Any) -> None:
    """Refuse ids with one that the processor or the model takes for something else than a word.

    Args:
        ids: the prompts.
        processor: the processor.
        config: the model's configuration.

    Raises:
        InputError: there is one; the message names it.
    """
    words = _placeholders(processor, config)
    numbers = dict(zip(processor.tokenizer.convert_tokens_to_ids(list(words)), words, strict=True))
    numbers.pop(processor.tokenizer.unk_token_id, None)
    for number in ids.unique().tolist():
        if number in numbers:
            word, kind = numbers[number], words[numbers[number]]
            brings = "photo" if kind == "image" else kind
            raise InputError(
                f"these ids hold {int((ids == number).sum())} {kind} tokens, and ids alone bring no {brings} "
                f"({word!r} stands for one): leave them out, or run what vlm.prepare(photo, question) gave"
            )


def _placeholders(processor: Any, config: Any) -> dict[str, str]:
    """What each word stands for that is none: those that processor and model name, and those added to the tokens."""
    named = {kind: getattr(processor, f"{kind}_token", None) for kind in _KINDS}
    words = {word: kind for kind, word in named.items() if isinstance(word, str)}
    for kind in _KINDS:
        number = getattr(config, f"{kind}_token_id", None)
        if isinstance(number, int) and isinstance(word := processor.tokenizer.convert_ids_to_tokens(number), str):
            words.setdefault(word, kind)
    for word in processor.tokenizer.get_added_vocab():
        if other := _OF_OTHERS.search(word):
            words[word] = other.group().lower()
        elif _OF_PHOTOS.search(word):
            words.setdefault(word, "image")
    return words
