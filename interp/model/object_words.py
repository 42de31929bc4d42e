"""Object words: which positions of a prompt name the objects of its sample, wherever its question says them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Int

from interp.errors import InputError
from interp.objects.refusals import all_of

_UNPARTED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua000-\ua4cf\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Letters of Thai, Lao, Burmese, Khmer, Chinese, Japanese and Korean."""

_PARTED = rf"[^\W{_UNPARTED}]"
"""A letter, digit or underscore of any other script."""

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel
    from interp.objects.sample import Sample
    from interp.prompt.inputs import VLMInputs


def object_words(vlm: HookedModel, inputs: VLMInputs, samples: Sequence[Sample]) -> tuple[tuple[int, ...], ...]:
    """The positions of all tokens that name objects in each sample's question, as interventions take them.

    An edit of heads knows the layout of a prompt and not what it is about, so that these positions are found first and
    given to it. A name counts where the question has it as whole words, in whatever case, its list of options included;
    where it comes several times, each time. Positions count the padding of the batch.

    Args:
        vlm: the model.
        inputs: the batch.
        samples: what it asks; `objects` are what is looked for.

    Example:
        >>> ScaleHeads([(8, 3)], 0, positions=object_words(vlm, inputs, samples))
        ScaleHeads(heads=L8H3, factor=0, positions=9-10 15; 12-13 19, scope=both)

    Raises:
        InputError: another number of samples than prompts, questions that name none of their objects, or one in front
            of its photo; it names the first and tells how many there are.
    """
    check_object_words(vlm, samples, inputs.prompts)
    return tuple(tuple(own.tolist()) for own in name_tokens(vlm, inputs, samples))


def check_object_words(vlm: HookedModel, samples: Sequence[Sample], prompts: Sequence[str]) -> None:
    """Refuse samples of which `object_words` finds none.

    Args:
        vlm: the model.
        samples: the samples.
        prompts: their prompts as text, with one image placeholder each, as in `VLMInputs.prompts`.

    Raises:
        InputError: there are some; it names the first and tells how many.
    """
    if len(samples) != len(prompts):
        raise InputError(f"{len(samples)} samples for {len(prompts)} prompts: give the samples that the batch asks")
    errors = []
    for sample, text in zip(samples, prompts, strict=True):
        spans = [span for thing in sample.objects for span in _in_question(thing.name, text, sample.question)]
        names = ", ".join(repr(thing.name) for thing in sample.objects[:3])
        if not sample.objects:
            errors.append(InputError(f"sample {sample.id!r} has no objects: name what its question is about"))
        elif not spans:
            errors.append(
                InputError(
                    f"sample {sample.id!r}: its question {sample.question!r:.80} names none of its objects "
                    f"({names:.80}): name them as the question does, or leave it out"
                )
            )
        elif min(spans)[0] < text.rfind(vlm.processor.image_token):
            errors.append(_in_front(sample))
    if errors:
        raise all_of(errors, f"of {len(samples)} samples have no object words")


def word_ends(vlm: HookedModel, inputs: VLMInputs, samples: Sequence[Sample]) -> list[Int[np.ndarray, " object"]]:
    """The position of the last token of each object's name in each sample's question; -1 where it is not named.

    Where a name comes several times, the last one counts. Positions count the padding of the batch.

    Raises:
        InputError: a name stands in front of the photo.
    """
    return [
        np.array([own[-1][-1] if own else -1 for own in names], dtype=np.int64)
        for names in _named(vlm, inputs, samples)
    ]


def name_tokens(vlm: HookedModel, inputs: VLMInputs, samples: Sequence[Sample]) -> list[Int[np.ndarray, " token"]]:
    """The positions of all tokens that name objects in each sample's question, none where it names none.

    Raises:
        InputError: a name stands in front of the photo.
    """
    return [
        np.array(sorted({place for names in own for one in names for place in one}), dtype=np.int64)
        for own in _named(vlm, inputs, samples)
    ]


def spans_of(name: str, text: str) -> list[tuple[int, int]]:
    """First character and end of every place where a text names an object, as whole words.

    Scripts that are written without spaces, or with endings that no space parts from a name, have no whole words to
    tell: there a name counts wherever it stands.

    Example:
        >>> spans_of("mug", "Where is the Mug, and where the mugs?")
        [(13, 16)]
    """
    words = name.split()
    if not words:
        return []
    before = "" if re.match(f"[{_UNPARTED}]", words[0]) else f"(?<!{_PARTED})"
    behind = "" if re.search(f"[{_UNPARTED}]$", words[-1]) else f"(?!{_PARTED})"
    pattern = before + r"\s+".join(map(re.escape, words)) + behind
    return [found.span() for found in re.finditer(pattern, text, re.IGNORECASE)]


def written_prompts(vlm: HookedModel, inputs: VLMInputs) -> list[str]:
    """The prompts as the processor writes them before it expands the image, whose tokens those of the batch are."""
    written = vlm.family.written
    return [text if written is None else written(text, vlm.processor) for text in inputs.prompts]


def tokens_of_names(
    names: Sequence[str], text: str, question: str, *, tokenizer: Any, length: int
) -> list[list[list[int]]]:
    """Of each name, the positions of its tokens, each time that the question has it.

    Args:
        names: what is looked for.
        text: the prompt, see `written_prompts`.
        question: the question in it; where it is not there, the whole prompt counts.
        tokenizer: the model's.
        length: positions of the padded prompt, from whose end is counted.
    """
    cut = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)["offset_mapping"]
    return [[_tokens(cut, span, length) for span in _in_question(name, text, question)] for name in names]


def _named(vlm: HookedModel, inputs: VLMInputs, samples: Sequence[Sample]) -> list[list[list[list[int]]]]:
    """Of each sample and object, the positions of the tokens of its name, each time that the question has it."""
    found = []
    for sample, text, layout in zip(samples, written_prompts(vlm, inputs), inputs.layouts, strict=True):
        names = [thing.name for thing in sample.objects]
        own = tokens_of_names(names, text, sample.question, tokenizer=vlm.processor.tokenizer, length=len(layout))
        if min((place for each in own for one in each for place in one), default=len(layout)) < max(
            layout.image_positions.tolist(), default=-1
        ):
            raise _in_front(sample)
        found.append(own)
    return found


def _in_front(sample: Sample) -> InputError:
    return InputError(f"sample {sample.id!r} names an object in front of its photo: ask behind it")


def _in_question(name: str, text: str, question: str) -> list[tuple[int, int]]:
    """Where the question in a prompt has a name, in characters of the prompt."""
    question = question if question in text else question.strip()  # which chat templates may have done
    start = max(text.rfind(question), 0)
    end = start + len(question) if question in text else len(text)
    return [span for span in spans_of(name, text[:end]) if span[0] >= start]


def _tokens(cut: Sequence[tuple[int, int]], span: tuple[int, int], length: int) -> list[int]:
    """The positions, counted from the end of the prompt, of the tokens that hold characters of a name."""
    inside = [number for number, (first, last) in enumerate(cut) if first < span[1] and span[0] < last]
    return [length - len(cut) + number for number in inside]
