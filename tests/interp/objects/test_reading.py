"""Questions are read as a person reads them: things before parts and places, no kind, colour or verb for a thing."""

import json
from importlib.resources import files

import pytest

from interp.datasets.benchmarks.vsr import objects_told
from interp.detect import COCO_NAMES, objects_asked
from interp.objects.nouns import nouns
from interp.objects.synonyms import singular


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("What is the color of the shirt?", ("shirt",)),
        ("How many zebras are standing in an open field?", ("zebras",)),
        ("Is the banana part of the sandwich?", ("banana", "sandwich")),
        ("Are there three toothbrushes in the cup?", ("toothbrushes", "cup")),
        ("Which of the two giraffes is taller?", ("giraffes",)),
        ("Are the policewomen on horses?", ("policewomen", "horses")),
        ("Is there a T-shirt on the chair?", ("t shirt", "chair")),
        # parts and places count where no thing is named, and so does whose something is
        ("What color is the woman's hair?", ("woman", "hair")),
        ("What color is the woman’s shirt?", ("shirt",)),
        ("What is the man holding in his hand?", ("man",)),
        ("Is the sky cloudy?", ("sky",)),
        ("What do the wetsuit and the sky have in common?", ("wetsuit", "sky")),
        ("Are the people on the sandy beach?", ("people",)),
        ("Is the car door open?", ("door",)),
        ("What color is the elephant's trunk?", ("elephant", "trunk")),
        ("Is the elephant trunk long?", ("elephant",)),
        # a noun before another says of which kind that is
        ("Is this a train station?", ("train station",)),
        ("Is there a coffee table in the living room?", ("coffee table",)),
        ("Is the baseball player left of the umpire?", ("baseball player", "umpire")),
        ("Is there a hot dog or a dog?", ("hot dog", "dog")),
        ("Is the wooden chair by the glass table?", ("chair", "table")),
        # what something is made of, a colour, what somebody does
        ("Is the table made of glass or wood?", ("table",)),
        ("Is the shirt orange or red?", ("shirt",)),
        ("Is the orange cat asleep?", ("cat",)),
        ("Is the orange and white cat asleep?", ("cat",)),
        ("Is there an orange in the bowl?", ("orange", "bowl")),
        ("Are there oranges on the table?", ("oranges", "table")),
        ("What does the man watch?", ("man",)),
        ("Does the man wear a watch?", ("man", "watch")),
        ("Can you see the dog?", ("dog",)),
        # "where is" with a verb is no template
        ("Where is the dog sitting?", ("dog",)),
        ("Where is the red building?", ("red building",)),
        ("Where is the mug in relation to the ceiling?", ("mug", "ceiling")),
        # options are no objects
        ("Which animal is nearer?\nA. cat\nB. dog", ("animal",)),
        ("Which is nearer? Answer with cat or dog.", ()),
        # nothing to look for
        ("Is it daytime?", ()),
        ("What is the weather like?", ()),
        ("What sport is being played?", ()),
        ("Is this picture blurry?", ()),
    ],
)
def test_what_a_question_names(question, asked):
    assert objects_asked(question) == asked


@pytest.mark.parametrize("name", COCO_NAMES)
def test_every_name_of_coco_is_read_alone_and_among_a_detectors_labels(name):
    article = "an" if name[0] in "aeiou" else "a"
    for labels in ((), COCO_NAMES):
        assert objects_asked(f"Is there {article} {name} in the image?", labels) == (name,)


def test_a_label_that_is_no_noun_of_ours_is_read_and_one_inside_another_word_is_not():
    assert objects_asked("Is the blorp left of the dog?", ["blorp"]) == ("blorp", "dog")
    assert objects_asked("Is it a catalogue or a carpet?") == ("carpet",)
    assert objects_asked("Is the orange cat asleep?", ["orange", "cat"]) == ("cat",)


def test_the_nouns_are_in_the_singular_and_in_one_list_each():
    every = nouns()
    assert [name for names in every for name in names if singular(name) != name] == []
    assert not every.parts & every.places and set(COCO_NAMES) <= every.things
    listed = files("interp.objects").joinpath("nouns.txt").read_text(encoding="utf-8").split("[", 1)[1]
    names = [" ".join(name.split()) for part in listed.split("[") for name in part.partition("]")[2].split(",")]
    assert len(names) > 1000 and "" not in names and len(set(names)) == len(names)


def test_the_statements_of_vsr_are_read_as_they_are_built(assets):
    path = assets / "vsr" / "data" / "data_files" / "all_vsr_validated_data.jsonl"
    if not path.is_file():
        pytest.skip(f"needs the statements of VSR, and {path.name} is absent")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()][::4]
    told = [objects_told(row["caption"], row["relation"]) for row in rows]
    read = [objects_asked(f"Is it true? {row['caption']}") for row in rows]
    assert len(rows) > 2500
    assert read == [tuple(name.lower() for name in dict.fromkeys(names)) for names in told]
