"""VLMInputs: photos and questions made ready for one model, with what each position and image token stands for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Int
from PIL import Image

from interp.errors import InputError, ModelError, RefusedError
from interp.families import family_of
from interp.image.photos import ImageSource, load_image
from interp.image.resizing import check_patch_size
from interp.prompt.layout import TokenLayout, find_kinds
from interp.prompt.placeholders import refuse_placeholders
from interp.prompt.system import check_found, check_system, in_chat, without_system
from interp.prompt.templates import paper_prompt
from interp.reprs import fits_a_cell
from interp.store.names import is_text

if TYPE_CHECKING:
    from interp.image.grid import ImageGrid

PROMPTS = ("chat", "paper", "raw")
_ROLE = r"<[^<>\s]+>|\[/?[A-Z]+\]|\b[A-Z]+:|\b(?:User|Assistant):"  # <|im_end|>, [/INST], ASSISTANT:, User:


@fits_a_cell("prompts input_ids style images grids layouts")
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
    def shape(self) -> torch.Size:
        """(batch, pos): those of the ids, as clients of TransformerLens ask for."""
        return self.input_ids.shape

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return self.input_ids.device

    @property
    def input_ids(self) -> Int[torch.Tensor, "batch pos"]:
        """Token ids [batch pos]."""
        return self.tensors["input_ids"]

    @property
    def attention_mask(self) -> Int[torch.Tensor, "batch pos"]:
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
    system: str | None = None,
) -> VLMInputs:
    """Make one batch of one photo and one question per sample.

    Args:
        model: the Hugging Face model.
        processor: its processor.
        images: a photo (path, PIL image or array), or as many as there are questions; a single one serves all.
        questions: a question, or several.
        prompt: `chat` (the processor's chat template), `paper` (the AdaptVis evaluation's) or `raw` (as given, with
            the image placeholder in it).
        system: a system prompt, in the place of the template's own if it has one; it needs `chat`. With `""` the
            prompt's system part is left out, and with None it is as the template writes it.

    Raises:
        InputError: no question, numbers that do not match, an image that can not be read, no image in the prompt, or a
            system prompt that can not be told from the words around it.
        ModelError: a processor without a chat template, or whose tokens disagree with the geometry.
        RefusedError: a chat template that takes no system prompt.
    """
    if not isinstance(questions, Iterable):
        raise InputError(f"the question {questions!r} is no text: ask something, or give a list of questions")
    texts = [questions] if isinstance(questions, str) else list(questions)
    sources: list[Any] = list(images) if isinstance(images, (list, tuple)) else [images] * len(texts)
    if len(sources) == 1:
        sources = sources * len(texts)
    if not texts or len(sources) != len(texts):
        raise InputError(f"{len(sources)} images for {len(texts)} questions: give one image for each, or one for all")
    photos = [load_image(source) for source in sources]
    family = family_of(model)
    check_patch_size(processor, model.config)
    wrap = family.wrapped_image
    prompts = [make_prompt(text, processor, prompt, wrapped_image=wrap, system=system) for text in texts]
    # before the processor runs, as this refuses a photo whose enlargement would fill the memory
    grids = tuple(family.grid(photo.size, processor, model.config) for photo in photos)
    batch = _tokenize(model, processor, photos, prompts)
    wrapped = wrap.format(processor.image_token)
    written = [text if family.written is None else family.written(text, processor) for text in prompts]
    layouts = tuple(
        _layout(model, processor, batch, row, Prompt(written[row], _asked(text, processor.image_token), wrapped), grid)
        for row, (text, grid) in enumerate(zip(texts, grids, strict=True))
    )
    return VLMInputs(batch, layouts, grids, tuple(photos), tuple(prompts), prompt)


def make_prompt(
    question: str, processor: Any, style: str, *, wrapped_image: str = "{}", system: str | None = None
) -> str:
    """Wrap one question in a prompt with exactly one image placeholder, which is wrapped as the family does it.

    A system prompt is as in `prepare`.

    Raises:
        InputError: an unknown style, a question that is empty or no text, or not exactly one image in the prompt.
        ModelError: the processor has no chat template, or one that fails.
        RefusedError: it takes no system prompt.
    """
    check_system(system, style)
    if style not in PROMPTS:
        raise InputError(f"prompt style {style!r} is not known: use one of {', '.join(PROMPTS)}")
    if not isinstance(question, str):
        raise InputError(f"the question {question!r:.120} is no text: write it as a string")
    if not question.strip():
        raise InputError(
            f"the question is empty ({question!r}): ask something, such as 'Where is the mug in the photo?'"
        )
    if not is_text(question):
        raise InputError(f"the question {question!r:.120} holds broken letters: write it in UTF-8")
    refuse_placeholders(question, processor, raw=style == "raw")
    if style == "raw":
        text = question
    elif style == "paper":
        text = paper_prompt(question).replace("<image>", wrapped_image.format(processor.image_token))
    elif getattr(processor, "chat_template", None) is None:
        raise ModelError("this processor has no chat template: use prompt='paper' or prompt='raw'")
    else:
        text = _in_chat(question, processor, system)
    found = text.count(processor.image_token)
    if found != 1:
        raise InputError(
            f"the prompt holds {found} images instead of one: write {processor.image_token!r} once where the image goes"
        )
    if system is None:
        return text
    wrapped = wrapped_image.format(processor.image_token)
    parts = text, _asked(question, processor.image_token), wrapped if wrapped in text else processor.image_token
    return _with_system(*parts, system, processor.tokenizer.bos_token or "")


def _with_system(text: str, asked: str, image: str, system: str, bos: str) -> str:
    """A prompt whose system part is left out, or is looked at whether it is the given one."""
    if not system:
        return without_system(text, asked, image, bos=bos)
    check_found(text, system, asked, image, bos=bos)
    return text


def _in_chat(question: str, processor: Any, system: str | None) -> str:
    """The question in the processor's chat template, which is a program that a checkpoint brings and may fail."""
    content = [{"type": "image"}, {"type": "text", "text": question}]
    try:
        return in_chat(processor, content, system)
    except RefusedError:
        raise
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"this processor's chat template fails ({type(error).__name__}: {why}): use prompt='paper' or prompt='raw'"
        ) from error


def _tokenize(model: Any, processor: Any, photos: list[Image.Image], prompts: list[str]) -> dict[str, torch.Tensor]:
    """Run the processor, padding on the left; keep what the model's forward takes."""
    if len(prompts) > 1 and processor.tokenizer.pad_token is None:
        raise ModelError("this tokenizer has no padding token: run one sample at a time, or set tokenizer.pad_token")
    try:
        batch = processor(
            images=[[photo] for photo in photos],
            text=prompts,
            return_tensors="pt",
            padding=len(prompts) > 1,
            padding_side="left",
            add_special_tokens=not _starts_with_bos(processor.tokenizer, prompts[0]),
        )
    except Exception as error:  # what a processor stumbles over, a setting or a word, it says in many ways
        why = " ".join(str(error).split())[:200]
        raise ModelError(
            f"the processor can not make inputs of photo and prompt ({type(error).__name__}: {why}): its settings do "
            "not fit the model, or the prompt holds a word that it does not take for one"
        ) from error
    taken = signature(model.forward).parameters.keys() - {"labels"}
    return {name: value for name, value in batch.items() if isinstance(value, torch.Tensor) and name in taken}


def _starts_with_bos(tokenizer: Any, prompt: str) -> bool:
    """Whether a chat template wrote the BOS token itself, so that it must not come twice."""
    return bool(tokenizer.bos_token) and prompt.startswith(tokenizer.bos_token)


def _asked(text: str, image_token: str) -> str:
    """The question's own words; of a raw prompt those after the image (or else before it), without role words."""
    if image_token not in text:
        return text.strip()
    pieces = [max(re.split(_ROLE, piece), key=len).strip() for piece in reversed(text.split(image_token))]
    return next((piece for piece in pieces if piece), "")


@dataclass(frozen=True)
class Prompt:
    """One prompt before its image is expanded, the question in it, and how its family writes an image."""

    text: str
    question: str
    image: str


def _layout(
    model: Any, processor: Any, batch: dict[str, torch.Tensor], row: int, prompt: Prompt, grid: ImageGrid
) -> TokenLayout:
    """The layout of one sample: its ids, set against those of the prompt whose image is still one placeholder."""
    tokenizer = processor.tokenizer
    ids = batch["input_ids"][row]
    mask = batch.get("attention_mask", torch.ones_like(batch["input_ids"]))[row].bool()
    own = ids[mask].tolist()
    start_with_bos = _starts_with_bos(tokenizer, prompt.text)
    short = tokenizer(prompt.text, return_offsets_mapping=True, add_special_tokens=not start_with_bos)
    spans = [(int(start), int(end)) for start, end in short["offset_mapping"]]
    before, after = _around_image(list(short["input_ids"]), own, spans, prompt.text, processor.image_token)
    known = find_kinds(
        prompt.text,
        prompt.question,
        spans,
        image_token=prompt.image if prompt.image in prompt.text else processor.image_token,
        special=[token == tokenizer.bos_token_id for token in short["input_ids"]],
        bos=tokenizer.bos_token or "",
    )
    known = ["image_marker" if kind == "image" else kind for kind in known]
    kinds = known[:before] + ["image_marker"] * (len(own) - before - after) + known[len(known) - after :]
    placeholders = [place for place, token in enumerate(own) if token == model.config.image_token_id]
    if len(placeholders) != grid.n_slots:
        raise ModelError(
            f"the prompt has {len(placeholders)} image tokens but the image grid has {grid.n_slots}: "
            "the processor's settings (patch_size, vision_feature_select_strategy) do not fit the model"
        )
    for slot in grid.slots:
        kinds[placeholders[slot]] = "image"
    padding = int((~mask).sum())
    return TokenLayout(("pad",) * padding + tuple(kinds), tuple(tokenizer.convert_ids_to_tokens(ids.tolist())))


def _around_image(
    short: list[int], own: list[int], spans: list[tuple[int, int]], text: str, image_token: str
) -> tuple[int, int]:
    """How many ids before and after the image are the same in the short prompt and in the expanded one.

    Between them lie the image, what the processor writes around it, and white space that its tokens swallowed.

    Raises:
        ModelError: something else differs too.
    """
    image = text.index(image_token)
    place = next(place for place, (start, end) in enumerate(spans) if start <= image < end)
    before = next((i for i in range(place) if short[i] != own[i]), place)
    behind = len(short) - place - 1
    after = next((i for i in range(behind) if short[-1 - i] != own[-1 - i]), behind)
    lost = text[spans[before][0] : spans[len(short) - after - 1][1]]
    if lost.strip() != image_token or before + after > len(own):
        raise ModelError("the processor's tokens differ from its tokenizer's: this processor is not supported")
    return before, after
