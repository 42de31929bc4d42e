"""Under torch.autocast the model's own products are short, and ours of attention stay those of float32."""

import pytest
import tiny
import torch

from interp import AmplifyImageTokens, HookedVLM, Prefix, ScaleImageLogits, Untouched, random_directions
from interp.hooks.exact import exactly
from interp.hooks.shared_keys import KeyValues
from interp.maps.tower_attention import tower_attention
from interp.proof.samples import four_prompts
from probes.heads.activations.writes import head_writes
from probes.position.rope_rows import logits_and_change

FAMILIES = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-paligemma2")
NAMES = ("rot_q", "rot_k", "attn_logits", "attn_scores", "pattern")


def short(dtype=torch.bfloat16):
    return torch.autocast("cpu", dtype=dtype)


@pytest.fixture(scope="module", params=FAMILIES)
def asked(request):
    vlm = HookedVLM.from_pretrained(request.param)
    return vlm, four_prompts(vlm)[0]


def logits_of(vlm, cache, block, rows=slice(None)):
    """Logits in double precision, from the very queries and keys that the model's attention was given."""
    query, key = (cache[f"{block}.attn.hook_rot_{side}"].double().transpose(1, 2) for side in "qk")
    dots = query[:, :, rows] @ key.repeat_interleave(query.shape[1] // key.shape[1], 1).mT / query.shape[-1] ** 0.5
    cap = None if block.startswith("vision") else getattr(vlm.model.config.text_config, "attn_logit_softcapping", None)
    return dots if cap is None else cap * (dots / cap).tanh()


def as_double(scores):
    """Their softmax in double precision; zeros for a padding row, which sees nothing."""
    return scores.double().softmax(-1).nan_to_num(0.0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("block", ["blocks.0", "blocks.2", "vision.blocks.1"])
def test_captured_rows_are_the_softmax_of_the_very_queries_and_keys(asked, block, dtype):
    vlm, inputs = asked
    names = [f"{block}.attn.hook_{name}" for name in NAMES]
    with torch.no_grad(), short(dtype):
        _, cache = vlm.run_with_cache(inputs, names_filter=names, query_rows="all")
    logits, scores, pattern = (cache[f"{block}.attn.hook_{name}"] for name in NAMES[2:])
    assert logits.dtype == scores.dtype == pattern.dtype == torch.float32
    wanted = logits_of(vlm, cache, block)
    torch.testing.assert_close(logits.double(), wanted, atol=2e-6, rtol=1e-6)
    hidden = wanted.masked_fill(scores == -torch.inf, -torch.inf)
    assert (pattern.double() - as_double(hidden)).abs().max() < 1e-6


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("rows", ["last", "all"])
def test_an_edited_row_mixes_the_values_by_its_exact_pattern(attention, rows):
    vlm = tiny.vlm(attention=attention)
    inputs, name = tiny.inputs(vlm, 2), "blocks.1.attn.hook_"
    kept = {}

    def halve(scores, hook):
        kept["pattern"] = (scores * 0.5).double().softmax(-1).nan_to_num(0.0)
        return scores * 0.5

    with torch.no_grad(), short():
        with vlm.hooks([(f"{name}attn_scores", halve)], query_rows=rows):
            _, cache = vlm.run_with_cache(inputs, names_filter=[f"{name}{part}" for part in ("v", "z", "pattern")])
    assert (cache[f"{name}pattern"].double() - kept["pattern"][:, :, -1:]).abs().max() < 1e-6
    values = cache[f"{name}v"].double().repeat_interleave(2, 2)
    wanted = torch.einsum("bhk,bkhd->bhd", kept["pattern"][:, :, -1], values)
    got = cache[f"{name}z"][:, -1]
    torch.testing.assert_close(got, wanted.to(got.dtype), atol=0.0, rtol=2.0**-8)


def test_a_step_on_a_prefix_keeps_exact_rows(asked):
    vlm, inputs = asked
    if vlm.capabilities()["prefix"] != "yes":
        pytest.skip("this family shares no prefill")
    name, scaled = "blocks.1.attn.hook_", ScaleImageLogits(0.5, layers=(1,))
    with torch.no_grad(), short():
        step = Prefix(vlm, inputs).step([Untouched(), scaled], capture=[f"{name}attn_scores", f"{name}pattern"])
    pattern = step.captured[f"{name}pattern"]
    assert pattern.dtype == torch.float32
    assert (pattern.double() - as_double(step.captured[f"{name}attn_scores"])).abs().max() < 1e-6
    assert (pattern[0] - pattern[1]).abs().max() > 1e-3


def test_gradients_through_rows_are_those_without_autocast():
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, 5, 8, generator=draw) for heads in (4, 2, 2))
    seen, found = KeyValues(key.requires_grad_(), value), []
    for on in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=on):
            mixed = seen.mix(seen.dots(query).softmax(-1))
            assert mixed.dtype == torch.float32
        found.append(torch.autograd.grad(mixed.square().sum(), key)[0])
    assert torch.equal(*found)


def products(vlm):
    """What else is multiplied out of activations, each as numbers to compare."""
    draw = torch.Generator().manual_seed(0)
    width = vlm.cfg.d_model
    tokens = torch.randn(20, width, generator=draw)
    amplify = AmplifyImageTokens(random_directions(torch.ones(width, 3), seed=0), alpha=2)
    query, key = torch.randn(1, 4, 8, generator=draw), torch.randn(1, 6, 2, 8, generator=draw)
    turn = torch.eye(8, dtype=torch.float64).roll(1, 0)
    z = torch.randn(2, vlm.cfg.n_layers, vlm.cfg.n_heads, vlm.cfg.d_head, generator=draw).numpy()
    return [
        amplify.change(tokens),
        *logits_and_change(query, key, turn, scaling=0.3),
        torch.from_numpy(head_writes(vlm, z)),
    ]


def test_amplified_tokens_turned_keys_and_writes_of_heads_are_those_without_autocast():
    vlm = tiny.vlm()
    wanted = products(vlm)
    with short():
        got = products(vlm)
    assert all(torch.equal(ours, own) for ours, own in zip(got, wanted, strict=True))


def test_the_roll_out_of_the_tower_keeps_rows_that_sum_to_one():
    vlm = tiny.vlm()
    with short():
        (fed,) = tower_attention(vlm, tiny.inputs(vlm))
    assert abs(fed.rolled.weights.sum(-1) - 1).max() < 1e-6
    names = [f"vision.blocks.{layer}.attn.hook_pattern" for layer in range(len(fed.attention))]
    with torch.no_grad(), short():
        _, cache = vlm.run_with_cache(tiny.inputs(vlm), names_filter=names, query_rows="all")
    kept = torch.stack([cache[name][0, :, 1:, 1:].double().mean(1) for name in names])
    assert abs(kept.numpy() - fed.attention).max() < 1e-6  # of the class token nothing is told


def test_only_autocast_of_the_tensors_own_device_matters():
    here, nowhere = torch.ones(2, 2), torch.ones(2, 2, device="meta")
    with short():
        with exactly(here):
            assert (here @ here).dtype == torch.float32
        assert (here @ here).dtype == torch.bfloat16
        with exactly(nowhere):
            assert (nowhere @ nowhere).dtype == torch.float32
    with exactly(here), exactly(nowhere):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_captured_rows_are_exact_on_a_gpu_too(dtype):
    vlm = tiny.vlm().to("cuda")
    names = [f"blocks.1.attn.hook_{name}" for name in NAMES]
    with torch.no_grad(), torch.autocast("cuda", dtype=dtype):
        _, cache = vlm.run_with_cache(tiny.inputs(vlm, 2), names_filter=names)
    assert cache["pattern", 1].dtype == torch.float32
    hidden = cache["attn_scores", 1] == -torch.inf
    wanted = logits_of(vlm, cache, "blocks.1", slice(-1, None)).masked_fill(hidden, -torch.inf)
    assert (cache["pattern", 1].double() - wanted.softmax(-1)).abs().max() < 1e-3  # TF32 is the user's to choose
