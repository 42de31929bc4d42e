"""A detector is compared with the data set's own boxes, and questions about one and two objects are kept apart."""

import numpy as np
import pytest
from made_up_overlap import made_up_study
from overlap_studies import run

from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.overlap.report.write import write_overlap_report
from interp.overlap.study.agreement import boxes_by_role, detector_agreement
from interp.overlap.study.examine import examine_overlap, relations_of
from interp.planted.llava import planted_scenes
from interp.store.folder import OutputFolder


class Shifted:
    """A detector that misses blue and moves what it finds by some pixels."""

    name = "shifted"
    labels = tuple(f"{color} square" for color in ("red", "green", "yellow", "purple"))

    def __init__(self, scenes, by):
        self.known = {scene.image.tobytes(): [item.box for item in scene.objects] for scene in scenes}
        self.by = by

    def detect(self, image, words=None):
        own = [box for box in self.known[image.tobytes()] if box.label in self.labels]
        moved = [Box(box.label, tuple(corner + self.by for corner in box.xyxy), 0.9) for box in own]
        return Boxes(tuple(moved), self.name)


@pytest.fixture(scope="module")
def scenes():
    return planted_scenes("planted-distractor", 24)


def test_that_a_detector_is_compared_with_the_boxes_of_the_data_set(scenes, tmp_path):
    study = run("planted-distractor", scenes=scenes, detector=Shifted(scenes, 2.0))
    table = detector_agreement(study).set_index("label")
    names = [item.name for scene in scenes for item in scene.objects]
    asked, blue = len(names), names.count("blue square")
    side = scenes[0].objects[0].box.xyxy[2] - scenes[0].objects[0].box.xyxy[0]
    common = (side - 2.0) ** 2
    assert table.loc["all labels", ["n_truth", "n_found", "n_matched"]].tolist() == [asked, asked - blue, asked - blue]
    assert table.loc["all labels", "recall"] == pytest.approx(1 - blue / asked)
    assert table.loc["all labels", "mean_iou"] == pytest.approx(common / (2 * side**2 - common))
    assert 0 < blue < asked and table.loc["blue square", "n_found"] == 0
    assert detector_agreement(study, iou=0.99).loc[0, "n_matched"] == 0
    found = examine_overlap(study, measure="mass", region="first", n_draws=20)
    write_overlap_report(OutputFolder(tmp_path), study, found)
    assert "Does the detector agree with the data set?" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "agreement.csv").is_file()
    with pytest.raises(InputError, match="IoU"):
        detector_agreement(study, iou=0)


def test_that_ground_truth_is_not_compared_with_itself(scenes, tmp_path):
    study = run("planted-distractor", scenes=scenes[:6])
    assert detector_agreement(study) is None
    write_overlap_report(OutputFolder(tmp_path), study, examine_overlap(study, n_draws=20))
    assert not (tmp_path / "agreement.csv").exists()


def test_that_the_boxes_of_a_sample_have_the_names_of_its_objects(scenes):
    study = run("planted-distractor", scenes=scenes[:6], detector=Shifted(scenes, 0.0))
    for scene, row in zip(scenes, study.samples.to_dict("records"), strict=False):
        first, second = boxes_by_role(row, "true_boxes").values()
        assert [(box.label, box.xyxy) for box in (*first, *second)] == [
            (item.name, item.box.xyxy) for item in scene.objects
        ]


def test_that_questions_about_one_and_two_objects_are_not_compared_with_each_other():
    """Answers about one object are right and have much overlap, those about two are wrong and have little."""
    study = made_up_study(80)
    one = np.arange(80) % 8 < 4  # every relation is asked about both ways
    study.samples["objects"] = np.where(one, "mug", "mug|table")
    study.samples["right"] = one
    study.measures["cosine"][:] = one[:, None, None, None, None]
    found = examine_overlap(study, n_draws=20)
    assert found.pooled.auroc == pytest.approx(1.0)
    assert np.isnan(found.within.auroc).all()
    assert set(relations_of(study.samples)) == {
        f"{name}, {n} object{'s' * (n == 'two')}"
        for name in ("left", "right", "above", "below")
        for n in ("one", "two")
    }


def test_that_relations_asked_about_one_way_keep_their_names():
    samples = made_up_study(8).samples
    assert relations_of(samples).tolist() == samples["relation"].tolist()
    assert set(relations_of(samples.assign(relation=""))) == {"(none)"}
