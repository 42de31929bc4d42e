"""A prompt that goes on from what a cache holds: its rows, and edits of them, are those of one pass of both turns."""

import copy

import pytest
import tiny
import torch

from interp.compat import cache_in, cache_name
from interp.errors import HookError
from interp.intervene.image_logits import ScaleImageLogits
from interp.intervene.image_tokens import ScaleImageNorms
from interp.intervene.patch import Patch
from interp.model.features import ImageFeatures
from interp.model.hooked_vlm import HookedVLM

NAME = "blocks.1.attn.hook_pattern"
MORE, ONE = torch.tensor([[11, 12, 13]]), torch.tensor([[14]])
LAST, AFTER = ScaleImageLogits(-50, mode="add"), ScaleImageLogits(-50, mode="add", rows="after_image")


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3"])
def vlm(request):
    with torch.no_grad():
        yield HookedVLM.from_pretrained(request.param, dtype="float32", self_check=False)


@pytest.fixture(scope="module")
def first(vlm):
    return vlm.prepare(tiny.photo(), "Where is the mug?", prompt="paper")


def turn(vlm, ids, cache=None, **tensors):
    """What is said of more ids, and the cache that they leave."""
    kept = {} if cache is None else {cache_name(vlm.model): cache}
    output = vlm.model(input_ids=ids, use_cache=True, **kept, **tensors)
    return output.logits, cache_in(output)


def begun(vlm, first):
    tensors = {name: own for name, own in first.tensors.items() if name != "input_ids"}
    return turn(vlm, first.input_ids, **tensors)[1]


def both(first, *more):
    """The tensors of both turns as one prompt."""
    return tiny.with_ids(first, torch.cat([first.input_ids, *more], 1))


class Seen(dict):
    """A hook function that notes of each position what it shows."""

    def __call__(self, tensor, hook):
        for place, row in enumerate(hook.rows):
            self[row + hook.now.offset] = tensor[:, :, place].clone()


def seen(vlm, rows, run):
    noted = Seen()
    with vlm.hooks([(NAME, noted)], query_rows=rows):
        run()
    return noted


def close(ours, wanted):
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=2e-5)


def test_rows_of_a_second_turn_are_those_of_one_pass_of_both(vlm, first):
    length = first.input_ids.shape[1]
    end = length + 3
    whole = seen(vlm, "all", lambda: vlm.model(**both(first, MORE, ONE), use_cache=False))

    def second():
        _, cache = turn(vlm, MORE, begun(vlm, first))
        turn(vlm, ONE, cache)

    found = {
        "last": [length - 1, end - 1],
        "decoded": [end],
        "generated": [length - 1, end - 1, end],
        "all": list(range(end + 1)),
        (5, -1): [5, length - 1, end - 1],
    }
    for rows, places in found.items():
        noted = seen(vlm, rows, second)
        assert sorted(noted) == places
        for place in places:
            close(noted[place], whole[place][..., : noted[place].shape[-1]])


@pytest.mark.parametrize("kept", ["as it is", "a deep copy", "after another prompt", "of a run without hooks"])
def test_a_cache_knows_its_prompt_wherever_it_goes(vlm, first, kept):
    length, cache = first.input_ids.shape[1], begun(vlm, first)
    if kept == "a deep copy":
        cache = copy.deepcopy(cache)
    if kept == "after another prompt":
        vlm(vlm.prepare(tiny.photo(1), "Is the small cup on the left of the big table?", prompt="paper"))
    if kept == "of a run without hooks":
        with vlm.paused():
            cache = begun(vlm, first)
    for rows, places in {"decoded": [length], "last": []}.items():
        assert sorted(seen(vlm, rows, lambda: turn(vlm, ONE, copy.deepcopy(cache)))) == places


def test_what_was_cut_off_a_cache_and_said_anew_is_the_prompt(vlm, first):
    length, cache = first.input_ids.shape[1], begun(vlm, first)
    if vlm.family.name == "gemma3":
        pytest.skip("a cache that drops keys behind its window can not be cut")
    turn(vlm, MORE, cache)
    cache.crop(-4)
    assert sorted(seen(vlm, "last", lambda: turn(vlm, first.input_ids[:, -1:], cache))) == [length - 1]
    cache.crop(-1)
    assert sorted(seen(vlm, "last", lambda: turn(vlm, MORE, cache))) == [length + 1]


@pytest.mark.parametrize("given", ["everything", "one token more"])
def test_generate_that_goes_on_from_a_cache_has_the_whole_prompt(vlm, first, given):
    more = MORE if given == "everything" else ONE
    told, end = both(first, more), first.input_ids.shape[1] + more.shape[1]
    told = {name: own for name, own in told.items() if not name.startswith(("pixel", "image"))}
    kept = {cache_name(vlm.model): begun(vlm, first)}
    noted = seen(vlm, "generated", lambda: vlm.model.generate(**told, **kept, max_new_tokens=3, min_new_tokens=3))
    assert sorted(noted) == [end - 1, end, end + 1]


def test_the_last_row_of_a_second_turn_is_edited_as_in_one_pass_of_both(vlm, first):
    """Made for the first turn, an intervention knows where the image is, and which row is the last."""
    length, name = first.input_ids.shape[1], "blocks.{}.attn.hook_attn_logits"

    def hide(tensor, hook):
        tensor[:, :, -1:, first.layouts[0].image_positions] -= 50
        return tensor

    hiding = [(name.format(layer), hide) for layer in range(vlm.cfg.n_layers)]
    with vlm.hooks(hiding, query_rows=[-1]):
        wanted = vlm.model(**both(first, MORE), use_cache=False).logits[:, length:]
    cache = begun(vlm, first)
    plain = turn(vlm, MORE, copy.deepcopy(cache))[0]
    for edit in (LAST, ScaleImageLogits(-50, mode="add", rows="generated")):
        with vlm.intervene(edit, first):
            got = turn(vlm, MORE, copy.deepcopy(cache))[0]
        close(got, wanted)
        close(got[:, :-1], plain[:, :-1])
        assert (got[:, -1] - plain[:, -1]).abs().max() > 1e-2


def test_what_would_edit_rows_that_are_cached_already_is_refused(vlm, first):
    norms, early = ScaleImageNorms(scale=0.5), ScaleImageLogits(3.0, rows=(first.layouts[0].last - 1,))
    cache = begun(vlm, first)
    for edit in (norms, early):
        with pytest.raises(HookError, match="not on when it was filled"), vlm.intervene(edit, first):
            turn(vlm, MORE, copy.deepcopy(cache))
    for edit in (norms, early, LAST):
        with pytest.raises(HookError, match="not on when it was filled"), vlm.intervene(edit, first):
            turn(vlm, ONE, copy.deepcopy(cache))
    with pytest.raises(HookError, match="goes on to"), vlm.intervene(AFTER, first):
        turn(vlm, MORE, begun(vlm, first))


def test_what_was_on_when_the_cache_was_filled_is_on_in_the_second_turn(vlm, first):
    edit = ScaleImageNorms(scale=0.5)
    with vlm.intervene(edit, first):
        whole = vlm.model(**first.tensors, use_cache=False).logits
        got, cache = turn(vlm, MORE, begun(vlm, first))
        turn(vlm, ONE, cache)
        close(turn(vlm, MORE, begun(vlm, first))[0], got)
    assert whole.shape[1] == first.input_ids.shape[1]
    assert not torch.allclose(got, turn(vlm, MORE, begun(vlm, first))[0], atol=1e-3)


def test_features_of_photos_stay_on_over_two_turns(vlm, first):
    features = ImageFeatures.capture(vlm, first)
    plain = turn(vlm, MORE, begun(vlm, first))[0]
    with features.under() as blind:
        close(turn(vlm, MORE, begun(vlm, blind))[0], plain)


def test_a_cache_of_another_prompt_is_told_from_that_of_the_same_length(vlm, first):
    """What an intervention holds of each sample is of its own prompts alone, whatever ran before."""
    other = vlm.prepare(tiny.photo(), "Where is the cup?", prompt="paper")
    assert other.input_ids.shape == first.input_ids.shape and not torch.equal(other.input_ids, first.input_ids)
    patch = Patch("blocks.0.hook_resid_pre", "last", torch.zeros(1, vlm.cfg.d_model))
    for ids in (MORE, ONE):
        with pytest.raises(HookError, match="other prompts"), vlm.intervene(patch, first):
            turn(vlm, ids, begun(vlm, other))
    with vlm.intervene(patch, first):
        turn(vlm, MORE, begun(vlm, first))


def test_an_intervention_made_for_both_turns_edits_the_second_as_one_pass_of_both(vlm, first):
    tensors = {name: own[:, :-3] if own.shape == first.input_ids.shape else own for name, own in first.tensors.items()}
    cache = cache_in(vlm.model(**tensors, use_cache=True))
    for edit in (LAST, ScaleImageLogits(-50, mode="add", rows=(-3, -1))):
        with vlm.intervene(edit, first):
            wanted = vlm(first).logits[:, -3:]
            close(turn(vlm, first.input_ids[:, -3:], copy.deepcopy(cache))[0], wanted)
        assert not torch.allclose(wanted, vlm(first).logits[:, -3:], atol=1e-3)
    with pytest.raises(HookError, match="not on when it was filled"), vlm.intervene(AFTER, first):
        turn(vlm, first.input_ids[:, -3:], copy.deepcopy(cache))
