"""Rows mean the same however a prompt is run: whole, in parts, behind what a cache holds, with guesses behind it."""

import pytest
import tiny
import torch

from interp.intervene.heads import ScaleHeads
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.knockout import Knockout
from interp.model.hooked_vlm import HookedVLM

NAME = "blocks.1.attn.hook_pattern"
QUESTION = "Where is the mug?"
SETTINGS = {"do_sample": False, "return_dict_in_generate": True, "output_logits": True}
SETTINGS |= {"max_new_tokens": 5, "min_new_tokens": 5}
WAYS = (
    {"prefill_chunk_size": 16},
    {"prefill_chunk_size": 1},
    {"prompt_lookup_num_tokens": 3},
    {"use_cache": False},
    {"cache_implementation": "static", "disable_compile": True},
)
EDITS = {
    "generated": ScaleImageLogits(-50, mode="add", rows="generated"),
    "after the image": ScaleImageLogits(-50, mode="add", rows="after_image"),
    "before its end": ScaleImageLogits(3.0, rows=(6, 7, -1)),
    "cut": Knockout(rows="after_image", keys="image"),
    "heads": ScaleHeads(((0, 1), (1, 0)), factor=0.0, positions="all"),
}


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl"])
def asked(request):
    vlm = HookedVLM.from_pretrained(request.param, dtype="float32", self_check=False)
    return vlm, vlm.prepare(tiny.photo(), QUESTION, prompt="paper")


def close(ours, wanted):
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-5)


def made(vlm, inputs, **more):
    return vlm.model.generate(**inputs.tensors, **SETTINGS, **more)


def with_ids(inputs, ids):
    """The tensors of a prompt that goes on, with nothing but text behind it."""
    more = ids.shape[1] - inputs.input_ids.shape[1]
    text = {
        name: torch.nn.functional.pad(own, (0, more), value=int(name == "attention_mask"))
        for name, own in inputs.tensors.items()
        if own.shape == inputs.input_ids.shape
    }
    return {**inputs.tensors, **text, "input_ids": ids}


def noting(seen):
    """A hook function that notes which positions it sees, and what of them."""

    def see(tensor, hook):
        for row in hook.rows:
            seen[row + hook.now.offset] = tensor[:, :, list(hook.rows).index(row)]

    return see


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_does_the_same_however_the_prompt_is_run(asked, edit):
    vlm, inputs = asked
    with vlm.intervene(EDITS[edit], inputs):
        wanted = torch.stack(made(vlm, inputs).logits)
        for way in WAYS:
            close(torch.stack(made(vlm, inputs, **way).logits), wanted)
    assert not torch.allclose(wanted, torch.stack(made(vlm, inputs).logits), atol=1e-3)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_rows_are_those_of_one_pass_of_all_that_was_said(asked, way):
    vlm, inputs = asked
    prompt = inputs.input_ids.shape[1]
    sequences = made(vlm, inputs).sequences
    told = with_ids(inputs, sequences)
    whole, end = {}, sequences.shape[1] - 1  # the last token is not run
    with vlm.hooks([(NAME, noting(whole))], query_rows="all"):
        vlm.model(**told, use_cache=False)
    wanted = {
        "last": [prompt - 1],
        "all": list(range(end)),
        "decoded": list(range(prompt, end)),
        "generated": list(range(prompt - 1, end)),
        (3, -2): [3, prompt - 2],
    }
    for rows, places in wanted.items():
        seen = {}
        with vlm.hooks([(NAME, noting(seen))], query_rows=rows):
            made(vlm, inputs, **way)
        assert [place for place in sorted(seen) if place < end] == places
        for place in places:
            own = whole[place][..., : seen[place].shape[-1]]
            close(seen[place][..., : own.shape[-1]], own)
