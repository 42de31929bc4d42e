"""Rows mean the same however a prompt is run: whole, in parts, behind what a cache holds, with guesses behind it."""

import pytest
import tiny
import torch

from interp.compat import Generating, cache_name
from interp.errors import HookError
from interp.intervene.base import PerSample
from interp.intervene.heads import ScaleHeads
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.image_tokens import ScaleImageNorms
from interp.intervene.knockout import Knockout
from interp.intervene.patch import Patch
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
    told = tiny.with_ids(inputs, sequences)
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


# what is refused, or has to be told apart -----------------------------------------------------------------------


def test_a_photo_that_may_come_in_parts_is_not_edited(asked):
    vlm, inputs = asked
    edit = ScaleImageNorms(scale=0.5)
    with vlm.intervene(edit, inputs):
        wanted = torch.stack(made(vlm, inputs).logits)
        for way in ({"prompt_lookup_num_tokens": 3}, {"use_cache": False}, {"prefill_chunk_size": 500}):
            close(torch.stack(made(vlm, inputs, **way).logits), wanted)
        with pytest.raises(HookError, match="leave out prefill_chunk_size"):
            made(vlm, inputs, prefill_chunk_size=16)


def test_another_prompt_is_told_apart_in_the_chunk_where_it_differs(asked):
    vlm, inputs = asked
    other = vlm.prepare(tiny.photo(), QUESTION.replace("mug", "cup"), prompt="paper")
    assert other.input_ids.shape == inputs.input_ids.shape and not torch.equal(other.input_ids, inputs.input_ids)
    two = vlm.prepare([tiny.photo()] * 2, [QUESTION, QUESTION.replace("mug", "cup")], prompt="paper")
    for edit in (PerSample((EDITS["generated"],)), EDITS["generated"]):
        with vlm.intervene(edit, inputs), pytest.raises(HookError, match="was made for 1"):
            made(vlm, two, prefill_chunk_size=16)
    rows = torch.zeros(1, 2, vlm.cfg.d_model)
    patch = Patch("blocks.0.hook_resid_pre", (-2, -1), rows)
    for way in WAYS:
        with vlm.intervene(patch, inputs), pytest.raises(HookError, match="other prompts of the same length"):
            made(vlm, other, **way)


@pytest.mark.parametrize("way", [{"prefill_chunk_size": 16}, {"use_cache": False}], ids=str)
@pytest.mark.parametrize("expansion", [{"num_beams": 3}, {"num_return_sequences": 2, "do_sample": True}], ids=str)
def test_beams_and_returned_sequences_are_edited_in_every_part_of_a_prompt(asked, way, expansion):
    vlm, _ = asked
    inputs = vlm.prepare([tiny.photo(3), tiny.photo(4)], [QUESTION, "Is the small cup on the left?"], prompt="paper")
    edits = PerSample((ScaleImageLogits(-50, mode="add"), ScaleImageLogits(3.0, rows="after_image")))
    settings = {**SETTINGS, **expansion, **way}
    with torch.no_grad(), vlm.intervene(edits, inputs):
        wanted = vlm(inputs).logits[:, -1]
        first = vlm.model.generate(**inputs.tensors, **settings).logits[0]
    close(first, wanted.repeat_interleave(len(first) // 2, 0))


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("tiny-paligemma", {"prefill_chunk_size": 16}),
        ("tiny-paligemma", {"prompt_lookup_num_tokens": 3}),
        ("tiny-gemma3", {"prefill_chunk_size": 16}),
    ],
)
def test_parts_of_a_prompt_whose_rows_see_keys_behind_them_are_refused(name, way):
    vlm = HookedVLM.from_pretrained(name, dtype="float32", self_check=False)
    inputs = vlm.prepare(tiny.photo(), QUESTION, prompt="paper")
    with vlm.hooks([(NAME, noting({}))]), pytest.raises(HookError, match="see keys behind them"):
        made(vlm, inputs, **way)
    made(vlm, inputs, **way)


def test_generate_inside_of_generate_is_asked_for_the_outer_prompt():
    class Model:
        def generate(self, input_ids=None, inside=None, **kwargs):
            return inside() if inside else generating.prompt()

    model, other = Model(), Model()
    generating, ids = Generating(model), torch.zeros(1, 7, dtype=torch.long)
    assert generating.prompt() is None
    assert model.generate(ids) == 7
    assert other.generate(ids) is None
    assert model.generate(ids, lambda: model.generate(ids[:, :3])) == 7
    assert other.generate(ids, lambda: model.generate(ids[:, :3])) == 3
    assert model.generate(ids, attention_mask=torch.ones(1, 11)) == 11
    assert model.generate(inputs_embeds=torch.zeros(1, 5, 2)) == 5


def test_steps_by_hand_and_steps_with_an_assistant_are_edited_as_those_of_generate(asked):
    vlm, inputs = asked
    assistant = HookedVLM.from_pretrained(f"tiny-{vlm.family.name}", dtype="float32", self_check=False).unwrap()
    with torch.no_grad(), vlm.intervene(EDITS["generated"], inputs):
        wanted = torch.stack(made(vlm, inputs).logits)
        close(torch.stack(made(vlm, inputs, assistant_model=assistant).logits), wanted)
        logits, cache, *_ = vlm.model(**inputs.tensors, use_cache=True, return_dict=False)
        got = [logits[:, -1]]
        for _ in range(4):
            told = {"input_ids": got[-1].argmax(-1)[:, None], cache_name(vlm.model): cache}
            got.append(vlm.model(**told, use_cache=True, return_dict=False)[0][:, -1])
    close(torch.stack(got), wanted)
