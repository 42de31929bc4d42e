"""Every position of a prompt is exactly one thing, and the right one, whatever the template and the tokenizer."""

import numpy as np
import pytest
import tiny
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from interp.errors import InputError, ModelError
from interp.prompt.inputs import prepare
from interp.prompt.layout import KINDS, TokenLayout, find_kinds

QUESTION = "Where is the mug in the photo? Answer with left or right."
PART = "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }}{% endif %}"
TURN = "{% for message in messages %}{% for part in message['content'] %}" + PART + "{% endfor %}{% endfor %}"
SYSTEM = "Where is the dog . USER: " + TURN + " ASSISTANT:"
CHATML = (
    "<|im_start|>system\nA dog on the table .<|im_end|>\n<|im_start|>user\n"
    + TURN
    + "<|im_end|>\n<|im_start|>assistant\n"
)
LLAMA = "[INST] " + TURN + " [/INST]"


@pytest.fixture(scope="module")
def model():
    return tiny.model()


def words(layout):
    """The text of each run of positions of one kind."""
    runs = []
    for kind, token in zip(layout.kinds, layout.tokens, strict=True):
        if not runs or runs[-1][0] != kind:
            runs.append((kind, []))
        runs[-1][1].append(token)
    return [(kind, " ".join(tokens)) for kind, tokens in runs]


def layout_of(model, processor, question=QUESTION, prompt="chat"):
    inputs = prepare(model, processor, tiny.photo(), question, prompt=prompt)
    layout = inputs.layouts[0]
    assert layout.length == len(layout) == len(layout.tokens) == inputs.input_ids.shape[1]
    assert set(layout.kinds) <= set(KINDS)
    assert sorted(np.concatenate([layout.positions(kind) for kind in KINDS])) == list(range(len(layout)))
    assert layout.image_positions.tolist() == (inputs.input_ids[0] == 4).nonzero().flatten().tolist()
    assert len(layout.image_positions) == len(inputs.grids[0].boxes) == 16
    assert layout.last == len(layout) - 1
    return layout


IMAGE = " ".join(["<image>"] * 16)
ASKED = [("question", "Where is the mug in the photo ?"), ("template", "Answer with left or right . ASSISTANT :")]


def test_a_chat_prompt(model):
    wanted = [("bos", "<s>"), ("template", "USER :"), ("image", IMAGE), *ASKED]
    assert words(layout_of(model, tiny.processor())) == wanted


def test_the_papers_prompt(model):
    wanted = [("bos", "<s>"), ("image", IMAGE), ("template", "USER :"), *ASKED]
    assert words(layout_of(model, tiny.processor(), prompt="paper")) == wanted


@pytest.mark.parametrize(
    "prompt",
    ["<image>\nUSER: {}\nASSISTANT:", "USER: <image>\n{} ASSISTANT:", "<image>{}", "User: <image>\n{} Assistant:"],
)
def test_a_raw_prompt(model, prompt):
    got = words(layout_of(model, tiny.processor(), prompt.format(QUESTION), prompt="raw"))
    assert [kind for kind in got if kind[0] != "template"] == [("bos", "<s>"), ("image", IMAGE), ASKED[0]]
    before = words(layout_of(model, tiny.processor(), "USER: Where is the dog? <image> ASSISTANT:", prompt="raw"))
    assert before[1:] == [
        ("template", "USER :"),
        ("question", "Where is the dog ?"),
        ("image", IMAGE),
        ("template", "ASSISTANT :"),
    ]


def test_a_question_without_options_is_all_question(model):
    got = words(layout_of(model, tiny.processor(), "  Where is the dog?\n"))
    assert got[-2:] == [("question", "Where is the dog ?"), ("template", "ASSISTANT :")]


def test_a_long_system_prompt_in_a_raw_prompt_is_no_question(model):
    system = "Where is the red mug on the table in the photo or the dog . " * 3
    got = words(
        layout_of(model, tiny.processor(), f"{system}USER: <image>\nWhere is the dog? ASSISTANT:", prompt="raw")
    )
    assert [kind for kind, _ in got] == ["bos", "system", "template", "image", "question", "template"]
    assert got[4] == ("question", "Where is the dog ?")


@pytest.mark.parametrize(
    "template, kinds",
    [
        (SYSTEM, ["bos", "system", "template", "image", "question", "template"]),
        (CHATML, ["bos", "system", "template", "image", "question", "template"]),
        (LLAMA, ["bos", "template", "image", "question", "template"]),
        (TURN, ["bos", "image", "question", "template"]),
    ],
    ids=["vicuna", "chatml", "llama", "bare"],
)
def test_a_system_prompt_and_role_words_are_told_apart(model, template, kinds):
    processor = tiny.processor()
    processor.chat_template = template
    processor.tokenizer.add_special_tokens({"additional_special_tokens": ["<image>", "<|im_start|>", "<|im_end|>"]})
    got = words(layout_of(model, processor))
    assert [kind for kind, _ in got] == kinds
    assert ASKED[0] in got
    if template == SYSTEM:
        assert got[1:3] == [("system", "Where is the dog ."), ("template", "USER :")]


def test_a_template_that_writes_bos_itself_gets_it_once(model):
    processor = tiny.processor()
    processor.chat_template = "{{ bos_token }}USER: " + TURN + " ASSISTANT:"
    assert words(layout_of(model, processor))[:3] == [("bos", "<s>"), ("template", "USER :"), ("image", IMAGE)]


def test_a_tokenizer_without_bos(model):
    processor = tiny.processor()
    raw = processor.tokenizer.backend_tokenizer
    raw.post_processor = None
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=["<image>"]
    )
    assert words(layout_of(model, processor))[:2] == [("template", "USER :"), ("image", IMAGE)]


def test_pieces_of_a_word_are_what_the_word_is(model):
    processor = tiny.processor()
    letters = sorted(set(QUESTION + "USERASSISTANT:\n"))
    vocabulary = {token: place for place, token in enumerate(tiny.WORDS[:5])}
    for letter in letters:
        for piece in (letter, f"##{letter}"):
            vocabulary.setdefault(piece, len(vocabulary))
    raw = Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    processor.tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", unk_token="<unk>", additional_special_tokens=["<image>"]
    )
    layout = layout_of(model, processor)
    text = {
        kind: "".join(t.replace("##", "") for k, t in zip(layout.kinds, layout.tokens, strict=True) if k == kind)
        for kind in KINDS
    }
    assert text["question"] == "Whereisthemuginthephoto?"
    assert text["template"] == "USER:Answerwithleftorright.ASSISTANT:"
    assert "<unk>" not in layout.tokens


def test_padding_is_padding_and_the_rest_as_alone(model):
    processor = tiny.processor()
    batch = prepare(model, processor, tiny.photo(), tiny.QUESTIONS)
    assert len(batch) == len(batch.grids) == 3
    for row, (layout, question) in enumerate(zip(batch.layouts, tiny.QUESTIONS, strict=True)):
        alone = layout_of(model, processor, question)
        pad = len(layout) - len(alone)
        assert layout.kinds == ("pad",) * pad + alone.kinds
        assert batch.attention_mask[row].tolist() == [0] * pad + [1] * len(alone)
        assert len(layout.image_positions) == len(batch.grids[row].boxes)


def test_a_question_that_repeats_words_of_the_template_is_found(model):
    got = words(layout_of(model, tiny.processor(), "Where is the USER : photo?"))
    assert ("question", "Where is the USER : photo ?") in got


@pytest.mark.parametrize(
    "question, prompt, reason",
    [
        ("Where is <image>?", "chat", "image placeholder"),
        ("Where is <image>?", "paper", "image placeholder"),
        ("Where is the mug?", "raw", "0 images"),
        ("<image><image> Where?", "raw", "2 images"),
        ("", "chat", "empty"),
        (" \n", "paper", "empty"),
        (None, "chat", "None is no text"),
        ("Where?", "Chat", "not known"),
    ],
)
def test_a_prompt_that_can_not_be_used_is_refused_in_one_line(model, question, prompt, reason):
    with pytest.raises(InputError, match=reason) as refusal:
        prepare(model, tiny.processor(), tiny.photo(), [question], prompt=prompt)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("question", [3, None, 0.5])
def test_questions_that_are_no_text_are_refused(model, question):
    for questions in (question, [question]):
        with pytest.raises(InputError, match=f"the question {question} is no text"):
            prepare(model, tiny.processor(), tiny.photo(), questions)


def test_numbers_of_images_and_questions_must_match(model):
    two = [tiny.photo(0), tiny.photo(1)]
    for images, questions in ((two, ["a", "b", "c"]), ([], ["a"]), (two, []), (two, "Where?")):
        with pytest.raises(InputError, match="give one image for each"):
            prepare(model, tiny.processor(), images, questions)


def test_processors_that_do_not_fit_are_refused(model):
    no_template, no_padding, other_grid = tiny.processor(), tiny.processor(), tiny.processor(side=42)
    no_template.chat_template = None
    with pytest.raises(ModelError, match="chat template"):
        prepare(model, no_template, tiny.photo(), QUESTION)
    no_padding.tokenizer.pad_token = None
    with pytest.raises(ModelError, match="padding token"):
        prepare(model, no_padding, tiny.photo(), tiny.QUESTIONS)
    with pytest.raises((ModelError, InputError)):
        prepare(model, other_grid, tiny.photo(), QUESTION)


def test_a_layout_is_a_value_that_refuses_what_does_not_fit():
    layout = TokenLayout(("pad", "bos", "image", "question"), ("<pad>", "<s>", "<image>", "where"))
    assert layout.image_positions.tolist() == [2] and layout.positions("pad", "question").tolist() == [0, 3]
    longer = layout.extended(["left", "."])
    assert longer.kinds[4:] == ("answer", "answer") and longer.last == layout.last == 3 and len(longer) == 6
    with pytest.raises(InputError, match="no position"):
        layout.positions("images")
    for kinds, tokens in ((("bos", "text"), ("a", "b")), (("bos",), ("a", "b"))):
        with pytest.raises(InputError):
            TokenLayout(kinds, tokens)


def test_tokens_that_cover_no_or_only_white_space_characters_have_a_kind():
    prompt = "<image>\nWhere?"
    spans = [(0, 0), (0, 7), (7, 8), (7, 13), (13, 14)]
    kinds = find_kinds(prompt, "Where?", spans, image_token="<image>", special=[False] * 5)
    assert kinds == ["image", "image", "template", "question", "question"]
