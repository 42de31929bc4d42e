"""A tiny Idefics3 and a tiny SmolVLM: tiles and the whole photo, pixel shuffle, Llama."""

from __future__ import annotations

from typing import Any

from transformers import (
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessor,
    Idefics3Processor,
    Idefics3VisionConfig,
    LlamaConfig,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
    SmolVLMVisionConfig,
)

from interp.zoo.tiny import parts

AROUND, IMAGE, WHOLE, END = "<fake_token_around_image>", "<image>", "<global-img>", "<end_of_utterance>"


def build_idefics3(seed: int) -> tuple[Any, Any]:
    """Up to 3 x 3 tiles of 9 image tokens; the words that tell the tiles apart are no special tokens."""
    side, patch, joined = 84, 14, 2
    words = parts.tokenizer(
        bos="<|begin_of_text|>", eos=END, pad="<|reserved_special_token_0|>", special={}, others=(AROUND, IMAGE)
    )
    processor = Idefics3Processor(
        Idefics3ImageProcessor(size={"longest_edge": 3 * side}, max_image_size={"longest_edge": side}),
        words,
        image_seq_len=(side // patch // joined) ** 2,
        chat_template=_chat_template("<|begin_of_text|>"),
    )
    config = Idefics3Config(
        vision_config=Idefics3VisionConfig(**parts.VISION, image_size=side, patch_size=patch),
        text_config=LlamaConfig(**parts.TEXT, vocab_size=len(words), pad_token_id=words.pad_token_id),
        scale_factor=joined,
        image_token_id=words.convert_tokens_to_ids(IMAGE),
    )
    return parts.enliven(Idefics3ForConditionalGeneration(config), words, seed=seed), processor


def build_smolvlm(seed: int) -> tuple[Any, Any]:
    """Up to 2 x 2 tiles of 4 image tokens, each a square of 4 x 4 patches; tiles have special tokens."""
    side, patch, joined = 128, 16, 4
    words = parts.tokenizer(
        bos=None,
        eos=END,
        pad="<|im_end|>",
        special={
            "fake_image_token": AROUND,
            "image_token": IMAGE,
            "global_image_token": WHOLE,
            "end_of_utterance_token": END,
        },
        others=("<|im_start|>", *(f"<row_{row}_col_{col}>" for row in range(1, 7) for col in range(1, 7))),
    )
    words.bos_token = "<|im_start|>"  # which the chat template writes, and the tokenizer does not
    sizes: dict[str, Any] = {"size": {"longest_edge": 2 * side}, "max_image_size": {"longest_edge": side}}
    processor = SmolVLMProcessor(
        SmolVLMImageProcessor(**sizes),
        words,
        SmolVLMVideoProcessor(**sizes),
        image_seq_len=(side // patch // joined) ** 2,
        chat_template=_chat_template("<|im_start|>"),
    )
    config = SmolVLMConfig(
        vision_config=SmolVLMVisionConfig(**parts.VISION, image_size=side, patch_size=patch),
        text_config=LlamaConfig(**parts.TEXT, vocab_size=len(words), pad_token_id=words.pad_token_id),
        scale_factor=joined,
        image_token_id=words.convert_tokens_to_ids(IMAGE),
    )
    return parts.enliven(SmolVLMForConditionalGeneration(config), words, seed=seed), processor


def _chat_template(head: str) -> str:
    return parts.chat_template(
        IMAGE, head=head, system=("System: ", f"{END}\\n"), user="User:", end=f"{END}\\n", assistant="Assistant:"
    )
