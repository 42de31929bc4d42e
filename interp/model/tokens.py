"""Tokens: words as ids and ids as words, under TransformerLens's names, and prompts of words alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.errors import InputError
from interp.hooks.wired import WiredModel
from interp.prompt.inputs import VLMInputs
from interp.prompt.words_alone import prepare_ids, prepare_words

Promptable = VLMInputs | str | Sequence[str] | Tensor
"""What is run: what `prepare` gave, or words, or ids [batch pos] or [pos], without a photo."""


class TokenModel(WiredModel):
    """A hooked model and its tokenizer."""

    processor: Any

    @property
    def tokenizer(self) -> Any:
        """The processor's tokenizer."""
        return self.processor.tokenizer

    def to_tokens(
        self,
        input: str | Sequence[str],
        prepend_bos: bool | None = None,
        padding_side: str | None = None,
        move_to_device: bool = True,
        truncate: bool = True,
    ) -> Int[Tensor, "batch pos"]:
        """The ids of words, several texts padded on the left; an image placeholder stays the single token that it is.

        Args:
            input: a text, or several.
            prepend_bos: whether a BOS token comes first; as the tokenizer has it by default.
            padding_side: where shorter texts are padded: `left`, as everywhere in this package.
            move_to_device: whether the ids go where the model is.
            truncate: whether texts are cut to the positions that the model was made for.

        Raises:
            InputError: no text, a BOS or padding token that the tokenizer lacks, or padding on the right.
        """
        texts = [input] if isinstance(input, str) else list(input)
        if not texts or not all(isinstance(text, str) for text in texts):
            raise InputError(f"{input!r:.80} is no text: give a string, or a list of strings")
        if padding_side not in (None, "left"):
            raise InputError(f"padding_side={padding_side!r}: prompts are padded on the left")
        rows = [self._ids(text, prepend_bos) for text in texts]
        rows = [row[: self.cfg.n_ctx] for row in rows] if truncate and self.cfg.n_ctx else rows
        longest, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        if pad is None and any(len(row) < longest for row in rows):
            raise InputError("this tokenizer has no padding token: give one text at a time, or set tokenizer.pad_token")
        ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows], dtype=torch.long)
        return ids.to(self.device) if move_to_device else ids

    def to_string(self, tokens: int | Sequence[int] | Tensor) -> str | list[str]:
        """The text of ids [pos], or of each row of ids [batch pos]."""
        ids = torch.as_tensor(tokens)
        if ids.ndim > 1:
            return [str(self.to_string(row)) for row in ids]
        return str(self.tokenizer.decode(ids.reshape(-1).tolist(), clean_up_tokenization_spaces=False))

    def to_str_tokens(self, input: Any, prepend_bos: bool | None = None) -> list[Any]:
        """Each token's text: of a text, of ids [pos], or a list of these for several texts or rows."""
        if isinstance(input, str):
            return [str(self.to_string([token])) for token in self._ids(input, prepend_bos)]
        if isinstance(input, (list, tuple)) and input and not isinstance(input[0], int):
            return [self.to_str_tokens(text, prepend_bos) for text in input]
        ids = torch.as_tensor(input)
        if ids.ndim > 1:
            rows = [self.to_str_tokens(row) for row in ids]
            return rows[0] if len(rows) == 1 else rows
        return [str(self.to_string([token])) for token in ids.reshape(-1).tolist()]

    def to_single_token(self, string: str) -> int:
        """The id of a text that is a single token.

        Raises:
            InputError: it is none, or more than one.
        """
        ids = self._ids(string, False)
        if len(ids) != 1:
            parts = self.to_str_tokens(string, False)
            raise InputError(f"{string!r} is {len(ids)} tokens, {parts!r:.120}: a word often needs its leading space")
        return ids[0]

    def to_single_str_token(self, int_token: int) -> str:
        """The text of one token."""
        return str(self.to_string([int_token]))

    def inputs_of(self, given: Any) -> VLMInputs:
        """What is run, as inputs: words and ids become prompts without a photo, all of whose words are the question.

        Raises:
            InputError: it is none of these, holds a placeholder of a photo, a video or a sound, or ids that the model
                does not know.
            RefusedError: the family reads no prompts without a photo.
        """
        if hasattr(given, "tensors"):
            return given  # type: ignore[no-any-return]
        texts = [given] if isinstance(given, str) else given
        if isinstance(texts, (list, tuple)) and texts and all(isinstance(text, str) for text in texts):
            return self.prepare_words(texts, prompt="raw")
        if not isinstance(given, Tensor):
            raise InputError(
                f"{type(given).__name__} is nothing to run: give what vlm.prepare(photo, question) gave, a text, or ids"
            )
        return prepare_ids(self.model, self.processor, given).to(self.device)

    def prepare_words(self, questions: Sequence[str], *, prompt: str = "chat") -> VLMInputs:
        """Make questions without photos ready for this model, on its device; see `interp.prompt.words_alone`."""
        return prepare_words(self.model, self.processor, questions, prompt=prompt).to(self.device)

    def _ids(self, text: str, prepend_bos: bool | None) -> list[int]:
        begun = bool(self.tokenizer.bos_token) and text.startswith(self.tokenizer.bos_token)  # which comes once
        ids = list(self.tokenizer(text, add_special_tokens=prepend_bos is not False and not begun)["input_ids"])
        bos = self.tokenizer.bos_token_id
        if prepend_bos and bos is None:
            raise InputError("this tokenizer has no BOS token: leave prepend_bos out")
        return [bos, *ids] if prepend_bos and ids[:1] != [bos] else ids
