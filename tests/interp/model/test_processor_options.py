"""Processor options are those of transformers' own loading, reach the photo, are recorded, and are refused by name."""

import numpy as np
import pytest
from PIL import Image
from transformers import AutoProcessor

from interp import AnalyzeRequest, HookedVLM
from interp.cli import Parser, add_model_options, load
from interp.compat import own_image_options
from interp.errors import InputError
from interp.model.processor_options import with_options
from interp.model.record import record
from interp.study.run import run_study
from interp.zoo.tiny import build_tiny

PHOTO = Image.fromarray((np.arange(120 * 200 * 3) % 251).astype(np.uint8).reshape(120, 200, 3))

TAKEN = [
    ("tiny-qwen2_vl", {"max_pixels": 6272}, "fewer"),
    ("tiny-qwen2_5_vl", {"max_pixels": 784}, "fewer"),
    ("tiny-qwen3_vl", {"max_pixels": 8192}, "fewer"),
    ("tiny-qwen2_vl", {"min_pixels": 60000, "max_pixels": 70000}, "more"),
    ("tiny-glm4v", {"size": {"shortest_edge": 100, "longest_edge": 20000}}, "fewer"),
    ("tiny-idefics3", {"do_image_splitting": False}, "fewer"),
    ("tiny-smolvlm", {"size": {"longest_edge": 128}}, "fewer"),
    ("tiny-internvl", {"max_patches": 2}, "fewer"),
    ("tiny-mistral3", {"size": {"longest_edge": 84}}, "fewer"),
]

OVER_THE_CALL = [
    ("tiny-internvl", {"crop_to_patches": False}, "fewer"),
    ("tiny-gemma3", {"do_pan_and_scan": True, "pan_and_scan_min_crop_size": 16}, "more"),
]
"""What a processor says at each call, over what its image processor was loaded with: transformers' loading drops it."""


def length(vlm):
    return vlm.prepare(PHOTO, "Where?", prompt="paper").input_ids.shape[1]


@pytest.mark.parametrize("name, options, count", TAKEN + OVER_THE_CALL)
def test_options_are_those_of_transformers_and_reach_the_photo(name, options, count, tmp_path):
    model, processor = build_tiny(name)
    processor.save_pretrained(tmp_path)
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    before = length(vlm)
    vlm.processor = with_options(processor, options)
    after = length(vlm)  # which also holds the grid against the image tokens
    assert after < before if count == "fewer" else after > before
    theirs = AutoProcessor.from_pretrained(tmp_path, **options)
    assert vlm.processor.image_processor.to_dict() == theirs.image_processor.to_dict()
    if (name, options, count) in TAKEN:
        theirs = theirs(images=[[PHOTO]], text=[theirs.image_token], return_tensors="pt")
        ours = vlm.processor(images=[[PHOTO]], text=[processor.image_token], return_tensors="pt")
        assert all(ours[key].equal(value) for key, value in theirs.items() if hasattr(value, "equal"))


REFUSED = [
    ("tiny-llava", {"max_pixels": 300}, "no option 'max_pixels'"),
    ("tiny-llava", {"image_seq_length": 4}, "no option 'image_seq_length'"),
    ("tiny-qwen2_vl", {"do_image_splitting": False}, "no option 'do_image_splitting'"),
    ("tiny-qwen2_vl", {"do_center_crop": True}, "no option 'do_center_crop'"),
    ("tiny-qwen2_vl", {"tokenizer": "x"}, "no option 'tokenizer'"),
    ("tiny-qwen2_vl", {"return_tensors": "np"}, "no option 'return_tensors'"),
    ("tiny-qwen2_vl", {"max_pixel": 784}, "max_pixels"),
    ("tiny-qwen2_vl", {"max_pixels": "many"}, "max_pixels is 'many': give a whole number"),
    ("tiny-qwen2_vl", {"max_pixels": 0}, "give a whole number above 0"),
    ("tiny-qwen2_vl", {"max_pixels": True}, "give a whole number above 0"),
    ("tiny-idefics3", {"do_image_splitting": "no"}, "give true or false"),
    ("tiny-idefics3", {"size": "large"}, "give sizes by name"),
    ("tiny-llava", {"size": {"zork": 3}}, "can not work with size="),
    ("tiny-llava", {"image_mean": "grey"}, "can not work with image_mean="),
    ("tiny-llava", [("size", 3)], "no dict of settings"),
]


@pytest.mark.parametrize("name, options, said", REFUSED)
def test_options_that_a_processor_does_not_have_or_can_not_work_with_are_refused(name, options, said):
    with pytest.raises(InputError, match=said):
        HookedVLM.from_pretrained(name, processor_options=options)


def test_options_are_recorded_and_a_study_goes_on_with_the_same_alone(tmp_path, samples=2):
    from interp.datasets.synthetic.shapes import shapes

    def vlm(**options):
        return HookedVLM.from_pretrained("tiny-qwen2_vl", processor_options=options or None, self_check=False)

    scenes = shapes(samples, seed=0)

    def ask(vlm, resume):
        settings = record(vlm)
        measure = lambda batch: [[{"letters": len(sample.question)}] for sample in batch]  # noqa: E731
        run_study(scenes, measure, tmp_path, settings=settings, resume=resume, progress=False)

    assert record(vlm(max_pixels=6272))["processor"] == {"max_pixels": 6272} and "processor" not in record(vlm())
    ask(vlm(max_pixels=6272), False)
    ask(vlm(max_pixels=6272), True)
    for other in (vlm(), vlm(max_pixels=7056), vlm(max_pixels=6272, min_pixels=784)):
        with pytest.raises(InputError, match="processor"):
            ask(other, True)


def options_of(*given):
    parser = Parser(prog="test")
    add_model_options(parser)
    return parser.parse_args(given)


def test_the_command_line_reads_values_as_json_has_them_or_as_text():
    given = ["max_pixels=50176", "do_pad=false", "do_resize=True", 'size={"longest_edge": 9}', "mode=a=b", "mean=[0.5]"]
    found = options_of(*(part for one in given for part in ("--processor", one))).processor_options
    assert found == {
        "max_pixels": 50176,
        "do_pad": False,
        "do_resize": True,
        "size": {"longest_edge": 9},
        "mode": "a=b",
        "mean": [0.5],
    }
    assert options_of().processor_options is None


@pytest.mark.parametrize("given", [["max_pixels"], ["=3"], ["max_pixels=3", "max_pixels=4"]])
def test_what_is_no_setting_is_refused_on_one_line(given, capsys):
    with pytest.raises(SystemExit) as stop:
        options_of(*(part for one in given for part in ("--processor", one)))
    said = capsys.readouterr().err
    assert stop.value.code == 2 and said.startswith("error: argument --processor") and said.count("\n") == 1


def test_commands_and_requests_load_with_them():
    vlm = load(options_of("--model", "tiny-qwen2_vl", "--processor", "max_pixels=6272"))
    assert vlm.origin["processor"] == {"max_pixels": 6272}
    with pytest.raises(InputError, match="processor_options.* are for loading"):
        AnalyzeRequest(model=vlm, processor_options={"max_pixels": 6272})


def test_an_image_processor_that_does_not_tell_its_options_has_its_attributes_alone():
    class Silent:
        pass

    assert own_image_options(Silent()) == set()
    assert "max_pixels" in own_image_options(build_tiny("tiny-qwen2_vl")[1].image_processor)
