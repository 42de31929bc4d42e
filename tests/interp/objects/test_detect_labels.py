"""Label files become boxes in pixels of their photos, and the ground truth answers for the right photo or refuses."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from interp.detect import (
    COCO_NAMES,
    Detector,
    GivenBoxes,
    GroundTruth,
    find_many,
    find_objects,
    load_detector,
    read_coco_boxes,
    read_yolo_folder,
    read_yolo_labels,
)
from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes
from interp.image.photos import load_image, upright_size
from interp.objects.sample import Object, Sample

CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 90, "name": "hot dog"}]
PHOTOS = [
    {"id": 7, "file_name": "a.jpg", "width": 100, "height": 80},
    {"id": 8, "file_name": "in/b.jpg", "width": 40, "height": 60},
]


def annotation(photo=7, category=3, bbox=(10, 20, 30, 40), **more):
    return {"id": 1, "image_id": photo, "category_id": category, "bbox": list(bbox), **more}


def instances(folder, *annotations, photos=PHOTOS, name="instances.json"):
    path = folder / name
    path.write_text(json.dumps({"images": photos, "annotations": list(annotations), "categories": CATEGORIES}))
    return path


def picture(path, size, *, seed=0, exif=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    options = {} if exif is None else {"exif": exif}
    image.save(path, **options)
    return path


# --- COCO's instances


def test_boxes_are_read_by_photo_as_corners_cut_at_its_edge(tmp_path):
    path = instances(tmp_path, annotation(), annotation(8, 90, (-5, 50, 20, 30.5)), annotation(8, 3, (1, 2, 3, 4)))
    boxes = read_coco_boxes(path)
    assert boxes["a.jpg"] == Boxes((Box("cat", (10, 20, 40, 60)),), source="data set")
    assert boxes["in/b.jpg"].labels == ["hot dog", "cat"]
    np.testing.assert_allclose(boxes["in/b.jpg"].xyxy, [[0, 50, 15, 60], [1, 2, 4, 6]])


def test_crowds_and_boxes_without_area_are_left_out_and_a_photo_without_objects_is_known(tmp_path):
    crowd, flat = annotation(iscrowd=1), annotation(bbox=(5, 5, 0, 9))
    boxes = read_coco_boxes(instances(tmp_path, crowd, flat, annotation(bbox=(1, 1, 2, 2), iscrowd=0)))
    assert len(boxes["a.jpg"]) == 1 and boxes["in/b.jpg"] == Boxes(source="data set")


@pytest.mark.parametrize(
    "wrong",
    [
        annotation(photo=9),
        annotation(category=4),
        annotation(bbox=(1, 2, 3)),
        annotation(bbox=(1, 2, "x", 4)),
        annotation(bbox=(200, 2, 10, 10)),
        annotation(bbox=(1, 2, -3, 4)),
        {"image_id": 7},
    ],
)
def test_annotations_that_do_not_belong_are_refused_in_one_line(tmp_path, wrong):
    with pytest.raises(InputError) as error:
        read_coco_boxes(instances(tmp_path, annotation(), wrong))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"image_id": 9}, "image_id 9, and no image has this id"),
        ({"category_id": 4}, "category_id 4, and no category has this id"),
        ({"bbox": None}, "bbox None"),
        ({"bbox": "5555"}, "bbox '5555'"),
        ({"bbox": ["5", 5, 5, 5]}, r"bbox \['5', 5, 5, 5\]"),
        ({"bbox": [200, 2, 10, 10]}, "outside|inside"),
    ],
)
def test_the_annotation_that_is_wrong_is_named_with_what_is_wrong(tmp_path, wrong, said):
    path = instances(tmp_path, annotation(), {**annotation(), "id": 55, **wrong})
    with pytest.raises(InputError, match=rf"^annotation 55 of .*({said})"):
        read_coco_boxes(path)


@pytest.mark.parametrize("name", ["", " ", 7, None])
def test_a_category_without_a_name_in_words_is_refused_by_its_id(tmp_path, monkeypatch, name):
    monkeypatch.setitem(CATEGORIES[1], "name", name)
    with pytest.raises(InputError, match="^category 90 of .* has the name"):
        read_coco_boxes(instances(tmp_path, annotation()))


def test_an_id_or_a_file_name_that_stands_twice_is_refused(tmp_path, monkeypatch):
    for key in ("id", "file_name"):
        photos = [PHOTOS[0], {**PHOTOS[1], key: PHOTOS[0][key]}]
        with pytest.raises(InputError, match=f"has the image {key} .* twice"):
            read_coco_boxes(instances(tmp_path, annotation(), photos=photos))
    monkeypatch.setitem(CATEGORIES[1], "id", CATEGORIES[0]["id"])
    with pytest.raises(InputError, match="category id 3 twice"):
        read_coco_boxes(instances(tmp_path, annotation()))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"images": 3, "annotations": [], "categories": []}', "no json"])
def test_files_of_another_form_are_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(InputError, match="COCO"):
        read_coco_boxes(path)
    with pytest.raises(InputError, match="can not be read"):
        read_coco_boxes(tmp_path / "absent.json")


def test_with_a_folder_only_photos_that_lie_there_are_read_and_their_size_is_checked(tmp_path):
    path = instances(tmp_path, annotation())
    with pytest.raises(InputError, match="none of the 2 photos"):
        read_coco_boxes(path, images=tmp_path)
    picture(tmp_path / "a.jpg", (100, 80))
    assert list(read_coco_boxes(path, images=tmp_path)) == ["a.jpg"]
    picture(tmp_path / "a.jpg", (80, 100))
    with pytest.raises(InputError, match="80 x 100 pixels upright and its boxes were drawn in 100 x 80"):
        read_coco_boxes(path, images=tmp_path)


def test_a_photo_that_exif_turns_counts_as_turned(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 6
    path = instances(tmp_path, annotation())
    picture(tmp_path / "a.jpg", (80, 100), exif=turned)
    assert list(read_coco_boxes(path, images=tmp_path)) == ["a.jpg"]


def test_the_class_names_are_those_of_the_checkpoint(assets):
    pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
    weights = assets / "yolo11n" / "yolo11n_dequant.pt"
    if not weights.is_file():
        pytest.skip(f"needs the YOLO11n weights, and {weights} is absent")
    assert load_detector(weights).labels == COCO_NAMES
    assert len(set(COCO_NAMES)) == 80


# --- folders of YOLO labels


def test_a_folder_of_labels_is_read_by_photo_with_those_that_have_none(tmp_path):
    picture(tmp_path / "images" / "a.png", (100, 80))
    picture(tmp_path / "images" / "deep" / "b.JPG", (40, 60))
    picture(tmp_path / "images" / "c.jpg", (10, 10))
    (tmp_path / "images" / "notes.txt").write_text("no photo")
    (tmp_path / "labels" / "deep").mkdir(parents=True)
    (tmp_path / "labels" / "a.txt").write_text("1 0.5 0.5 0.2 0.5\n")
    (tmp_path / "labels" / "deep" / "b.txt").write_text("0 0.5 0.5 1 1\n")
    boxes = read_yolo_folder(tmp_path / "images", tmp_path / "labels", ["cat", "dog"])
    assert sorted(boxes) == ["a.png", "c.jpg", "deep/b.JPG"]
    np.testing.assert_allclose(boxes["a.png"].xyxy, [[40, 20, 60, 60]])
    assert boxes["deep/b.JPG"] == Boxes((Box("cat", (0, 0, 40, 60)),), source="data set")
    assert len(boxes["c.jpg"]) == 0


def test_fractions_are_of_the_upright_photo(tmp_path):
    turned = Image.Exif()
    turned[0x0112] = 8
    picture(tmp_path / "a.jpg", (100, 40), exif=turned)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1\n")
    assert read_yolo_folder(tmp_path, tmp_path)["a.jpg"].xyxy.tolist() == [[0, 0, 40, 100]]


def test_folders_that_do_not_belong_together_are_refused(tmp_path):
    picture(tmp_path / "images" / "a.png", (10, 10))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "z.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.raises(InputError, match="none of the 1 photos"):
        read_yolo_folder(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(InputError, match="none of the 0 photos"):
        read_yolo_folder(tmp_path / "absent", tmp_path / "labels")
    (tmp_path / "images" / "z.png").write_text("no picture")
    with pytest.raises(InputError, match="is no image"):
        read_yolo_folder(tmp_path / "images", tmp_path / "labels")


def test_a_real_folder_reads_as_its_files_do(assets):
    with pytest.warns(UserWarning, match="2 label files"):  # whose photos the set does not hold
        boxes = read_yolo_folder(assets / "coco128" / "images", assets / "coco128" / "labels")
    assert len(boxes) == 128
    size = Image.open(assets / "coco128" / "images" / "000000000009.jpg").size
    one = read_yolo_labels(assets / "coco128" / "labels" / "000000000009.txt", size, COCO_NAMES)
    assert boxes["000000000009.jpg"] == one and len(one) > 3


@pytest.mark.parametrize("flat", ["0 0.5 0.5 0 0.4", "0 0.5 0.5 0.4 0", "0 0 0 0 0", "0 0.5 0.5 1e-20 0.5"])
def test_boxes_without_area_are_left_out_of_both_formats(tmp_path, flat):
    (tmp_path / "a.txt").write_text(f"{flat}\n1 0.5 0.5 0.2 0.5\n")
    assert read_yolo_labels(tmp_path / "a.txt", (100, 80), ["cat", "dog"]).labels == ["dog"]
    x, y, width, height = (float(number) for number in flat.split()[1:])
    path = instances(tmp_path, annotation(bbox=(100 * x, 80 * y, 100 * width, 80 * height)), annotation(category=90))
    assert read_coco_boxes(path)["a.jpg"].labels == ["hot dog"]


@pytest.mark.parametrize("line", ["7 0.5 0.5 0.1 0.1", "0 1 1 0.1", "0 nan 0.5 0.1 0.1", "0 0.5 0.5 2 0.1", "dog"])
def test_a_line_that_is_no_box_is_refused_with_file_and_line(tmp_path, line):
    (tmp_path / "a.txt").write_text(f"0 0.5 0.5 0.1 0.1\n\n{line}\n")
    with pytest.raises(InputError, match=r"a\.txt, line 3: "):
        read_yolo_labels(tmp_path / "a.txt", (100, 80), ["cat"])


@pytest.mark.parametrize("bbox", [(float("inf"), 2, 3, 4), (float("nan"), 2, 0, 4), (1, 2, 3, float("inf"))])
def test_numbers_that_are_none_are_no_boxes_without_area(tmp_path, bbox):
    with pytest.raises(InputError, match=r"a\.jpg: box of 'cat'"):
        read_coco_boxes(instances(tmp_path, annotation(bbox=bbox)))


def test_label_files_of_no_photo_are_told_and_refused_where_a_photo_misses_one_of_that_name(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for path in (images / "a.png", images / "b.png"):
        picture(path, (10, 10))
    (labels / "deep").mkdir(parents=True)
    (labels / "a.txt").write_text("0 0.5 0.5 1 1\n")
    (labels / "classes.txt").write_text("cat\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(boxes) for boxes in read_yolo_folder(images, labels).values()] == [1, 0]
    (labels / "other.txt").write_text("0 0.5 0.5 1 1\n")
    with pytest.warns(UserWarning, match=r"1 label files .* were not read, .*'other\.txt'"):
        assert [len(boxes) for boxes in read_yolo_folder(images, labels).values()] == [1, 0]
    for name in ("B.txt", "deep/b.txt"):
        (labels / name).write_text("0 0.5 0.5 1 1\n")
        with pytest.raises(InputError, match=rf"{name}' belongs to no photo, and the photo 'b\.png' has none"):
            read_yolo_folder(images, labels)
        (labels / name).unlink()


# --- sizes without decoding


@pytest.mark.parametrize("orientation", [None, 0, *range(1, 10)])
@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp", "gif", "bmp"])
def test_the_upright_size_is_that_of_the_photo_as_it_is_loaded(tmp_path, ending, orientation):
    exif = Image.Exif()
    exif[0x0112] = 1 if orientation is None else orientation
    path = picture(tmp_path / f"a.{ending}", (30, 20), exif=None if orientation is None else exif)
    sizes = {upright_size(path), upright_size(str(path)), upright_size(Image.open(path)), load_image(path).size}
    assert len(sizes) == 1
    with Image.open(path) as image:
        image.load()
        assert {upright_size(image), load_image(image).size} == sizes
    if ending in ("jpg", "png", "tif", "webp"):
        assert sizes == {(20, 30) if orientation in (5, 6, 7, 8) else (30, 20)}


def test_what_is_no_photo_has_no_size(tmp_path):
    (tmp_path / "a.png").write_text("no picture")
    huge = Image.new("1", (30_000, 6_000))
    for source in (
        tmp_path / "a.png",
        tmp_path / "absent.jpg",
        tmp_path,
        huge,
        3,
        np.zeros((2, 2, 7)),
        np.zeros((0, 5)),
    ):
        with pytest.raises(InputError) as mine:
            upright_size(source)
        with pytest.raises(InputError) as loading:
            load_image(source)
        assert str(mine.value) == str(loading.value)
    assert upright_size(np.zeros((20, 30, 3), np.uint8)) == (30, 20)


def test_a_size_is_read_without_decoding(tmp_path):
    whole = picture(tmp_path / "a.jpg", (300, 200)).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    assert upright_size(tmp_path / "cut.jpg") == (300, 200)
    with pytest.raises(InputError, match="cut off"):
        load_image(tmp_path / "cut.jpg")


# --- the ground truth as a detector


def sample(image, *objects, id="s"):
    return Sample(id, image, "Where is it?", ("left",), "left", objects=objects)


MUG, TABLE = Object("mug", Box("cup", (1, 2, 30, 40))), Object("table")


def test_samples_that_carry_boxes_answer_with_them_under_the_objects_names():
    own = GroundTruth().for_sample(sample(Image.new("RGB", (100, 80)), MUG, TABLE))
    assert isinstance(GroundTruth(), Detector) and own.labels == ("mug", "table")
    found = find_objects(Image.new("RGB", (100, 80)), ["mug", "table"], own)
    assert found.of("mug").xyxy.tolist() == [[1, 2, 30, 40]]
    assert found.missing == ("table",) and found.unknown == ()  # it was looked for


def test_an_object_without_a_box_does_not_borrow_that_of_its_kind():
    boxed = Object("man", Box("man", (0, 0, 5, 5)))
    (found,) = find_many([sample(Image.new("RGB", (9, 9)), boxed, Object("person"))], GroundTruth(), progress=False)
    assert found.missing == ("person",)


def test_label_files_answer_for_the_photo_that_a_sample_is_about(tmp_path):
    boxes = {
        "a.png": Boxes((Box("cup", (1, 2, 3, 4)),)),
        "in/a.png": Boxes((Box("dog", (0, 0, 9, 9)),)),
        "empty.png": Boxes(),
    }
    truth = GroundTruth(boxes)
    assert truth.labels == ("cup", "dog")
    assert truth.for_sample(sample(tmp_path / "a.png")).boxes.labels == ["cup"]
    assert truth.for_sample(sample(tmp_path / "in" / "a.png")).boxes.labels == ["dog"]
    nothing = truth.for_sample(sample(tmp_path / "empty.png"))
    assert len(nothing.boxes) == 0 and nothing.labels == ("cup", "dog")
    for image in (tmp_path / "b.png", Image.new("RGB", (9, 9))):
        with pytest.raises(InputError):
            truth.for_sample(sample(image))


def test_a_photo_of_the_same_name_from_another_folder_is_not_taken_for_it(tmp_path):
    truth = GroundTruth({"val/a.png": Boxes((Box("cup", (1, 2, 3, 4)),))})
    with pytest.raises(InputError, match="ends with"):
        truth.for_sample(sample(tmp_path / "train" / "a.png"))


def test_a_photo_is_looked_up_by_its_pixels(tmp_path):
    for seed, name in enumerate("abc"):
        picture(tmp_path / f"{name}.png", (20, 10), seed=seed)
    boxes = {f"{name}.png": Boxes((Box(name, (1, 2, 3, 4)),)) for name in "abc"}
    truth = GroundTruth(boxes, images=tmp_path)
    assert truth.detect(Image.open(tmp_path / "b.png")).labels == ["b"]
    assert truth.detect(Image.open(tmp_path / "b.png"), ["c"]).labels == []
    with pytest.raises(DetectorError, match="none of 3"):
        truth.detect(Image.new("RGB", (20, 10)))
    with pytest.raises(DetectorError, match="for_sample"):
        GroundTruth(boxes).detect(Image.open(tmp_path / "b.png"))


def test_truth_that_is_no_truth_is_refused():
    for wrong in (dict(boxes={}), dict(images="x"), dict(labels=["cup"])):
        with pytest.raises(InputError):
            GroundTruth(**wrong)
    with pytest.raises(InputError, match="none of 2 samples carries boxes"):
        find_many([sample(Image.new("RGB", (9, 9)), TABLE)] * 2, GroundTruth(), progress=False)


def test_given_boxes_know_what_was_looked_for():
    nothing = GivenBoxes([], labels=["cup"])
    assert nothing.labels == ("cup",) and len(nothing.detect(Image.new("RGB", (9, 9)), ["mug"])) == 0
    with pytest.raises(InputError, match="none of the labels"):
        GivenBoxes([Box("dog", (0, 0, 1, 1))], labels=["cup"])


def test_the_truth_about_scenes_is_where_their_shapes_are():
    from interp.datasets.synthetic.shapes import shapes

    samples = shapes(6, kinds=("relation",))
    found = find_many(samples, load_detector("ground-truth"), progress=False)
    for one, its in zip(samples, found, strict=True):
        assert its.complete and [box.xyxy for box in its.boxes] == [item.box.xyxy for item in one.objects]
    with pytest.raises(InputError, match="no confidence"):
        load_detector("ground-truth", confidence=0.5)
