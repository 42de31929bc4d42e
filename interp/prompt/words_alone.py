"""Words alone: questions made ready without a photo, for whoever asks a vision-language model about text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from interp.errors import InputError, ModelError
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout, find_kinds
from interp.prompt.placeholders import refuse_placeholders
from interp.prompt.system import in_chat
from interp.store.names import is_text

STYLES = ("chat", "raw")


def prepare_words(model: Any, processor: Any, questions: Sequence[str], *, prompt: str = "chat") -> VLMInputs:
    """Make one batch of questions without photos; what they hold of image tokens, grids and photos is nothing.

    Args:
        model: the Hugging Face model.
        processor: its processor.
        questions: what is asked.
        prompt: `chat` (the processor's chat template) or `raw` (as given).

    Raises:
        InputError: a style that there is not, no question, or one with a placeholder in it.
        ModelError: a processor without a chat template or padding token, or whose template fails.
    """
    if prompt not in STYLES:
        raise InputError(f"prompt style {prompt!r} is not known without a photo: use one of {', '.join(STYLES)}")
    tokenizer = processor.tokenizer
    for question in questions:
        if not isinstance(question, str) or not question.strip() or not is_text(question):
            raise InputError(f"{question!r:.120} is no question without a photo: give a text")
        refuse_placeholders(question, processor, photo=False)
    texts = list(questions) if prompt == "raw" else [_chat(processor, question) for question in questions]
    if len(texts) > 1 and tokenizer.pad_token is None:
        raise ModelError("this tokenizer has no padding token: run one sample at a time, or set tokenizer.pad_token")
    begun = [bool(tokenizer.bos_token) and text.startswith(tokenizer.bos_token) for text in texts]
    rows = [
        tokenizer(text, return_offsets_mapping=True, add_special_tokens=not own)
        for text, own in zip(texts, begun, strict=True)
    ]
    longest = max(len(row["input_ids"]) for row in rows)
    pad = tokenizer.pad_token_id or 0
    ids = [[pad] * (longest - len(row["input_ids"])) + list(row["input_ids"]) for row in rows]
    there = [[0] * (longest - len(row["input_ids"])) + [1] * len(row["input_ids"]) for row in rows]
    layouts = tuple(
        _layout(processor, text, question, row, longest)
        for text, question, row in zip(texts, questions, rows, strict=True)
    )
    tensors = {"input_ids": torch.tensor(ids), "attention_mask": torch.tensor(there)}
    return VLMInputs(tensors, layouts, (), (), tuple(texts), prompt)


def _chat(processor: Any, question: str) -> str:
    if getattr(processor, "chat_template", None) is None:
        raise ModelError("this processor has no chat template: use prompt='raw'")
    try:
        return in_chat(processor, [{"type": "text", "text": question}], None)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"this processor's chat template fails without a photo ({type(error).__name__}: {why}): use prompt='raw'"
        ) from error


def _layout(processor: Any, text: str, question: str, row: Any, length: int) -> TokenLayout:
    tokenizer, ids = processor.tokenizer, list(row["input_ids"])
    kinds = find_kinds(
        text,
        question.strip(),
        [(int(start), int(end)) for start, end in row["offset_mapping"]],
        image_token=processor.image_token,
        special=[token == tokenizer.bos_token_id for token in ids],
        bos=tokenizer.bos_token or "",
    )
    pads = length - len(ids)
    tokens = [*[str(tokenizer.pad_token or "")] * pads, *tokenizer.convert_ids_to_tokens(ids)]
    return TokenLayout(("pad",) * pads + tuple(kinds), tuple(tokens))
