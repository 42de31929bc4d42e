"""A tiny LLaVA-1.5: CLIP tower, one square view cut out of the middle of the photo, Llama."""

from __future__ import annotations

from typing import Any

from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from interp.zoo.tiny import parts

SIDE, PATCH = 56, 14


def build_llava(seed: int) -> tuple[Any, Any]:
    """16 image tokens, first of the prompt."""
    words = parts.tokenizer(bos="<s>", eos="</s>", pad="<pad>", special={"image_token": "<image>"})
    processor = LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=parts.chat_template(
            "<image>\\n", system=("", " "), user="USER: ", end="\\n", assistant="ASSISTANT:"
        ),
    )
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(**parts.VISION, image_size=SIDE, patch_size=PATCH),
        text_config=LlamaConfig(**parts.TEXT, vocab_size=len(words)),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        image_seq_length=(SIDE // PATCH) ** 2,
    )
    return parts.enliven(LlavaForConditionalGeneration(config), words, seed=seed), processor
