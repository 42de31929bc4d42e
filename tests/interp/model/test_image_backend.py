"""Photos are resized by PIL or by torchvision, as asked: the very pixels of transformers' own, recorded, or refused."""

import numpy as np
import pytest
from PIL import Image
from transformers import AutoImageProcessor

from interp import AnalyzeRequest, HookedVLM
from interp.cli import Parser, add_model_options, load
from interp.compat import BACKENDS, image_backend, image_settings
from interp.errors import InputError
from interp.model.processor_options import on_image_backend, with_image_backend
from interp.model.record import record
from interp.zoo.tiny import TINY, build_tiny

PHOTO = Image.fromarray((np.arange(120 * 200 * 3) % 251).astype(np.uint8).reshape(120, 200, 3))


def pixels(vlm):
    return vlm.prepare(PHOTO, "Where?", prompt="paper").tensors["pixel_values"]


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_familys_pixels_are_those_of_transformers_own_loading(name, backend, tmp_path):
    processor = build_tiny(name)[1]
    processor.save_pretrained(tmp_path)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend=backend)
    ours = with_image_backend(processor, backend)
    images = ours.image_processor
    assert type(images) is type(theirs) and image_backend(images) == backend
    assert images.to_dict() == theirs.to_dict()
    given = {"images": [PHOTO], **{**image_settings(processor), "return_tensors": "pt"}}
    assert images(**given)["pixel_values"].equal(theirs(**given)["pixel_values"])
    assert ours(images=[[PHOTO]], text=[ours.image_token], return_tensors="pt")["input_ids"].numel()


def test_the_command_line_loads_as_asked_and_every_record_says_what_ran():
    parser = Parser()
    add_model_options(parser)
    found = {}
    for backend in BACKENDS:
        vlm = load(parser.parse_args(["--image-backend", backend]))
        assert record(vlm)["image_backend"] == backend
        found[backend] = pixels(vlm)
    apart = (found["pil"] - found["torchvision"]).abs()
    assert 0 < float(apart.max()) < 0.5
    own = HookedVLM.from_pretrained("shapes-vlm", image_backend=None)
    assert pixels(own).equal(found[record(own)["image_backend"]])


def test_a_backend_goes_with_settings_of_the_processor():
    how = {"processor_options": {"max_pixels": 6272}, "image_backend": "pil"}
    vlm = HookedVLM.from_pretrained("tiny-qwen2_vl", **how)
    assert image_backend(vlm.processor.image_processor) == "pil"
    assert len(pixels(vlm)) < len(pixels(HookedVLM.from_pretrained("tiny-qwen2_vl", image_backend="pil")))


def test_what_there_is_not_is_refused_and_the_advice_works():
    with pytest.raises(InputError, match="'opencv' is not known: give pil or torchvision"):
        HookedVLM.from_pretrained("shapes-vlm", image_backend="opencv")

    vlm = HookedVLM.from_pretrained("shapes-vlm")
    own = vlm.processor.image_processor
    vlm.processor.image_processor = type("OwnImageProcessor", (type(own),), {})(**own.to_dict())
    with pytest.raises(InputError, match="OwnImageProcessor, which transformers does not have .* say torchvision"):
        with_image_backend(vlm.processor, "pil")
    with_image_backend(vlm.processor, "torchvision")
    assert type(vlm.processor.image_processor).__name__ == "OwnImageProcessor"
    with pytest.raises(InputError, match="image_backend are for loading"):
        AnalyzeRequest(model=vlm, image_backend="pil")


def test_a_backend_for_a_while_is_gone_afterwards_also_when_something_fails():
    vlm = HookedVLM.from_pretrained("shapes-vlm")
    before = vlm.processor.image_processor
    with pytest.raises(KeyError), on_image_backend(vlm.processor, "pil"):
        assert record(vlm)["image_backend"] == "pil"
        raise KeyError
    assert vlm.processor.image_processor is before
