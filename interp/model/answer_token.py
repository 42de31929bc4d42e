"""Answer token: the token by which a prompt's next word begins, as the model would say it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interp.errors import InputError
from interp.numeric import listed, plain

if TYPE_CHECKING:
    from interp.model.hooked import HookedModel
    from interp.prompt.inputs import VLMInputs

LINE = "\n"
"""What a word is set behind where the end of the prompt would be cut otherwise for what follows."""


@dataclass(frozen=True)
class AnswerToken:
    """A token that the last prompt row may say next.

    Attributes:
        id: its number.
        text: what it says, by itself.
        pieces: all tokens of the word that was asked for: it is the first of them. Of a token alone, only itself.
    """

    id: int
    text: str
    pieces: tuple[str, ...]


def answer_tokens(
    vlm: HookedModel, inputs: VLMInputs, answer: str | int | Sequence[str | int]
) -> tuple[AnswerToken, ...]:
    """The token by which each sample's answer begins.

    A word is read as it would follow the prompt: behind a space, unless the prompt ends in white space or in a special
    token. Of a word of several tokens it is the first, as the last prompt row says no more than that.

    Args:
        vlm: the model.
        inputs: what it is asked.
        answer: a word or the number of a token, for all samples, or one for each.

    Example:
        >>> answer_tokens(vlm, inputs, "left")[0].text
        'left'

    Raises:
        InputError: no word, one that the tokenizer does not know, one whose first token says nothing, a number that is
            no token's, or another number of answers than samples.
    """
    given = plain(answer)
    each = [given] * len(inputs) if isinstance(given, (str, int)) else listed(given, "answer")
    if len(each) != len(inputs):
        raise InputError(f"{len(each)} answers for {len(inputs)} samples: give one for each, or one for all")
    return tuple(answer_token(vlm, prompt, one) for one, prompt in zip(each, inputs.prompts, strict=True))


def answer_token(vlm: HookedModel, prompt: str, answer: str | int) -> AnswerToken:
    """The token by which the answer to one prompt begins; see `answer_tokens`.

    Args:
        vlm: the model.
        prompt: the prompt as text, as in `VLMInputs.prompts`.
        answer: a word, or the number of a token.

    Raises:
        InputError: see `answer_tokens`.
    """
    return _of_word(vlm, answer, prompt) if isinstance(answer, str) else _of_number(vlm, answer)


def token_of(vlm: HookedModel, number: int) -> AnswerToken:
    """A token by its number, whatever it says."""
    text = str(vlm.processor.tokenizer.decode([number]))
    return AnswerToken(number, text, (text,))


def following_ids(vlm: HookedModel, prompt: str, text: str) -> list[int]:
    """The tokens by which a text follows a prompt: behind a space, unless that ends in white space or a special token.

    Where the prompt's last token would be another for what follows, the text counts as following a line end.

    Args:
        vlm: the model.
        prompt: the prompt as text, as in `VLMInputs.prompts`; what the processor adds to it counts as its own.
        text: what follows.
    """
    tokenizer, written = vlm.processor.tokenizer, vlm.family.written
    before = prompt if written is None else written(prompt, vlm.processor)
    own = text if follows_bare(tokenizer, before) else f" {text}"
    added = added_ids(tokenizer, own, before)
    return (added_ids(tokenizer, own, LINE) or []) if added is None else added


def follows_bare(tokenizer: Any, prompt: str) -> bool:
    """Whether a word follows a prompt without a space: behind white space, or a special token."""
    ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    special = {*tokenizer.all_special_ids, *tokenizer.get_added_vocab().values()}
    return not prompt or prompt[-1].isspace() or ids[-1] in special


def added_ids(tokenizer: Any, text: str, before: str) -> list[int] | None:
    """The tokens that a text adds behind another; None where the other's own tokens would be others for it."""
    start, whole = (list(tokenizer(part, add_special_tokens=False)["input_ids"]) for part in (before, before + text))
    return whole[len(start) :] if whole[: len(start)] == start else None


def _of_number(vlm: HookedModel, number: Any) -> AnswerToken:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < vlm.cfg.d_vocab:
        raise InputError(f"answer {number!r:.60} is no token: give a word, or a number from 0 to {vlm.cfg.d_vocab - 1}")
    return token_of(vlm, number)


def _of_word(vlm: HookedModel, word: str, prompt: str) -> AnswerToken:
    if not word.strip() or word != word.strip():
        raise InputError(f"answer {word!r} is no word: give text without space around it")
    ids, tokenizer = following_ids(vlm, prompt, word), vlm.processor.tokenizer
    if not ids or tokenizer.unk_token_id in ids:
        raise InputError(f"answer {word!r} is not known to the tokenizer of this model: use another word")
    pieces = tuple(str(tokenizer.decode([number])) for number in ids)
    if not pieces[0].strip():
        raise InputError(
            f"answer {word!r} begins with a token of white space ({', '.join(map(repr, pieces))}), which says nothing "
            "of it: use another word, or the number of a token"
        )
    return AnswerToken(int(ids[0]), pieces[0], pieces)
