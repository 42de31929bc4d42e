"""Tiny models with Pixtral's tower: Mistral-3, which merges patches, and Pixtral itself, a LLaVA to transformers."""

from __future__ import annotations

from typing import Any

from transformers import (
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    MistralConfig,
    PixtralImageProcessor,
    PixtralProcessor,
    PixtralVisionConfig,
)

from interp.zoo.tiny import parts

LONGEST, PATCH, MERGE = 140, 14, 2
VISION = {**parts.VISION, "num_attention_heads": 2, "hidden_size": 16}


def build_mistral3(seed: int) -> tuple[Any, Any]:
    """Up to 5 x 5 image tokens, each of 2 x 2 patches."""
    words = _words()
    processor = _processor(
        words, PATCH, MERGE, system=("[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"), default="You answer briefly."
    )
    config = Mistral3Config(
        vision_config=PixtralVisionConfig(**VISION, image_size=LONGEST, patch_size=PATCH),
        text_config=_text(words),
        image_token_id=processor.image_token_id,
        spatial_merge_size=MERGE,
        tie_word_embeddings=False,
    )
    return parts.enliven(Mistral3ForConditionalGeneration(config), words, seed=seed), processor


def build_pixtral(seed: int) -> tuple[Any, Any]:
    """Up to 5 x 5 image tokens, a patch each."""
    words = _words()
    processor = _processor(words, PATCH * MERGE, 1, system=("", "\\n\\n"), in_turn=True)
    config = LlavaConfig(
        vision_config=PixtralVisionConfig(**VISION, image_size=LONGEST, patch_size=PATCH * MERGE),
        text_config=_text(words),
        image_token_id=processor.image_token_id,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
    )
    return parts.enliven(LlavaForConditionalGeneration(config), words, seed=seed), processor


def _words() -> Any:
    return parts.tokenizer(
        bos="<s>",
        eos="</s>",
        pad="<pad>",
        special={"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
        others=("[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    )


def _processor(words: Any, patch: int, merge: int, **system: Any) -> PixtralProcessor:
    return PixtralProcessor(
        image_processor=PixtralImageProcessor(
            size={"longest_edge": LONGEST}, patch_size={"height": patch, "width": patch}
        ),
        tokenizer=words,
        patch_size=patch,
        spatial_merge_size=merge,
        chat_template=parts.chat_template("[IMG]", head="<s>", **system, user="[INST]", end="[/INST]", assistant=""),
    )


def _text(words: Any) -> MistralConfig:
    return MistralConfig(**parts.TEXT, head_dim=8, vocab_size=len(words), sliding_window=None)
