"""TransformerLens's own code runs on a hooked model, and a name that both have is the same tensor in both."""

from functools import cache, partial

import numpy as np
import pytest
import torch
from transformer_lens import patching

from interp.errors import HookError, InputError, RefusedError
from interp.model.hooked_vlm import HookedVLM
from interp.proof import bridge
from interp.proof.samples import one_prompt
from interp.zoo.tiny import TINY, build_tiny

MODELS = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3")
BRIDGED = ("tiny-llava", "tiny-glm4v", "tiny-gemma3")


@cache
def pair(name):
    """A model, a clean and a corrupted batch of one and the same length."""
    vlm = HookedVLM.from_pretrained(name)
    photos = (np.random.default_rng(seed).integers(0, 255, (48, 64, 3), dtype=np.uint8) for seed in (1, 2))
    return vlm, *(vlm.prepare(photo, "Where?", prompt="paper") for photo in photos)


def metric(output):
    return output.logits[0, -1, 5]


def by_loops(vlm, corrupted, clean_cache, name, index):
    """The metric with one place of one activation from the clean run, by a hook function of ours."""

    def put(tensor, hook):
        tensor[index] = clean_cache[name][index]

    return metric(vlm.run_with_hooks(corrupted, fwd_hooks=[(name, put)]))


CASES = [
    ("resid_pre", "hook_resid_pre", ("layer", "pos")),
    ("attn_out", "hook_attn_out", ("layer", "pos")),
    ("mlp_out", "hook_mlp_out", ("layer", "pos")),
    ("attn_head_out_all_pos", "attn.hook_z", ("layer", "head")),
    ("attn_head_k_all_pos", "attn.hook_k", ("layer", "head")),
    ("attn_head_pattern_all_pos", "attn.hook_pattern", ("layer", "head")),
]


@pytest.mark.parametrize("name", MODELS)
def test_transformer_lens_s_patching_gives_what_loops_give(name, monkeypatch):
    monkeypatch.setattr(patching, "tqdm", lambda rows: rows)
    vlm, clean, corrupted = pair(name)
    with torch.no_grad():
        _, kept = vlm.run_with_cache(clean, query_rows="all")
        for short, point, axes in CASES:
            got = getattr(patching, f"get_act_patch_{short}")(vlm, corrupted, kept, metric)
            heads = vlm.cfg.n_kv_heads if point.endswith("hook_k") else vlm.cfg.n_heads
            assert got.shape == (vlm.cfg.n_layers, corrupted.shape[1] if axes[1] == "pos" else heads)
            assert got.device == vlm.cfg.device
            for layer, place in ((0, 1), (vlm.cfg.n_layers - 1, 0)):
                over_rows = axes[1] == "pos" or point.endswith("hook_pattern")
                index = (slice(None), place) if over_rows else (slice(None), slice(None), place)
                wanted = by_loops(vlm, corrupted, kept, f"blocks.{layer}.{point}", index)
                torch.testing.assert_close(got[layer, place], wanted)


def test_all_batches_and_many_metrics_go_through_patching_too(monkeypatch):
    monkeypatch.setattr(patching, "tqdm", lambda rows: rows)
    vlm, clean, corrupted = pair("tiny-llava")
    with torch.no_grad():
        _, kept = vlm.run_with_cache(clean, query_rows="all")
        found = patching.get_act_patch_attn_head_out_all_pos(
            vlm, corrupted, kept, lambda output: output.logits[:, -1, 5], reduce="none", baseline=True
        )
        every = patching.get_act_patch_attn_head_all_pos_every(vlm, corrupted, kept, metric)
    assert found.values.shape == (3, 4, 1) and torch.equal(found.baseline[0], metric(vlm(corrupted)))
    assert every.shape == (5, 3, 4)


@pytest.mark.parametrize("mode", [True, False])
def test_the_mode_is_the_model_s_own_and_there_is_one_of_it(mode):
    loaded, _, _ = pair("tiny-llava")
    assert not loaded.training and not any(point.training for point in loaded.modules())
    model, processor = build_tiny("tiny-llava")
    vlm = HookedVLM.wrap(model.train(mode), processor, self_check=False)
    assert vlm.training is model.training is mode
    assert vlm.eval() is vlm and not vlm.training and not model.training
    model.train()
    assert vlm.training  # as the model is what is in training
    with pytest.raises(ValueError, match="evaluation"):
        patching.get_act_patch_resid_pre(vlm, one_prompt(vlm), {}, metric)
    assert vlm.train(False).training is False and vlm.unwrap().training is False


@pytest.mark.parametrize("name", BRIDGED)
def test_each_shared_name_is_the_same_tensor_where_gains_are_not_one(name):
    vlm = HookedVLM.from_pretrained(name)
    gains = [weight for key, weight in vlm.named_parameters() if weight.ndim == 1 and key.endswith("norm.weight")]
    assert all(weight.std() > 0.05 for weight in gains)
    difference, said = bridge.bridged(vlm)
    assert difference < 1e-5 and int(said.split()[0]) > 60


def test_a_name_that_means_something_else_is_found(monkeypatch):
    """Such as the final norm's output under the name of what is before its gain."""
    vlm = HookedVLM.from_pretrained("tiny-llava")
    run = vlm.run_with_cache

    def swapped(inputs, names_filter, query_rows):
        output, cache = run(inputs, [*names_filter, "ln_final.hook_out"], query_rows=query_rows)
        cache.cache_dict["ln_final.hook_normalized"] = cache["ln_final.hook_out"]
        return output, cache

    monkeypatch.setattr(vlm, "run_with_cache", swapped)
    assert bridge.bridged(vlm)[0] > 0.05


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-glm4v"])
def test_weights_are_those_of_the_bridge(name):
    vlm = HookedVLM.from_pretrained(name)
    other = bridge._bridge(vlm)
    for weight in ("W_Q", "W_K", "W_V", "W_O", "W_in", "W_gate", "W_out", "W_E", "W_U", "b_U"):
        assert torch.equal(getattr(vlm, weight), getattr(other, weight)), weight
    text = "Where is it?"
    assert torch.equal(vlm.to_tokens(text), other.to_tokens(text))
    assert vlm.to_str_tokens(text) == other.to_str_tokens(text)
    assert vlm.to_string(vlm.to_tokens(text)) == other.to_string(other.to_tokens(text))
    assert vlm.to_single_token("a") == other.to_single_token("a") and vlm.tokenizer is vlm.processor.tokenizer


def with_biases(vlm):
    """The model with biases at all that enters its MLPs, which none of the families has."""
    for name, module in vlm.model.named_modules():
        if isinstance(module, torch.nn.Linear) and name.endswith(("gate_proj", "up_proj", "gate_up_proj")):
            module.bias = torch.nn.Parameter(
                torch.randn(len(module.weight), generator=torch.Generator().manual_seed(0))
            )
    return vlm


@pytest.mark.parametrize("name", TINY)
def test_weights_make_of_each_activation_the_next(name):
    vlm = with_biases(HookedVLM.from_pretrained(name))
    with torch.no_grad():
        _, kept = vlm.run_with_cache(one_prompt(vlm), lambda name: name.startswith(("blocks", "ln_final", "unembed")))
    for layer in range(vlm.cfg.n_layers):
        normed, after = kept[f"blocks.{layer}.ln1.hook_out"], kept[f"blocks.{layer}.ln2.hook_out"]
        for short, weight, bias in (("q", vlm.W_Q, vlm.b_Q), ("k", vlm.W_K, vlm.b_K), ("v", vlm.W_V, vlm.b_V)):
            made = torch.einsum("bpd,hde->bphe", normed, weight[layer]) + bias[layer]
            torch.testing.assert_close(made, kept[short, layer], rtol=1e-4, atol=1e-5)
        result = torch.einsum("bphe,hed->bphd", kept["z", layer], vlm.W_O[layer])
        torch.testing.assert_close(result, kept["result", layer], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            after @ vlm.W_gate[layer] + vlm.b_gate[layer], kept["pre", layer], rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            after @ vlm.W_in[layer] + vlm.b_in[layer], kept["pre_linear", layer], rtol=1e-4, atol=1e-5
        )
        if "gemma" not in name and "glm" not in name and name != "tiny-paligemma2":  # whose blocks norm the rest, too
            added = kept["post", layer] @ vlm.W_out[layer] + vlm.b_out[layer]
            torch.testing.assert_close(added, kept["mlp_out", layer], rtol=1e-4, atol=1e-5)
            whole = kept["result", layer].sum(2) + vlm.b_O[layer]
            torch.testing.assert_close(whole, kept["attn_out", layer], rtol=1e-4, atol=1e-5)
    if name != "tiny-paligemma2":  # which caps its logits behind the unembedding
        made = kept["ln_final.hook_out"] @ vlm.W_U + vlm.b_U
        torch.testing.assert_close(made[:, -1], kept["unembed.hook_out"][:, -1], rtol=1e-4, atol=1e-5)
    assert vlm.W_E.shape == vlm.W_U.T.shape


def test_names_and_hooks_are_taken_by_place_and_shorthands_are_those_of_transformer_lens():
    vlm, clean, _ = pair("tiny-llava")
    seen = []
    with torch.no_grad():
        _, kept = vlm.run_with_cache(clean, ["blocks.0.hook_resid_pre", "blocks.1.mlp.hook_post"])
        vlm.run_with_hooks(clean, [("hook_embed", lambda tensor, hook: seen.append(hook.name))])
        _, norms = vlm.run_with_cache(clean, lambda name: ".ln" in name)
    assert list(kept) == ["blocks.0.hook_resid_pre", "blocks.1.mlp.hook_post"] and seen == ["hook_embed"]
    assert kept["post", 1] is kept["post", -2] is kept["post", 1, "mlp"] is kept["blocks.1.mlp.hook_post"]
    assert norms["normalized", 2, "ln1"] is norms["blocks.2.ln1.hook_normalized"]


def test_what_clients_read_of_the_configuration_and_of_inputs_is_there():
    vlm, clean, _ = pair("tiny-qwen2_5_vl")
    text = vlm.model.config.get_text_config()
    assert (vlm.cfg.n_key_value_heads, vlm.cfg.d_mlp, vlm.cfg.n_ctx) == (2, 48, text.max_position_embeddings)
    assert vlm.cfg is vlm.cfg and vlm.cfg.device == vlm.device and vlm.cfg.act_fn == "silu"
    assert clean.shape == clean.input_ids.shape and clean.device == vlm.device
    assert [vlm.hook_dict[name].layer() for name in ("blocks.2.attn.hook_z", "vision.blocks.0.ln1.hook_out")] == [2, 0]
    with pytest.raises(HookError, match="ln_final.hook_out is in no block"):
        vlm.hook_dict["ln_final.hook_out"].layer()
    assert vlm.state_dict().keys() == dict(vlm.named_parameters()).keys() | vlm.model.state_dict().keys()


# words without a photo ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_words_and_ids_are_run_as_hugging_face_runs_them_or_refused_by_name(name):
    vlm = HookedVLM.from_pretrained(name)
    if name == "tiny-paligemma" or name == "tiny-paligemma2":
        with pytest.raises(RefusedError, match="words without a photo are not offered"):
            vlm("Where is it?")
        return
    ids = vlm.to_tokens("Where is it?")
    with torch.no_grad():
        wanted = vlm.model(input_ids=ids, use_cache=False).logits
        assert torch.equal(vlm("Where is it?").logits, wanted) and torch.equal(vlm(ids[0]).logits, wanted)
        both, kept = vlm.run_with_cache(["Where is it?", "Where"], "blocks.0.attn.hook_pattern")
        short = vlm("Where").logits
        assert len(vlm.generate("Where is it?", 2).texts) == 1
    torch.testing.assert_close(both.logits[:, -1], torch.stack([wanted[0, -1], short[0, -1]]), rtol=1e-4, atol=1e-5)
    assert kept["pattern", 0].shape == (2, 4, 1, ids.shape[1])


@pytest.mark.parametrize(
    "given, match",
    [
        (lambda vlm, clean: clean.input_ids, "image tokens, and ids alone bring no photo"),
        (lambda vlm, clean: 3, "int is nothing to run"),
        (lambda vlm, clean: [], "list is nothing to run"),
        (lambda vlm, clean: torch.ones(1, 4), "ids are whole numbers"),
        (lambda vlm, clean: torch.tensor([[0, 10**6]]), "not all known to this model"),
        (lambda vlm, clean: f"{vlm.processor.image_token} Where?", "the image placeholder .* leave it out"),
        (lambda vlm, clean: "", "no question without a photo"),
    ],
)
def test_what_is_no_prompt_is_refused_before_it_runs(given, match):
    vlm, clean, _ = pair("tiny-llava")
    for run in (vlm, vlm.run_with_cache, vlm.run_with_hooks, partial(vlm.generate, max_new_tokens=1)):
        with pytest.raises(InputError, match=match):
            run(given(vlm, clean))


def test_tokens_are_padded_on_the_left_and_a_bos_comes_when_it_is_asked_for():
    vlm, _, _ = pair("tiny-llava")
    bos, pad = vlm.tokenizer.bos_token_id, vlm.tokenizer.pad_token_id
    ids = vlm.to_tokens(["ab", "c"], prepend_bos=True)
    assert ids.tolist() == [[bos, *vlm.to_tokens("ab", prepend_bos=False)[0]], [pad, bos, vlm.to_single_token("c")]]
    assert vlm.to_str_tokens(["ab", "c"], prepend_bos=False) == [["a", "b"], ["c"]]
    with pytest.raises(InputError, match="'ab' is 2 tokens"):
        vlm.to_single_token("ab")
    for token in (pad, bos, vlm.to_single_token("c")):
        assert vlm.to_single_token(vlm.to_single_str_token(token)) == token
    assert vlm.to_single_str_token(vlm.to_single_token("c")) == "c"
    with pytest.raises(InputError, match="padded on the left"):
        vlm.to_tokens("ab", padding_side="right")
    with pytest.raises(InputError, match="no BOS token"):
        pair("tiny-qwen2_5_vl")[0].to_tokens("ab", prepend_bos=True)
