"""A system prompt is given, found and left out in every family's chat template, or refused by name."""

import numpy as np
import pytest
import tiny
from PIL import Image

from interp import HookedVLM
from interp.errors import InputError, RefusedError
from interp.prompt.inputs import prepare
from interp.prompt.system import cut_head, without_system
from interp.zoo.tiny import TINY

VICUNA = "A chat between a curious user and an assistant."
CHATTING = [name for name in TINY if "paligemma" not in name]
WITH_OWN = {"tiny-qwen2_vl": "You are a helpful assistant.", "tiny-qwen2_5_vl": "You are a helpful assistant.",
            "tiny-mistral3": "You answer briefly."}  # fmt: skip


def asked(vlm, system, question="Where is the mug?"):
    return vlm.prepare(Image.new("RGB", (64, 64), "grey"), question, system=system)


def text_of(vlm, inputs, *kinds):
    ids = inputs.input_ids[0][inputs.layouts[0].positions(*kinds)]
    return vlm.processor.tokenizer.decode(ids)


@pytest.mark.parametrize("name", CHATTING)
def test_a_given_system_prompt_is_the_system_part_and_leaving_it_out_undoes_it(name):
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    plain, given, bare = (asked(vlm, system) for system in (None, VICUNA, ""))
    assert VICUNA in text_of(vlm, given, "system") and not len(bare.layouts[0].positions("system"))
    own = WITH_OWN.get(name)
    assert (own in text_of(vlm, plain, "system")) if own else plain.prompts == bare.prompts
    kept = [kind for kind in given.layouts[0].kinds if kind != "system"]
    rest = [token for kind, token in zip(given.layouts[0].kinds, given.layouts[0].tokens, strict=True)
            if kind in ("bos", "image", "question", "template")]  # fmt: skip
    alike = [token for kind, token in zip(bare.layouts[0].kinds, bare.layouts[0].tokens, strict=True)
             if kind in ("bos", "image", "question", "template")]  # fmt: skip
    assert "".join(rest).replace("Ċ", "") == "".join(alike).replace("Ċ", "")  # line breaks merge with each other
    assert kept.count("image") == list(bare.layouts[0].kinds).count("image")
    for inputs in (given, bare):
        assert np.isfinite(vlm.generate(inputs, 1).confidence).all()


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for message in messages if message['role'] == 'user' %}USER: <image> hello{% endfor %}", "leaves it out"),
        ("{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}<image> a",
         "no system role"),
        ("{% for message in messages %}{{ 'USER: <image>' if message['role'] == 'user' else 'ASSISTANT: ' }}"
         "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}{% endfor %}",
         "as the assistant's"),
    ],
    ids=["silent", "raises", "answer"],
)  # fmt: skip
def test_a_template_that_takes_none_is_refused_by_name(template, why):
    processor = tiny.processor()
    processor.chat_template = template
    with pytest.raises(RefusedError, match=f"takes no system prompt .*{why}"):
        prepare(tiny.model(), processor, tiny.photo(), "Where is the mug?", system=VICUNA)


@pytest.mark.parametrize("written", ["messages[0]['content'] + ' '", "messages[0]['content'] ~ ' '"])
def test_a_template_that_takes_plain_text_gets_plain_text(written):
    """The first fails with parts, the second writes the list itself."""
    processor = tiny.processor()
    processor.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ " + written + " }}{% endif %}USER: <image>\n"
        "{{ messages[-1]['content'][1]['text'] }} ASSISTANT:"
    )
    found = prepare(tiny.model(), processor, tiny.photo(), "Where is the mug?", system=VICUNA)
    assert found.prompts == (f"{VICUNA} USER: <image>\nWhere is the mug? ASSISTANT:",)


@pytest.mark.parametrize(
    ("system", "prompt", "why"),
    [
        (VICUNA, "paper", "has none; only prompt='chat'"),
        (VICUNA, "raw", "write it into the prompt"),
        ("  ", "chat", "is no text"),
        (3, "chat", "is no text"),
        ("ROLE:", "chat", "can not be told"),
    ],
)
def test_what_can_not_be_a_system_prompt_is_refused(system, prompt, why):
    vlm = HookedVLM.from_pretrained("tiny-gemma3", self_check=False)
    question = "<start_of_image> Where?" if prompt == "raw" else "Where is the mug?"
    with pytest.raises(InputError, match=why):
        vlm.prepare(tiny.photo(), question, prompt=prompt, system=system)


def test_a_raw_prompt_loses_what_stands_before_its_role_word():
    found = prepare(tiny.model(), tiny.processor(), tiny.photo(), f"{VICUNA} USER: <image>\nWhere? ASSISTANT:",
                    prompt="raw", system="")  # fmt: skip
    assert found.prompts == ("USER: <image>\nWhere? ASSISTANT:",)


@pytest.mark.parametrize(
    ("head", "bare"),
    [
        ("<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user"
         "<|end_header_id|>\n\n", "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n"),
        ("[gMASK]<sop><|system|>\nBe kind.<|user|>\n", "[gMASK]<sop><|user|>\n"),
        ("[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\n", "[INST] "),
        ("<|im_start|>system \nBe kind.<|im_end|><|im_start|>user ", "<|im_start|>user "),
        ("<s>[SYSTEM_PROMPT]Be kind.[/SYSTEM_PROMPT][INST]", "<s>[INST]"),
    ],
)  # fmt: skip
def test_of_every_format_the_turn_of_the_user_is_left(head, bare):
    bos = "<|begin_of_text|>" if "eot" in head else "<s>"
    for text, wanted in ((head, bare), (bare, bare)):
        prompt = f"{text}<image>Where?"
        assert without_system(prompt, "Where?", "<image>", bos=bos) == f"{wanted}<image>Where?"
    empty = cut_head(f"{bare}<image>Where?", "Where?", "<image>", bos=bos)
    assert empty.begin == empty.end
