"""Detection in batches and from the cache gives what one detection each would, and trusts no damaged file."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from interp.detect import GivenBoxes, GroundTruth, YoloDetector, detect_many, find_many, find_objects
from interp.detect.common import keep_words, places_by
from interp.errors import DetectorError, InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object, Sample


class Counting:
    """Finds the mean grey of a photo as the place of a cat and of a dog, and counts how often it is asked."""

    name, labels = "counting", ("cat", "dog")

    def __init__(self, **settings):
        self.settings = {"weights": "w", **settings}
        self.batches = []

    def detect(self, image, words=None):
        return self.detect_batch([image], [words])[0]

    def detect_batch(self, images, words=None):
        self.batches.append(len(images))
        return [keep_words(self._see(i), w, self.labels) for i, w in zip(images, words, strict=True)]

    def _see(self, image):
        grey = float(np.asarray(image).mean())
        items = [Box(label, (grey / 300, 0, grey, 9.125), 1 / 3) for label in self.labels]
        return Boxes(tuple(items), source=self.name)


class OneByOne(Counting):
    """The same without batches."""

    detect_batch = None

    def detect(self, image, words=None):
        self.batches.append(1)
        return keep_words(self._see(image), words, self.labels)


class AnyWords(Counting):
    """Takes any words; the box of a word is as wide as the word is long."""

    labels = ()

    def detect_batch(self, images, words=None):
        self.batches.append(len(images))
        return [Boxes(tuple(Box(w, (0, 0, len(w), 1)) for w in some), source=self.name) for some in words]


def photos(n, sizes=((30, 20), (20, 30), (25, 25))):
    rng = np.random.default_rng(0)
    shapes = [sizes[place % len(sizes)] for place in range(n)]
    return [Image.fromarray(rng.integers(1, 256, (h, w, 3), dtype=np.uint8)) for w, h in shapes]


def quietly(detector, images, words=None, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return detect_many(detector, images, words, progress=False, **more)


# --- batches


@pytest.mark.parametrize("kind", [Counting, OneByOne])
@pytest.mark.parametrize("batch", [1, 3, 50])
def test_batches_give_what_single_detections_give_in_order(kind, batch):
    images = photos(20)
    words = [None, ("cats",), ("dog", "cat"), ("unicorn",), ()] * 4
    single = [kind().detect(image, asked) for image, asked in zip(images, words, strict=True)]
    assert quietly(kind(), images, words, batch=batch) == single
    assert quietly(kind(), images, batch=batch) == [kind().detect(image) for image in images]


def test_batches_are_as_large_as_asked_and_hold_photos_of_one_size_where_they_can():
    class Sizes(Counting):
        def detect_batch(self, images, words=None):
            self.batches.append([image.size for image in images])
            return [self._see(image) for image in images]

    detector = Sizes()
    quietly(detector, photos(12), batch=4)
    assert [len(sizes) for sizes in detector.batches] == [4, 4, 4]
    assert all(len(set(sizes)) == 1 for sizes in detector.batches)


def test_a_photo_asked_about_often_is_detected_in_once():
    (image,) = photos(1)
    detector = Counting()
    boxes = quietly(detector, [image] * 5 + [image.copy()], [("cat",), ("dog",), None, ("cat",), (), ("cat",)])
    assert detector.batches == [1]
    assert [one.labels for one in boxes] == [["cat"], ["dog"], ["cat", "dog"], ["cat"], [], ["cat"]]


def test_a_detector_of_any_words_is_asked_for_each_list_of_words():
    (image,) = photos(1)
    detector = AnyWords()
    boxes = quietly(detector, [image] * 3, [("mug",), ("table", "mug"), ("mug",)])
    assert detector.batches == [2]
    assert [one.labels for one in boxes] == [["mug"], ["table", "mug"], ["mug"]]


def test_paths_and_arrays_are_photos_too(tmp_path):
    (image,) = photos(1)
    image.save(tmp_path / "a.png")
    boxes = quietly(Counting(), [tmp_path / "a.png", np.asarray(image), image])
    assert boxes[0] == boxes[1] == boxes[2]


def test_a_detector_that_loses_photos_is_refused():
    class Loses(Counting):
        def detect_batch(self, images, words=None):
            return []

    with pytest.raises(DetectorError, match="0 results for a batch of 2"):
        quietly(Loses(), photos(2))


@pytest.mark.parametrize("words", [[("cat",)], ["cat", "dog"]])
def test_words_that_are_not_a_list_for_each_photo_are_refused(words):
    with pytest.raises(InputError, match="a list of words"):
        quietly(Counting(), photos(2), words)
    with pytest.raises(InputError):
        quietly(Counting(), photos(2), batch=0)


def test_places_of_equal_keys_are_found():
    assert places_by([(1, 2), (2, 1), (1, 2)]) == [[0, 2], [1]] and places_by([]) == []


# --- the cache


def test_what_was_detected_once_is_read_back_to_the_last_bit(tmp_path):
    images, words = photos(7), [("cat",)] * 7
    first = quietly(Counting(), images, words, cache=tmp_path / "c")
    later = Counting()
    assert quietly(later, images, [("dog",)] * 7, cache=tmp_path / "c") == [
        Counting().detect(image, ("dog",)) for image in images
    ]
    assert quietly(later, images, words, cache=tmp_path / "c") == first == quietly(Counting(), images, words)
    assert later.batches == []
    assert len(list((tmp_path / "c").iterdir())) == 7


def test_other_settings_another_detector_or_another_pixel_are_detected_anew(tmp_path):
    (image,) = photos(1)
    quietly(Counting(confidence=0.25), [image], cache=tmp_path)
    same = Counting(confidence=0.25)
    quietly(same, [image], cache=tmp_path)
    assert same.batches == []
    other = Counting(confidence=0.3)
    quietly(other, [image], cache=tmp_path)
    renamed = Counting(confidence=0.25)
    renamed.name = "renamed"
    quietly(renamed, [image], cache=tmp_path)
    changed = image.copy()
    changed.putpixel((0, 0), (0, 0, 0))
    again = Counting(confidence=0.25)
    quietly(again, [changed], cache=tmp_path)
    assert other.batches == renamed.batches == again.batches == [1]


def test_any_words_are_part_of_what_is_kept(tmp_path):
    (image,) = photos(1)
    quietly(AnyWords(), [image], [("mug",)], cache=tmp_path)
    detector = AnyWords()
    quietly(detector, [image] * 2, [("mug",), ("table",)], cache=tmp_path)
    assert detector.batches == [1]


def _cut(path):
    path.write_text(path.read_text()[:-20])


def _moved(path):
    entry = json.loads(path.read_text())
    entry["boxes"][0][1] += 1
    path.write_text(json.dumps(entry))


def _of_another_photo(path):
    entry = json.loads(path.read_text())
    entry["about"]["pixels"] = "0" * 64
    path.write_text(json.dumps(entry))


def _of_another_format(path):
    entry = json.loads(path.read_text())
    path.write_text(json.dumps({**entry, "format": 0}))


def _bytes(path):
    path.write_bytes(b"\xff\xfe\x00")


def _list(path):
    path.write_text("[1, 2]")


@pytest.mark.parametrize("damage", [_cut, _moved, _of_another_photo, _of_another_format, _bytes, _list])
def test_a_damaged_file_is_told_and_detected_anew_and_then_whole_again(tmp_path, damage):
    (image,) = photos(1)
    expected = quietly(Counting(), [image], cache=tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    detector = Counting()
    with pytest.warns(UserWarning, match="detected in anew"):
        assert detect_many(detector, [image], cache=tmp_path, progress=False) == expected
    assert detector.batches == [1]
    later = Counting()
    assert quietly(later, [image], cache=tmp_path) == expected and later.batches == []


def test_a_detector_that_does_not_say_what_it_depends_on_is_not_kept(tmp_path):
    given = GivenBoxes.parse("cat=1,1,5,5")
    with pytest.raises(InputError, match="leave the cache out"):
        quietly(given, photos(1), cache=tmp_path)
    assert quietly(given, photos(1))[0].labels == ["cat"]


def test_a_kill_in_the_middle_leaves_what_was_done(tmp_path):
    class Dies(Counting):
        def detect_batch(self, images, words=None):
            if self.batches:
                raise KeyboardInterrupt
            return super().detect_batch(images, words)

    with pytest.raises(KeyboardInterrupt):
        quietly(Dies(), photos(6), batch=2, cache=tmp_path)
    rest = Counting()
    assert quietly(rest, photos(6), batch=2, cache=tmp_path) == quietly(Counting(), photos(6))
    assert rest.batches == [2, 2]


# --- samples


def sample(image, *names, question="Where is it?"):
    return Sample("s", image, question, ("left",), "left", objects=tuple(Object(name) for name in names))


def test_samples_are_searched_for_the_objects_they_name():
    images = photos(3)
    samples = [sample(images[0], "kitty", "unicorn"), sample(images[1], "dog"), sample(images[2], question="A dog?")]
    found = find_many(samples, Counting(), progress=False)
    assert [one.words for one in found] == [("kitty", "unicorn"), ("dog",), ("dog",)]
    assert found[0].missing == ("unicorn",) and found[0].unknown == ("unicorn",)
    for one, its in zip(samples[:2], found[:2], strict=True):
        assert its == find_objects(one.image, its.words, Counting())


def test_samples_of_which_none_is_known_are_refused():
    with pytest.raises(DetectorError, match="none of the 2 words"):
        find_many([sample(photos(1)[0], "unicorn", "wug")], Counting(), progress=False)
    (nothing,) = find_many([sample(photos(1)[0], question="What is it?")], Counting(), progress=False)
    assert nothing.words == ()


def test_a_detector_of_any_words_gives_each_word_its_own():
    (found,) = find_many([sample(photos(1)[0], "mug", "table")], AnyWords(), progress=False)
    assert found.complete and found.of("mug").xyxy.tolist() == [[0, 0, 3, 1]]


def test_boxes_that_samples_carry_are_read_without_decoding_their_photos(tmp_path, monkeypatch):
    photo = tmp_path / "photo.jpg"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (40, 30)).save(photo, exif=turned)
    samples = [
        Sample(
            str(place), photo, "Where?", (), "here", (Object("cat", Box("cat", (1, 2, 99, 5 + place))),), "here", "g"
        )
        for place in range(5)
    ]
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda *_: pytest.fail("a photo was decoded"))
    found = find_many(samples, GroundTruth(), progress=False)
    assert [one.boxes.xyxy.tolist() for one in found] == [[[1, 2, 30, 5 + place]] for place in range(5)]


def test_a_name_that_a_sample_has_twice_is_looked_for_once():
    class Remembering(AnyWords):
        def detect_batch(self, images, words=None):
            self.asked = list(words)
            return super().detect_batch(images, words)

    detector = Remembering()
    twice = sample(photos(1)[0], "mug", "table", "mug")
    (found,) = find_many([twice], detector, progress=False)
    assert detector.asked == [("mug", "table")] and found.words == ("mug", "table")
    assert found.boxes.labels == ["mug", "table"]
    (once,) = find_many([sample(photos(1)[0], "mug", "table")], AnyWords(), progress=False)
    assert found == once


# --- real detectors


def close(found, expected):
    assert [one.labels for one in found] == [one.labels for one in expected]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.xyxy, theirs.xyxy, atol=0.01)
        np.testing.assert_allclose(
            [box.confidence for box in mine], [box.confidence for box in theirs], rtol=0, atol=1e-4
        )


def test_yolo_gives_in_batches_of_mixed_sizes_what_it_gives_one_by_one():
    pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
    from interp.datasets.synthetic.shapes import shapes

    detector = YoloDetector("shapes-detector")
    scenes = [one.image for one in shapes(6, kinds=("relation",))]
    scenes = [image if place % 2 else image.crop((0, 0, 112, 70)) for place, image in enumerate(scenes)]
    single = [detector.detect(image) for image in scenes]
    assert sum(map(len, single)) >= 6
    close(detector.detect_batch(scenes), single)
    close(detect_many(detector, scenes, progress=False), single)


def test_yolo_says_what_its_boxes_depend_on(tmp_path):
    pytest.importorskip("ultralytics", reason="needs the extra 'yolo'")
    settings = [YoloDetector("shapes-detector", confidence=sure).settings for sure in (0.25, 0.25, 0.5)]
    assert settings[0] == settings[1] != settings[2]
    assert len(settings[0]["weights"]) == 64
