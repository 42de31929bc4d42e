"""Placeholders: the words of a prompt that stand for a photo, a video or a sound, which no question may hold."""

from __future__ import annotations

import re
from typing import Any

from interp.errors import InputError

_OF_PHOTOS = re.compile(r"image|img|vision|row_\d", re.IGNORECASE)
_OF_OTHERS = re.compile(r"video|audio", re.IGNORECASE)
_NAMES = ("image_token", "video_token", "audio_token")
_BEGINS = ("<", "[")


def refuse_placeholders(question: str, processor: Any, *, raw: bool = False, photo: bool = True) -> None:
    """Refuse a question with a word that the processor or the model takes for something else than words.

    Args:
        question: the question.
        processor: the processor.
        raw: whether it is a whole prompt, which holds the placeholder of its photo, and what is written around it.
        photo: whether there is a photo, which a whole prompt could hold the placeholder of.

    Raises:
        InputError: there is one; the message names it.
    """
    if not any(sign in question for sign in _BEGINS):
        return
    named = {name: getattr(processor, name, None) for name in _NAMES}
    words = {word: "image" for word in [named["image_token"]] if isinstance(word, str)}
    words |= {word: name[:5] for name, word in named.items() if isinstance(word, str) and name != "image_token"}
    for word in processor.tokenizer.get_added_vocab():
        if kind := _OF_OTHERS.search(word):
            words[word] = kind.group().lower()
        elif _OF_PHOTOS.search(word):
            words.setdefault(word, "image")
    held = sorted((word for word, kind in words.items() if word in question and not (raw and kind == "image")), key=len)
    if held:
        stands_for = words[held[-1]]
        way = "leave it out" if raw or not photo or stands_for != "image" else "leave it out, or use prompt='raw'"
        raise InputError(f"the question holds the {stands_for} placeholder {held[-1]!r}: {way}")
