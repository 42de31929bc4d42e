"""Checks: what is wrong with items whose answers are to be heard, told of all of them before the first pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from interp.errors import InputError, SpatialLensError
from interp.image.photos import check_image
from interp.model.forced import forced_tokens
from interp.numeric import agree
from interp.objects.refusals import all_of
from interp.prompt.inputs import make_prompt
from interp.study.keys import check_ids
from interp.study.prompter import prepare_samples, questions_of
from probes.heads.functions import LABELS

if TYPE_CHECKING:
    from interp.model.hooked_vlm import HookedVLM
    from interp.objects.sample import Sample


def check_items(items: Sequence[Sample]) -> None:
    """Refuse what is no list of items, items without a photo, and functions that are no list of names.

    Args:
        items: what is to be collected; `meta["functions"]` of each lists its functions.

    Raises:
        InputError: there are such; it names the first and tells how many there are.
    """
    check_ids(items)
    if not items:
        raise InputError("there are no items to collect from: give at least one")
    errors = []
    for item in items:
        if item.image is None:
            errors.append(
                InputError(f"item {item.id!r} has no image, and every prompt of these models holds one: give it one")
            )
        own = functions_of(item)
        if not isinstance(own, (list, tuple)) or not all(isinstance(name, str) and name.strip() for name in own):
            errors.append(InputError(f"item {item.id!r} has the functions {own!r:.60}: give a list of names"))
    _refuse(errors, len(items), "have no image or no list of functions")
    bare = [item.id for item in items if not functions_of(item)]
    if bare and len(bare) < len(items):
        raise InputError(
            f"{len(bare)} of {len(items)} items {agree(len(bare), 'has', 'have')} no function, the first is "
            f"{bare[0]!r}: label all or none of them"
        )


def check_answers(
    vlm: HookedVLM, items: Sequence[Sample], said_of: Callable[[Sample], str], prompt: str, most: int
) -> int:
    """Refuse answers that can not be forced: missing, empty, longer than `most` tokens, or with special tokens in them.

    A special token is no word: it ends an answer, or stands where an image goes.

    Returns:
        The number of tokens of the longest.

    Raises:
        InputError: there are such; it names the first and tells how many there are.
    """
    errors, longest = [], 0
    words = vlm.processor.tokenizer
    special = {own: token.content for own, token in words.added_tokens_decoder.items() if token.special}
    special |= {vlm.model.config.image_token_id: vlm.processor.image_token}
    for item, text in zip(items, prompt_texts(vlm, items, prompt), strict=True):
        said = said_of(item)
        if not said.strip():
            errors.append(InputError(f"item {item.id!r}: its answer {said!r} is empty: give the text to force"))
            continue
        tokens = forced_tokens(vlm, text, said)
        length = len(tokens)
        longest = max(longest, length)
        if held := [special[token] for token in tokens if token in special]:
            errors.append(
                InputError(
                    f"item {item.id!r}: its answer {said!r:.60} holds the special token {held[0]!r}: leave it out"
                )
            )
        if length > most:
            errors.append(
                InputError(
                    f"item {item.id!r}: its answer {said!r:.60} has {length} tokens, and an answer may have {most}: "
                    "shorten it, or allow more with max_new_tokens (--max-new-tokens)"
                )
            )
    _refuse(errors, len(items), "have answers that can not be forced")
    return longest


def check_lengths(vlm: HookedVLM, items: Sequence[Sample], prompt: str, answer: int) -> None:
    """Refuse prompts that, with an answer of so many tokens, are longer than the model was made for.

    Each prompt is taken as long as it is with a grey photo of its own photo's size.

    Raises:
        InputError: there are such; it names the first and tells how many there are.
    """
    most = getattr(vlm.model.config.get_text_config(), "max_position_embeddings", None)
    if most is None:
        return
    around: dict[tuple[int, int], int] = {}
    errors = []
    for item, text in zip(items, prompt_texts(vlm, items, prompt), strict=True):
        words, size = len(vlm.processor.tokenizer(text)["input_ids"]), check_image(item.image)
        if size not in around:
            around[size] = _length(vlm, item, size, prompt) - words
        length = words + around[size] + answer
        if length > most:
            errors.append(
                InputError(
                    f"item {item.id!r}: prompt and answer have {length} positions, and the model takes {most}: shorten "
                    "the question, show a smaller photo, or lower max_new_tokens (--max-new-tokens)"
                )
            )
    _refuse(errors, len(items), "are too long for the model")


def functions_of(item: Sample) -> Any:
    """The functions of an item, as it gives them; of one whose meta can not be read, none."""
    return item.meta.get(LABELS, ()) if isinstance(item.meta, Mapping) else ()


def prompt_texts(vlm: HookedVLM, items: Sequence[Sample], prompt: str) -> list[str]:
    """The prompts as text, with one image placeholder each."""
    wrap = vlm.family.wrapped_image
    found = []
    for item in items:
        (question,), style = questions_of(vlm, [item], prompt)
        found.append(make_prompt(question, vlm.processor, style, wrapped_image=wrap))
    return found


def _length(vlm: HookedVLM, item: Sample, size: tuple[int, int], prompt: str) -> int:
    """How many tokens a prompt has, its photo's among them."""
    from PIL import Image

    return int(prepare_samples(vlm, [replace(item, image=Image.new("RGB", size))], prompt).input_ids.shape[1])


def _refuse(errors: Sequence[SpatialLensError], total: int, what: str) -> None:
    if errors:
        raise all_of(list(errors), f"of {total} items {what}; nothing was asked yet")  # type: ignore[arg-type]
