"""Queries of steps on models: the whole query is the prompt's question, and text alone needs an image to be asked."""

import pytest
from PIL import Image

from interp import HookedVLM
from interp.errors import InputError
from probes import Step, SteppedQuestion, collect_heads, step_queries, step_samples, synthetic_steps
from probes.heads.functions import FUNCTIONS
from probes.study.run import check_asked, measure_samples


def of_text():
    step = Step("What is the capital of France?", "Paris", ("recall",))
    return SteppedQuestion("text", "CogQA", (), "Has the capital of France five letters?", "yes", (step,))


@pytest.mark.parametrize("name", ["shapes-vlm", "tiny-llava", "tiny-qwen2_5_vl"])
def test_that_a_study_can_ask_every_step_and_finds_the_whole_query_as_the_question(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    samples = step_samples(synthetic_steps(1))
    check_asked(vlm, samples, "chat", progress=False)
    inputs = vlm.prepare([sample.image for sample in samples], [sample.question for sample in samples])
    for sample, layout, ids in zip(samples, inputs.layouts, inputs.input_ids, strict=True):
        asked = ids[layout.positions("question", "template")]
        words = vlm.processor.tokenizer(sample.question, add_special_tokens=False)["input_ids"]
        assert len(asked) >= len(words) - 2 and set(words) <= set(ids.tolist())


class Counted:
    """A measurement that says of each sample which function it is of."""

    def __init__(self, vlm):
        self.vlm = vlm

    def recorded(self):
        return {"measure": "functions"}

    def check(self, samples, *, progress=True):
        check_asked(self.vlm, samples, "chat", progress=False)

    def __call__(self, samples):
        return [[{"function": sample.meta["function"]}] for sample in samples]


def test_that_the_study_runner_carries_functions_and_groups_and_can_go_on(tmp_path):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    samples = step_samples(synthetic_steps(3))
    table, _ = measure_samples(samples, Counted(vlm), "steps", out=tmp_path, progress=False)
    again, _ = measure_samples(samples, Counted(vlm), "steps", out=tmp_path, resume=True, progress=False)
    assert sorted(table["function"].unique()) == sorted(FUNCTIONS) and len(table) == len(again) == 24
    assert sorted(table["id"].unique()) == sorted(sample.id for sample in samples)


def test_that_no_family_is_asked_without_an_image():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    text = step_queries([of_text()])[0].text
    with pytest.raises(InputError):
        vlm.prepare(None, text)
    with pytest.raises(InputError, match="0 images instead of one"):
        vlm.prepare(Image.new("RGB", (8, 8)), text, prompt="raw")


def test_questions_in_the_place_of_samples_are_refused_with_what_makes_samples_of_them(tmp_path):
    vlm = HookedVLM.from_pretrained("shapes-vlm", self_check=False)
    with pytest.raises(InputError, match=r"is a SteppedQuestion: give probes\.step_samples\(questions\)"):
        collect_heads(vlm, synthetic_steps(2), out=tmp_path / "z", progress=False)
