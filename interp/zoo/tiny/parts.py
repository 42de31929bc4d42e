"""What the tiny models have in common: a byte-level tokenizer, small sizes, lively weights."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 4096,
}
"""Sizes of a tiny language model: distinct key heads, each shared by two query heads of width 8."""

VISION = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 3}
"""Sizes of a tiny vision tower: heads of width 8."""


def tokenizer(
    *, bos: str | None, eos: str, pad: str, special: dict[str, str], others: tuple[str, ...] = ()
) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer in which every text has tokens, with a family's special tokens.

    Line breaks merge with each other, as they do in real ones.

    Args:
        bos: the token that begins a text, written by the tokenizer; None where the family has none.
        eos: the token that ends an answer.
        pad: the padding token.
        special: the family's special tokens by their name, such as `image_token`.
        others: further special tokens without a name.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merged = ["ĊĊ", "ĊĊĊ"]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *merged])}
    raw = Tokenizer(models.BPE(vocabulary, merges=[("Ċ", "Ċ"), ("ĊĊ", "Ċ")]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    names = dict.fromkeys(token for token in (bos, eos, pad, *special.values(), *others) if token)
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in names])
    if bos:
        raw.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, raw.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=bos,
        eos_token=eos,
        pad_token=pad,
        extra_special_tokens=special,
        padding_side="left",
    )


def chat_template(
    image: str,
    *,
    head: str = "",
    system: tuple[str, str],
    default: str = "",
    in_turn: bool = False,
    user: str,
    end: str,
    assistant: str,
) -> str:
    """A chat template that writes each message's parts in order, and `assistant` where an answer is to follow.

    Args:
        image: how a photo is written.
        head: what begins every text.
        system: what stands before and behind a system prompt, which comes first.
        default: the system prompt of those who give none.
        in_turn: whether a system prompt stands in the user's turn, behind what opens it.
        user: what opens the user's turn.
        end: what ends a turn.
        assistant: what opens an answer.
    """
    before, behind = system
    taken = (
        "{% if messages[0]['role'] == 'system' %}"
        "{{ '"
        + before
        + "' + messages[0]['content'][0]['text'] + '"
        + behind
        + "' }}"
        + ("{% else %}{{ '" + before + default + behind + "' }}" if default else "")
        + "{% endif %}"
    )
    return (
        head + ("" if in_turn else taken) + "{% for message in messages if message['role'] != 'system' %}"
        "{{ '"
        + user
        + "' if message['role'] == 'user' else '"
        + assistant
        + "' }}"
        + ("{% if loop.first %}" + taken + "{% endif %}" if in_turn else "")
        + "{% for part in message['content'] %}"
        "{% if part['type'] == 'image' %}{{ '" + image + "' }}{% else %}{{ part['text'] }}{% endif %}"
        "{% endfor %}{{ '" + end + "' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '" + assistant + "' }}{% endif %}"
    )


def enliven(model: Any, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> Any:
    """Draw weights with which attention is uneven, and an unembedding that never says a special token.

    Gains of norms differ from one, as trained ones do, and biases stay as they are. The model is returned in eval mode,
    without gradients, in fp32.
    """
    generator = torch.Generator().manual_seed(seed)
    mute = sorted(tokenizer.get_added_vocab().values())
    with torch.no_grad():
        for name, weight in model.named_parameters():
            attends = any(part in name for part in ("q_proj", "k_proj", "qkv"))
            if weight.ndim > 1 or "newline" in name:
                weight.normal_(0, 0.25 if attends else 0.15, generator=generator)
        for name, gain in model.named_parameters():  # some norms keep theirs less one, so something is added
            if gain.ndim == 1 and name.endswith("weight"):
                gain += torch.empty_like(gain).uniform_(-0.4, 0.3, generator=generator)
        unembed = model.get_output_embeddings().weight
        if unembed is model.get_input_embeddings().weight:
            raise ValueError("untie the embeddings of a tiny model, so that it can be kept from saying image tokens")
        unembed[mute] = 0.0
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    return model.eval().requires_grad_(False)
