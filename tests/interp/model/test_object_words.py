"""Object words are the very tokens that name objects in a question, whoever cuts it; what names none is refused."""

import numpy as np
import pytest
import torch
from pieces import piece_vlm
from PIL import Image

from interp import HookedVLM, InputError, PatchHeads, RedistributeAttention, ScaleHeads, SteerHeads, object_words
from interp.intervene.head_bias import BiasImageLogits
from interp.model.object_words import spans_of, tokens_of_names
from interp.objects.sample import Object, Sample
from interp.zoo.tiny import TINY

LONG = "Where is the red mug in relation to the table?"
PHOTO = Image.new("RGB", (112, 112), "red")


def asked(question, *names, name="photo-7"):
    return Sample(name, PHOTO, question, ("left", "right"), "left", tuple(map(Object, names)))


def found(vlm, *samples, prompt="paper"):
    inputs = vlm.prepare([own.image for own in samples], [own.question for own in samples], prompt=prompt)
    return object_words(vlm, inputs, samples), inputs


@pytest.fixture(scope="module")
def embedded():
    return HookedVLM.from_pretrained("shapes-vlm", dtype="float32", self_check=False)


@pytest.fixture(scope="module")
def bytewise():
    return HookedVLM.from_pretrained("tiny-qwen2_5_vl", self_check=False)


@pytest.fixture(scope="module")
def in_pieces():
    return piece_vlm()


def test_positions_are_those_worked_out_by_hand_on_the_embedded_model(embedded):
    # <s>, 64 image tokens, USER : Where is the [red circle] in relation to the [blue square] ? ASSISTANT :
    whole = asked("Where is the red circle in relation to the blue square?", "red circle", "blue square")
    assert found(embedded, whole)[0] == ((70, 71, 76, 77),)
    short = asked("Where is the circle?", "circle")  # padded by seven
    assert found(embedded, whole, short)[0] == ((70, 71, 76, 77), (77,))


def test_positions_are_those_worked_out_by_hand_where_bytes_are_tokens(bytewise):
    # counted from the end, an ASCII letter is a token: "?" and a line break, "ASSISTANT:" (10) and the table before it
    (own,), inputs = found(bytewise, asked(LONG, "mug", "table"))
    end = len(inputs.layouts[0]) - len("?\nASSISTANT:")
    start = end - len("mug in relation to the table")
    assert own == (*range(start, start + 3), *range(end - 5, end))
    (own,), inputs = found(bytewise, asked("Где кружка?", "кружка"))  # two bytes a letter
    end = len(inputs.layouts[0]) - len("?\nASSISTANT:")
    assert own == tuple(range(end - 12, end))


def test_positions_are_those_worked_out_by_hand_where_pieces_hold_the_space_before_a_word(in_pieces):
    (own,), inputs = found(in_pieces, asked(LONG, "mug", "table"))
    assert [inputs.layouts[0].tokens[place] for place in own] == ["▁mug", "▁ta", "ble"]
    end = len(inputs.layouts[0]) - len("?\nASSISTANT:")
    assert own == (end - 7, end - 2, end - 1)  # ▁mug ▁in ▁relation ▁to ▁the ▁ta ble
    assert found(in_pieces, asked("Where is the red mug?", "red mug"), asked(LONG, "table"))[0][0] == (
        end - 2,
        end - 1,
    )  # ▁red ▁mug, padded to the longer one


@pytest.mark.parametrize("name", TINY)
def test_of_every_family_the_tokens_spell_the_names_also_in_a_padded_batch(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    samples = [asked(f"{LONG} Answer with left or right.", "red mug", "table"), asked("Is a Table left?", "table")]
    places, inputs = found(vlm, *samples)
    spelled = [
        vlm.processor.tokenizer.decode(inputs.input_ids[row, list(own)]).replace(" ", "")
        for row, own in enumerate(places)
    ]
    assert spelled == ["redmugtable", "Table"]


def test_processors_that_add_words_of_their_own_are_followed():
    vlm = HookedVLM.from_pretrained("tiny-paligemma", self_check=False)
    (own,), inputs = found(vlm, asked("<image>Where is the mug?", "mug"), prompt="raw")
    assert [inputs.layouts[0].tokens[place] for place in own] == ["m", "u", "g"]


@pytest.mark.parametrize(
    "name, question, told",
    [
        ("mug", "Are the mugs, or is the smuggler, left of the mug_2?", []),
        ("Mug", "Is the mug left of the MUG?", ["mug", "MUG"]),
        ("red mug", "Where is the red\n mug?", ["red\n mug"]),
        ("T-shirt (red)", "Is the T-shirt (red) here?", ["T-shirt (red)"]),
        ("mug", "在mug左边吗", ["mug"]),
        ("杯子", "杯子在桌子左边吗", ["杯子"]),
        ("컵", "컵은 어디에 있습니까", ["컵"]),
        ("кружка", "Где кружка, у кружками?", ["кружка"]),
        ("แก้ว", "แก้วอยู่ที่ไหน", ["แก้ว"]),
        (" ", "Where is the mug?", []),
        ("", "Where is the mug?", []),
    ],
    ids=str,
)
def test_a_name_counts_as_whole_words_and_in_scripts_without_spaces_wherever_it_stands(name, question, told):
    assert [question[start:end] for start, end in spans_of(name, question)] == told


def test_only_the_question_is_searched_also_where_a_template_has_stripped_it():
    text, cut = (
        "SYSTEM: a mug <image> Where is the mug? ANSWER: mug",
        lambda text, **options: {"offset_mapping": [(place, place + 1) for place in range(len(text))]},
    )
    for question in ("Where is the mug?", "  Where is the mug?\n"):
        (own,) = tokens_of_names(["mug"], text, question, tokenizer=cut, length=len(text))
        assert own == [list(range(text.index("mug?"), text.index("?")))]


def test_names_that_overlap_or_come_twice_give_each_token_once(bytewise):
    (own,), inputs = found(bytewise, asked("Is the cup holder left of the cup?", "cup", "cup holder"))
    assert "".join(inputs.layouts[0].tokens[place] for place in own) == "cupĠholdercup"


def test_an_edit_at_object_words_is_that_at_the_same_numbers_and_of_strength_zero_nothing(bytewise, in_pieces):
    for vlm in (bytewise, in_pieces):
        samples = [asked(LONG, "mug", "table"), asked("Where is the mug?", "mug", name="photo-8")]
        places, inputs = found(vlm, *samples)
        heads = [(0, 1), (2, 3)]
        with torch.no_grad():
            plain = vlm(inputs).logits
            _, cache = vlm.run_with_cache(inputs, names_filter=["blocks.2.attn.hook_z", "blocks.0.attn.hook_z"])
            for nothing in (
                ScaleHeads(heads, 1.0, positions=places),
                SteerHeads(heads, torch.ones(2, vlm.cfg.d_head), alpha=0.0, positions=places),
                BiasImageLogits(heads, (0, 1), 0.0, positions=places),
                RedistributeAttention(_sinks(inputs), 1.0, heads=heads, positions=places),
            ):
                with vlm.intervene(nothing, inputs):
                    assert torch.equal(vlm(inputs).logits, plain), str(nothing)
            with vlm.intervene(ScaleHeads(heads, 0.0, positions=places), inputs):
                _, edited = vlm.run_with_cache(inputs, names_filter=["blocks.0.attn.hook_z"])
        before, after = cache["blocks.0.attn.hook_z"], edited["blocks.0.attn.hook_z"]
        for sample, own in enumerate(places):
            rest = [place for place in range(before.shape[1]) if place not in own]
            assert not after[sample, list(own), 1].any() and torch.equal(after[sample, rest], before[sample, rest])


def _sinks(inputs):
    return tuple(np.arange(len(layout.image_positions)) < 2 for layout in inputs.layouts)


def test_a_batch_whose_questions_name_nothing_is_refused_by_name_with_counts(embedded):
    samples = [
        asked("Where is the red circle?", "red circle", name="good"),
        asked("What is left?", "red circle", name="first"),
        asked("What is left?", name="second"),
    ]
    with pytest.raises(
        InputError, match="2 of 3 samples have no object words: .*'first'.*'red circle'.*'second' has no"
    ):
        found(embedded, *samples)
    before = asked("the red circle <image> is left?", "red circle")
    with pytest.raises(InputError, match="'photo-7' names an object in front of its photo"):
        found(embedded, before, prompt="raw")
    _, inputs = found(embedded, samples[0])
    with pytest.raises(InputError, match="3 samples for 1 prompts"):
        object_words(embedded, inputs, samples)


@pytest.mark.parametrize("edit", [ScaleHeads, PatchHeads, SteerHeads, BiasImageLogits])
def test_an_edit_that_can_not_know_the_words_says_how_to_find_them(edit):
    ones = torch.ones(1, 8)
    given = {ScaleHeads: (), PatchHeads: (ones,), SteerHeads: (ones, 0.1), BiasImageLogits: ((0,),)}
    with pytest.raises(InputError, match=r"positions=object_words\(vlm, inputs, samples\)"):
        edit([(0, 1)], *given[edit], positions="objects")
