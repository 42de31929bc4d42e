"""The pieces of an answer are what people read, whatever the vocabulary calls its tokens, and make up its text."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interp.prompt.pieces import pieces

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def byte_level(*merges):
    """A tokenizer whose tokens are bytes and some merges of them, in the letters of GPT-2."""
    vocabulary = {word: number for number, word in enumerate([*BYTES, *("".join(pair) for pair in merges)])}
    made = Tokenizer(models.BPE(vocabulary, list(merges)))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def metaspace(*words):
    """A tokenizer whose words begin with a low line, as those of SentencePiece do."""
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=words[0]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return PreTrainedTokenizerFast(tokenizer_object=made)


MERGES = (("Ġ", "l"), ("Ġl", "e"), ("f", "t"), ("Ġle", "ft"))


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("a left", ("a", " left")),
        ("\n", ("\n",)),
        ("é", ("", "é")),
        ("左a", ("", "", "左", "a")),
        ("🙂 left", ("", "", "", "🙂", " left")),
        ("", ()),
    ],
)
def test_tokens_of_bytes_are_read_as_text_and_a_letter_belongs_to_its_last_token(text, wanted):
    tokenizer = byte_level(*MERGES)
    ids = tokenizer(text)["input_ids"]
    assert pieces(tokenizer, ids) == wanted and "".join(wanted) == text
    assert not any("Ġ" in piece or "Ċ" in piece for piece in pieces(tokenizer, ids))


def test_an_answer_that_ends_inside_a_letter_keeps_what_the_tokenizer_makes_of_it():
    tokenizer = byte_level()
    ids = tokenizer("a左")["input_ids"][:-1]
    assert "".join(pieces(tokenizer, ids)) == tokenizer.decode(ids)


def test_low_lines_are_spaces_between_words():
    tokenizer = metaspace("▁on", "▁the", "▁left")
    assert pieces(tokenizer, tokenizer("on the left")["input_ids"]) == ("on", " the", " left")


def test_a_tokenizer_that_spells_anew_what_stood_before_gives_each_token_alone():
    class Anew:
        def decode(self, ids, **_):
            return "".join(chr(97 + one) for one in ids)[::-1]

    assert pieces(Anew(), [0, 1, 2]) == ("a", "b", "c")
