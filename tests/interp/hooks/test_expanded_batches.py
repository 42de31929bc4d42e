"""Beams and returned sequences are edited as the sample they come from; a batch that is no such thing is refused."""

import pytest
import tiny
import torch

from interp.errors import HookError
from interp.hooks import passes
from interp.hooks.rows import copies
from interp.intervene.base import PerSample
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM

FAMILIES = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3", "tiny-llava_next")
SAME = ("Where is the mug?",) * 2
RAGGED = ("Where is the mug?", "Is the small cup on the left of the big table?")
EACH = PerSample((ScaleImageLogits(-50, mode="add"), ScaleImageLogits(3.0)))
EDITS = {
    "uniform": ScaleImageLogits(-50, mode="add"),
    "rows of its own": ScaleImageLogits(-50, mode="add", rows="after_image"),
    "per sample": EACH,
    "decoded": ScaleImageLogits(-50, mode="add", rows="generated"),
}
EXPANSIONS = ({"num_beams": 3}, {"num_return_sequences": 2, "do_sample": True})
SETTINGS = {"max_new_tokens": 3, "min_new_tokens": 3, "return_dict_in_generate": True, "output_logits": True}


@pytest.fixture(scope="module", params=FAMILIES)
def vlm(request):
    return HookedVLM.from_pretrained(request.param, dtype="float32", self_check=False)


def batch(vlm, questions):
    return vlm.prepare([tiny.photo(3), tiny.photo(4)], questions, prompt="paper")


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("questions", [SAME, RAGGED], ids=["same", "ragged"])
@pytest.mark.parametrize("expansion", EXPANSIONS, ids=str)
def test_each_row_gets_the_edit_of_its_own_sample(vlm, expansion, questions, edit):
    inputs = batch(vlm, questions)
    settings = {"do_sample": False, **SETTINGS, **expansion}
    with torch.no_grad(), vlm.intervene(EDITS[edit], inputs):
        wanted = vlm(inputs).logits[:, -1]
        made = vlm.model.generate(**inputs.tensors, **settings)
    each = len(made.logits[0]) // 2
    assert each == max(expansion.get("num_beams", 1), expansion.get("num_return_sequences", 1))
    torch.testing.assert_close(made.logits[0], wanted.repeat_interleave(each, 0), rtol=1e-4, atol=1e-4)
    with torch.no_grad():
        plain = vlm.model.generate(**inputs.tensors, **settings)
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in zip(made.logits[0], plain.logits[0], strict=True))


def test_beams_of_a_batch_are_those_of_each_sample_alone(vlm):
    """Beams change places inside their sample alone: tokens and scores of a batch are those of single runs."""
    settings = {**SETTINGS, "num_beams": 3, "do_sample": False, "output_scores": True}
    inputs = batch(vlm, SAME)
    edits = EACH.parts[0], ScaleImageLogits(3.0, rows="generated")
    with vlm.intervene(PerSample(edits), inputs):
        together = vlm.model.generate(**inputs.tensors, **settings)
    for number, (edit, seed) in enumerate(zip(edits, (3, 4), strict=True)):
        single = vlm.prepare(tiny.photo(seed), SAME[0], prompt="paper")
        with vlm.intervene(edit, single):
            alone = vlm.model.generate(**single.tensors, **settings)
        torch.testing.assert_close(together.sequences_scores[number], alone.sequences_scores[0], rtol=1e-4, atol=1e-4)
        assert torch.equal(together.sequences[number, -3:], alone.sequences[0, -3:])


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("questions", [SAME, RAGGED], ids=["same", "ragged"])
def test_a_batch_doubled_in_another_order_or_cut_is_refused(vlm, questions, edit):
    inputs = batch(vlm, questions)
    for tensors in (
        {name: torch.cat([value, value]) for name, value in inputs.tensors.items()},
        {name: value[: len(value) // 2] for name, value in inputs.tensors.items()},
    ):
        with (
            torch.no_grad(),
            pytest.raises(HookError, match="was made for 2"),
            vlm.intervene(EDITS[edit], inputs),
        ):
            vlm.model(**tensors)


def test_copies_are_blocks_of_rows_that_are_alike():
    a, b = [1, 2, 3], [1, 2, 4]
    for rows, wanted in (
        ([a], {1}),
        ([a, b], {1}),
        ([a, a], {1, 2}),
        ([a, a, b, b], {1, 2}),
        ([a, b, a, b], {1}),
        ([a, a, a, b, b, b], {1, 3}),
        ([a, a, a, a], {1, 2, 4}),
    ):
        assert copies(torch.tensor(rows)) == wanted
        embedded = torch.tensor(rows, dtype=torch.float32)[..., None].expand(-1, -1, 5)
        assert copies(embedded) == wanted
        assert copies(embedded.bfloat16()) == wanted
        assert copies(embedded * (1 + 1e-7)) == wanted


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_large_entry_of_the_image_hides_no_other_prompt(dtype):
    torch.manual_seed(0)
    image, texts = torch.randn(1, 4, 64) * 0.02, torch.randn(2, 5, 64) * 0.02
    image[..., 7] = 8.0
    rows = torch.cat([image.expand(2, -1, -1), texts], 1).to(dtype)
    assert copies(rows) == {1}
    assert copies(rows[:1].expand(2, -1, -1)) == {1, 2}
    rounded = rows[:1].repeat(2, 1, 1)
    rounded[1] *= 1 + torch.finfo(dtype).eps  # the last bit of each entry
    assert copies(rounded) == {1, 2}
    other_photo = rows[:1].repeat(2, 1, 1)
    other_photo[1, 2] = -other_photo[1, 2]
    assert copies(other_photo) == {1}
    ids = torch.tensor([[1, 2, 3], [1, 2, 4]])
    assert copies(ids, rounded) == {1}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prompts_with_one_large_entry_are_not_taken_for_copies_by_an_intervention(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", dtype=dtype, self_check=False)
    with torch.no_grad():
        list(vlm.model.model.multi_modal_projector.parameters())[-1][0] = 1e4  # a bias
    one = vlm.prepare(tiny.photo(3), "Where is the mug?", prompt="paper")
    other = vlm.prepare(tiny.photo(3), "Where is the cup?", prompt="paper")
    assert one.input_ids.shape == other.input_ids.shape and not torch.equal(one.input_ids, other.input_ids)
    tensors = {name: torch.cat([value, other.tensors[name]]) for name, value in one.tensors.items()}
    for intervention in (EACH.parts[0], PerSample(EACH.parts[:1])):
        with torch.no_grad(), vlm.intervene(intervention, one), pytest.raises(HookError, match="was made for 1"):
            vlm.model(**tensors)


def test_rows_are_compared_only_where_somebody_may_edit(monkeypatch):
    vlm = tiny.vlm()
    inputs, asked = tiny.inputs(vlm, 2), []
    monkeypatch.setattr(passes, "copies", lambda *given: asked.append(len(given)) or copies(*given))
    vlm(inputs)
    vlm.run_with_cache(inputs)
    assert not asked
    with vlm.intervene(EACH, inputs):
        vlm(inputs)
    assert asked == [2], "ids and embeddings"
