"""Head sets are evaluated on benchmarks as they are read: statements, options, open questions, and scenes in 2D."""

import json
from dataclasses import replace

import pytest
from PIL import Image
from rows import controlled, put
from tiny import photo

from interp.datasets import read_dataset
from interp.errors import InputError
from interp.model.hooked_vlm import HookedVLM
from probes import evaluate_heads
from probes.heads.evaluation.report import evaluation_findings

QUIET = {"progress": False, "draws": 20, "max_new_tokens": 2, "controls": ("random",)}
HEADS = ((1, 0), (2, 3))


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("tiny-llava", self_check=False)


def vsr(folder, name="vsr"):
    """Four statements about photos of two shapes."""
    rows = [
        {"image": f"{place}.jpg", "image_link": f"http://images.cocodataset.org/train2017/{place}.jpg",
         "caption": f"The cat is {relation} the bed.", "label": place % 2, "relation": relation,
         "subj": "cat", "obj": "bed"}
        for place, relation in enumerate(("under", "left of", "on", "right of"))
    ]  # fmt: skip
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for place in range(4):
        (folder / "train2017").mkdir(exist_ok=True)
        photo(place, ((80, 60), (60, 150))[place % 2]).save(folder / "train2017" / f"{place}.jpg")
    return read_dataset(name, folder)


def whatsup(folder):
    """Two pairs of objects, two photos each."""
    sides = ("A {} to the left of a table", "A {} on a table")
    rows = [
        controlled(
            f"data/controlled_images/{name}_{side}.jpeg", sides[place].format(name), sides[1 - place].format(name)
        )
        for name in ("mug", "dog")
        for place, side in enumerate(("left_of_table", "on_table"))
    ]
    files = [row["image_path"].removeprefix("data/") for row in rows]
    return read_dataset("controlled-a", put(folder, rows, "controlled_images_dataset.json", files))


def check(found, samples):
    """Every arm is told of every sample, and all that is said can be written."""
    assert found.arms["arm"].tolist()[:2] == ["untouched", "heads"] and len(found.arms) == 7
    rows = found.by_sample().query("task == 'main'")
    assert rows.groupby("arm").size().eq(len(samples)).all()
    assert rows["gold"].tolist()[:7] == [samples[0].answer] * 7
    said = evaluation_findings(found).sentences
    assert said[0].startswith("With the 2 heads of 'heads' scaled by 0, accuracy changes by ")


def test_statements_with_another_benchmark_as_the_control_task(vlm, tmp_path):
    samples = vsr(tmp_path)
    control = read_dataset("2ds-style", n=12)[4:8]
    found = evaluate_heads(vlm, samples, HEADS, factor=0.0, control=control, **QUIET)
    check(found, samples)
    with pytest.raises(InputError, match="of the control task: 3 samples lie in 1 group"):
        evaluate_heads(vlm, samples, HEADS, control=read_dataset("2ds-style", n=3), **QUIET)
    assert found.arm("untouched")["chance"] == 0.5 and set(found.answers["task"]) == {"main", "control"}
    assert set(found.answers.query("task == 'main'")["answer"]) == {"yes", "no", "none"}


def test_open_questions_have_the_options_of_all_relations(vlm, tmp_path):
    samples = vsr(tmp_path, "vsr-open")
    check(evaluate_heads(vlm, samples, HEADS, factor=0.0, **QUIET), samples)


def test_controlled_photos_are_drawn_by_pair_of_objects(vlm, tmp_path):
    samples = whatsup(tmp_path)
    found = evaluate_heads(vlm, samples, HEADS, factor=0.0, **QUIET)
    check(found, samples)
    assert found.row("accuracy", "heads")["groups"] == 2 and found.arm("untouched")["chance"] == 0.25
    with pytest.raises(InputError, match="of the main task: 2 samples lie in 1 group"):
        evaluate_heads(vlm, samples[:2], HEADS, factor=0.0, **QUIET)


def test_scenes_in_two_dimensions_and_questions_without_options(vlm):
    samples = read_dataset("2ds-style", n=12)[4:8]
    check(evaluate_heads(vlm, samples, HEADS, factor=0.0, **QUIET), samples)
    bare = [replace(one, options=()) for one in samples]
    found = evaluate_heads(vlm, bare, HEADS, factor=0.0, **QUIET)
    assert not found.arms["below_chance"].any() and found.arms["chance"].isna().all()
    assert "chance is" not in evaluation_findings(found).sentences[1]


def test_real_photos_are_asked_with_their_own_shapes(vlm, assets):
    samples = read_dataset("vsr", assets / "vsr" / "vsr_on_coco128.jsonl", images=assets / "coco128")[:6]
    figures = read_dataset("controlled-a", assets / "whatsup-figures")[:2]
    assert len({Image.open(one.image).size for one in samples}) > 1
    found = evaluate_heads(vlm, [*samples, *figures], HEADS, factor=0.0, perplexity=False, **QUIET)
    check(found, [*samples, *figures])
