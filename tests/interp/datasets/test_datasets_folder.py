"""A folder of one's own photos is read as it was meant, and what can not be meant is refused with its row named."""

import json

import numpy as np
import pytest
from PIL import Image

from interp.datasets import questions_from_boxes, read_folder
from interp.datasets.own.questions import place_of, relation_of
from interp.errors import InputError
from interp.image.boxes import Box, Boxes

QUESTION = "Where is the mug in relation to the table? Answer with left, right, on or under."


def photo(path, size=(200, 100)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((size[1], size[0], 3), np.uint8)).save(path)
    return path


def table(folder, text, name="questions.csv", encoding="utf-8"):
    (folder / name).write_text(text, encoding=encoding)
    return folder


@pytest.fixture
def folder(tmp_path):
    photo(tmp_path / "images" / "a.jpg")
    photo(tmp_path / "b.png", (50, 80))
    return tmp_path


def test_that_a_plain_table_needs_three_columns_only(folder):
    table(folder, f'image,question,answer\na.jpg,"{QUESTION}",On\nb.png,Where is the dog?,outside\n')
    first, second = read_folder(folder)
    assert first.image == folder / "images" / "a.jpg" and second.image == folder / "b.png"
    assert first.question == QUESTION and first.answer == "On" and first.options == () and first.relation == "On"
    assert [item.name for item in first.objects] == ["mug", "table"] and first.objects[0].box is None
    assert [item.name for item in second.objects] == ["dog"]
    assert first.id == f"{folder.name}-0001" and first.group == "a.jpg" and first.meta["row"] == 1
    assert [sample.id for sample in read_folder(folder, n=1)] == [first.id]


def test_that_every_column_is_read_and_others_are_kept(folder):
    text = (
        "id,image,question,answer,options,objects,boxes,relation,group,photographer\n"
        f'one,a.jpg,"{QUESTION}",ON,left|right|on|under,mug|table,'
        '"mug=10,20,50,80; table=-5,60,190,120; table=0,0,5,5",support,kitchen,me\n'
    )
    (sample,) = read_folder(table(folder, text))
    assert (sample.id, sample.relation, sample.group, sample.meta["photographer"]) == (
        "one",
        "support",
        "kitchen",
        "me",
    )
    assert sample.options == ("left", "right", "on", "under") and sample.answer == "on"
    assert [(item.name, item.box.xyxy) for item in sample.objects] == [
        ("mug", (10, 20, 50, 80)),
        ("table", (0, 60, 190, 100)),  # cut at the edge of the photo of 200 x 100 pixels
        ("table", (0, 0, 5, 5)),
    ]


@pytest.mark.parametrize("comma, encoding", [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-8")])
def test_that_a_table_may_come_from_any_spreadsheet(folder, comma, encoding):
    cells = [["Image ", "Question", "answer"], ["a.jpg", '"Where is the ""old"" mug?\nLook!"', "left"]]
    (sample,) = read_folder(table(folder, "\n".join(comma.join(row) for row in cells), "any.csv", encoding))
    assert sample.question == 'Where is the "old" mug?\nLook!'


def test_that_yolo_labels_give_every_box_of_the_classes_that_mean_a_name(folder):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("1 0.5 0.5 0.5 0.5\n0 0.25 0.5 0.1 0.2\n1 0.1 0.1 0.1 0.1\n")
    (folder / "classes.txt").write_text("cup\nsofa\n")
    table(folder, 'image,question,answer\na.jpg,"Where is the cup in relation to the couch?",left\n')
    (sample,) = read_folder(folder)
    found = [(item.name, tuple(np.round(item.box.xyxy, 6))) for item in sample.objects]
    assert found == [("cup", (40, 40, 60, 60)), ("couch", (50, 25, 150, 75)), ("couch", (10, 5, 30, 15))]


def test_that_a_coco_file_gives_boxes_and_an_unmarked_object_has_none(folder):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [10, 20, 30, 40]}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
    table(folder, 'image,question,answer\na.jpg,"Where is the dog in relation to the cat?",left\n')
    dog, cat = read_folder(folder)[0].objects
    assert dog.box is None and cat.box.xyxy == (10, 20, 40, 60)


def labelled(folder, classes="dog\ncat\nfox\n", line="2 0.5 0.5 0.5 0.5", **more):
    """A folder of photos of 200 x 100 pixels, of which images/a.jpg has a label file."""
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text(line)
    (folder / "classes.txt").write_text(classes, **more)
    return folder


def test_that_the_place_of_a_line_is_the_number_of_its_class_and_an_empty_line_is_no_class(folder):
    table(labelled(folder), "image,question,answer\na.jpg,Where is the fox?,left\n")
    assert [item.box.label for item in read_folder(folder)[0].objects] == ["fox"]
    for classes, line in (
        ("dog\n\ncat\nfox\n", "line 2 .*class 1"),
        ("\ndog\ncat\nfox", "line 1 .*class 0"),
        ("", "line 1"),
    ):
        (folder / "classes.txt").write_text(classes)
        with pytest.raises(InputError, match=f"{line}.* has no name"):
            read_folder(folder)
    (folder / "classes.txt").write_text("dog\ncat\nfox\n\n \n")  # lines behind the last class
    assert [item.box.label for item in read_folder(folder)[0].objects] == ["fox"]


def test_that_class_names_of_another_encoding_are_refused_by_their_file(folder):
    labelled(folder, classes="Füchse", encoding="latin-1")
    with pytest.raises(InputError, match=r"classes\.txt.*UTF-8"):
        read_folder(folder)
    (folder / "classes.txt").write_text("dog\ncat\nFüchse", encoding="utf-8-sig")
    (sample,) = read_folder(table(folder, "image,question,answer\na.jpg,Where are the Füchse?,left\n"))
    assert [item.box.label for item in sample.objects] == ["Füchse"]


@pytest.mark.parametrize(
    "name", ["a.jpg", "./a.jpg", "images/a.jpg", "sub/../images/a.jpg", "{0}/images/a.jpg", "../{0.name}/images/a.jpg"]
)
def test_that_a_photo_has_its_boxes_by_whichever_path_it_is_named(folder, name):
    (folder / "sub").mkdir()
    row = f"{name.format(folder)},Where is the fox?,left\n"
    first, second = read_folder(table(labelled(folder), f"image,question,answer\na.jpg,Where is the fox?,left\n{row}"))
    assert second.objects == first.objects and second.objects[0].box is not None
    assert second.group == first.group == "a.jpg"


def test_that_a_photo_without_an_entry_among_the_boxes_is_refused_unless_its_row_has_boxes(folder):
    labelled(folder)
    (folder / "labels" / "b.txt").write_text("0 0.5 0.5 0.5 0.5")  # but b.png lies beside images/
    for name in ("b.png", f"{folder}/b.png"):
        table(folder, f"image,question,answer\na.jpg,Where is the fox?,left\n{name},Where is the dog?,left\n")
        with (
            pytest.warns(UserWarning, match=r"1 label files"),
            pytest.raises(InputError, match=r"row 2 .*b\.png', which has no entry in .*labels'"),
        ):
            read_folder(folder)
    (folder / "labels" / "b.txt").unlink()
    table(folder, 'image,question,answer,boxes\nb.png,Where is the dog?,left,"dog=0,0,9,9"\n')
    assert read_folder(folder)[0].objects[0].box.xyxy == (0, 0, 9, 9)
    assert read_folder(folder)[0].group == "../b.png"  # another photo than images/b.png


def test_that_a_photo_that_a_coco_file_does_not_name_is_refused(folder):
    photo(folder / "images" / "c.jpg")
    content = {"images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}], "categories": []}
    (folder / "boxes.json").write_text(json.dumps({**content, "annotations": []}))
    table(folder, "image,question,answer\na.jpg,Where is the fox?,left\nc.jpg,Where is the dog?,left\n")
    with pytest.raises(InputError, match=r"row 2 .*c\.jpg'.* no entry in .*boxes\.json'"):
        read_folder(folder)
    assert read_folder(folder, n=1)[0].objects[0].box is None


def test_that_a_json_file_without_annotations_is_not_read_and_named(folder):
    (folder / "settings.json").write_text('{"theme": "dark"}')
    table(folder, "image,question,answer\na.jpg,Where is the fox?,left\n")
    with pytest.warns(UserWarning, match=r"settings\.json' was not read, as it holds no annotations"):
        assert len(read_folder(folder)) == 1
    labelled(folder)
    with pytest.warns(UserWarning, match=r"settings\.json"):
        assert read_folder(folder)[0].objects[0].box.label == "fox"
    (folder / "broken.json").write_text('{"annotations": [')
    (folder / "labels").rename(folder / "old")
    with pytest.warns(UserWarning), pytest.raises(InputError, match=r"broken\.json' can not be read as JSON"):
        read_folder(folder)


@pytest.mark.parametrize("sign", ["\x85", "\u2028", "\x0c", "\x1e"])
def test_that_only_a_line_feed_ends_a_row(folder, sign):
    (sample,) = read_folder(table(folder, f"image,question,answer\na.jpg,Where is{sign}it?,left\n"))
    assert sample.question == f"Where is{sign}it?"


@pytest.mark.parametrize(
    "text, said",
    [
        ('image,question,answer\na.jpg,Where?,"left\nb.png,Where?,left\n', "line 3 .*can not be read as CSV"),
        ('image,question,answer\na.jpg,"Where is "it"?",left\n', "line 2 .*can not be read as CSV"),
        ("image,question\na.jpg,Where?\n", "lacks answer"),
        ("image,question,answer,answer\n", "twice"),
        ("image,question,answer,object\na.jpg,Where?,left,mug\n", "'object', which is not read: call it 'objects'"),
        ("image,question,answer\n", "holds no row"),
        ("", "has the columns none"),
        ("image,question,answer\na.jpg,Where?,left\nc.jpg,Where?,left\n", r"row 2 \(line 3\) .* the photo 'c.jpg'"),
        ("image,question,answer\na.jpg,Where?,\n", r"row 1 \(line 2\) .*has no answer"),
        ("image,question,answer\na.jpg,Where? Left, or right?,left\n", "4 cells for 3 columns.*double quotes"),
        ("image,question,answer,options\na.jpg,Where?,on,left|right\n", "answer 'on', which is not one of left, right"),
        ("image,question,answer,id\na.jpg,Where?,on,x\n\nb.png,Who?,on,x\n", "row 2 .* has the id 'x', as row 1 has"),
        (
            "image,question,answer,boxes\na.jpg,Where is it?,on,mug\n",
            "row 1 .* boxes that can not be used: 'mug' is no",
        ),
        ('image,question,answer,boxes\na.jpg,Where?,on,"mug=300,0,400,9"\n', "row 1 .*lies outside the image of 200 x"),
        (
            'image,question,answer,objects,boxes\na.jpg,Where?,on,mug,"mugg=0,0,9,9"\n',
            "a box of 'mugg', which is none of its objects mug: .* cell objects",
        ),
        ('image,question,answer,objects\na.jpg,Where?,on,"mug, table"\n', r"row 1 .*put \| between them"),
        ("image,question,answer,objects\na.jpg,Where?,on,杯子、桌子\n", r"row 1 .*put \| between them"),
    ],
)
def test_that_a_row_that_can_not_be_meant_is_refused_by_its_number(folder, text, said):
    with pytest.raises(InputError, match=said):
        read_folder(table(folder, text))


def test_that_a_folder_with_nothing_to_ask_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="holds no questions.csv, and no boxes"):
        read_folder(folder)
    with pytest.raises(InputError, match="there is no folder"):
        read_folder(tmp_path / "absent")
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    with pytest.raises(InputError, match=r"no classes\.txt"):
        read_folder(folder)
    (folder / "labels" / "classes.txt").write_text("cup")
    with pytest.raises(InputError, match="no question can be made"):
        read_folder(folder)
    table(folder, "image,question,answer\na.jpg,Where?,left\n")
    with pytest.raises(InputError, match="n=0"):
        read_folder(folder, n=0)
    table(folder, "x", "other.csv")
    (folder / "questions.csv").rename(folder / "third.csv")
    with pytest.raises(InputError, match="several CSV files"):
        read_folder(folder)
    (folder / "coco.json").write_text('{"annotations": []}')
    with pytest.raises(InputError, match=r"coco\.json and labels/"):
        read_folder(folder)


def box(label, x, y, side=10.0):
    return Box(label, (x - side / 2, y - side / 2, x + side / 2, y + side / 2))


@pytest.mark.parametrize(
    "place, answer",
    [
        ((20, 50), "left"),
        ((80, 50), "right"),
        ((50, 20), "above"),
        ((50, 80), "below"),
        ((30, 64), None),  # 20 across, 14 down: the larger is not 1.5 times the smaller
        ((30, 63), "left"),
        ((41, 50), None),  # the boxes overlap across
        ((40, 50), "left"),  # they touch
        ((50, 50), None),
    ],
)
def test_that_a_relation_is_told_only_where_it_is_clear(place, answer):
    assert relation_of(box("mug", *place), box("table", 50, 50)) == answer


def test_that_the_relation_of_two_boxes_turns_round_with_them():
    turned = {"left": "right", "right": "left", "above": "below", "below": "above", None: None}
    rng = np.random.default_rng(0)
    said = []
    for _ in range(200):
        first, second = (box(name, *rng.uniform(10, 90, 2), side=rng.uniform(4, 40)) for name in "ab")
        said.append(relation_of(first, second))
        assert relation_of(second, first) == turned[said[-1]]
    assert set(said) == set(turned)


def test_that_questions_are_made_of_the_clearest_pair_of_single_boxes(tmp_path):
    many = Boxes((box("dog", 20, 50), box("ant", 80, 50, 4), box("cat", 70, 50), box("fox", 5, 5), box("fox", 9, 90)))
    unclear = Boxes((box("dog", 100, 50), box("cat", 102, 50)))
    photos = {tmp_path / "a.jpg": many, photo(tmp_path / "b.jpg"): unclear, tmp_path / "c.jpg": Boxes()}
    (sample,) = questions_from_boxes(photos, name="mine")
    assert sample.question == "Where is the cat in relation to the dog? Answer with left, right, above or below."
    assert (sample.id, sample.answer, sample.relation, sample.group) == ("mine-a.jpg", "right", "right", "a.jpg")
    assert [item.box.label for item in sample.objects] == ["cat", "dog"]


def test_that_a_photo_without_a_clear_pair_is_asked_about_its_largest_object_off_the_centre(tmp_path):
    where = photo(tmp_path / "a.png", (200, 100))

    def asked(*boxes):
        made = questions_from_boxes({where: Boxes(boxes)}, name="mine")
        return [(sample.question.split("?")[0], sample.answer, sample.relation) for sample in made]

    small, large = box("ant", 160, 50, 4), box("dog", 98, 80, 12)
    assert asked(small) == [("Where is the ant in the photo", "right", "right")]
    assert asked(box("ant", 30, 45)) == [("Where is the ant in the photo", "left", "left")]
    assert asked(box("ant", 110, 20)) == [("Where is the ant in the photo", "top", "top")]
    assert asked(box("ant", 115, 55)) == []  # near the centre
    assert asked(box("ant", 160, 80)) == []  # as far to the right as down, in sides of the photo
    assert asked(large, box("fly", 98, 79, 2)) == [("Where is the dog in the photo", "bottom", "bottom")]


def test_that_photos_of_one_name_are_told_apart_by_their_folder_and_ending(tmp_path):
    pair = Boxes((box("dog", 20, 50), box("cat", 70, 50)))
    names = ["x/a.jpg", "y/a.jpg", "y/a.png", "a.jpg", "y/a.png.jpg"]
    samples = questions_from_boxes({tmp_path / name: pair for name in names})
    assert [sample.id for sample in samples] == [f"photos-{name}" for name in names]
    assert [sample.group for sample in samples] == names
    alone = questions_from_boxes({tmp_path / "x" / "a.jpg": pair})
    assert [sample.group for sample in alone] == ["a.jpg"]
    named = questions_from_boxes({tmp_path / "x" / "a.jpg": pair}, folder=tmp_path)
    assert [sample.id for sample in named] == ["photos-x/a.jpg"]
    with pytest.raises(InputError, match="are one photo"):
        questions_from_boxes({tmp_path / "a.jpg": pair, tmp_path / "x" / ".." / "a.jpg": pair})


def test_that_a_nested_folder_of_labels_is_read_with_ids_of_their_own(tmp_path):
    for name in ("x/a", "y/a"):
        photo(tmp_path / "images" / f"{name}.jpg")
        (tmp_path / "labels" / name).parent.mkdir(parents=True)
        (tmp_path / "labels" / f"{name}.txt").write_text("0 0.1 0.5 0.1 0.1")
    (tmp_path / "classes.txt").write_text("dog")
    samples = read_folder(tmp_path)
    assert [sample.id for sample in samples] == [f"{tmp_path.name}-{name}/a.jpg" for name in "xy"]
    assert [(sample.group, sample.answer) for sample in samples] == [("x/a.jpg", "left"), ("y/a.jpg", "left")]


@pytest.mark.filterwarnings("ignore:2 label files")
def test_that_coco128_with_its_labels_can_be_asked_about(tmp_path, assets):
    for name in ("images", "labels"):
        (tmp_path / name).symlink_to(assets / "coco128" / name)
    (tmp_path / "classes.txt").write_text("coco80\n")
    samples = read_folder(tmp_path)
    assert len({sample.group for sample in samples}) == len(samples)
    boxes = [[item.box for item in sample.objects] for sample in samples]
    assert {len(of) for of in boxes} == {1, 2}
    for sample, of in zip(samples, boxes, strict=True):
        found = relation_of(*of) if len(of) == 2 else place_of(*of, Image.open(sample.image).size)
        assert found == sample.answer in sample.options


def test_cocos_classes_need_not_be_written_out(tmp_path):
    from interp.detect import COCO_NAMES

    photo(tmp_path / "images" / "a.jpg")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("0 0.1 0.5 0.1 0.1\n79 0.8 0.5 0.1 0.1")
    found = []
    for text in ("coco80\n", "\n".join(COCO_NAMES)):
        (tmp_path / "classes.txt").write_text(text)
        found.append(read_folder(tmp_path))
    assert found[0] == found[1] and {item.name for item in found[0][0].objects} == {"person", "toothbrush"}
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(InputError, match="or 'coco80' for the 80 of COCO"):
        read_folder(tmp_path)


def test_boxes_of_other_names_than_a_free_question_are_what_it_is_about(folder):
    row = 'a.jpg,What color is the shirt?,red,"garment=1,1,9,9"'
    table(folder, f"image,question,answer,boxes\n{row}\n")
    assert [item.name for item in read_folder(folder)[0].objects] == ["garment"]


def test_a_cell_that_is_too_long_is_refused_with_the_limit(folder):
    table(folder, f"image,question,answer\na.jpg,{'where ' * 60_000},left\n")
    with pytest.raises(InputError, match="a cell may hold 131072 characters"):
        read_folder(folder)
