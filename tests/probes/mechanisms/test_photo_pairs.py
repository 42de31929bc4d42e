"""Pairs of photos: mirrored ones and stitched ones show, ask and answer what their boxes say."""

import json

import numpy as np
import pytest
from golden import golden
from PIL import Image

from interp.datasets.benchmarks.reading import read_dataset
from interp.errors import InputError
from interp.image.boxes import Box, Boxes
from interp.objects.sample import Object, Sample
from probes.mechanisms.scenes.photo_pairs import REFERENCES, mirrored_pairs, stitched, stitched_pairs, with_boxes

OPTIONS = ("left", "right", "above", "below")
NAMES = ("mug", "cup", "cap")


def photo(seed, size=(40, 30)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def question(answer, **more):
    things = (Object("dog", Box("dog", (2, 3, 10, 9))), Object("cat", Box("cat", (20, 4, 32, 16))))
    given = dict(id=f"{answer}-0", image=photo(1), question="Where?", options=OPTIONS, answer=answer, objects=things)
    return Sample(**{**given, **more})


def test_a_mirrored_photo_has_the_other_answer_and_its_boxes_show_the_same_pixels():
    (pair,), left_out = mirrored_pairs([question("left"), question("above")])
    assert pair.outcomes == {"clean": "left", "place": "right"} and pair.axis == "horizontal"
    assert (pair.clean.answer, pair.counterfactual.answer) == ("left", "right")
    for own, other in zip(pair.clean.objects, pair.counterfactual.objects, strict=True):
        crops = [np.array(s.image.crop(t.box.xyxy)) for s, t in ((pair.clean, own), (pair.counterfactual, other))]
        assert own.name == other.name and (crops[0] == crops[1][:, ::-1]).all()
    assert left_out == {"answered by 'above', which a mirror does not change": 1}


def test_the_first_samples_of_each_answer_are_taken():
    samples = [question(side, id=f"{side}-{number}") for number in range(3) for side in ("right", "left")]
    pairs, left_out = mirrored_pairs(samples, n=2)
    assert [pair.id for pair in pairs] == ["left-0", "left-1", "right-0", "right-1"] and not left_out


def test_samples_that_no_mirror_changes_are_refused():
    with pytest.raises(InputError, match="n=0"):
        mirrored_pairs([question("left")], n=0)
    with pytest.raises(InputError, match="1 answered by 'above'"):
        mirrored_pairs([question("above")])
    with pytest.raises(InputError, match="there are none"):
        mirrored_pairs([])


def test_objects_get_the_largest_box_of_their_name(tmp_path):
    photo(0).save(tmp_path / "a.png")
    dogs = [Box("dog", (0, 0, 2, 2)), Box("dog", (5, 5, 15, 15)), Box("person", (0, 0, 30, 30))]
    (found,) = with_boxes([question("left", image=tmp_path / "a.png")], {"a.png": Boxes(tuple(dogs))})
    assert found.objects[0].box.xyxy == (5, 5, 15, 15) and found.objects[1].box is None


@pytest.fixture
def whatsup(tmp_path):
    """A folder of What'sUp's controlled images A, of noise."""
    rows = []
    for number, name in enumerate(NAMES):
        for place, phrase in enumerate(("to the left of", "to the right of", "on", "under")):
            file = f"{name}_{('left_of', 'right_of', 'on', 'under')[place]}_chair.jpeg"
            photo(10 * number + place).save(tmp_path / file)
            captions = [f"A {name} {phrase} a chair", *(f"A {name} {other} a chair" for other in ("on", "under"))]
            rows.append({"image_path": file, "caption_options": list(dict.fromkeys(captions))})
    (tmp_path / "controlled_images_dataset.json").write_text(json.dumps(rows))
    return tmp_path


@pytest.mark.parametrize("form", ["item", "relation"])
def test_stitched_photos_show_each_object_on_its_side_and_the_counterfactual_exchanges_them(whatsup, form):
    samples = read_dataset("controlled-a", whatsup)
    files = {(sample.objects[0].name, sample.answer): sample.image for sample in samples}
    pairs = stitched_pairs(samples, 48, form=form, n=6)
    assert len(pairs) == 12 and len({pair.group for pair in pairs}) == 3
    for pair in pairs:
        for sample in (pair.clean, pair.counterfactual):
            left, right = sample.meta["words"]
            whole = [np.array(stitched(files[name, side], files[name, side], 48)) for name, side in
                     ((left, "left"), (right, "right"))]  # fmt: skip
            seen = np.array(sample.image)
            assert (seen[:, :24] == whole[0][:, :24]).all() and (seen[:, 24:] == whole[1][:, 24:]).all()
            side = sample.meta["direction"]
            if form == "item":
                assert (
                    sample.answer == {"left": left, "right": right}[side]
                    and f"to the {side} of the chair" in sample.question
                )
            else:
                subject = sample.objects[0].name
                assert sample.answer == ("left" if subject == left else "right")
            for thing in sample.objects:
                assert (thing.box.centre[0] < 24) == (thing.name == left)
        assert pair.counterfactual.meta["words"] == pair.clean.meta["words"][::-1]
        assert list(pair.outcomes.values()) == [pair.clean.answer, pair.counterfactual.answer]


def test_objects_of_other_words_and_too_few_composites_are_left_out_and_refused(whatsup):
    samples = read_dataset("controlled-a", whatsup)
    pairs = stitched_pairs(samples, 48, words=["mug", "cup"], n=2)
    assert {word for pair in pairs for word in pair.clean.meta["words"]} == {"mug", "cup"}
    with pytest.raises(InputError, match="12 samples make 2 composites .* 3 pairs a direction"):
        stitched_pairs(samples, 48, words=["mug", "cup"], n=3)


@pytest.mark.parametrize("bad", [dict(form="text"), dict(directions=["above"]), dict(n=0), dict(side=0)])
def test_composites_that_can_not_be_are_refused(whatsup, bad):
    with pytest.raises(InputError):
        stitched_pairs(read_dataset("controlled-a", whatsup), **{"side": 48, "n": 1, **bad})


@pytest.mark.parametrize("name", ["qwen2vl", "gemma3", "pixtral"])
def test_boxes_of_references_cover_the_tokens_that_the_paper_trains_its_probes_on(name):
    recorded = json.loads((golden("regions") / "real_grids.json").read_text())[name]
    n = recorded["N"]
    for reference, regions in recorded["whatsup_probe_boxes"].items():
        for side in ("left", "right"):
            x0, y0, x1, y1 = REFERENCES[reference].box("x", side, n).xyxy
            columns, rows = range(int(x0), round(x1)), range(int(y0), round(y1))  # the paper's way to whole tokens
            assert [row * n + column for row in rows for column in columns] == regions[side], (reference, side)
