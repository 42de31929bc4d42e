"""Requests of a harness are answered as this toolkit answers, under any policy, or refused before the first run."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from adaptvis import AdaptVis, Baseline, ScalingVis, answer_batch
from adaptvis.harness.answers import Answers
from adaptvis.harness.settings import Always, read_settings
from interp import HookedVLM, Knockout, Prefix, ReplaceImageTokens, ScaleHeads, ScaleImageLogits
from interp.datasets.synthetic.shapes import shapes
from interp.errors import InputError
from interp.model.forced import forced_tokens
from interp.model.guided import generate_until, score_answers
from interp.model.processor_options import on_image_backend

SCENES = shapes(6, seed=0, kinds=("relation",))
QUESTIONS = [scene.question for scene in SCENES]


@pytest.fixture(scope="module")
def vlm():
    return HookedVLM.from_pretrained("shapes-vlm", dtype="float32", self_check=False)


def task(context="{}", photos=lambda document: [document.image], **settings):
    """Requests as lmms-eval's `args`, and the documents."""
    requests = [
        (context.format(scene.question), dict(settings), photos, place, "scenes", "test")
        for place, scene in enumerate(SCENES)
    ]
    return requests, {"scenes": {"test": SCENES}}


POLICIES = [Baseline(), ScalingVis(0.3), ScalingVis(1.0, mode="add"), AdaptVis(0.3, 1.8, 0.9)]


@pytest.mark.parametrize("policy", POLICIES, ids=str)
@pytest.mark.parametrize("batch", [1, 4])
def test_answers_are_those_of_the_toolkit(vlm, policy, batch):
    found = Answers(vlm, policy, prompt="paper", batch=batch).generate_until(*task(max_new_tokens=4))
    inputs = vlm.prepare([scene.image for scene in SCENES], QUESTIONS, prompt="paper")
    assert found == [answer.text for answer in answer_batch(vlm, inputs, policy, max_new_tokens=4)]


def test_policies_make_a_difference_here(vlm):
    every = [tuple(Answers(vlm, one, prompt="paper").generate_until(*task(max_new_tokens=2))) for one in POLICIES]
    far = Answers(vlm, ScalingVis(-8.0), prompt="paper").generate_until(*task(max_new_tokens=2))
    assert tuple(far) != every[0]


def test_any_intervention_is_asked_and_of_earlier_rows_too(vlm):
    heads = ScaleHeads(((2, 1), (3, 0)), factor=0)
    found = Answers(vlm, Always(heads), prompt="paper", batch=3).generate_until(*task(max_new_tokens=3))
    inputs = vlm.prepare([scene.image for scene in SCENES], QUESTIONS, prompt="paper")
    assert found == list(vlm.generate(inputs, 3, intervention=heads).texts)


def test_an_answer_ends_before_the_first_stop(vlm):
    requests, tasks = task(max_new_tokens=8)
    (whole, *_) = Answers(vlm, Baseline(), prompt="paper").generate_until(requests[:1], tasks)
    assert len(whole) > 2
    for stops in (whole[1:3], [whole[2:], whole[1]], [whole[0]], ["no such words", whole[-1]]):
        own = [(*requests[0][:1], {"until": stops, "max_new_tokens": 8}, *requests[0][2:])]
        first = min(
            place for stop in ([stops] if isinstance(stops, str) else stops) if (place := whole.find(stop)) >= 0
        )
        assert Answers(vlm, Baseline(), prompt="paper").generate_until(own, tasks) == [whole[:first].strip()]


def test_generation_stops_early_sample_by_sample(vlm):
    inputs = vlm.prepare([scene.image for scene in SCENES[:3]], QUESTIONS[:3], prompt="paper")
    passes = []
    handle = vlm.model.register_forward_hook(lambda *given: passes.append(1))
    whole = vlm.generate(inputs, 6).texts
    usual = len(passes)
    found = generate_until(vlm, inputs, [text[0] for text in whole], max_new_tokens=6)
    handle.remove()
    assert found == ("",) * 3 and len(passes) - usual == 1 <= usual


def naive(vlm, scene, continuation):
    """Log-probabilities of one pass over prompt and continuation."""
    inputs = vlm.prepare(scene.image, scene.question, prompt="paper")
    tokens = list(forced_tokens(vlm, inputs.prompts[0], continuation))
    given = dict(inputs.tensors)
    given["input_ids"] = torch.cat([given["input_ids"], torch.tensor([tokens])], 1)
    given["attention_mask"] = torch.ones_like(given["input_ids"])
    with torch.no_grad():
        logits = vlm.model(**given).logits[0, -len(tokens) - 1 : -1].float().log_softmax(-1)
    greedy = logits.argmax(-1).tolist() == tokens
    return sum(float(row[token]) for row, token in zip(logits, tokens, strict=True)), greedy


@pytest.mark.parametrize("batch", [1, 5])
def test_a_likelihood_is_that_of_one_pass_over_prompt_and_continuation(vlm, batch):
    words = ["left", " right of it", "above the red", "Below", "left", ""]
    requests, tasks = task()
    asked = [(one[0], word, *one[2:]) for one, word in zip(requests, words, strict=True)]
    found = Answers(vlm, Baseline(), prompt="paper", batch=batch).loglikelihood(asked, tasks)
    assert found[-1] == (0.0, True)
    for (value, greedy), scene, word in zip(found[:-1], SCENES, words, strict=False):
        wanted, best = naive(vlm, scene, word)
        assert value == pytest.approx(wanted, abs=1e-3) and greedy == best
    chosen = [(one[0], lambda document: "left", *one[2:]) for one in requests[:1]]
    assert Answers(vlm, Baseline(), prompt="paper").loglikelihood(chosen, tasks)[0] == pytest.approx(found[0], abs=1e-4)


@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_a_likelihood_is_under_the_policy_and_its_greedy_answer_is_greedy(vlm, policy):
    requests, tasks = task(max_new_tokens=3)
    answers = Answers(vlm, policy, prompt="paper", batch=2)
    said = answers.generate_until(requests, tasks)
    asked = [(one[0], text, *one[2:]) for one, text in zip(requests, said, strict=True)]
    found = answers.loglikelihood(asked, tasks)
    assert all(greedy for _, greedy in found)
    inputs = vlm.prepare(SCENES[0].image, QUESTIONS[0], prompt="paper")
    prefix = Prefix(vlm, inputs)
    chosen = policy.choose(prefix.step([ScaleImageLogits(1.0)]).confidence[0][0])
    logits = prefix.step([chosen]).logits[0, 0].log_softmax(-1)
    token = forced_tokens(vlm, inputs.prompts[0], said[0])[0]
    (chances,), _ = score_answers(vlm, inputs, [[token]], intervention=chosen)
    assert float(chances[0]) == pytest.approx(float(logits[token]), abs=1e-4)


@pytest.mark.parametrize("policy", [Baseline(), ScalingVis(1.0), Always(ScaleHeads(((2, 1),), factor=0.5))], ids=str)
def test_a_question_without_a_photo_is_answered_from_its_words(vlm, policy):
    requests, tasks = task(photos=lambda document: [], max_new_tokens=3)
    answers = Answers(vlm, policy, prompt="raw", batch=4)
    found = answers.generate_until(requests, tasks)
    words = vlm.processor.tokenizer
    if isinstance(policy, Always):
        return
    for text, question in zip(found, QUESTIONS, strict=True):
        given = words(question, return_tensors="pt")
        with torch.no_grad():
            plain = vlm.model.generate(
                input_ids=given["input_ids"], attention_mask=given["attention_mask"], max_new_tokens=3, do_sample=False
            )
        own = plain[0, given["input_ids"].shape[1] :]
        assert words.decode(own, skip_special_tokens=True).strip() == text
    asked = [(one[0], "left", None, *one[3:]) for one in requests]
    assert all(value < 0 for value, _ in answers.loglikelihood(asked, tasks))


def test_an_edit_of_an_image_that_is_not_there_is_refused_with_the_document_before_anything_is_asked(vlm, monkeypatch):
    monkeypatch.setattr(vlm.model, "generate", lambda **given: pytest.fail("something was asked"))
    requests, tasks = task(photos=lambda document: None if document.id == SCENES[3].id else [document.image])
    asked = [(one[0], "left", *one[2:]) for one in requests]
    edits = (
        Knockout(),
        Knockout(rows="after_image"),
        ScaleHeads(((2, 1),), 0, positions="image"),
        ReplaceImageTokens(),
    )
    for policy in (*POLICIES[1:], *map(Always, edits)):
        answers = Answers(vlm, policy, prompt="raw")
        for use, given in ((answers.generate_until, requests), (answers.loglikelihood, asked)):
            with pytest.raises(InputError, match="document 3 of scenes.* without a photo"):
                use(given, tasks)


def refused(vlm, requests, tasks, monkeypatch):
    monkeypatch.setattr(vlm.model, "generate", lambda **given: pytest.fail("something was asked"))
    with pytest.raises(InputError) as error:
        Answers(vlm, Baseline(), prompt="paper").generate_until(requests, tasks)
    return str(error.value)


SETTINGS = [
    ({"do_sample": True}, "do_sample=True"),
    ({"temperature": 0.7}, "temperature=0.7"),
    ({"num_beams": 5}, "num_beams=5"),
    ({"num_return_sequences": 2}, "num_return_sequences=2"),
    ({"repetition_penalty": 1.2}, "repetition_penalty=1.2"),
    ({"zork": 3}, "zork=3, which is not known"),
    ({"max_new_tokens": 0}, "max_new_tokens=0"),
    ({"until": 3}, "until=3"),
    ({"until": ["a", 3]}, "until="),
]


@pytest.mark.parametrize("settings, said", SETTINGS)
def test_what_is_not_greedy_or_not_known_is_refused_before_the_first_answer(vlm, settings, said, monkeypatch):
    requests, tasks = task()
    requests[-1] = (requests[-1][0], settings, *requests[-1][2:])
    message = refused(vlm, requests, tasks, monkeypatch)
    assert said in message and "document 5 of scenes" in message


def test_settings_that_are_greedy_in_other_words_are_taken(vlm):
    for settings in (
        {"do_sample": False, "temperature": 0.7, "top_p": 0.9},
        {"temperature": 0, "top_p": None, "num_beams": 1, "do_sample": True},
        {"temperature": 0.0, "image_aspect_ratio": "original", "until": None},
    ):
        requests, tasks = task(max_new_tokens=1, **settings)
        assert len(Answers(vlm, Baseline(), prompt="paper", batch=6).generate_until(requests, tasks)) == 6


PHOTOS = [
    (lambda document: [document.image, document.image], "shows 2 photos"),
    (lambda document: [{"array": [0], "sampling_rate": 9}], "given as dict"),
    (lambda document: ["/no/such/video.mp4"], "video.mp4"),
    (lambda document: [np.zeros((4, 4, 9))], "document 0 of scenes"),
]


@pytest.mark.parametrize("photos, said", PHOTOS)
def test_what_is_not_one_photo_or_none_is_refused_before_the_first_answer(vlm, photos, said, monkeypatch):
    assert said in refused(vlm, *task(photos=photos), monkeypatch)


def test_a_mark_of_the_photo_before_the_words_is_the_prompts_own_and_elsewhere_refused(vlm, monkeypatch):
    usual = Answers(vlm, Baseline(), prompt="paper").generate_until(*task(max_new_tokens=2))
    marked = Answers(vlm, Baseline(), prompt="paper").generate_until(*task("<image>\n{}", max_new_tokens=2))
    assert marked == usual
    assert "within its words" in refused(vlm, *task("{} <image>"), monkeypatch)
    assert "shows no photo" in refused(vlm, *task("<image> {}", photos=lambda document: []), monkeypatch)
    assert "question in words" in refused(vlm, *task(" "), monkeypatch)


MADE = ScaleHeads(((2, 1),), factor=0)


def of_model(vlm):
    return ScaleHeads(((vlm.cfg.n_layers - 1, 0),), factor=0.5)


def test_settings_are_read_from_words_and_objects(vlm, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "own_heads", SimpleNamespace(MADE=MADE, of_model=of_model))

    def policy(**given):
        return read_settings({"model": vlm, **given})[1]

    assert policy() == Baseline() and policy(policy="scaling", alpha=0.3) == ScalingVis(0.3)
    assert policy(policy="adaptvis", threshold=0.9, layers="2-3") == AdaptVis(threshold=0.9, layers=(2, 3))
    assert policy(policy="scaling", layers="1;3", heads=2) == ScalingVis(0.5, layers=(1, 3), heads=(2,))
    assert policy(policy=AdaptVis(0.1)) == AdaptVis(0.1) and policy(intervention=MADE) == Always(MADE)
    assert policy(intervention="own_heads:MADE") == Always(MADE)
    assert policy(intervention="own_heads:of_model") == Always(of_model(vlm))
    assert read_settings({"model": vlm, "batch_size": "4", "max_batch_size": None})[2]["batch"] == 4
    own, _, _ = read_settings({"pretrained": "tiny-qwen2_vl", "processor": json.dumps({"max_pixels": 6272})})
    assert own.origin["processor"] == {"max_pixels": 6272}


WRONG = [
    ({"polciy": "scaling"}, "polciy is no setting"),
    ({"policy": "scalling"}, "use one of baseline, scaling"),
    ({"policy": "vcd"}, "use one of baseline, scaling"),
    ({"policy": "scaling", "alpha_sure": 2.0}, "does not take alpha_sure"),
    ({"alpha": 0.5}, "baseline does not take alpha"),
    ({"policy": "scaling", "alpha": "half"}, "alpha='half' is no number"),
    ({"layers": 2}, "baseline does not take layers"),
    ({"policy": AdaptVis}, "a policy that was made"),
    ({"policy": AdaptVis(), "alpha_sure": 2.0}, "a policy that was made"),
    ({"policy": "adaptvis", "confidence": "options"}, "options of a question"),
    ({"intervention": "nowhere"}, "MODULE:NAME"),
    ({"intervention": "no_such_module:heads"}, "can not be imported"),
    ({"intervention": 3}, "no intervention"),
    ({"intervention": ScaleHeads}, "class"),
    ({"intervention": MADE, "policy": "scaling"}, "the one or the other"),
    ({"batch_size": "auto"}, "whole number from 1"),
    ({"dtype": "bfloat16"}, "loaded already"),
    ({"pretrained": "shapes-vlm"}, "the same setting"),
]


@pytest.mark.parametrize("given, said", WRONG)
def test_settings_that_mean_nothing_are_refused(vlm, given, said):
    with pytest.raises(InputError, match=said):
        read_settings({"model": vlm, **given})


def test_a_name_to_keep_answers_by_tells_apart_what_answers_differently(vlm):
    names = {Answers(vlm, policy, prompt=style).name for policy in POLICIES for style in ("chat", "paper")}
    assert len(names) == 2 * len(POLICIES)


def test_a_name_to_keep_answers_by_says_what_resizes_photos(vlm):
    names = []
    for backend in ("pil", "torchvision"):
        with on_image_backend(vlm.processor, backend):
            names.append(Answers(vlm, POLICIES[0]).name)
    assert "pil" in names[0] and "torchvision" in names[1] and names[0] != names[1]
