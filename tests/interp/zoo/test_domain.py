"""A model out of its domain is told of wherever its answer and maps are shown, and one inside of it is not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from interp import analyze, explore
from interp.datasets.synthetic.shapes import draw_scene, shapes
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.domain import is_drawn, remarks_on, remarks_on_images

PHOTOS = Path(__file__).parents[3] / ".." / "shared" / "assets" / "coco128" / "images"
NOISE = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
QUESTION = "Where is the red circle? Answer with left or right."

NOT_DRAWN = {
    "noise": Image.fromarray(NOISE),
    "blurred": Image.fromarray(NOISE).filter(ImageFilter.GaussianBlur(2)),
    "black and white": Image.fromarray(NOISE[..., 0]).filter(ImageFilter.GaussianBlur(3)),
    "a wall": Image.new("RGB", (60, 60), (140, 140, 140)),
    "a page": Image.new("RGB", (200, 100), "white"),
    "night": Image.new("RGB", (60, 60), "black"),
    "lawn": Image.new("RGB", (60, 60), (90, 140, 60)),
    "a grey circle": Image.radial_gradient("L"),
}


def as_jpeg(image, quality):
    """An image as a JPEG gives it back."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file)


def test_scenes_of_every_split_are_drawn_also_as_jpeg_and_at_other_sizes():
    scenes = [sample.image for split in ("train", "val", "test") for sample in shapes(20, split=split)]
    assert all(map(is_drawn, scenes))
    assert all(is_drawn(as_jpeg(scene, 60)) and is_drawn(scene.resize((280, 280))) for scene in scenes[:20])


@pytest.mark.parametrize("name", NOT_DRAWN)
def test_what_is_no_scene_is_not_taken_for_one(name):
    assert not is_drawn(NOT_DRAWN[name])


def test_no_photo_is_taken_for_a_scene():
    paths = sorted(PHOTOS.glob("*.jpg")) if PHOTOS.is_dir() else []
    if not paths:
        pytest.skip("the photos of ../shared are not here")
    assert not [path.name for path in paths if is_drawn(Image.open(path))]


@pytest.mark.parametrize("image", [None, *NOT_DRAWN.values()][:3], ids=["none", *NOT_DRAWN][:3])
def test_random_weights_are_told_of_any_image_and_other_models_of_none(image):
    assert remarks_on("tiny-qwen2_vl", image) == [
        "tiny-qwen2_vl has random weights, so its answers and maps mean nothing."
    ]
    assert remarks_on("llava-hf/llava-1.5-7b-hf", image) == remarks_on("", image) == []


@pytest.fixture(scope="module")
def embedded():
    """The model that comes with the package."""
    return HookedVLM.from_pretrained("shapes-vlm")


def test_the_embedded_model_on_a_photo_is_told_of_in_result_summary_and_page(embedded):
    found = analyze(NOT_DRAWN["blurred"], QUESTION, model=embedded, html=True, max_new_tokens=1)
    [remark] = found.settings["remarks"]
    assert "shapes-vlm knows drawn scenes" in remark and "mean nothing" in remark
    assert found.describe().splitlines()[0] == remark and remark in found.page.html
    assert found.summary()["settings"]["remarks"] == [remark]
    page = explore(embedded, NOT_DRAWN["blurred"], QUESTION, max_new_tokens=1)
    assert f'<p class="warning">{remark}</p>' in page.html


def test_the_embedded_model_on_its_own_scenes_has_nothing_to_be_told(embedded):
    found = analyze(draw_scene(0).image, QUESTION, model=embedded, html=True, max_new_tokens=1)
    assert "remarks" not in found.settings and found.describe().startswith("answer: ")
    assert "means nothing" not in found.page.html and "mean nothing" not in found.page.html


def test_random_weights_are_told_of_in_result_and_page():
    vlm = HookedVLM.from_pretrained("tiny-llava")
    found = analyze(draw_scene(0).image, QUESTION, model=vlm, html=True, max_new_tokens=1)
    assert found.describe().startswith("tiny-llava has random weights") and "has random weights" in found.page.html


def test_a_study_of_photos_in_files_is_told_of_and_one_of_scenes_in_files_or_drawn_is_not(tmp_path):
    files = {}
    for name, image in (("scene", draw_scene(0).image), ("photo", NOT_DRAWN["blurred"])):
        files[name] = tmp_path / f"{name}.png"
        image.save(files[name])
    (remark,) = remarks_on_images("shapes-vlm", [draw_scene(1).image, str(files["photo"])])
    assert "These are photos, so its answers and where it looks mean nothing." in remark
    assert remarks_on_images("shapes-vlm", [files["scene"], draw_scene(1).image]) == []
    assert remarks_on_images("llava-hf/llava-1.5-7b-hf", [files["photo"]]) == []
    assert remarks_on_images("tiny-llava", [files["scene"]]) == remarks_on("tiny-llava") != []
