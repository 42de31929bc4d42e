"""Object words: at which position of a prompt an object's name ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from interp.errors import InputError

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs


def word_ends(vlm: HookedVLM, inputs: VLMInputs, samples: Sequence[Sample]) -> list[Int[np.ndarray, " object"]]:
    """The position of the last token of each object's name in each sample's question; -1 where it is not named.

    Where a name comes several times, the last one counts. Positions count the padding of the batch.

    Raises:
        InputError: a name stands in front of the photo.
    """
    return [
        np.array([own[-1][-1] if own else -1 for own in names], dtype=np.int64)
        for names in _named(vlm, inputs, samples)
    ]


def name_tokens(vlm: HookedVLM, inputs: VLMInputs, samples: Sequence[Sample]) -> list[Int[np.ndarray, " token"]]:
    """The positions of all tokens that name objects in each sample's question, wherever they stand there.

    Raises:
        InputError: a name stands in front of the photo.
    """
    return [
        np.array(sorted({place for names in own for one in names for place in one}), dtype=np.int64)
        for own in _named(vlm, inputs, samples)
    ]


def spans_of(name: str, text: str) -> list[tuple[int, int]]:
    """First character and end of every place where a text names an object, as whole words."""
    return [found.span() for found in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)]


def _named(vlm: HookedVLM, inputs: VLMInputs, samples: Sequence[Sample]) -> list[list[list[list[int]]]]:
    """Of each sample and object, the positions of the tokens of its name, each time that the question has it."""
    written = vlm.family.written
    texts = [text if written is None else written(text, vlm.processor) for text in inputs.prompts]
    found = []
    for sample, text, layout in zip(samples, texts, inputs.layouts, strict=True):
        cut = vlm.processor.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
        start = max(text.rfind(sample.question), 0)
        end = start + len(sample.question) if sample.question in text else len(text)
        own = [
            [_tokens(cut, span, len(layout)) for span in spans_of(thing.name, text[:end]) if span[0] >= start]
            for thing in sample.objects
        ]
        if min((place for names in own for one in names for place in one), default=len(layout)) < max(
            layout.image_positions.tolist(), default=-1
        ):
            raise InputError(f"sample {sample.id!r} names an object in front of its photo: ask behind it")
        found.append(own)
    return found


def _tokens(cut: Sequence[tuple[int, int]], span: tuple[int, int], length: int) -> list[int]:
    """The positions, counted from the end of the prompt, of the tokens that hold characters of a name."""
    inside = [number for number, (first, last) in enumerate(cut) if first < span[1] and span[0] < last]
    return [length - len(cut) + number for number in inside]
