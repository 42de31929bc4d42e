"""Amplified image tokens: against loops, recorded values, single runs, finite differences and plain decoding."""

import json

import numpy as np
import pytest
import tiny
import torch
from golden import golden, golden_llava
from ragged import loaded, ragged

from interp import Prefix
from interp.errors import HookError, InputError, RefusedError
from interp.intervene.amplification import AmplifyImageTokens, random_directions
from interp.intervene.base import Chain, PerSample
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_tokens import ScaleImageNorms
from interp.model.features import ImageFeatures
from interp.zoo.tiny import TINY

SEEING = [name for name in TINY if name != "tiny-qwen3_vl"]
SOME = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next")


def drawn(width, k=2, seed=0):
    return np.random.default_rng(seed).normal(size=(width, k)).astype(np.float32)


def shown(vlm, inputs, intervention=None):
    """What the language model receives, [image_token d_model], and the logits."""
    with torch.no_grad():
        output, cache = vlm.run_with_cache(inputs, names_filter=IMAGE_POINT, intervention=intervention)
    return cache[IMAGE_POINT], output.logits


def by_hand(token, columns, alpha, mode):
    """One token, one number at a time."""
    edited = list(token)
    for k in range(len(columns[0])):
        column = [float(row[k]) for row in columns]
        square = sum(value * value for value in column)
        if mode == "rescale":
            factor = sum(float(a) * b for a, b in zip(token, column, strict=True)) / (square + 1e-8)
        else:
            factor = 1 / square**0.5
        edited = [value + alpha * factor * b for value, b in zip(edited, column, strict=True)]
    return edited


def test_tokens_and_logits_are_those_recorded_from_the_papers_code():
    folder = golden("amplify")
    cases, recorded = json.loads((folder / "cases.json").read_text()), np.load(folder / "cases.npz")
    vlm, inputs = golden_llava()
    for case in cases:
        edit = AmplifyImageTokens(recorded[f"W.{case['W']}"], case["alpha"])
        after, logits = shown(vlm, inputs, edit)
        own, wanted = after.reshape(3, 64, 64)[case["image"]].numpy(), recorded[f"{case['tag']}.resid"]
        assert np.abs(own - wanted).max() < 2e-6 * np.abs(wanted).max()
        assert np.abs(logits[case["image"], -1].numpy() - recorded[f"{case['tag']}.logits_last"]).max() < 5e-4
    assert len(cases) == 18


def test_recorded_kinds_of_columns_do_what_their_algebra_says():
    recorded = np.load(golden("amplify") / "cases.npz")
    tokens = torch.from_numpy(recorded["base.img0.resid_all"])[7:71]
    for alpha in (1, 5, 15):
        opposite = recorded["W.opposite"]
        after = AmplifyImageTokens(opposite, alpha)._amplified(tokens)
        along = torch.from_numpy(opposite[:, 0] - opposite[:, 1])
        torch.testing.assert_close(after @ along, (1 + 2 * alpha) * (tokens @ along), rtol=1e-5, atol=1e-4)
        zero = recorded["W.zero_column"]
        kept = zero[:, np.abs(zero).sum(0) > 0]
        assert kept.shape[1] == 1
        whole, alone = (AmplifyImageTokens(columns, alpha)._amplified(tokens) for columns in (zero, kept))
        torch.testing.assert_close(whole, alone)
    small = recorded["W.tiny_norm"]
    shrunk = (
        AmplifyImageTokens(small, 1).change(tokens).norm() / AmplifyImageTokens(small * 1e4, 1).change(tokens).norm()
    )
    assert 0.3 < shrunk < 0.6  # 1e-8 beside squares of about 8e-5


@pytest.mark.parametrize("mode", ["rescale", "additive"])
@pytest.mark.parametrize("name", SEEING)
def test_every_image_token_is_that_of_a_loop_and_row_ends_stay(name, mode):
    vlm, inputs = loaded(name, 2)
    columns, alpha = drawn(vlm.cfg.d_model, 3), 1.5
    before, _ = shown(vlm, inputs)
    after, _ = shown(vlm, inputs, AmplifyImageTokens(columns, alpha, mode))
    image, start = vlm.model.config.image_token_id, 0
    for ids, layout in zip(inputs.input_ids.tolist(), inputs.layouts, strict=True):
        places = [place for place, token in enumerate(ids) if token == image]
        own = [places.index(place) for place in layout.image_positions]
        wanted = before[start : start + len(places)].clone()
        for slot in own[:: max(1, len(own) // 5)]:
            wanted[slot] = torch.tensor(by_hand(wanted[slot].tolist(), columns, alpha, mode))
            torch.testing.assert_close(after[start + slot], wanted[slot], rtol=1e-5, atol=1e-5)
        for slot in set(range(len(places))) - set(own):
            assert torch.equal(after[start + slot], wanted[slot])
        start += len(places)


@pytest.mark.parametrize("name", SOME)
def test_a_photo_is_amplified_alike_alone_and_in_a_ragged_batch_and_by_its_own_directions(name):
    vlm, inputs = loaded(name, 3)
    parts = [AmplifyImageTokens(drawn(vlm.cfg.d_model, seed=place), 2.0 * place) for place in range(3)]
    together = shown(vlm, inputs, PerSample(tuple(parts)))[1][:, -1]
    for place, part in enumerate(parts):
        single = shown(vlm, ragged(vlm, [place]), part)[1][0, -1]
        torch.testing.assert_close(together[place], single, rtol=1e-4, atol=2e-4)


def test_alpha_0_has_no_hooks_and_leaves_every_bit():
    vlm, inputs = loaded("tiny-llava", 2)
    edit = AmplifyImageTokens(drawn(vlm.cfg.d_model), 0)
    assert edit.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(shown(vlm, inputs, edit)[1], vlm(inputs).logits)


def test_the_prompt_alone_is_edited_decoding_goes_on_as_it_would_and_edits_come_in_order():
    vlm, inputs = loaded("tiny-llava", 2)
    edit = AmplifyImageTokens(drawn(vlm.cfg.d_model), 3)
    once, _ = shown(vlm, inputs, edit)
    seen = []
    with vlm.hooks([(IMAGE_POINT, lambda tensor, hook: seen.append(tensor))], intervention=edit, inputs=inputs):
        made = vlm.generate(inputs, 4)
    assert len(seen) == 1  # no decoded token passes there
    features = ImageFeatures(vlm, inputs, once)
    assert features.generate(4).texts == made.texts
    both, _ = shown(vlm, inputs, Chain((ScaleImageNorms(scale=0.5), edit)))
    torch.testing.assert_close(both, once * 0.5)


@pytest.mark.parametrize("mode", ["rescale", "additive"])
def test_gradients_go_through_and_equal_finite_differences(mode):
    vlm, inputs, _ = tiny.case("clip", 2, "sdpa")
    edit = AmplifyImageTokens(drawn(vlm.cfg.d_model), 2, mode)
    features = shown(vlm, inputs)[0].requires_grad_()

    def answer(values):
        given = [(IMAGE_POINT, lambda tensor, hook: values)]
        return vlm.run_with_hooks(inputs, fwd_hooks=given, intervention=edit).logits[:, -1].logsumexp(-1).sum()

    (slope,) = torch.autograd.grad(answer(features), features)
    with torch.no_grad():
        step = slope / slope.norm() * 1e-3
        change = (answer(features + step) - answer(features - step)) / 2
    torch.testing.assert_close((slope * step).sum(), change, rtol=5e-3, atol=1e-6)
    assert torch.autograd.gradcheck(edit._amplified, features[:3].detach().requires_grad_())


def test_random_directions_are_as_long_seeded_and_turned_together_where_angles_are_kept():
    like = torch.from_numpy(drawn(64, 2, seed=3)) * torch.tensor([0.2, 7.0])
    like[:, 1] -= 3 * like[:, 0]
    for same_angle in (False, True):
        own = random_directions(like, 5, same_angle=same_angle)
        torch.testing.assert_close(own.norm(dim=0), like.norm(dim=0))
        assert torch.equal(own, random_directions(like, 5, same_angle=same_angle))
        assert not torch.allclose(own, random_directions(like, 6, same_angle=same_angle))
        assert ((own.T @ own - like.T @ like).abs().max() < 1e-3) == same_angle
        assert not torch.allclose(own[:, 0], like[:, 0])
    opposite = torch.cat([like[:, :1], -2 * like[:, :1]], dim=1)
    kept = random_directions(opposite, 1, same_angle=True)
    torch.testing.assert_close(kept[:, 1], -2 * kept[:, 0])


def test_random_directions_have_no_preferred_place():
    like = torch.tensor([[3.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    draws = torch.stack([random_directions(like, seed, same_angle=True) for seed in range(600)])
    assert draws.mean(0).abs().max() < 0.35 and (draws[..., 0].square().mean(0) - 3).abs().max() < 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: AmplifyImageTokens(np.zeros((8, 2)), 1), "all directions are zero"),
        (lambda: AmplifyImageTokens(np.full((8, 2), np.nan), 1), "finite numbers"),
        (lambda: AmplifyImageTokens(np.full((8, 2), 1e300), 1), "finite numbers"),
        (lambda: AmplifyImageTokens(np.ones(8), 1), r"shape \(8,\)"),
        (lambda: AmplifyImageTokens(np.ones((8, 0)), 1), r"shape \(8, 0\)"),
        (lambda: AmplifyImageTokens("left", 1), "are no numbers"),
        (lambda: AmplifyImageTokens([[1, 2], [3]], 1), "are no numbers"),
        (lambda: AmplifyImageTokens(np.ones((8, 1)), float("inf")), "alpha=inf"),
        (lambda: AmplifyImageTokens(np.ones((8, 1)), True), "alpha=True"),
        (lambda: AmplifyImageTokens(np.ones((8, 1)), "5"), "alpha='5'"),
        (lambda: AmplifyImageTokens(np.ones((8, 1)), 1, "add"), "mode='add'"),
        (lambda: AmplifyImageTokens(np.eye(8)[:, :2] * [1, 0], 1, "additive"), r"directions \[1\] are zero"),
        (lambda: AmplifyImageTokens(np.ones((8, 2)) * [1, -3], 1, "additive"), "cancel"),
        (lambda: random_directions(np.zeros((8, 2)), 0), "all directions are zero"),
        (lambda: random_directions(np.ones((8, 2)), -1), "seed=-1"),
        (lambda: random_directions(np.ones((8, 2)), 0.5), "seed=0.5"),
        (lambda: random_directions(np.ones((2, 3)), 0, same_angle=True), "no angles to keep"),
    ],
)
def test_what_means_nothing_is_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_other_widths_deepstack_a_shared_prefill_and_numbers_out_of_range_are_refused_by_name():
    vlm, inputs = loaded("tiny-llava", 1)
    with (
        pytest.raises(InputError, match="directions are 7 wide"),
        vlm.intervene(AmplifyImageTokens(drawn(7), 1), inputs),
    ):
        pass
    edit = AmplifyImageTokens(drawn(vlm.cfg.d_model), 1)
    with pytest.raises(HookError, match="Prefix shares all rows before the last"):
        Prefix(vlm, inputs).step([edit])
    large = AmplifyImageTokens(np.ones((8, 1)), 1e6)
    with pytest.raises(HookError, match=r"alpha=1e\+06, mode=rescale\) takes image tokens out of the range of"):
        large._amplified(torch.ones(2, 8, dtype=torch.float16))
    assert large._amplified(torch.ones(2, 8)).dtype == torch.float32
    vlm, inputs = loaded("tiny-qwen3_vl", 1)
    edit = AmplifyImageTokens(drawn(vlm.cfg.d_model), 1)
    with pytest.raises(RefusedError, match="DeepStack, such as Qwen3-VL"), vlm.intervene(edit, inputs):
        pass


def test_results_name_directions_and_what_is_given_later_changed_is_not_followed():
    columns = drawn(64)
    edit = AmplifyImageTokens(columns, 5)
    before = str(edit)
    columns *= 2
    assert str(edit) == before and "directions=64x2 " in before and before.endswith("alpha=5, mode=rescale)")
    assert str(AmplifyImageTokens(columns, 5)) != before
