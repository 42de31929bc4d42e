"""Tiny Gemmas: Gemma-3 with a window shorter than its prompts, PaliGemma on Gemma, PaliGemma 2 on Gemma 2."""

from __future__ import annotations

from typing import Any

from transformers import (
    Gemma2Config,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Gemma3ImageProcessor,
    Gemma3Processor,
    Gemma3TextConfig,
    GemmaConfig,
    PaliGemmaConfig,
    PaliGemmaForConditionalGeneration,
    PaliGemmaProcessor,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

from interp.zoo.tiny import parts

SIDE, PATCH, POOL = 56, 7, 2
"""Side of the square that the tower takes, of its patches, and of Gemma-3's pooling, in pixels and in patches."""

WINDOW = 48
"""Keys that a row of Gemma-3's windowed layers sees: the last prompt row sees a part of the image, or none of it."""

SQUARE = {"height": SIDE, "width": SIDE}
LAYERS = ["sliding_attention", "full_attention", "sliding_attention"]
SPECIAL: dict[str, Any] = {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>"}


def build_gemma3(seed: int) -> tuple[Any, Any]:
    """16 image tokens, each of 2 x 2 patches; two windowed layers around one that sees everything."""
    images = {"image_token": "<image_soft_token>", "boi_token": "<start_of_image>", "eoi_token": "<end_of_image>"}
    words = parts.tokenizer(**SPECIAL, special=images, others=("<start_of_turn>", "<end_of_turn>"))
    tokens = (SIDE // PATCH // POOL) ** 2
    processor = Gemma3Processor(
        image_processor=Gemma3ImageProcessor(size=SQUARE),
        tokenizer=words,
        image_seq_length=tokens,
        chat_template=parts.chat_template(
            "<start_of_image>",
            head="<bos>",
            system=("", "\\n\\n"),
            in_turn=True,
            user="<start_of_turn>user\\n",
            end="<end_of_turn>\\n",
            assistant="<start_of_turn>model\\n",
        ),
    )
    text = Gemma3TextConfig(
        **parts.TEXT,
        head_dim=8,
        query_pre_attn_scalar=8,
        vocab_size=len(words),
        sliding_window=WINDOW,
        layer_types=LAYERS,
        tie_word_embeddings=False,
        **_ids(words),
    )
    config = Gemma3Config(
        text_config=text,
        vision_config=SiglipVisionConfig(**parts.VISION, image_size=SIDE, patch_size=PATCH, vision_use_head=False),
        mm_tokens_per_image=tokens,
        image_token_id=words.image_token_id,
        boi_token_id=words.boi_token_id,
        eoi_token_id=words.eoi_token_id,
        tie_word_embeddings=False,
    )
    return parts.enliven(Gemma3ForConditionalGeneration(config), words, seed=seed), processor


def build_paligemma(seed: int) -> tuple[Any, Any]:
    """16 image tokens, then BOS and the question; its decoder is Gemma's."""
    return _paligemma(seed, GemmaConfig, {})


def build_paligemma2(seed: int) -> tuple[Any, Any]:
    """PaliGemma on Gemma 2: norms on both sides, soft-capped logits, windowed layers."""
    return _paligemma(
        seed,
        Gemma2Config,
        {
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 2.0,
            "sliding_window": WINDOW,
            "layer_types": LAYERS,
        },
    )


def _paligemma(seed: int, text: Any, more: dict[str, Any]) -> tuple[Any, Any]:
    words = parts.tokenizer(**SPECIAL, special={"image_token": "<image>"})
    images = SiglipImageProcessor(size=SQUARE)
    images.image_seq_length = (SIDE // PATCH // POOL) ** 2
    processor = PaliGemmaProcessor(image_processor=images, tokenizer=words)
    sizes = {**parts.TEXT, "head_dim": 8, "vocab_size": len(words), "tie_word_embeddings": False}
    config = PaliGemmaConfig(
        text_config=text(**sizes, **_ids(words), **more),
        vision_config=SiglipVisionConfig(
            **parts.VISION, image_size=SIDE, patch_size=PATCH * POOL, vision_use_head=False
        ),
        image_token_id=words.convert_tokens_to_ids("<image>"),
        projection_dim=parts.TEXT["hidden_size"],
        hidden_size=parts.TEXT["hidden_size"],
        vocab_size=len(words),
        tie_word_embeddings=False,
    )
    return parts.enliven(PaliGemmaForConditionalGeneration(config), words, seed=seed), processor


def _ids(words: Any) -> dict[str, int]:
    return {name: getattr(words, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
