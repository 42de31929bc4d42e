"""Steer adds a direction where it is asked to, in the unit that is asked for, and nothing elsewhere."""

import pytest
import tiny
import torch
from by_modules import hooked_by_hand
from ragged import loaded

from interp import Chain, HookedVLM, Patch, PerSample, Prefix, Steer, Untouched
from interp.errors import HookError, InputError
from interp.model.prefix import share_prefill
from interp.zoo.tiny import TINY

POST = "blocks.1.hook_resid_post"
SHARING = ["tiny-llava", "tiny-qwen2_vl", "tiny-qwen3_vl", "tiny-glm4v", "tiny-gemma3"]


def direction(vlm, *, seed=0, heads=False):
    axes = (vlm.cfg.n_heads, vlm.cfg.d_head) if heads else (vlm.cfg.d_model,)
    return torch.randn(axes, generator=torch.Generator().manual_seed(seed))


def logits(vlm, inputs, intervention):
    with torch.no_grad(), vlm.intervene(intervention, inputs):
        return vlm(inputs).logits


@pytest.mark.parametrize("name", TINY)
def test_steering_is_a_hook_on_hugging_faces_own_modules(name):
    vlm, inputs = loaded(name, 2)
    last, there = inputs.input_ids.shape[1] - 1, inputs.attention_mask.bool()
    for kind, heads, point in (("post", False, "hook_resid_post"), ("z", True, "attn.hook_z")):
        added = direction(vlm, heads=heads)

        def add(whole, added=added):
            whole = whole.clone()
            whole[0, [last, last - 2]] += 1.5 * added.flatten()
            whole[1, last - 1] += 1.5 * added.flatten()
            return whole

        steer = Steer(added, 1.5, layers=[1], hook=point, positions=[[last, last - 2], [-2]])
        with hooked_by_hand(vlm, 1, kind, add) as model, torch.no_grad():
            wanted = model(**inputs.tensors, use_cache=False).logits
        torch.testing.assert_close(logits(vlm, inputs, steer)[there], wanted[there], rtol=0, atol=tiny.rounding(vlm))


@pytest.mark.parametrize(
    "unit, sigma, length", [("raw", None, None), ("unit", None, 3.0), ("sigma", 0.5, 1.5)], ids=str
)
@pytest.mark.parametrize("size", [1.0, 1e25, 1e-25], ids=str)
def test_each_unit_is_as_long_as_it_says(unit, sigma, length, size):
    vlm, inputs = loaded("tiny-llava", 2)
    d = direction(vlm) * (size if unit != "raw" else 1.0)
    steer = Steer(d, -3, layers=(1,), unit=unit, sigma=sigma, positions=(-1, -4))
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=POST)[1][POST]
        found = vlm.run_with_cache(inputs, names_filter=POST, intervention=steer)[1][POST]
    own = (found - before)[:, [-1, -4]]
    torch.testing.assert_close(own.norm(dim=-1), torch.full((2, 2), length or 3 * float(d.norm())), rtol=1e-4, atol=0)
    torch.testing.assert_close(torch.cosine_similarity(own, -d[None, None] / d.abs().max(), -1), torch.ones(2, 2))
    found[:, [-1, -4]] = before[:, [-1, -4]]
    assert torch.equal(found, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_scale_of_zero_puts_no_hook_on(dtype):
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=dtype)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    steer = Steer(direction(vlm), 0, positions="all", decode=True)
    assert steer.hooks(vlm.cfg, inputs.layouts) == []
    assert torch.equal(logits(vlm, inputs, steer), vlm(inputs).logits)


def test_rows_by_name_are_those_of_each_sample():
    vlm, inputs = loaded("tiny-llava", 3)
    d, names = direction(vlm), {"last": "last", "image": "image", "all": "all", "after_image": "after_image"}
    for word in names:
        steer = Steer(d, 1, layers=(1,), positions=word)
        with torch.no_grad():
            before = vlm.run_with_cache(inputs, names_filter=POST)[1][POST]
            found = vlm.run_with_cache(inputs, names_filter=POST, intervention=steer)[1][POST]
        moved = (found != before).any(-1)
        for sample, layout in enumerate(inputs.layouts):
            wanted = {
                "last": [layout.last],
                "image": layout.image_positions.tolist(),
                "all": [place for place, kind in enumerate(layout.kinds) if kind != "pad"],
                "after_image": layout.after_image.tolist(),
            }[word]
            assert moved[sample].nonzero().flatten().tolist() == wanted


@pytest.mark.parametrize("positions, decode", [("last", False), ("last", True), ("generated", False), ((-1, -3), True)])
def test_decoded_tokens_are_steered_where_asked_and_only_there(positions, decode):
    vlm, inputs = loaded("tiny-llava", 2)
    steer = Steer(direction(vlm), 4, layers=(1,), positions=positions, decode=decode)
    with vlm.intervene(steer, inputs):
        own = vlm.model.generate(**inputs.tensors, max_new_tokens=5, min_new_tokens=5, do_sample=False)
    prompt = inputs.input_ids.shape[1]
    whole = {"input_ids": own, "attention_mask": torch.nn.functional.pad(inputs.attention_mask, (0, 5), value=1)}
    places = [prompt - 1, *([prompt - 3] if positions == (-1, -3) else [])]
    places += list(range(prompt, prompt + 5)) if decode or positions == "generated" else []

    def add(stream):
        stream = stream.clone()
        stream[:, places] += 4 * steer.direction
        return stream

    with hooked_by_hand(vlm, 1, "post", add) as model, torch.no_grad():
        wanted = model(**{**inputs.tensors, **whole}, use_cache=False).logits[:, prompt - 1 : -1].argmax(-1)
    assert torch.equal(own[:, prompt:], wanted)


@pytest.mark.parametrize("name", SHARING)
def test_steering_goes_through_a_shared_prefill_also_while_tokens_are_decoded(name):
    vlm, inputs = loaded(name, 2)
    d = direction(vlm)
    many = [
        Untouched(),
        Steer(d, 2, layers=(0,)),
        Steer(d, -2, layers=(1, 2), hook="hook_resid_pre", unit="unit"),
        Steer(direction(vlm, heads=True), 3, layers=(1,), hook="attn.hook_z", positions="generated"),
        PerSample((Steer(d, 1, decode=True), Untouched())),
        Chain((Steer(d, 1, layers=(1,)), Patch(POST, "last", torch.ones(2, vlm.cfg.d_model)), Steer(d, 1))),
    ]
    prefix = Prefix(vlm, inputs)
    for found, steer in zip(prefix.step(many).logits, many, strict=True):
        torch.testing.assert_close(found, logits(vlm, inputs, steer)[:, -1], rtol=1e-5, atol=1e-5, msg=str(steer))
    for answer, steer in zip(prefix.generate(many, 4), many, strict=True):
        assert answer.texts == vlm.generate(inputs, 4, intervention=steer).texts
    with pytest.raises(HookError, match="shares all rows before the last"):
        prefix.step([Steer(d, 1, positions="image")])


def test_a_family_without_a_shared_prefill_takes_whole_passes():
    vlm, inputs = loaded("tiny-paligemma2", 2)
    steer = Steer(direction(vlm), 5, positions="generated")
    runs = share_prefill(vlm, inputs)
    torch.testing.assert_close(runs.step([steer]).logits[0], logits(vlm, inputs, steer)[:, -1])
    assert runs.generate([steer], 3)[0].texts == vlm.generate(inputs, 3, intervention=steer).texts


def test_features_that_a_model_adds_behind_keep_what_was_steered():
    vlm, inputs = loaded("tiny-qwen3_vl", 2)
    assert not torch.equal(
        logits(vlm, inputs, Steer(direction(vlm), 1, layers=(0,), positions="image")), vlm(inputs).logits
    )


def test_gradients_flow_to_the_direction():
    vlm, inputs = loaded("tiny-llava", 2)
    d = direction(vlm).requires_grad_()
    for unit in ("raw", "unit"):
        score = vlm.run_with_hooks(inputs, intervention=Steer(d, 2, layers=(1,), unit=unit)).logits[:, -1, 5].sum()
        (own,) = torch.autograd.grad(score, d)
        step, moved = 1e-2, [d.detach().clone() for _ in range(2)]
        moved[0][3] += step
        moved[1][3] -= step
        up, down = (
            logits(vlm, inputs, Steer(one, 2, layers=(1,), unit=unit))[:, -1, 5].double().sum() for one in moved
        )
        assert float(own[3]) == pytest.approx(float(up - down) / (2 * step), rel=2e-2, abs=2e-3)


def test_half_precision_adds_in_single_precision_and_rounds_once():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.bfloat16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    d = direction(vlm)
    with torch.no_grad():
        before = vlm.run_with_cache(inputs, names_filter=POST)[1][POST]
        steer = Steer(d, 0.1, layers=(1,))
        found = vlm.run_with_cache(inputs, names_filter=POST, intervention=steer)[1][POST]
    assert torch.equal(found[:, -1], (before[:, -1].float() + d * 0.1).bfloat16())


def test_a_scale_out_of_the_range_of_the_model_is_refused():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False, dtype=torch.float16)
    inputs = vlm.prepare(tiny.photo(0), "Where is the mug?")
    with pytest.raises(HookError, match="out of the range of torch.float16"):
        vlm.run_with_hooks(inputs, intervention=Steer(direction(vlm), 1e6))


@pytest.mark.parametrize(
    "given, match",
    [
        ({"scale": True}, "no.*finite number|not a finite number"),
        ({"scale": float("nan")}, "not a finite number"),
        ({"scale": 1e31}, "out of range"),
        ({"unit": "norm"}, "use one of raw, unit, sigma"),
        ({"unit": "sigma"}, "goes with 'sigma' alone"),
        ({"sigma": 1.0}, "goes with 'sigma' alone"),
        ({"unit": "sigma", "sigma": 0.0}, "no standard deviation"),
        ({"direction": torch.zeros(32)}, "zero everywhere"),
        ({"direction": torch.full((32,), torch.inf)}, "finite floating-point"),
        ({"direction": torch.ones(32, dtype=torch.int64)}, "finite floating-point"),
        ({"direction": "left"}, "no tensor"),
        ({"layers": ()}, "layers is empty"),
        ({"layers": (0,), "hook": POST}, "has no other layers"),
        ({"positions": "decoded"}, "is not known"),
        ({"positions": []}, "empty set"),
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(given, match):
    with pytest.raises(InputError, match=match):
        Steer(**{"direction": torch.ones(32), "scale": 1.0, **given})


@pytest.mark.parametrize(
    "given, error, match",
    [
        ({"direction": torch.ones(31)}, InputError, "give a direction of that shape"),
        ({"hook": "attn.hook_z"}, InputError, "give a direction of that shape"),
        ({"layers": (9,)}, HookError, r"layer \[9\] does not exist"),
        ({"hook": "blocks.9.hook_resid_pre"}, HookError, "this model has"),
        ({"positions": (0,)}, InputError, "are padding"),
        ({"positions": (99,)}, InputError, "lie outside"),
        ({"positions": ((-1,),) * 3}, InputError, "positions of 3 samples"),
    ],
    ids=str,
)
def test_what_does_not_fit_the_batch_is_refused_before_a_pass(given, error, match):
    vlm, inputs = loaded("tiny-llava", 2)
    for scale in (0, 1):
        steer = Steer(**{"direction": torch.ones(32), "scale": scale, **given})
        with tiny.passes(vlm) as shapes, pytest.raises(error, match=match):
            vlm.run_with_hooks(inputs, intervention=steer)
        assert not shapes


@pytest.mark.parametrize("hook", ["attn.hook_pattern", "attn.hook_rot_k", "projector.hook_out", "unembed.hook_out", 3])
def test_points_without_positions_are_refused(hook):
    with pytest.raises(HookError, match="shows no activation for each position"):
        Steer(torch.ones(32), 1, hook=hook)


def test_steering_prints_as_its_settings_in_one_short_line():
    steer = Steer(torch.ones(64), 2, layers=(3, 4), unit="sigma", sigma=0.25, positions="generated")
    assert (
        str(steer)
        == repr(steer)
        == (
            "Steer(direction=[64], scale=2, unit=sigma, sigma=0.25, layers=3-4, hook=hook_resid_post, positions=last, "
            "decode=True)"
        )
    )
    assert str(Steer(torch.ones(64), 2, hook="ln_final.hook_normalized")) == (
        "Steer(direction=[64], scale=2, unit=raw, hook=ln_final.hook_normalized, positions=last)"
    )
