"""Words of a question meet labels, boxes by hand meet the image, and what is not found is said."""

import numpy as np
import pytest
from PIL import Image

from interp.datasets.synthetic.shapes import NAMES, shapes
from interp.detect import Detector, Found, GivenBoxes, Match, find_objects, match_words, objects_asked, read_yolo_labels
from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object, Sample
from interp.objects.synonyms import KINDS, SAME, singular
from interp.prompt.templates import where_in_photo, where_in_relation

COCO_PART = ("person", "bicycle", "car", "motorcycle", "bus", "cat", "dog", "hot dog", "teddy bear", "bench", "tie")
COCO_PART += (
    "cup",
    "wine glass",
    "bowl",
    "chair",
    "couch",
    "dining table",
    "tv",
    "cell phone",
    "potted plant",
    "knife",
)
PHOTO = Image.new("RGB", (100, 80))


class OpenDetector:
    """Takes any words, like an open-vocabulary model; never finds a unicorn."""

    name, labels = "open", ()

    def detect(self, image, words=None):
        return Boxes(tuple(Box(word, (0, 0, 5, 5)) for word in words if word != "unicorn"), source=self.name)


# --- reading the question


def test_our_own_templates_are_read_back():
    assert objects_asked(where_in_relation("mug", "dining table")) == ("mug", "dining table")
    assert objects_asked(where_in_photo("red circle")) == ("red circle",)


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("where is the Armchair in relation to a phone?", ("Armchair", "phone")),
        ("Where are the scissors in the image? Answer with left or right.", ("scissors",)),
        ("Where is the dragonfruit?", ("dragonfruit",)),
        ("Where is the mug on the dining table?", ("mug", "dining table")),
        ("Is there a dog on the sofa?", ("dog", "sofa")),
        ("How many people ride a motor bike?", ("people", "motor bike")),
        ("What is happening here?", ()),
        ("", ()),
    ],
)
def test_questions_name_their_objects_in_order(question, asked):
    assert objects_asked(question) == asked


def test_the_list_of_options_is_no_object():
    assert objects_asked("Which one is nearer? Answer with the cat or the dog.") == ()


def test_free_questions_are_searched_for_the_detectors_own_labels():
    assert objects_asked("Is the blorp near the wug?", ["wug", "blorp"]) == ("blorp", "wug")
    assert objects_asked("Is the dog near the wug?", ["wug"]) == ("dog", "wug")  # it is asked about, class or not


@pytest.mark.parametrize("kind", ["relation", "photo", "color", "shape"])
def test_every_question_about_scenes_leads_to_its_objects(kind):
    for sample in shapes(12, kinds=(kind,)):
        boxes = GivenBoxes(sample.meta["boxes"])
        found = find_objects(sample.image, sample.question, boxes)
        assert {box.xyxy for box in found.boxes} == {item.box.xyxy for item in sample.objects}


# --- matching words to labels


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("cup", ("cup",)),
        ("The Cups", ("cup",)),
        ("mug", ("cup",)),
        ("red mug", ("cup",)),
        ("women", ("person",)),
        ("sofa", ("couch",)),
        ("armchair", ("chair", "couch")),
        ("table", ("dining table",)),
        ("television", ("tv",)),
        ("mobile phone", ("cell phone",)),
        ("motorbikes", ("motorcycle",)),
        ("bike", ("bicycle",)),
        ("buses", ("bus",)),
        ("knives", ("knife",)),
        ("ties", ("tie",)),
        ("park_bench", ("bench",)),
        ("dog", ("dog",)),
        ("hot dogs", ("hot dog",)),
        ("bear", ()),  # a teddy bear is no bear
        ("glass", ("wine glass",)),
        ("dragonfruit", ()),
        ("", ()),
    ],
)
def test_words_reach_the_labels_that_mean_them(word, labels):
    assert match_words([word], COCO_PART) == {word: labels}


def test_two_kinds_of_one_thing_do_not_stand_for_each_other():
    assert match_words(["man"], ["woman"]) == {"man": ()}
    assert match_words(["man", "person"], ["man", "woman"]) == {"man": ("man",), "person": ("man", "woman")}


def test_a_colour_that_differs_never_matches():
    assert match_words(["red circle"], ["blue circle", "red square"]) == {"red circle": ()}


def test_an_exact_label_comes_before_the_head_noun():
    assert match_words(["red circle"], ["circle", "red circle"]) == {"red circle": ("red circle",)}
    assert match_words(["red circle"], ["circle"]) == {"red circle": ("circle",)}
    assert match_words(["circle"], ["red circle", "blue circle", "red square"]) == {
        "circle": ("red circle", "blue circle")
    }


def test_object_stands_for_any_noun_but_keeps_its_colour():
    assert match_words(["red object"], ["red circle", "blue circle"]) == {"red object": ("red circle",)}
    assert match_words(["object"], ["red circle"]) == {"object": ()}


def test_every_scene_class_matches_itself_alone():
    assert match_words(NAMES, NAMES) == {name: (name,) for name in NAMES}


def test_the_synonym_table_is_written_in_the_singular():
    names = [name for table in (SAME, KINDS) for entry, others in table.items() for name in (entry, *others)]
    assert [name for name in names if singular(name) != name] == []


# --- what was found


def test_what_was_not_found_is_reported_with_its_reason():
    found = find_objects(PHOTO, ["mug", "cat", "scarf"], GivenBoxes.parse(["cup=1,2,30,40", "dog=0,0,9,9"]))
    assert found.missing == ("cat", "scarf") and found.unknown == ("cat", "scarf")
    assert found.describe() == (
        "by hand found mug (1 box, as 'cup'); not found: cat (it has no such class), scarf (it has no such class)."
    )
    assert not found.complete and found.boxes.labels == ["cup"] and found.of("mug").labels == ["cup"]


def test_a_known_class_that_is_not_in_the_picture_is_missing_but_not_unknown():
    found = Found((Match("cat", ("cat",), Boxes()),), detector="d")
    assert found.missing == ("cat",) and found.unknown == ()
    assert found.describe() == "d found nothing that was asked; not found: cat (looked for 'cat')."


def test_words_that_share_a_label_are_said_to_share_it():
    found = find_objects(PHOTO, ["man", "woman"], GivenBoxes.parse("person=0,0,5,5;person=10,0,20,5"))
    assert found.shared == ("person",) and len(found.boxes) == 2
    assert "several words share the class 'person'" in found.describe()


def test_a_question_without_objects_finds_nothing_and_says_so():
    found = find_objects(PHOTO, "What is happening here?", GivenBoxes.parse("cup=1,2,30,40"))
    assert not found.complete and len(found.boxes) == 0
    assert found.kind == "unread" and "No object could be read off the question" in found.describe()

    with pytest.raises(DetectorError, match="none of the boxes given is of red circle; they are of cup") as error:
        find_objects(PHOTO, where_in_photo("red circle"), GivenBoxes.parse("cup=1,2,30,40"))
    assert "\n" not in str(error.value)


def test_a_free_question_without_a_class_says_so_and_is_not_refused():
    found = find_objects(PHOTO, "What color is the shirt?", GivenBoxes.parse("cup=1,2,30,40"))
    assert found.kind == "none" and found.unknown == ("shirt",) and "it has no such class" in found.describe()


def test_an_open_vocabulary_detector_is_given_the_words():
    found = find_objects(PHOTO, where_in_relation("unicorn", "lamp post"), OpenDetector())
    assert isinstance(OpenDetector(), Detector)
    assert found.of("lamp post").labels == ["lamp post"] and found.missing == ("unicorn",)


def test_a_word_that_was_not_asked_is_refused():
    with pytest.raises(InputError, match="was not asked"):
        Found((), "d").of("cat")


# --- boxes by hand or by a data set


def test_boxes_by_hand_are_read_from_text():
    given = GivenBoxes.parse("red circle = 10,20,50.5,80 ;\n mug=0,0,5,5")
    assert given.boxes.xyxy.tolist() == [[10, 20, 50.5, 80], [0, 0, 5, 5]]
    assert given.labels == ("red circle", "mug") and isinstance(given, Detector)


@pytest.mark.parametrize(
    "text",
    ["", ";", "mug", "mug=", "=1,2,3,4", "mug=1,2,3", "mug=1,2,3,4,5", "mug=a,b,c,d", "mug=5,5,1,9", "mug=nan,0,9,9"],
)
def test_boxes_that_do_not_read_so_are_refused_in_one_line(text):
    with pytest.raises(InputError) as error:
        GivenBoxes.parse(text)
    assert "\n" not in str(error.value)


def test_boxes_are_cut_at_the_edge_and_refused_outside():
    assert GivenBoxes.parse("mug=-5,10,500,90").detect(PHOTO).xyxy.tolist() == [[0, 10, 100, 80]]
    with pytest.raises(InputError, match="outside the image of 100 x 80"):
        GivenBoxes.parse("mug=100,0,120,9").detect(PHOTO)


def test_a_sample_gives_its_boxes():
    boxed = Object("mug", Box("m", (1, 2, 3, 4)))
    sample = Sample("s", PHOTO, "?", ("left",), "left", objects=(boxed, Object("table")))
    assert GivenBoxes.from_sample(sample).detect(PHOTO).labels == ["mug"]
    with pytest.raises(InputError, match="'s' carries no boxes"):
        GivenBoxes.from_sample(Sample("s", PHOTO, "?", ("left",), "left"))


def test_yolo_label_files_become_pixels(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1 0.5 0.5 0.2 0.5\n\n0 0.95 0.5 0.2 0.1\n")
    boxes = read_yolo_labels(path, (100, 80), ["cat", "dog"])
    assert boxes.labels == ["dog", "cat"]
    np.testing.assert_allclose(boxes.xyxy, [[40, 20, 60, 60], [85, 36, 100, 44]])
    path.write_text("")
    assert len(read_yolo_labels(path, (100, 80), {0: "cat"})) == 0


@pytest.mark.parametrize("line", ["7 .5 .5 .1 .1", "cat .5 .5 .1 .1", "0 .5 .5 .1", "0 .5 .5 .1 2", "0 .5 .5 nan .1"])
def test_label_files_that_do_not_read_so_are_refused_by_line(tmp_path, line):
    path = tmp_path / "a.txt"
    path.write_text(f"0 .5 .5 .1 .1\n{line}\n")
    with pytest.raises(InputError, match="line 2"):
        read_yolo_labels(path, (100, 80), ["cat"])


def test_a_label_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match="can not be read"):
        read_yolo_labels(tmp_path / "none.txt", (1, 1), ["cat"])
