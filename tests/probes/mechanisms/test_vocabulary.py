"""Words of one token: kept and dropped by the paper's rule, on tokenizers of every kind that families have."""

from functools import cache
from types import SimpleNamespace

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from probes.mechanisms.scenes.vocabulary import single_token_words, spelled_ids, spellings

WORDS = ("red", "Red", "blue")
SPELLED = ("red", "Red", " red", " Red", "blue", " blue")


@cache
def shapes_vlm():
    return HookedVLM.from_pretrained("shapes-vlm", self_check=False)


def spoken(tokenizer, **names):
    """A tokenizer where a hooked model has it."""
    return SimpleNamespace(
        processor=SimpleNamespace(tokenizer=PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names))
    )


def merged(alphabet, words, unknown=None):
    """A vocabulary of letters in which whole words are merged; a space joins a word that is known without it."""
    vocabulary = {token: place for place, token in enumerate([*([unknown] if unknown else []), *alphabet])}
    merges = []
    for word in words:
        parts = [word[0], word[1:]] if word[1:] in vocabulary else list(word)
        for end in range(1, len(parts)):
            start, last = "".join(parts[:end]), parts[end]
            if start + last not in vocabulary:
                vocabulary[start + last] = len(vocabulary)
                merges.append((start, last))
    return vocabulary, merges


def byte_level(words=SPELLED):
    """As Qwen's: a space is a letter of the word behind it, and line ends stand alone."""
    raw = Tokenizer(
        models.BPE(*merged(sorted(pre_tokenizers.ByteLevel.alphabet()), [w.replace(" ", "Ġ") for w in words]))
    )
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    return spoken(raw)


def sentence_piece(words=SPELLED):
    """As Llama's: every text begins with a space of its own."""
    alphabet = [*"redRblu:ASITN▁", "<0x0A>"]
    vocabulary, merges = merged(alphabet, [w.replace(" ", "▁") for w in words], "<unk>")
    raw = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return spoken(raw, unk_token="<unk>")


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_a_word_is_kept_if_all_four_of_its_spellings_are_one_token(make):
    found = single_token_words(make(), ["Red", "blue"], at_least=1)
    assert found.words == ("Red",)
    assert list(found.dropped) == ["blue"] and "'Blue', ' Blue'" in found.dropped["blue"]
    assert "dropped: blue ('Blue', ' Blue' are not one token)" in found.describe()


@pytest.mark.parametrize("make", [byte_level, sentence_piece])
def test_the_tokens_of_a_word_are_those_that_spell_it(make):
    vlm = make()
    ids = spelled_ids(vlm, "red")
    texts = vlm.processor.tokenizer.convert_ids_to_tokens(list(ids))
    assert [text.replace("Ġ", " ").replace("▁", " ") for text in texts] == list(spellings("red"))
    assert len(spelled_ids(vlm, "blue")) == 2  # capitals are two tokens


def test_after_a_prompt_the_spelling_that_follows_it_is_enough():
    vlm = byte_level([" blue", "red"])
    assert single_token_words(vlm, ["blue"], after="ASSISTANT:", at_least=1).words == ("blue",)
    assert single_token_words(vlm, ["red"], after="assistant\n", at_least=1).words == ("red",)
    with pytest.raises(InputError, match="' red' is not one token"):
        single_token_words(vlm, ["red"], after="ASSISTANT:", at_least=1)
    vlm.processor.tokenizer.add_special_tokens({"additional_special_tokens": ["<say>"]})
    assert single_token_words(vlm, ["red"], after="ASSISTANT:<say>", at_least=1).words == ("red",)


def test_the_embedded_model_says_its_words_in_one_spelling_and_stands_for_unknown_ones_by_none():
    vlm = shapes_vlm()
    token = vlm.processor.tokenizer.convert_tokens_to_ids("left")
    assert spelled_ids(vlm, "left") == spelled_ids(vlm, "left", after="ASSISTANT:") == (token,)
    found = single_token_words(vlm, ["left", "right", "crimson"], after="ASSISTANT:")
    assert found.words == ("left", "right") and list(found.dropped) == ["crimson"]
    with pytest.raises(InputError, match="'crimson' can not be read at one position"):
        spelled_ids(vlm, "crimson")


def test_too_few_words_are_refused_with_the_reason_for_each():
    with pytest.raises(InputError, match="0 of 1 word are kept; dropped: left .*'Left'.* give more words"):
        single_token_words(shapes_vlm(), ["left"])


@pytest.mark.parametrize("words", [["red", "Red"], ["red "], [""], [3]])
def test_what_is_no_list_of_words_is_refused(words):
    with pytest.raises(InputError):
        single_token_words(byte_level(), words)
