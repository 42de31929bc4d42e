"""Benchmarks: rows of published files become samples, and what is wrong is said with its row and file."""

import subprocess
import sys
from collections import Counter

import pytest
from PIL import Image
from rows import controlled, put, said_as_caption

from adaptvis.paper.splits import OFFICIAL_SIZES
from interp.datasets import BENCHMARKS, check_dataset, read_dataset
from interp.datasets.benchmarks.prompts import read_prompts
from interp.datasets.benchmarks.whatsup import file_name, parse_caption
from interp.errors import InputError
from interp.prompt.templates import paper_prompt

BOTTLE = "data/controlled_images/beer-bottle_on_armchair.jpeg"
TWO = [
    controlled(BOTTLE, "A beer bottle on a armchair", "A beer bottle under a armchair"),
    controlled(
        "data/controlled_images/sunglasses_left_of_table.jpeg",
        "A sunglasses to the left of a table",
        "A sunglasses on a table",
    ),
]
COCO_TWO = [
    [724, "A photo of a dog to the left of a cat", "A photo of a dog to the right of a cat"],
    [724, "A photo of a cat above an oven", "A photo of a cat below an oven"],
    [9, "A photo of a TV below a dog", "A photo of a TV above a dog"],
]
COCO_FILES = ["val2017/000000000724.jpg", "val2017/000000000009.jpg"]


@pytest.mark.parametrize(
    ("name", "second", "relations"),
    [
        ("controlled-a", "table", ["on", "under", "left", "right"]),
        ("controlled-b", "plate", ["front", "behind", "left", "right"]),
    ],
)
def test_that_the_photos_of_the_figures_load_as_both_controlled_sets(assets, name, second, relations):
    samples = read_dataset(name, assets / "whatsup-figures")
    assert [sample.relation for sample in samples] == [sample.answer for sample in samples] == relations
    first_row = 0 if name == "controlled-a" else 4  # rows count in the file, which holds both sets
    assert [sample.meta["row"] for sample in samples] == list(range(first_row, first_row + 4))
    assert [sample.id for sample in samples] == [f"{name}-{first_row + place:05d}" for place in range(4)]
    for sample in samples:
        assert [item.name for item in sample.objects] == ["mug", second] and sample.group == f"mug|{second}"
        assert sample.question.startswith(f"Where is the mug in relation to the {second}?")
        assert sample.options == BENCHMARKS[name].options and sample.meta["dataset"] == name
        assert Image.open(sample.image).size[0] > 1000


@pytest.mark.parametrize(
    "layout", ["folder of the data", "folder above", "unpacked beside the file", "the file itself"]
)
def test_that_controlled_images_are_found_in_every_layout(tmp_path, layout):
    flat = ["controlled_images/beer-bottle_on_armchair.jpeg", "controlled_images/sunglasses_left_of_table.jpeg"]
    folder = put(tmp_path / ("data" if "folder" in layout else "moved"), TWO, "controlled_images_dataset.json", flat)
    given = {"folder above": tmp_path, "the file itself": folder / "controlled_images_dataset.json"}.get(layout, folder)
    bottle, glasses = read_dataset("controlled-a", given)
    assert bottle.image.samefile(folder / flat[0])
    assert [item.name for item in bottle.objects] == ["beer bottle", "armchair"]
    assert bottle.group == "beer bottle|armchair" and bottle.answer == "on"
    assert (
        glasses.question == "Where are the sunglasses in relation to the table? Answer with left, right, on or under."
    )


def test_that_a_first_caption_which_the_image_contradicts_is_refused(tmp_path):
    rows = [TWO[0], controlled(TWO[1]["image_path"], "A sunglasses on a table", "A sunglasses to the left of a table")]
    folder = put(tmp_path, rows, "controlled_images_dataset.json")
    with pytest.raises(
        InputError, match=r"row 1 of .*sunglasses_left_of_table.*\(left\).*'A sunglasses on a table'.*on"
    ):
        read_dataset("controlled-a", folder, missing="keep")


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("controlled-a", {"image": "x.jpg"}, "fields image where image_path and caption_options"),
        ("controlled-a", ["x.jpg", "A", "B"], "list of 3 where image_path"),
        ("controlled-a", {"image_path": "a_on_b.jpg", "caption_options": "A a on a b"}, "not a path and captions"),
        ("controlled-a", controlled("mug-on-table.jpeg", "A mug on a table", "x"), "not OBJECT_RELATION_OBJECT"),
        ("controlled-a", controlled("a_in-front_of_b.jpeg", "A a in front of a b", "x"), r"\(front\), no answer"),
        ("coco-two", [1, "A photo of a dog to the left of a cat"], "list of 2 where"),
        ("coco-two", {"id": 1}, "the fields id where"),
        ("coco-two", [1.5, "A photo of a dog above a cat", "x"], "not .image id"),
        ("coco-two", [1, "A photo of a dog above a cat", "A photo of a dog above a cat"], "same caption"),
        ("coco-two", [1, "A photo of a dog in front of a cat", "x"], "places no object in relation to another"),
        ("coco-two", [1, "A photo of a dog on the left", "x"], "places no object in relation to another"),
        ("coco-one", [1, "A photo of a dog to the left of a cat", "x"], "places no object in the photo"),
        ("coco-one", [1, "A photo of a dog in the front", "x"], "places no object in the photo"),
    ],
)
def test_that_a_row_which_can_not_be_used_is_named_with_its_file(tmp_path, name, row, says):
    good = TWO[0] if name == "controlled-a" else [1, "A photo of a dog on the top", "A photo of a dog on the bottom"]
    good = COCO_TWO[0] if name == "coco-two" else good
    (file,) = BENCHMARKS[name].annotations
    folder = put(tmp_path, [good, row], file)
    with pytest.raises(InputError, match=rf"row 1 of '.*{file}' .*{says}"):
        read_dataset(name, folder, missing="keep")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'[{"image_path": ', "is no JSON"),
        (b"{}", "holds dict"),
        (b"[]", "a list without rows"),
        (b"\xff\xfe", "as text"),
    ],
)
def test_that_a_file_which_is_no_list_of_rows_is_refused(tmp_path, content, says):
    (tmp_path / "coco_qa_one_obj.json").write_bytes(content)
    with pytest.raises(InputError, match=rf"coco_qa_one_obj.json.*{says}"):
        read_dataset("coco-one", tmp_path)


def test_that_another_benchmarks_file_is_never_taken(tmp_path):
    put(tmp_path, COCO_TWO, "coco_qa_two_obj.json")
    with pytest.raises(InputError, match="holds no vg_qa_two_obj.json"):
        read_dataset("vg-two", tmp_path, missing="keep")
    put(tmp_path / "own", COCO_TWO, "my_rows.json")
    assert len(read_dataset("vg-two", tmp_path / "own", missing="keep")) == 3


@pytest.mark.parametrize(
    ("name", "folder", "settings", "says"),
    [
        ("coco-three", ".", {}, "no data set 'coco-three': use one of controlled-a"),
        ("coco-two", None, {}, "read from files"),
        ("coco-two", "absent", {}, "no folder"),
        ("coco-two", ".", {"images": "absent"}, "no folder .*absent.* of images"),
        ("coco-two", ".", {"missing": "ignore"}, "use refuse, skip, keep"),
        ("coco-two", ".", {"n": 0}, "n=0"),
        ("shapes-a", ".", {}, "drawn on the spot"),
        ("shapes", None, {"n": 0}, "n=0"),
    ],
)
def test_that_arguments_which_mean_nothing_are_refused(tmp_path, name, folder, settings, says):
    put(tmp_path, COCO_TWO, "coco_qa_two_obj.json", COCO_FILES)
    if "images" in settings:
        settings = {"images": tmp_path / settings["images"]}
    with pytest.raises(InputError, match=says):
        read_dataset(name, None if folder is None else tmp_path / folder, **settings)


def test_that_coco_rows_become_questions_grouped_by_photo(tmp_path):
    folder = put(tmp_path, COCO_TWO, "coco_qa_two_obj.json", COCO_FILES)
    samples = read_dataset("coco-two", folder)
    assert [sample.group for sample in samples] == ["724", "724", "9"]
    assert [sample.answer for sample in samples] == ["left", "above", "below"]
    assert [[item.name for item in sample.objects] for sample in samples] == [
        ["dog", "cat"],
        ["cat", "oven"],
        ["TV", "dog"],
    ]
    assert [sample.image for sample in samples] == [folder / COCO_FILES[place] for place in (0, 0, 1)]
    assert samples[2].question == "Where is the TV in relation to the dog? Answer with left, right, above or below."
    assert samples[0].meta["captions"] == tuple(COCO_TWO[0][1:])


def test_that_visual_genome_rows_offer_six_options(tmp_path):
    one = [[2410753, "A photo of a purse on the right.", "A photo of a purse on the left."]]
    two = [[17, "A photo of black trees behind a fence", "A photo of black trees in front of a fence"]]
    folder = put(tmp_path, one, "vg_qa_one_obj.json", ["vg_images/2410753.jpg", "vg_images/17.jpg"])
    put(folder, two, "vg_qa_two_obj.json")
    (purse,), (trees,) = read_dataset("vg-one", folder), read_dataset("vg-two", folder)
    assert purse.image == folder / "vg_images/2410753.jpg"
    assert purse.question == ("Where is the purse in the photo? Answer with left, right, front, behind, top or bottom.")
    assert trees.question == (
        "Where are the black trees in relation to the fence? Answer with left, right, front, behind, above or below."
    )


def test_that_absent_images_are_refused_with_their_number_and_the_first(tmp_path):
    folder = put(tmp_path, COCO_TWO, "coco_qa_two_obj.json", COCO_FILES[1:])
    with pytest.raises(
        InputError, match=r"2 of 3 samples of coco-two have no image; the first is row 0 .*000000000724"
    ):
        read_dataset("coco-two", folder)
    with pytest.raises(InputError, match=r"1 of 1 sample of"):
        read_dataset("coco-two", folder, n=1)


def test_that_skipped_rows_keep_the_numbers_of_the_others(tmp_path):
    folder = put(tmp_path, COCO_TWO, "coco_qa_two_obj.json", COCO_FILES[1:])
    (only,) = read_dataset("coco-two", folder, missing="skip", n=1)
    assert only.meta["row"] == 2 and only.id == "coco-two-00002"
    kept = read_dataset("coco-two", folder, missing="keep", n=2)
    assert [(sample.meta["row"], sample.image) for sample in kept] == [(row, folder / COCO_FILES[0]) for row in (0, 1)]
    (folder / COCO_FILES[1]).unlink()
    with pytest.raises(InputError, match="3 of 3"):
        read_dataset("coco-two", folder, missing="skip")


def test_that_images_may_lie_in_a_folder_of_their_own(tmp_path):
    folder = put(tmp_path / "text", COCO_TWO, "coco_qa_two_obj.json")
    put(tmp_path / "coco", [], "unused.json", COCO_FILES)
    samples = read_dataset("coco-two", folder, images=tmp_path / "coco")
    assert samples[0].image == tmp_path / "coco" / COCO_FILES[0]


def test_that_every_released_question_is_found_again_from_a_caption_that_says_the_same(assets):
    """Names such as `bottle of orange juice` or `tennis racket` must survive the parser."""
    checked = 0
    for one in BENCHMARKS.values():
        if one.kind not in ("controlled", "captioned"):
            continue
        for prompt in read_prompts(assets / "adaptvis-prompts" / one.prompts):
            caption = said_as_caption(prompt.names, prompt.gold, photo_of=one.kind == "captioned")
            assert parse_caption(caption, one.options, n_objects=one.n_objects) == (prompt.names, prompt.gold), caption
            checked += 1
    assert checked == 412 + 408 + 2247 + 440 + 1160 + 291


def test_that_controlled_file_names_are_found_again(assets, tmp_path):
    for name in ("controlled-a", "controlled-b"):
        one = BENCHMARKS[name]
        prompts = read_prompts(assets / "adaptvis-prompts" / one.prompts)
        rows = [
            controlled(
                f"data/{one.images}/{file_name(prompt.names[0], prompt.gold, prompt.names[1])}.jpeg",
                said_as_caption(prompt.names, prompt.gold, photo_of=False),
                "A wrong one",
            )
            for prompt in prompts
        ]
        samples = read_dataset(name, put(tmp_path, rows, one.annotations[0]), missing="keep")
        assert [paper_prompt(sample.question) for sample in samples] == [
            prompt.text.replace(", or ", " or ") for prompt in prompts
        ]
        assert set(Counter(sample.group for sample in samples).values()) == {4}  # complete sets
        assert check_dataset(name, tmp_path).rows == one.n


def test_that_the_catalogue_agrees_with_itself_and_with_the_official_split():
    assert list(OFFICIAL_SIZES.values()) == [412, 408, 2247, 440, 1160, 291, 1222]
    for name, one in BENCHMARKS.items():
        assert one.name == name and one.licence and one.photos
        assert not one.labels or (sum(one.labels.values()) == one.n and set(one.labels) <= set(one.options))
        assert one.synthetic or (one.defects and one.hub and one.annotations)
        assert one.synthetic or one.sources or one.kind in ("scenes", "choices")


def test_that_synthetic_sets_need_no_folder():
    assert [sample.answer for sample in read_dataset("shapes-a", n=6)] == "left right on under left right".split()
    assert {sample.answer for sample in read_dataset("shapes-b", n=4)} == {"left", "right", "front", "behind"}
    shapes = read_dataset("shapes", n=3)
    assert [(sample.meta["dataset"], sample.meta["row"]) for sample in shapes] == [("shapes", row) for row in range(3)]


def test_that_reading_text_needs_no_heavy_library():
    heavy = ("torch", "transformers", "pandas", "pyarrow", "huggingface_hub", "matplotlib")
    code = f"import sys, interp.datasets; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_that_a_folder_in_place_of_a_name_is_refused_with_where_folders_are_read(tmp_path):
    with pytest.raises(
        InputError, match="is a folder, .*`python -m interp overlap` and the tools of `python -m probes`"
    ):
        read_dataset(str(tmp_path))
