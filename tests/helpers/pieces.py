"""A tiny LLaVA whose tokenizer cuts text into pieces as SentencePiece does, spaces in front of words."""

from __future__ import annotations

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import build_tiny

PIECES = ("▁Where", "▁is", "▁the", "▁red", "▁mug", "▁in", "▁relation", "▁to", "▁ta", "ble", "▁photo", "▁ASSISTANT")
"""What is more than a letter; all other text is cut into letters."""


def piece_vlm() -> HookedVLM:
    """The model, with as many tokens as the tiny one has, and its special ones at their places."""
    model, processor = build_tiny("tiny-llava")
    old = processor.tokenizer
    special = {number: token for token, number in old.get_added_vocab().items()}
    letters = [*map(chr, range(33, 127)), *"▁\nкружаелсто在杯子桌哪里컵은어디"]
    plain = iter(
        [("<unk>", 0.0), *((piece, -1.0) for piece in PIECES), *((one, -9.0) for one in dict.fromkeys(letters))]
    )
    vocabulary = [
        (special[number], 0.0) if number in special else next(plain, (f"unused{number}", -99.0))
        for number in range(len(old))
    ]
    raw = Tokenizer(models.Unigram(vocabulary, unk_id=0))
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    raw.decoder = decoders.Metaspace()
    raw.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special.values()])
    bos = old.bos_token
    raw.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, raw.token_to_id(bos))]
    )
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token=bos,
        eos_token=old.eos_token,
        pad_token=old.pad_token,
        unk_token="<unk>",
        extra_special_tokens={"image_token": processor.image_token},
        padding_side="left",
    )
    return HookedVLM.wrap(model, processor, self_check=False)
