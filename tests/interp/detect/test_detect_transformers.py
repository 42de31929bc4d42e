"""Detectors of transformers: their boxes are the processor's own in photo pixels, and words are found by position."""

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_detectors import PHOTOS, WORDS, photo, save_closed, save_opened
from transformers import (
    BertConfig,
    BertModel,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    OwlViTConfig,
    RTDetrForObjectDetection,
    RTDetrImageProcessor,
)

from interp.detect import Detector, TransformersDetector, detect_many, find_objects, load_detector
from interp.errors import DetectorError, InputError
from interp.image.photos import load_image


@pytest.fixture(scope="module")
def closed(tmp_path_factory):
    """A folder with a tiny RT-DETR of random weights and three classes."""
    return save_closed(tmp_path_factory.mktemp("detectors") / "tiny-rtdetr")


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A folder with a tiny Grounding DINO of random weights."""
    return save_opened(tmp_path_factory.mktemp("detectors") / "tiny-grounding-dino")


def one_line(error):
    return "\n" not in str(error.value)


def plain(folder, kind, processor):
    return kind.from_pretrained(folder).eval(), processor.from_pretrained(folder)


def close(found, expected):
    assert [one.labels for one in found] == [one.labels for one in expected]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=0.01)


# --- fixed classes


def test_boxes_are_those_of_the_processor_in_pixels_of_photos_of_any_shape(closed):
    detector = TransformersDetector(closed, confidence=0.5)
    model, processor = plain(closed, RTDetrForObjectDetection, RTDetrImageProcessor)
    assert isinstance(detector, Detector)
    assert detector.labels == ("cat", "sofa", "tvmonitor") and detector.name == "tiny-rtdetr"
    seen = 0
    for image in PHOTOS:
        with torch.no_grad():
            outputs = model(**processor(images=image, return_tensors="pt"))
        size = torch.tensor([[image.height, image.width]])
        (theirs,) = processor.post_process_object_detection(outputs, threshold=0.5, target_sizes=size)
        edge = np.array([image.width, image.height] * 2)
        corners = np.clip(theirs["boxes"].numpy(), 0, edge)
        inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
        mine = detector.detect(image)
        np.testing.assert_allclose(mine.xyxy, corners[inside], atol=1e-3)
        np.testing.assert_allclose([box.confidence for box in mine], theirs["scores"].numpy()[inside], atol=1e-5)
        assert mine.labels == [detector.labels[number] for number in theirs["labels"].numpy()[inside]]
        assert mine.source == "tiny-rtdetr" and all(box.confidence > 0.5 for box in mine)
        seen += len(mine)
    assert seen > 20


def test_words_are_matched_to_the_classes_of_the_configuration(closed):
    detector = TransformersDetector(closed, confidence=0.0)
    found = find_objects(PHOTOS[0], ["couch", "television", "unicorn"], detector)
    assert set(found.of("couch").labels) == {"sofa"} and set(found.of("television").labels) == {"tvmonitor"}
    assert found.unknown == ("unicorn",)


def test_batches_of_mixed_sizes_equal_single_detections(closed, tmp_path):
    detector = TransformersDetector(closed, confidence=0.3)
    single = [detector.detect(image) for image in PHOTOS]
    assert sum(map(len, single)) > 20
    close(detector.detect_batch(PHOTOS), single)
    close(detect_many(detector, PHOTOS, progress=False, cache=tmp_path, batch=3), single)
    words = [("cat",), None, (), ("couch",)]
    close(
        detector.detect_batch(PHOTOS, words),
        [detector.detect(image, asked) for image, asked in zip(PHOTOS, words, strict=True)],
    )


def test_a_loaded_model_gives_the_same_and_is_left_as_it_is(closed):
    model, processor = plain(closed, RTDetrForObjectDetection, RTDetrImageProcessor)
    detector = TransformersDetector(model, processor, confidence=0.3)
    close([detector.detect(PHOTOS[1])], [TransformersDetector(closed, confidence=0.3).detect(PHOTOS[1])])
    for wrong in (dict(processor=None), dict(device="cpu"), dict(revision="main"), dict(download=True)):
        with pytest.raises(InputError, match="loaded model"):
            TransformersDetector(model, **{"processor": processor, **wrong})
    with pytest.raises(InputError, match="eval"):
        TransformersDetector(model.train(), processor)
    with pytest.raises(InputError, match="leave it out"):
        TransformersDetector(closed, processor)


def test_settings_follow_weights_and_threshold_and_not_the_place(closed, tmp_path):
    copy = shutil.copytree(closed, tmp_path / "elsewhere")
    settings = TransformersDetector(closed).settings
    assert TransformersDetector(copy).settings == settings
    assert TransformersDetector(closed, confidence=0.4).settings != settings
    model, processor = plain(closed, RTDetrForObjectDetection, RTDetrImageProcessor)
    assert TransformersDetector(model, processor).settings == settings
    with torch.no_grad():
        next(model.parameters())[0] += 1
    assert TransformersDetector(model, processor).settings["weights"] != settings["weights"]
    processor.size = {"height": 96, "width": 96}
    assert TransformersDetector(model, processor).settings["weights"] != settings["weights"]


def test_numbers_that_are_none_are_refused_and_not_dropped(closed):
    model, processor = plain(closed, RTDetrForObjectDetection, RTDetrImageProcessor)
    with torch.no_grad():
        model.model.decoder.class_embed[-1].bias.fill_(float("nan"))
    with pytest.raises(DetectorError, match="no number"):
        TransformersDetector(model, processor).detect(PHOTOS[0])


# --- any words


def test_a_box_belongs_to_the_word_whose_token_is_most_probable(opened):
    detector = TransformersDetector(opened, confidence=0.4)
    assert isinstance(detector, Detector) and detector.labels == ()
    model, processor = plain(opened, GroundingDinoForObjectDetection, GroundingDinoProcessor)
    places = {"Mug": [1], "dining table": [3, 4]}  # behind the mark of the beginning; each word ends with a full stop
    seen = set()
    for image in PHOTOS:
        inputs = processor(images=image, text="mug. dining table.", return_tensors="pt")
        assert inputs["input_ids"].tolist() == [[101, 1030, 1012, 1031, 1032, 1012, 102]]
        with torch.no_grad():
            outputs = model(**inputs)
        (theirs,) = processor.post_process_grounded_object_detection(
            outputs, inputs["input_ids"], threshold=0.0, text_threshold=0.0, target_sizes=[(image.height, image.width)]
        )
        shares = outputs.logits[0].sigmoid().numpy()
        expected = []
        for query, corners in enumerate(theirs["boxes"].numpy()):
            best = max(places, key=lambda word: shares[query, places[word]].max())
            corners = np.clip(corners, 0, [image.width, image.height] * 2)
            sure = shares[query, places[best]].max()
            if sure > 0.4 and (corners[2:] > corners[:2]).all():
                expected.append((best, corners, sure))
        expected.sort(key=lambda item: -item[2])
        mine = detector.detect(image, ["Mug", "dining table"])
        assert mine.labels == [label for label, _, _ in expected]
        np.testing.assert_allclose(mine.xyxy, np.reshape([corners for _, corners, _ in expected], (-1, 4)), atol=1e-3)
        np.testing.assert_allclose([box.confidence for box in mine], [sure for _, _, sure in expected], atol=1e-5)
        seen |= set(mine.labels)
    assert seen == {"Mug", "dining table"}


def test_boxes_surest_of_a_word_are_those_that_the_processor_itself_gives(opened):
    detector = TransformersDetector(opened, confidence=0.5)
    model, processor = plain(opened, GroundingDinoForObjectDetection, GroundingDinoProcessor)
    image = PHOTOS[1]
    inputs = processor(images=image, text="cat.", return_tensors="pt")
    with torch.no_grad():
        outputs = model(**inputs)
    (theirs,) = processor.post_process_grounded_object_detection(
        outputs, inputs["input_ids"], threshold=0.5, text_threshold=0.5, target_sizes=[(image.height, image.width)]
    )
    named = {round(float(sure), 4) for sure, text in zip(theirs["scores"], theirs["text_labels"], strict=True) if text}
    mine = {round(box.confidence, 4) for box in detector.detect(image, ["cat"])}
    assert mine <= {round(float(sure), 4) for sure in outputs.logits[0, :, 1].sigmoid()}
    assert {sure for sure in named if sure in mine} and len(mine) > 0


def answering(detector, logits, boxes):
    """Make a detector see what is given: logits [query token], boxes [query 4] as centre and sides in shares."""
    outputs = SimpleNamespace(logits=torch.tensor([logits]), pred_boxes=torch.tensor([boxes]))
    detector._run = lambda inputs: outputs
    return detector


def test_phrases_that_are_parts_or_run_over_two_words_are_not_lost(opened):
    """The processor's phrases would be `table`, `mug table` and none; by position each box has its word."""
    low, n = -9.0, 7
    part, both, other = [low] * n, [low] * n, [low] * n
    part[4], (both[1], both[4]), other[2] = 2.0, (2.0, 1.0), 3.0  # the last one: only the full stop is probable
    boxes = [[0.5, 0.5, 0.2, 0.2], [0.25, 0.5, 0.5, 1.0], [0.5, 0.5, 0.1, 0.1]]
    detector = answering(TransformersDetector(opened, confidence=0.4), [part, both, other], boxes)
    found = detector.detect(photo((200, 100)), ["mug", "dining table"])
    assert [(box.label, box.confidence) for box in found] == [
        ("dining table", pytest.approx(0.8808, abs=1e-4)),
        ("mug", pytest.approx(0.8808, abs=1e-4)),
    ]
    np.testing.assert_allclose(found.xyxy, [[80, 40, 120, 60], [0, 0, 100, 100]], atol=1e-4)


def test_full_stops_in_words_do_not_split_them_and_twins_are_asked_once(opened):
    detector = TransformersDetector(opened, confidence=0.0)
    assert set(detector.detect(PHOTOS[0], ["red. mug?", "cat", "Cat"]).labels) == {"red. mug?", "cat"}
    found = find_objects(PHOTOS[0], ["cat", "Cat", "mug"], detector)
    assert found.of("Cat") == found.of("cat") and len(found.of("cat")) > 0


def test_words_that_are_none_or_too_many_are_refused(opened):
    detector = TransformersDetector(opened)
    assert len(detector.detect(PHOTOS[0], [])) == 0
    with pytest.raises(InputError, match="was given none"):
        detector.detect(PHOTOS[0])
    with pytest.raises(InputError, match="no word"):
        detector.detect(PHOTOS[0], ["mug", " . "])
    with pytest.raises(DetectorError, match="reads 1 of the 2 words"):
        detector.detect(PHOTOS[0], ["mug", "\u200b"])
    with pytest.raises(DetectorError, match="of which it takes 16"):
        detector.detect(PHOTOS[0], [f"{a} {b}" if a != b else a for a in WORDS for b in ("mug", "cat", "red")][:12])


def test_any_words_in_many_photos_are_those_of_single_detections(opened, tmp_path):
    detector = TransformersDetector(opened, confidence=0.4)
    words = [("mug", "cat"), ("table",), ("mug",), ()]
    single = [detector.detect(image, asked) for image, asked in zip(PHOTOS, words, strict=True)]
    for _ in range(2):  # the second time from the cache
        assert detect_many(detector, PHOTOS, words, progress=False, cache=tmp_path) == single


# --- loading


def test_only_whole_safetensors_of_a_detector_are_loaded(closed, tmp_path):
    broken = shutil.copytree(closed, tmp_path / "pickled")
    weights = RTDetrForObjectDetection.from_pretrained(closed).state_dict()
    (broken / "model.safetensors").unlink()
    torch.save(weights, broken / "pytorch_model.bin")
    with pytest.raises(DetectorError, match="safetensors") as error:
        TransformersDetector(broken)
    assert one_line(error)

    from safetensors.torch import save_file

    cut = shutil.copytree(closed, tmp_path / "cut")
    some = {name: value.clone() for name, value in weights.items() if "encoder_input_proj" not in name}
    save_file(some, cut / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(DetectorError, match="do not fit its configuration") as error:
        TransformersDetector(cut)
    assert one_line(error)


def test_what_is_no_detector_or_of_an_unknown_family_is_refused(tmp_path):
    config = BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    BertModel(config).save_pretrained(tmp_path / "bert")
    OwlViTConfig().save_pretrained(tmp_path / "owl")
    (tmp_path / "empty").mkdir()
    for name, match in (("bert", "no detector"), ("owl", "Grounding DINO"), ("empty", "config.json")):
        with pytest.raises(DetectorError, match=match) as error:
            TransformersDetector(tmp_path / name)
        assert one_line(error)


def test_a_photo_is_read_as_everywhere_else(closed, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    PHOTOS[0].save(tmp_path / "phone.jpg", exif=exif)
    finder, upright = TransformersDetector(closed), load_image(tmp_path / "phone.jpg")
    expected = finder.detect(upright)
    assert upright.size == (60, 90) and len(expected)
    for source in (tmp_path / "phone.jpg", Image.open(tmp_path / "phone.jpg"), np.asarray(upright)):
        assert finder.detect(source) == expected


def test_code_that_a_folder_brings_never_runs_and_is_not_asked_about(closed, tmp_path, monkeypatch):
    asked, marker = [], tmp_path / "marker"
    monkeypatch.setattr("builtins.input", lambda *words: asked.append(words) or "y")
    for file, kind in (("config.json", "AutoConfig"), ("preprocessor_config.json", "AutoImageProcessor")):
        folder = Path(shutil.copytree(closed, tmp_path / kind))
        (folder / "own.py").write_text(f"open({str(marker)!r}, 'w').close()\nclass Own: pass\n")
        content = json.loads((folder / file).read_text())
        content |= {"model_type": "unknown", "image_processor_type": "Unknown", "auto_map": {kind: "own.Own"}}
        (folder / file).write_text(json.dumps(content))
        with pytest.raises(DetectorError, match="brings Python code of its own") as error:
            TransformersDetector(folder)
        assert one_line(error) and "trust_remote_code" not in str(error.value)  # no detector is loaded with it
    assert not asked and not marker.exists()


def test_a_model_of_the_hub_is_fetched_only_when_told():
    with pytest.raises(DetectorError, match="--download") as error:
        TransformersDetector("owner/no-such-detector")
    assert one_line(error)
    with pytest.raises(DetectorError, match="can not be had from the hub"):  # the tests have no network
        TransformersDetector("owner/no-such-detector", download=True)
    with pytest.raises(DetectorError, match="there is no detector './nowhere'"):
        TransformersDetector("./nowhere")


def test_folders_and_names_of_the_hub_are_taken_for_models_of_transformers(closed):
    assert load_detector(closed, confidence=0.5).settings == TransformersDetector(closed, confidence=0.5).settings
    with pytest.raises(DetectorError, match="owner/detector-v1.5 is not on this machine"):
        load_detector("owner/detector-v1.5")


def test_thresholds_and_devices_that_are_none_are_refused(closed):
    with pytest.raises(InputError, match="between 0 and 1"):
        TransformersDetector(closed, confidence=1.5)
    with pytest.raises(DetectorError, match="device"):
        TransformersDetector(closed, device="nowhere")
