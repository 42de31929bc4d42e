"""VLMInputs: photos and questions made ready for one model, with what each position and image token stands for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from interp.datasets.questions import paper_prompt
from interp.errors import InputError, ModelError
from interp.images import ImageSource, load_image
from interp.layout import TokenLayout, find_kinds

if TYPE_CHECKING:
    from interp.grid import ImageGrid

PROMPTS = ("chat", "paper", "raw")
_ROLE = r"<[^<>\s]+>|\[/?[A-Z]+\]|\b[A-Z]+:"  # <|im_end|>, [/INST], ASSISTANT:


@dataclass(frozen=True)
class VLMInputs:
    """One left-padded batch.

    Attributes:
        tensors: what the model's forward takes: `input_ids` and `attention_mask` [batch pos], `pixel_values`, ...
        layouts: what each position is, one layout per sample, in padded positions.
        grids: which pixels of its photo each image token saw, one grid per sample.
        images: the photos, as RGB, upright.
        prompts: the prompts as text, with one image placeholder.
        style: how the prompts were made: chat, paper or raw.
    """

    tensors: dict[str, torch.Tensor]
    layouts: tuple[TokenLayout, ...]
    grids: tuple[ImageGrid, ...]
    images: tuple[Image.Image, ...]
    prompts: tuple[str, ...]
    style: str

    def __len__(self) -> int:
        """Count the samples."""
        return len(self.prompts)

    @property
    def input_ids(self) -> torch.Tensor:
        """Token ids [batch pos]."""
        return self.tensors["input_ids"]

    @property
    def attention_mask(self) -> torch.Tensor:
        """1 where there is a token, 0 where there is padding [batch pos]."""
        return self.tensors["attention_mask"]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> VLMInputs:
        """Move the tensors; pixels also change to the model's `dtype`."""
        moved = {
            name: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
            for name, value in self.tensors.items()
        }
        return VLMInputs(moved, self.layouts, self.grids, self.images, self.prompts, self.style)


def prepare(
    model: Any,
    processor: Any,
    images: ImageSource | Sequence[ImageSource],
    questions: str | Sequence[str],
    *,
    prompt: str = "chat",
) -> VLMInputs:
    """Make one batch of one photo and one question per sample.

    Args:
        model: the Hugging Face model.
        processor: its processor.
        images: a photo (path, PIL image or array), or as many as there are questions; a single one serves all.
        questions: a question, or several.
        prompt: `chat` (the processor's chat template), `paper` (the AdaptVis evaluation's) or `raw` (as given, with
            the image placeholder in it).

    Raises:
        InputError: no question, numbers that do not match, an image that can not be read, no image in the prompt.
        ModelError: a processor without a chat template, or whose tokens disagree with the geometry.
    """
    from interp.families import family_of

    texts = [questions] if isinstance(questions, str) else list(questions)
    sources: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images] * len(texts)
    if len(sources) == 1:
        sources = sources * len(texts)
    if not texts or len(sources) != len(texts):
        raise InputError(f"{len(sources)} images for {len(texts)} questions: give one image for each, or one for all")
    photos = [load_image(source) for source in sources]
    image_token = processor.image_token
    prompts = [make_prompt(text, processor, prompt) for text in texts]
    family = family_of(model)
    # before the processor runs, as this refuses a photo whose enlargement would fill the memory
    grids = tuple(family.grid(photo.size, processor, model.config) for photo in photos)
    batch = _tokenize(processor, photos, prompts)
    layouts = tuple(
        _layout(processor.tokenizer, batch, row, prompts[row], _asked(text, image_token), image_token)
        for row, text in enumerate(texts)
    )
    for layout, grid in zip(layouts, grids, strict=True):
        if len(layout.image_positions) != len(grid.boxes):
            raise ModelError(
                f"the prompt has {len(layout.image_positions)} image tokens but the image grid has {len(grid.boxes)}: "
                "the processor's settings (patch_size, vision_feature_select_strategy) do not fit the model"
            )
    return VLMInputs(dict(batch), layouts, grids, tuple(photos), tuple(prompts), prompt)


def make_prompt(question: str, processor: Any, style: str) -> str:
    """Wrap one question in a prompt with exactly one image placeholder.

    Raises:
        InputError: an unknown style, an empty question, or not exactly one image in the prompt.
        ModelError: the processor has no chat template.
    """
    if style not in PROMPTS:
        raise InputError(f"prompt style {style!r} is not known: use one of {', '.join(PROMPTS)}")
    if not isinstance(question, str) or not question.strip():
        raise InputError(
            f"the question is empty ({question!r}): ask something, such as 'Where is the mug in the photo?'"
        )
    if style == "raw":
        text = question
    elif processor.image_token in question:
        raise InputError(
            f"the question holds the image placeholder {processor.image_token!r}: leave it out, or use prompt='raw'"
        )
    elif style == "paper":
        text = paper_prompt(question).replace("<image>", processor.image_token)
    elif getattr(processor, "chat_template", None) is None:
        raise ModelError("this processor has no chat template: use prompt='paper' or prompt='raw'")
    else:
        content = [{"type": "image"}, {"type": "text", "text": question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    found = text.count(processor.image_token)
    if found != 1:
        raise InputError(
            f"the prompt holds {found} images instead of one: write {processor.image_token!r} once where the image goes"
        )
    return text


def _tokenize(processor: Any, photos: list[Image.Image], prompts: list[str]) -> dict[str, torch.Tensor]:
    """Run the processor, padding on the left."""
    if len(prompts) > 1 and processor.tokenizer.pad_token is None:
        raise ModelError("this tokenizer has no padding token: run one sample at a time, or set tokenizer.pad_token")
    batch = processor(
        images=photos,
        text=prompts,
        return_tensors="pt",
        padding=len(prompts) > 1,
        padding_side="left",
        add_special_tokens=not _starts_with_bos(processor.tokenizer, prompts[0]),
    )
    return {
        name: value for name, value in batch.items() if isinstance(value, torch.Tensor) and name != "token_type_ids"
    }


def _starts_with_bos(tokenizer: Any, prompt: str) -> bool:
    """Whether a chat template wrote the BOS token itself, so that it must not come twice."""
    return bool(tokenizer.bos_token) and prompt.startswith(tokenizer.bos_token)


def _asked(text: str, image_token: str) -> str:
    """The question's own words; of a raw prompt those after the image (or else before it), without role words."""
    if image_token not in text:
        return text.strip()
    pieces = [max(re.split(_ROLE, piece), key=len).strip() for piece in reversed(text.split(image_token))]
    return next((piece for piece in pieces if piece), "")


def _layout(
    tokenizer: Any, batch: dict[str, torch.Tensor], row: int, prompt: str, question: str, image_token: str
) -> TokenLayout:
    """The layout of one sample, from its ids and the characters that they cover."""
    ids = batch["input_ids"][row]
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))[row].bool()
    own = ids[mask].tolist()
    image_id = tokenizer.convert_tokens_to_ids(image_token)
    n_image = own.count(image_id)
    expanded = prompt.replace(image_token, image_token * n_image)
    again = tokenizer(expanded, return_offsets_mapping=True, add_special_tokens=not _starts_with_bos(tokenizer, prompt))
    if list(again["input_ids"]) != own:
        raise ModelError("the processor's tokens differ from its tokenizer's: this processor is not supported")
    special = [token == tokenizer.bos_token_id for token in own]
    kinds = find_kinds(
        expanded,
        question,
        [(int(start), int(end)) for start, end in again["offset_mapping"]],
        image_token=image_token,
        special=special,
    )
    kinds = ["image" if token == image_id else kind for token, kind in zip(own, kinds, strict=True)]
    padding = int((~mask).sum())
    tokens = tokenizer.convert_ids_to_tokens(ids.tolist())
    return TokenLayout(("pad",) * padding + tuple(kinds), tuple(tokens))
