"""Image tokens permuted and scaled: against loops, recorded values, single runs and finite differences."""

import numpy as np
import pytest
import tiny
import torch
from golden import golden, golden_llava
from ragged import loaded, ragged

from interp import Prefix
from interp.errors import HookError, InputError
from interp.hooks.shape import ModelShape
from interp.intervene.base import PerSample
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_tokens import WITHIN, PermuteImageTokens, ScaleImageNorms, check_seeds, permute_image_tokens
from interp.prompt.layout import TokenLayout
from interp.zoo.tiny import TINY

SOME = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next")


def shown(vlm, inputs, intervention=None):
    """What the language model receives, [image_token d_model], and the logits."""
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT, intervention=intervention)
    return cache[IMAGE_POINT], output.logits


def of_photos(vlm, inputs, tensor):
    """Each photo's rows of the tensor, and which of them are image tokens, from the ids alone."""
    image, start, found = vlm.model.config.image_token_id, 0, []
    for ids, layout in zip(inputs.input_ids.tolist(), inputs.layouts, strict=True):
        places = [place for place, token in enumerate(ids) if token == image]
        own = [places.index(place) for place in layout.image_positions]
        found.append((tensor[start : start + len(places)], own))
        start += len(places)
    assert start == len(tensor)
    return found


@pytest.mark.parametrize("name", TINY)
def test_each_slot_gets_the_content_that_the_order_says_and_row_ends_stay(name):
    vlm, inputs = loaded(name, 3)
    before, plain = shown(vlm, inputs)
    edit = permute_image_tokens(inputs.grids, 4)
    after, logits = shown(vlm, inputs, edit)
    parts = edit.parts if isinstance(edit, PerSample) else (edit,) * 3
    both = zip(of_photos(vlm, inputs, before), of_photos(vlm, inputs, after), strict=True)
    for part, grid, ((old, own), (new, _)) in zip(parts, inputs.grids, both, strict=True):
        if not isinstance(part, PermuteImageTokens):
            continue
        for slot in range(len(old)):
            source = own[part.order[own.index(slot)]] if slot in own else slot
            assert torch.equal(new[slot], old[source])
        assert sorted(part.order) == list(range(len(grid))) and (grid.view == grid.view[part.order]).all()
    assert (logits[:, -1] - plain[:, -1]).abs().amax(-1).min() > 1e-3  # of every photo


def test_logits_and_draws_are_those_recorded_from_the_papers_code():
    recorded = np.load(golden("permutation") / "permutation.npz")
    vlm, inputs = golden_llava()
    for seed in range(3):
        edit = permute_image_tokens(inputs.grids, seed)
        after, logits = shown(vlm, inputs, edit)
        assert edit.order.tolist() == recorded[f"seed{seed}.perm"].tolist()
        assert np.abs(logits[0, -1].numpy() - recorded[f"seed{seed}.logits_last"]).max() < 1e-4
        features = after.reshape(3, 64, 64)[:2].numpy()
        assert np.abs(features - recorded[f"seed{seed}.features_2images"]).max() < 1e-4
    assert np.abs(shown(vlm, inputs)[1][0, -1].numpy() - recorded["orig.logits_last"]).max() < 1e-4


@pytest.mark.parametrize("name", SOME)
def test_a_photo_is_permuted_alike_alone_and_in_a_batch(name):
    vlm, inputs = loaded(name, 3)
    together = shown(vlm, inputs, permute_image_tokens(inputs.grids, 7))[1][:, -1]
    for place in range(3):
        alone = ragged(vlm, [place])
        single = shown(vlm, alone, permute_image_tokens(alone.grids[0], 7))[1][0, -1]
        torch.testing.assert_close(together[place], single, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("within", WITHIN)
def test_contents_stay_inside_what_they_may_move_in(within):
    vlm, inputs = loaded("tiny-llava_next", 1)
    (grid,) = inputs.grids
    width, height = grid.image_size
    box = [(0, 0, width * 0.6, height * 0.6)]
    edit = permute_image_tokens(grid, 3, within=within, boxes=box if within in ("boxes", "outside") else None)
    moved = edit.order != np.arange(len(grid))
    assert moved.any() and (grid.view == grid.view[edit.order]).all()
    inside = np.isin(np.arange(len(grid)), grid.tokens_in(box))
    if within == "boxes":
        assert not moved[~inside].any()
    if within == "outside":
        assert not moved[inside].any() and moved[~inside].any()
    kept = {"rows": grid.rows, "columns": grid.cols}.get(within)
    assert kept is None or (kept == kept[edit.order]).all()
    assert str(edit) == f"PermuteImageTokens(seed=3, within={within})"


@pytest.mark.parametrize("expansion", [{"num_beams": 3}, {"num_return_sequences": 2, "do_sample": True}], ids=str)
@pytest.mark.parametrize("name", SOME)
def test_beams_and_returned_sequences_are_permuted_as_their_own_photo(name, expansion):
    vlm, inputs = loaded(name, 2)
    edit = PerSample((permute_image_tokens(inputs.grids[0], 1), ScaleImageNorms(scale=0.5)))
    wanted, settings = shown(vlm, inputs, edit)[1][:, -1], {"do_sample": False, "max_new_tokens": 2, **expansion}
    more = {"return_dict_in_generate": True, "output_logits": True, "min_new_tokens": 2}
    with torch.no_grad(), vlm.intervene(edit, inputs):
        made = vlm.model.generate(**inputs.tensors, **settings, **more)
    each = len(made.logits[0]) // 2
    assert each > 1
    torch.testing.assert_close(made.logits[0], wanted.repeat_interleave(each, 0), rtol=1e-4, atol=2e-4)


def test_a_batch_of_other_prompts_is_refused():
    vlm, inputs = loaded("tiny-llava", 2)
    other = ragged(vlm, [2])
    edit = permute_image_tokens(inputs.grids, 1)
    with pytest.raises(HookError, match="made for prompts of"), vlm.intervene(edit, inputs):
        vlm(other)
    doubled = {name: torch.cat([value, value]) for name, value in inputs.tensors.items()}
    with pytest.raises(HookError, match="made for"), vlm.intervene(edit, inputs):
        vlm.model(**doubled)
    assert torch.equal(vlm(inputs).logits, vlm(inputs).logits) and not vlm.hook_dict[IMAGE_POINT].has_hooks()


def test_what_changes_nothing_has_no_hooks_and_a_wide_clip_leaves_every_bit():
    vlm, inputs = loaded("tiny-llava", 2)
    identity = PermuteImageTokens(next(seed for seed in range(99) if order_of(seed) == [0, 1]), (0, 0))
    assert identity.hooks(vlm.cfg, [made_layout(2)]) == []
    assert ScaleImageNorms(scale=1).hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(shown(vlm, inputs, ScaleImageNorms(clip=1e6))[1], vlm(inputs).logits)


def order_of(seed):
    return PermuteImageTokens(seed, (0, 0)).order.tolist()


def made_layout(tokens):

    return TokenLayout(("image",) * tokens + ("question",), ("<image>",) * tokens + ("where",))


@pytest.mark.parametrize("setting", [{"scale": 0.25}, {"target": 1.5}, {"clip": 2.0}, {"scale": 0}], ids=str)
def test_norms_are_those_of_a_loop_and_directions_stay(setting):
    vlm, inputs = loaded("tiny-llava_next", 2)
    before, _ = shown(vlm, inputs)
    after, _ = shown(vlm, inputs, ScaleImageNorms(**setting))
    clipped = 0
    both = zip(of_photos(vlm, inputs, before), of_photos(vlm, inputs, after), strict=True)
    for (old, own), (new, _) in both:
        for slot in range(len(old)):
            length = sum(float(value) ** 2 for value in old[slot]) ** 0.5
            factor = 1.0
            if slot in own:
                factor = setting.get("scale", setting.get("target", length) / length)
                factor = min(factor, setting.get("clip", np.inf) / length)
            clipped += factor != 1
            torch.testing.assert_close(new[slot], old[slot] * factor)
            assert factor != 1 or torch.equal(new[slot], old[slot])
    assert clipped


def test_a_token_of_no_length_stays_and_too_long_ones_are_refused_by_name():
    edit = ScaleImageNorms(target=3)
    assert torch.equal(edit._scaled(torch.zeros(2, 4)), torch.zeros(2, 4))
    with pytest.raises(HookError, match=r"ScaleImageNorms\(scale=1e\+06\) takes image tokens out of the range of"):
        ScaleImageNorms(scale=1e6)._scaled(torch.ones(2, 4, dtype=torch.float16))


@pytest.mark.parametrize("edit", ["permute", {"target": 2.0}, {"clip": 2.0}, {"scale": 3.0}], ids=str)
def test_gradients_go_through_and_equal_finite_differences(edit):
    vlm, inputs, _ = tiny.case("clip", 2, "sdpa")
    if edit == "permute":
        edit = permute_image_tokens(inputs.grids, 2)
    else:
        edit = ScaleImageNorms(**edit)
    features = shown(vlm, inputs)[0].requires_grad_()

    def answer(values):
        given = [(IMAGE_POINT, lambda tensor, hook: values)]
        return vlm.run_with_hooks(inputs, fwd_hooks=given, intervention=edit).logits[:, -1].logsumexp(-1).sum()

    (slope,) = torch.autograd.grad(answer(features), features)
    with torch.no_grad():
        step = slope / slope.norm() * 1e-3
        change = (answer(features + step) - answer(features - step)) / 2
    assert change > 1e-4  # transformers' norms are of float32, whatever the model is of
    torch.testing.assert_close((slope * step).sum(), change, rtol=5e-3, atol=1e-6)
    if isinstance(edit, ScaleImageNorms):
        assert torch.autograd.gradcheck(edit._scaled, features[:3].detach().requires_grad_())


def test_a_shared_prefill_is_refused_by_name():
    vlm, inputs = loaded("tiny-llava", 1)
    edit = permute_image_tokens(inputs.grids, 0)
    with pytest.raises(HookError, match="Prefix shares all rows before the last"):
        Prefix(vlm, inputs).step([edit])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda grid: permute_image_tokens(grid, -1), "seed -1 can not"),
        (lambda grid: permute_image_tokens(grid, 0.5), "seed 0.5 can not"),
        (lambda grid: permute_image_tokens(grid, True), "seed True can not"),
        (lambda grid: permute_image_tokens(grid, 0, within="tiles"), "within='tiles' is not known"),
        (lambda grid: permute_image_tokens(grid, 0, within="boxes"), "boxes of each photo"),
        (lambda grid: permute_image_tokens(grid, 0, boxes=[(0, 0, 9, 9)]), "alone"),
        (lambda grid: permute_image_tokens([grid, grid], 0, within="boxes", boxes=[[(0, 0, 9, 9)]]), "for 2"),
        (lambda grid: permute_image_tokens([], 0), "no photo"),
        (lambda grid: PermuteImageTokens(0, (0, 1, 2)), "nothing would move"),
        (lambda grid: PermuteImageTokens(0, (0, 0)).hooks(ModelShape(1, 1, 1, 8, 8, 9), [made_layout(3)]), "has 3"),
        (lambda grid: ScaleImageNorms(), "exactly one"),
        (lambda grid: ScaleImageNorms(scale=1, clip=2), "exactly one"),
        (lambda grid: ScaleImageNorms(target=-1), "target=-1"),
        (lambda grid: ScaleImageNorms(scale=float("nan")), "scale=nan"),
        (lambda grid: check_seeds([1, 1]), "each once"),
        (lambda grid: check_seeds(3), "no list"),
        (lambda grid: check_seeds([]), "at least one"),
    ],
)
def test_what_means_nothing_is_refused(wrong, message):
    _, inputs = loaded("tiny-llava", 1)
    with pytest.raises(InputError, match=message):
        wrong(inputs.grids[0])
