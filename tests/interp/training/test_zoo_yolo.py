"""The embedded detector finds the shapes of held-out scenes, is small, and carries its licence and its card."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest

from interp.datasets.synthetic.shapes import NAMES
from interp.detect import YoloDetector, find_objects
from interp.image.boxes import Box, Boxes
from interp.training.yolo.evaluate import LOWEST, Measures, average_precision, held_out, measure, write_card
from interp.training.yolo.train import CONFIG, train
from interp.zoo import yolo

pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
FOLDER = Path(yolo.__file__).parent


@pytest.fixture(scope="module")
def scenes():
    return held_out(100)


@pytest.fixture(scope="module")
def detector():
    return YoloDetector("shapes-detector")


def test_it_reaches_its_line_on_held_out_scenes(scenes):
    detector = YoloDetector("shapes-detector", confidence=LOWEST)
    measures = measure([truth for _, truth in scenes], [detector.detect(image) for image, _ in scenes])
    assert measures.scenes == 100
    assert measures.map50 >= 0.97
    assert measures.exact >= 0.9


def test_its_boxes_lie_on_the_pixels_of_the_shapes(detector, scenes):
    for image, truth in scenes[:10]:
        for box in truth:
            (found,) = detector.detect(image, [box.label])
            np.testing.assert_allclose(found.xyxy, box.xyxy, atol=3)


def test_larger_scenes_give_the_same_boxes_in_their_own_pixels(detector, scenes):
    image, truth = scenes[0]
    large = detector.detect(image.resize((336, 336)))
    assert sorted(large.labels) == sorted(truth.labels)
    for box in truth:
        np.testing.assert_allclose(large.named([box.label]).xyxy[0] / 3, box.xyxy, atol=3)


def test_it_knows_the_names_that_the_scenes_use(detector, scenes):
    image, truth = scenes[0]
    assert detector.labels == NAMES and detector.name == "shapes-detector"
    assert find_objects(image, f"Where is the {truth.labels[0]} in the photo?", detector).complete


def test_the_files_are_small_and_the_licence_is_whole():
    size = sum(file.stat().st_size for file in FOLDER.glob("shapes-detector.*"))
    assert size < 4e6
    licence = (FOLDER / "LICENSE").read_text()
    assert "GNU AFFERO GENERAL PUBLIC LICENSE" in licence and "END OF TERMS AND CONDITIONS" in licence
    assert not list(FOLDER.glob("*.pt"))


def test_the_card_states_what_was_measured_and_the_licence():
    card = (FOLDER / "README.md").read_text()
    assert float(re.search(r"\| mAP50 \| ([\d.]+)", card)[1]) >= 0.97
    assert "1,000 held-out scenes" in card and "AGPL-3.0" in card


def test_the_card_is_written_from_numbers_and_metadata(tmp_path):
    for name in ("shapes-detector.safetensors", "shapes-detector.yaml"):
        (tmp_path / name).write_bytes((FOLDER / name).read_bytes())
    measures = Measures(7, 15, map50=0.123456, map50_95=0.1, worst=("x", 0.0), precision=0.2, recall=0.3, exact=0.4)
    card = write_card(tmp_path, measures).read_text()
    assert "| mAP50 | 0.1235 (line 0.97: NOT reached) |" in card and "On 7 held-out" in card
    better = write_card(tmp_path, dataclasses.replace(measures, map50=0.98)).read_text()
    assert "(line 0.97: reached)" in better


def test_training_writes_what_the_detector_loads_and_the_seed_decides(tmp_path):
    first = train(folder=tmp_path / "a", steps=2, seed=5)
    again = train(folder=tmp_path / "b", steps=2, seed=5)
    other = train(folder=tmp_path / "c", steps=2, seed=6)
    assert YoloDetector(first).labels == NAMES
    weights = [tensors(path) for path in (first, again, other)]
    assert all((weights[0][name] == weights[1][name]).all() for name in weights[0])
    assert any((weights[0][name] != weights[2][name]).any() for name in weights[0])
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [first.name, CONFIG.name]


def tensors(path):
    from safetensors.numpy import load_file

    return load_file(path)


def test_the_weights_say_how_they_were_made():
    from safetensors import safe_open

    with safe_open(FOLDER / "shapes-detector.safetensors", framework="np") as file:
        metadata = file.metadata()
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"F16"}
    assert tuple(json.loads(metadata["names"])) == NAMES
    assert {"steps", "seed", "seconds", "torch", "ultralytics"} <= set(json.loads(metadata["training"]))


# --- the yardstick itself


def boxes(*items):
    return Boxes(tuple(Box(label, (x, 0, x + 10, 10), sure) for label, x, sure in items))


def test_average_precision_on_cases_worked_by_hand():
    truth = [boxes(("a", 0, 1), ("a", 50, 1))]
    assert average_precision(truth, [boxes(("a", 0, 0.9), ("a", 50, 0.8))], "a") == 1
    assert average_precision(truth, [Boxes()], "a") == 0
    assert average_precision(truth, [boxes(("b", 0, 0.9), ("b", 50, 0.8))], "a") == 0
    # one of two found: precision 1 up to recall 0.5, which are 51 of the 101 points
    assert average_precision(truth, [boxes(("a", 0, 0.9))], "a") == pytest.approx(51 / 101)
    # a surer wrong box halves the precision at the first hit, and 2/3 is what the second reaches
    wrong_first = [boxes(("a", 90, 0.95), ("a", 0, 0.9), ("a", 50, 0.8))]
    assert average_precision(truth, wrong_first, "a") == pytest.approx(2 / 3)
    # a second box on the same object is a false one
    assert average_precision(truth, [boxes(("a", 0, 0.9), ("a", 1, 0.8))], "a") == pytest.approx(51 / 101)


def test_average_precision_equals_that_of_ultralytics():
    from ultralytics.utils.metrics import ap_per_class

    rng = np.random.default_rng(0)
    truth, found = [], []
    for _ in range(40):
        places = rng.choice(20, size=4, replace=False) * 20
        truth.append(boxes(*[("a", x, 1.0) for x in places[:3]]))
        found.append(boxes(*[("a", x + rng.integers(-5, 6), s) for x, s in zip(places, rng.random(4), strict=True)]))
    hits = [
        any(abs(b.xyxy[0] - t.xyxy[0]) <= 3 for t in true)
        for true, seen in zip(truth, found, strict=True)
        for b in seen
    ]
    scores = np.array([box.confidence for seen in found for box in seen])
    theirs = ap_per_class(np.array(hits)[:, None], scores, np.zeros(len(hits)), np.zeros(120))[5]
    assert average_precision(truth, found, "a", 0.5) == pytest.approx(float(theirs[0, 0]), abs=0.01)


def test_leftover_and_missed_boxes_cost_precision_recall_and_exactness():
    truth = [boxes(("red circle", 0, 1)), boxes(("red cross", 0, 1))]
    found = [boxes(("red circle", 1, 0.9), ("blue cross", 50, 0.5)), boxes(("red cross", 0, 0.1))]
    measures = measure(truth, found)
    assert (measures.precision, measures.recall, measures.exact) == (0.5, 0.5, 0.0)
    assert measures.map50 == 1.0  # the unsure box counts there


def test_boxes_of_other_scenes_score_next_to_nothing(detector, scenes):
    found = [detector.detect(image) for image, _ in scenes]
    truth = [boxes for _, boxes in scenes]
    assert measure(truth, [*found[1:], found[0]]).map50 < 0.05
