"""Visual Spatial Reasoning: statements and open questions from the published rows, with the names of the captions."""

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from PIL import Image

from interp.datasets import check_dataset, read_dataset
from interp.datasets.benchmarks.prompts import in_papers_words
from interp.datasets.benchmarks.vsr import objects_told
from interp.errors import InputError
from interp.families.llava import LLAVA
from interp.model.hooked_vlm import HookedVLM
from interp.study.prompter import prepare_samples, questions_of

ROW = {
    "image": "000000000009.jpg",
    "image_link": "http://images.cocodataset.org/val2017/000000000009.jpg",
    "caption": "The handbag is right of the cat.",
    "label": 1,
    "relation": "right of",
    "subj": "andbag",
    "obj": "cat",
}
FALSE = {**ROW, "caption": "The cat is under the bed.", "label": 0, "relation": "under", "subj": "cat", "obj": "bed"}


def put(folder, rows, image="val2017/000000000009.jpg"):
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if image:
        (folder / image).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(folder / image)
    return folder


def test_that_the_zero_shot_test_split_has_the_published_numbers(assets):
    samples = read_dataset("vsr", assets / "vsr", missing="keep")
    assert Counter(sample.answer for sample in samples) == {"yes": 629, "no": 593}
    assert len({sample.relation for sample in samples}) == 53
    assert [sample.meta["row"] for sample in samples] == list(range(1222))
    assert len({sample.group for sample in samples}) == 715
    assert sum("val2017" in sample.meta["image_link"] for sample in samples) == 42
    assert sum(sample.objects[0].name == "handbag" for sample in samples) >= 52


def test_that_captions_name_the_objects_where_the_fields_are_whole(assets):
    """The fields lost the start of words that begin with T, h or e; all others must agree with the parser."""
    compared = 0
    for part in ("train", "dev", "test"):
        for line in (assets / f"vsr/data/splits/zeroshot/{part}.jsonl").read_text().splitlines():
            row = json.loads(line)
            subject, item = objects_told(row["caption"], row["relation"])
            assert subject.endswith(row["subj"]) and set(subject.removesuffix(row["subj"])) <= set("The ")
            assert item == row["obj"]
            compared += 1
    assert compared == 3489 + 340 + 1222


def test_that_statements_load_with_photos(assets):
    samples = read_dataset("vsr", assets / "vsr" / "vsr_on_coco128.jsonl", images=assets / "coco128", missing="skip")
    assert len(samples) == 12 and all(Image.open(sample.image).size for sample in samples)
    first = samples[0]
    assert [item.name for item in first.objects] == ["cat", "car"] and first.relation == "under"
    assert first.options == ("yes", "no") and first.answer == "no" and first.meta["label"] == 0
    assert first.id == "vsr-00000" and first.group == "000000000650.jpg"
    assert first.question.endswith("Answer with yes or no: The cat is under the car.")
    # the file's own field leads to the photos as well
    assert read_dataset("vsr", assets / "vsr" / "vsr_on_coco128.jsonl") != []


def test_that_open_questions_are_the_true_rows_with_all_relations_as_options(assets):
    samples = read_dataset("vsr-open", assets / "vsr" / "vsr_on_coco128.jsonl", images=assets / "coco128")
    every = read_dataset("vsr", assets / "vsr" / "vsr_on_coco128.jsonl", images=assets / "coco128")
    assert [sample.meta["row"] for sample in samples] == [
        sample.meta["row"] for sample in every if sample.answer == "yes"
    ]
    assert {sample.options for sample in samples} == {tuple(sorted({sample.relation for sample in every}))}
    assert all(sample.answer == sample.relation and sample.answer in sample.options for sample in samples)
    assert samples[0].question == "Where is the person in relation to cake? Answer with one word or phrase."


PAPER = (
    "User: <image>\n Determine whether the description about the spatial relationship is correct or not. Answer with "
    "yes or no: {} Assistant:"
)
"""The template of the protocol, letter for letter."""


def test_that_the_papers_prompt_has_its_own_layout(tmp_path):
    (sample,) = read_dataset("vsr", put(tmp_path, [ROW]))
    assert sample.meta["paper_prompt"] == PAPER.format("The handbag is right of the cat.")
    assert sample.question in sample.meta["paper_prompt"]  # so that it is the same words under any other template
    assert "paper_prompt" not in read_dataset("vsr-open", tmp_path)[0].meta


def test_that_a_model_is_given_the_papers_prompt_letter_for_letter(tmp_path):
    samples = read_dataset("vsr", put(tmp_path, [ROW, FALSE]))
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)  # whose tokens are letters
    inputs = prepare_samples(vlm, samples, "paper")
    assert inputs.prompts == tuple(PAPER.format(row["caption"]) for row in (ROW, FALSE))
    tokenizer, image = vlm.processor.tokenizer, "<image>" * len(inputs.grids[0])
    for place, sample in enumerate(samples):
        ids = inputs.input_ids[place][inputs.attention_mask[place].bool()]
        assert ids.tolist() == tokenizer(inputs.prompts[place].replace("<image>", image)).input_ids
        kinds = inputs.layouts[place].kinds[-len(ids) :]
        asked = tokenizer.decode([token for token, kind in zip(ids, kinds, strict=True) if kind == "question"])
        assert asked.replace(" ", "") == sample.question.replace("Answer with yes or no:", "").replace(" ", "")
    assert all(in_papers_words("vsr", prompt) for prompt in inputs.prompts)
    assert not any(in_papers_words("vsr", prompt) for prompt in prepare_samples(vlm, samples, "chat").prompts)


def test_that_a_model_is_asked_all_1222_rows_in_the_papers_words(assets):
    """Written out here once more, and from the file itself: the statement is the only thing that changes."""
    lines = (assets / "vsr/data/splits/zeroshot/test.jsonl").read_text(encoding="utf-8").splitlines()
    samples = read_dataset("vsr", assets / "vsr", missing="keep")
    vlm = SimpleNamespace(family=LLAVA, processor=SimpleNamespace(image_token="<image>"))
    asked, style = questions_of(vlm, samples, "paper")
    assert style == "raw" and len(asked) == len(lines) == 1222
    for text, line in zip(asked, lines, strict=True):
        assert text == (
            "User: <image>\n Determine whether the description about the spatial relationship is correct or not. "
            f"Answer with yes or no: {json.loads(line)['caption']} Assistant:"
        )
        assert in_papers_words("vsr", text)


@pytest.mark.parametrize("image", ["val2017/{}", "train2017/{}", "images/val2017/{}", "{}", "images/{}"])
def test_that_photos_are_found_in_the_folders_of_coco_or_in_one(tmp_path, image):
    name = ROW["image"]
    (sample,) = read_dataset("vsr", put(tmp_path, [ROW], image.format(name)))
    assert sample.image == tmp_path / image.format(name)
    assert [item.name for item in sample.objects] == ["handbag", "cat"]


def test_that_the_folder_in_the_photos_address_comes_first(tmp_path):
    put(tmp_path, [ROW], "train2017/000000000009.jpg")
    put(tmp_path, [ROW], "val2017/000000000009.jpg")
    assert read_dataset("vsr", tmp_path)[0].image == tmp_path / "val2017/000000000009.jpg"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"caption": None}, "caption None, not str"),
        ({"label": 2}, "label 2, not 0 or 1"),
        ({"label": "1"}, "label '1', not int"),
        ({"relation": "left of"}, "does not state 'left of' of two objects"),
        ({"image": ""}, "image '', not str"),
    ],
)
def test_that_a_bad_row_is_named(tmp_path, change, says):
    folder = put(tmp_path, [ROW, {**ROW, **change}])
    for name in ("vsr", "vsr-open"):
        with pytest.raises(InputError, match=rf"row 1 of '.*test.jsonl' .*{says}"):
            read_dataset(name, folder)


def test_that_a_lost_field_and_a_broken_line_are_named(tmp_path):
    folder = put(tmp_path, [ROW, {key: value for key, value in ROW.items() if key != "label"}])
    with pytest.raises(InputError, match="row 1 .*and no label"):
        read_dataset("vsr", folder)
    (folder / "test.jsonl").write_text(json.dumps(ROW) + "\n{'image': 1}\n")
    with pytest.raises(InputError, match="line 2 of .*is no JSON"):
        read_dataset("vsr", folder)
    (folder / "test.jsonl").write_text("[1]\n")
    with pytest.raises(InputError, match="line 1 of .*not an object"):
        read_dataset("vsr", folder)


def test_that_skipped_photos_keep_row_numbers_and_the_options_of_the_whole_file(tmp_path):
    other = {**ROW, "image": "000000000025.jpg"}
    folder = put(tmp_path, [other, FALSE, ROW])
    with pytest.raises(InputError, match="1 of 3 samples of vsr has no image; the first is row 0"):
        read_dataset("vsr", folder)
    assert [sample.id for sample in read_dataset("vsr", folder, missing="skip")] == ["vsr-00001", "vsr-00002"]
    (sample,) = read_dataset("vsr-open", folder, missing="skip")
    assert sample.id == "vsr-open-00002" and sample.options == ("right of", "under")


def test_that_the_check_knows_the_published_file_and_counts_its_photos(assets, tmp_path):
    found = check_dataset("vsr", assets / "vsr")
    assert found.checksum == "as known" and found.rows == 1222 and found.images == len(found.missing) == 715
    assert not found.complete and found.labels == {"yes": 629, "no": 593}
    assert len(found.problems) == 1
    assert check_dataset("vsr-open", assets / "vsr").rows == 629
    assert check_dataset("vsr", put(tmp_path, [ROW])).checksum == "differs from the known one"
