"""A name that stands in a question word for word is asked in any script, and a part of a longer word is not."""

from unicodedata import normalize

import pytest

from interp.__main__ import main
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.given import GivenBoxes
from interp.objects.words import find_objects, objects_asked

NAMED = {
    "German": ("Wo ist die Katze im Vergleich zum Hund?", ["Katze", "Hund"]),
    "Russian": ("Где кошка и собака?", ["кошка", "собака"]),
    "Russian, two words": ("Где красный круг?", ["красный круг", "круг"]),
    "Greek": ("Πού είναι η γάτα και ο σκύλος;", ["Γάτα", "σκύλος"]),
    "Chinese": ("猫在狗的哪一边？", ["猫", "狗"]),
    "Chinese and Latin": ("我的iPhone在桌子上吗", ["iPhone", "桌子"]),
    "Japanese": ("ネコは犬の左にいますか？", ["ネコ", "犬"]),
    "Korean": ("고양이는 개의 어느 쪽에 있나요?", ["고양이", "개"]),
    "Thai": ("แมวอยู่ด้านไหนของหมา", ["แมว", "หมา"]),
    "Hindi": ("बिल्ली कहाँ है और कुत्ता?", ["बिल्ली", "कुत्ता"]),
    "Arabic": ("أين قطة و كلب؟", ["قطة", "كلب"]),
    "Hebrew": ("איפה חתול ליד כלב?", ["חתול", "כלב"]),
    "French, after an article": ("Où est l'arbre, à côté du chat ?", ["arbre", "chat"]),
    "a long name": ("Is the big old red London bus here?", ["big old red London bus"]),
    "marks apart": (normalize("NFD", "Wo ist die Tür?"), ["Tür"]),
    "marks apart in the name": ("Wo ist die Tür?", [normalize("NFD", "Tür")]),
}


@pytest.mark.parametrize("language", NAMED)
def test_a_name_that_stands_in_the_question_is_asked(language):
    question, names = NAMED[language]
    found = objects_asked(question, names)
    assert [normalize("NFC", name.lower()) for name in names if name != "круг"] == list(found)


@pytest.mark.parametrize(
    "question, name",
    [
        ("Где мама?", "мам"),
        ("개구리는 어디에 있나요?", "개"),
        ("Wo ist der Türsteher?", "Tür"),
        ("बिल्ली कहाँ है?", "बिल"),
        ("กี่คน", "ก"),
        ("Is it in the catalogue?", "cat"),
    ],
)
def test_a_part_of_a_longer_word_is_not_asked(question, name):
    assert objects_asked(question, [name]) == ()


@pytest.mark.parametrize("language", NAMED)
def test_its_boxes_are_given(language):
    question, names = NAMED[language]
    given = GivenBoxes([Box(name, (10.0 * place, 0.0, 10.0 * place + 10, 10.0)) for place, name in enumerate(names)])
    found = find_objects(shapes(1)[0].image, question, given)
    assert found.missing == () and len(found.boxes) >= len(names) - (names[-1] == "круг")


def test_the_longest_of_two_names_is_asked():
    assert objects_asked("熊猫在哪里", ["猫", "熊猫"]) == ("熊猫",)


@pytest.mark.parametrize("corners", ["0.18,0.55,0.38,0.75", "0,0,1,1", "0.5,0,1.0,0.25"])
def test_fractions_of_a_photo_are_refused(corners, tmp_path, capsys):
    shapes(1)[0].image.save(tmp_path / "a.png")
    with pytest.raises(InputError, match="which are fractions .*: give pixels"):
        GivenBoxes.parse(f"cat=20,62,42,84; dog={corners}")
    with pytest.raises(InputError, match="which are fractions"):
        GivenBoxes([Box("dog", tuple(map(float, corners.split(","))))])
    asked = [str(tmp_path / "a.png"), "Where is the dog?", "--boxes", f"dog={corners}", "--out", str(tmp_path / "out")]
    assert main(["analyze", *asked]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("question", "labels"),
    [
        ("कप मेज के किस ओर है?", ("कप", "मेज")),
        ("컵 탁자 중 무엇이 왼쪽에 있나요?", ("컵", "탁자")),
        ("kedi köpek nerede?", ("kedi", "köpek")),
        ("گربه میز کجاست؟", ("گربه", "میز")),
    ],
)
def test_names_side_by_side_are_both_asked_where_the_language_is_not_english(question, labels):
    assert objects_asked(question, labels) == labels
    assert objects_asked("is the sofa cat awake?", ("sofa", "cat")) == ("cat",)
