"""Where: positions of prompts by a word that means the like in every sample of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from interp.intervene.head_edits import OBJECTS, WORDS
from interp.model.object_words import check_object_words, object_words
from probes.heads.activations.checks import prompt_texts

if TYPE_CHECKING:
    from interp.intervene.positions import Positions
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs

NAMED = (*WORDS, OBJECTS)
"""The words: those of `ScaleHeads`, and `objects`, the words of each question that name its objects."""


def positions_of(word: str, vlm: HookedVLM, samples: Sequence[Sample], inputs: VLMInputs) -> Positions:
    """Positions of a batch by one of `NAMED`; the words that name objects are looked for in each question.

    Raises:
        InputError: a question that names none of its objects.
    """
    return object_words(vlm, inputs, samples) if word == OBJECTS else word


def check_positions(word: str, vlm: HookedVLM, samples: Sequence[Sample], prompt: str) -> None:
    """Refuse samples that have no position of that name, before any of them is asked.

    Raises:
        InputError: there are some; it names the first and tells how many.
    """
    if word == OBJECTS:
        check_object_words(vlm, samples, prompt_texts(vlm, samples, prompt))
