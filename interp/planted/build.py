"""The untrained embedded VLM: tokenizer, processor and model of the LLaVA classes of transformers, small."""

from __future__ import annotations

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from interp.datasets.synthetic.shapes import COLORS, SHAPES, SIDE

PATCH = 14  # pixels
GRID = SIDE // PATCH  # 8 rows and 8 columns of image tokens
IMAGE_TOKENS = GRID * GRID
PLACES = tuple(str(place) for place in range(1, GRID + 1))  # the words for columns and rows in captions

_SPECIAL = ("<unk>", "<s>", "</s>", "<pad>", "<image>")
_WORDS = (
    *("USER", "ASSISTANT", ":", ".", ",", "?", "Where", "What", "Describe", "Answer", "is", "the", "in", "with", "or"),
    *("photo", "relation", "to", "color", "shape", "object", "at", "and", "a", "of"),
    *("left", "right", "top", "bottom", "above", "below"),
    *COLORS,
    *SHAPES,
    *PLACES,
)
LATE_WORDS = ("on", "under", "front", "behind")
"""Words that the model learns last, once all others are known: no row of its embeddings is theirs until then."""
# The same text as `paper_prompt`: the image first, then the role words.
_CHAT_TEMPLATE = """{%- for message in messages -%}
{%- set said = message['content'] -%}
{%- set parts = [{'type': 'text', 'text': said}] if said is string else said -%}
{%- if message['role'] == 'user' -%}
{%- for part in parts if part['type'] == 'image' -%}{{ '<image>\\n' }}{%- endfor -%}
{{ 'USER: ' }}{%- for part in parts if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}{{ '\\n' }}
{%- elif message['role'] == 'assistant' -%}
{{ 'ASSISTANT: ' }}{%- for part in parts if part['type'] == 'text' -%}{{ part['text'] }}{%- endfor -%}{{ '</s>\\n' }}
{%- else -%}
{%- for part in parts if part['type'] == 'text' -%}{{ part['text'] + '\\n' }}{%- endfor -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'ASSISTANT:' }}{%- endif -%}"""


def build_processor() -> LlavaProcessor:
    """Build the processor: CLIP's resize of the short side and centre crop to 112 pixels, and our tokenizer.

    Example:
        >>> inputs = build_processor()(text=paper_prompt("What color is the circle?"), images=photo)
        >>> inputs["pixel_values"].shape, int((inputs["input_ids"] == 4).sum())
        (torch.Size([1, 3, 112, 112]), 64)
    """
    size = {"height": SIDE, "width": SIDE}
    image_processor = CLIPImageProcessor(
        size={"shortest_edge": SIDE}, crop_size=size, image_mean=[0.5] * 3, image_std=[0.25] * 3
    )
    return LlavaProcessor(
        image_processor=image_processor,
        tokenizer=build_tokenizer(),
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the word-level tokenizer of the question templates; every other word becomes `<unk>`."""
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *_WORDS, *LATE_WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in _SPECIAL])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocabulary["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        extra_special_tokens={"image_token": "<image>"},
        padding_side="left",
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def token_ids(words: PreTrainedTokenizerFast) -> dict[str, int]:
    """The ids that configurations want to know."""
    return {name: getattr(words, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}


def build_model(*, seed: int = 0, layers: int = 12, width: int = 128, heads: int = 4) -> LlavaForConditionalGeneration:
    """Build the model with fresh weights: a CLIP tower of 4 layers, the projector, and a Llama of `layers` layers."""
    torch.manual_seed(seed)
    tokenizer = build_tokenizer()
    vision = CLIPVisionConfig(
        hidden_size=128,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=PATCH,
        projection_dim=width,
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer) - len(LATE_WORDS),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        initializer_range=0.06,
        tie_word_embeddings=True,
        **token_ids(tokenizer),
    )
    config = LlavaConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        tie_word_embeddings=True,
        **token_ids(tokenizer),
    )
    model = LlavaForConditionalGeneration(config)
    _calm_residual_stream(model, layers)
    return model


def add_late_words(model: LlavaForConditionalGeneration, *, seed: int = 0) -> None:
    """Give the late words rows of the embeddings, drawn at random; all other words keep theirs."""
    torch.manual_seed(seed)
    model.resize_token_embeddings(len(build_tokenizer()), mean_resizing=False)


def _calm_residual_stream(model: LlavaForConditionalGeneration, layers: int) -> None:
    """Shrink what each layer writes at first, so that twelve layers learn as steadily as six."""
    with torch.no_grad():
        for layer in model.model.language_model.layers:
            layer.self_attn.o_proj.weight /= (2 * layers) ** 0.5
            layer.mlp.down_proj.weight /= (2 * layers) ** 0.5
