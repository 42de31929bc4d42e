"""Words alone: prompts without a photo, of texts or of ids, for whoever asks a vision-language model about text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from interp.errors import InputError, ModelError, RefusedError
from interp.families import family_of
from interp.prompt.inputs import VLMInputs
from interp.prompt.layout import TokenLayout, find_kinds
from interp.prompt.placeholders import refuse_placeholder_ids, refuse_placeholders
from interp.prompt.system import in_chat
from interp.store.names import is_text

STYLES = ("chat", "raw")


def prepare_words(model: Any, processor: Any, questions: Sequence[str], *, prompt: str = "chat") -> VLMInputs:
    """Make one batch of questions without photos; what they hold of image tokens, grids and photos is nothing.

    Interventions work on such a batch but for those of image tokens, which are refused by name.

    Args:
        model: the Hugging Face model.
        processor: its processor.
        questions: what is asked.
        prompt: `chat` (the processor's chat template) or `raw` (as given).

    Raises:
        InputError: a style that there is not, no question, or one with a placeholder in it.
        ModelError: a processor without a chat template or padding token, or whose template fails.
        RefusedError: the family reads no prompts without a photo.
    """
    _refuse_two_way(model)
    if prompt not in STYLES:
        raise InputError(f"prompt style {prompt!r} is not known without a photo: use one of {', '.join(STYLES)}")
    tokenizer = processor.tokenizer
    for question in questions:
        if not isinstance(question, str) or not question.strip() or not is_text(question):
            raise InputError(f"{question!r:.120} is no question without a photo: give a text")
        refuse_placeholders(question, processor, model.config, photo=False)
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


def prepare_ids(model: Any, processor: Any, ids: Tensor) -> VLMInputs:
    """Make one batch of ids without photos, padded on the left, all of whose words are the question.

    Args:
        model: the Hugging Face model.
        processor: its processor.
        ids: whole numbers [batch pos] or [pos].

    Raises:
        InputError: they are none, the model does not know them, or they hold placeholders of a photo, a video or a
            sound, which ids do not bring.
        RefusedError: the family reads no prompts without a photo.
    """
    _refuse_two_way(model)
    rows = ids[None] if ids.ndim == 1 else ids
    if rows.ndim != 2 or not rows.numel() or rows.is_floating_point() or rows.dtype == torch.bool:
        raise InputError(f"ids are whole numbers [batch pos], and these are {ids.dtype} {list(ids.shape)}")
    if int(rows.min()) < 0 or int(rows.max()) >= len(model.get_input_embeddings().weight):
        raise InputError(f"ids from {int(rows.min())} to {int(rows.max())} are not all known to this model")
    refuse_placeholder_ids(rows, processor, model.config)
    rows, tokenizer = rows.to("cpu", torch.long), processor.tokenizer
    pad, bos = tokenizer.pad_token_id, tokenizer.bos_token_id
    there = torch.ones_like(rows)
    if pad is not None and pad != bos:  # padding is what comes first, not the same token between words
        there = ((rows != pad).cumsum(1) > 0).long()
    layouts = tuple(
        _layout_of_ids(tokenizer, row, int(len(row) - own.sum())) for row, own in zip(rows, there, strict=True)
    )
    words = tuple(
        str(tokenizer.decode(row[own.bool()].tolist(), clean_up_tokenization_spaces=False))
        for row, own in zip(rows, there, strict=True)
    )
    return VLMInputs({"input_ids": rows, "attention_mask": there}, layouts, (), (), words, "raw")


def _refuse_two_way(model: Any) -> None:
    if "prefix" in family_of(model).refusals:  # every row of its prompt sees all others, which its processor marks
        raise RefusedError(
            "words without a photo are not offered for this model, which reads the whole prompt both ways by what "
            "its processor marks: give what vlm.prepare(photo, question) gave"
        )


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


def _layout_of_ids(tokenizer: Any, row: Int[Tensor, " pos"], pads: int) -> TokenLayout:
    kinds = ["pad"] * pads + ["question"] * (len(row) - pads)
    if pads < len(row) and int(row[pads]) == tokenizer.bos_token_id:
        kinds[pads] = "bos"
    return TokenLayout(tuple(kinds), tuple(tokenizer.convert_ids_to_tokens(row.tolist())))
