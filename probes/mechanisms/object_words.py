"""Object words: at which position of a prompt an object's name ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs


def word_ends(vlm: HookedVLM, inputs: VLMInputs, samples: list[Sample]) -> list[Int[np.ndarray, " object"]]:
    """The position of the last token of each object's name in each sample's question; -1 where it is not named.

    Where a name comes several times, the last one counts. Positions count the padding of the batch.

    Raises:
        InputError: a name stands in front of the photo.
    """
    written = vlm.family.written
    texts = [text if written is None else written(text, vlm.processor) for text in inputs.prompts]
    found = []
    for sample, text, layout in zip(samples, texts, inputs.layouts, strict=True):
        spans = vlm.processor.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        ends = [_end(text, sample.question, thing.name) for thing in sample.objects]
        places = np.array([_token(spans, end, len(layout)) for end in ends], dtype=np.int64)
        if ((places >= 0) & (places < layout.image_positions.max(initial=-1))).any():
            raise InputError(f"sample {sample.id!r} names an object in front of its photo: ask behind it")
        found.append(places)
    return found


def _end(text: str, question: str, name: str) -> int | None:
    """Behind which character of the prompt a name ends, inside the question."""
    start = max(text.rfind(question), 0)
    end = start + len(question) if question in text else len(text)
    inside = [last for first, last in spans_of(name, text[:end]) if first >= start]
    return inside[-1] if inside else None


def spans_of(name: str, text: str) -> list[tuple[int, int]]:
    """First character and end of every place where a text names an object, as whole words."""
    return [found.span() for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)]


def _token(spans: list[tuple[int, int]], end: int | None, length: int) -> int:
    """The position, counted from the end of the prompt, of the token that holds the last character of a name."""
    if end is None:
        return -1
    numbers = [number for number, (first, last) in enumerate(spans) if first < end <= last]
    return length - len(spans) + numbers[-1] if numbers else -1
