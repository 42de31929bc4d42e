"""Hooks come on and go off without a trace, an untouched run is plain Hugging Face's, and names are never ignored."""

import copy
import gc
import pickle

import pytest
import tiny
import torch
from tiny import MODELS, case

from interp.errors import HookError, ModelError, OptionError
from interp.hooks.attention import SITES
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM

NAME = "blocks.1.attn.hook_pattern"


def nothing(tensor, hook):
    return None


def double(tensor, hook):
    return tensor * 2


def hook_counts(model):
    """Torch hooks of any kind, on every module."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    kinds += ("_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")
    return {name: [len(getattr(module, kind)) for kind in kinds] for name, module in model.named_modules()}


def implementations(model):
    config = model.config
    return [part._attn_implementation for part in (config, config.text_config, config.vision_config)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("tower, kv_heads, attention", MODELS)
@pytest.mark.parametrize("grad, frozen", [(False, True), (True, True), (True, False)])
def test_an_untouched_or_only_read_run_is_bit_equal(tower, kv_heads, attention, dtype, grad, frozen):
    model = tiny.model(tower=tower, kv_heads=kv_heads, attention=attention).to(dtype).requires_grad_(not frozen)
    vlm = HookedVLM.wrap(model, tiny.processor(tower))
    inputs = tiny.inputs(vlm, 3)
    with torch.set_grad_enabled(grad):
        with vlm.paused():
            plain = model(**inputs.tensors, use_cache=False).logits
        assert torch.equal(vlm(inputs).logits, plain)
        for rows in (None, "all", [4, 2]):
            output, cache = vlm.run_with_cache(inputs, query_rows=rows)
            assert torch.equal(output.logits, plain)
            assert not any(value.requires_grad for value in cache.values())
        if not (grad and not frozen):  # with gradients about, a hook that keeps its tensor may ask for one later
            read = vlm.run_with_hooks(inputs, fwd_hooks=[(lambda name: "vision" not in name, nothing)])
            assert torch.equal(read.logits, plain)
    with torch.inference_mode():
        assert torch.equal(vlm.run_with_cache(inputs)[0].logits, plain)
        assert torch.equal(vlm.run_with_hooks(inputs, fwd_hooks=[(NAME, nothing)]).logits, plain)
    vlm.unwrap()
    with torch.set_grad_enabled(grad):
        assert torch.equal(model(**inputs.tensors, use_cache=False).logits, plain)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_unwrap_leaves_the_model_as_it_was(attention):
    model = tiny.model(attention=attention)
    model.get_image_features(
        pixel_values=torch.zeros(1, 3, 28, 28)
    )  # transformers installs its own hooks, and keeps them
    before = hook_counts(model), implementations(model), set(model.state_dict()), copy.deepcopy(model.config.__dict__)
    vlm = HookedVLM.wrap(model, tiny.processor(), self_check=False)
    assert hook_counts(model) != before[0] and implementations(model) != before[1]
    vlm.add_perma_hook(NAME, double)
    assert vlm.unwrap() is model
    after = hook_counts(model), implementations(model), set(model.state_dict()), model.config.__dict__
    assert after == before
    assert not any(module in SITES for module in model.modules())
    assert not hasattr(model, "name")
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def test_a_wrapped_model_that_is_saved_loads_as_the_plain_one(tmp_path):
    vlm = tiny.vlm()
    vlm.model.save_pretrained(tmp_path)
    loaded = type(vlm.model).from_pretrained(tmp_path)
    assert implementations(loaded)[1:] == ["sdpa", "sdpa"]
    inputs = tiny.inputs(vlm)
    assert torch.equal(loaded(**inputs.tensors, use_cache=False).logits, vlm(inputs).logits)


def test_after_unwrap_and_while_paused_nothing_runs_as_if_hooked():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm)

    def attempts():
        yield lambda: vlm(inputs)
        yield lambda: vlm.run_with_cache(inputs)
        yield lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(NAME, double)])
        yield lambda: vlm.generate(inputs, 2)
        yield lambda: vlm.generate_with_cache(inputs, 2)
        yield lambda: vlm.add_hook(NAME, double)
        yield lambda: vlm.intervene(ScaleImageLogits(0.5), inputs).__enter__()

    with vlm.paused():
        for attempt in attempts():
            with pytest.raises(ModelError, match="unwrapped, or is paused"):
                attempt()
        with vlm.paused():
            pass
        assert not vlm.wrapped
    assert vlm.wrapped and vlm(inputs) is not None
    vlm.unwrap()
    vlm.unwrap()
    for attempt in attempts():
        with pytest.raises(ModelError, match="unwrapped"):
            attempt()
    with vlm.paused():
        pass
    assert not any(module in SITES for module in vlm.model.modules())


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("name", ["vision.blocks.1.hook_mlp_out", NAME, "blocks.0.hook_resid_mid", "unembed.hook_out"])
def test_an_exception_in_the_middle_leaves_nothing_behind(name, error):
    vlm, inputs, untouched = case("clip", 2, "sdpa")

    def fail(tensor, hook):
        raise error("stop")

    for run in (
        lambda: vlm.run_with_hooks(inputs, fwd_hooks=[("blocks.0.hook_resid_pre", double), (name, fail)]),
        lambda: vlm.run_with_cache(inputs, fwd_hooks=[(name, fail)]),
        lambda: vlm.generate(inputs, 3, fwd_hooks=[(name, fail)]),
    ):
        with pytest.raises(error):
            run()
        assert not any(point.has_hooks() for point in vlm.hook_dict.values())
        assert torch.equal(vlm(inputs).logits, untouched)
    with pytest.raises(error), vlm.paused():
        raise error
    assert torch.equal(vlm(inputs).logits, untouched)
    assert vlm.run_with_hooks(inputs, fwd_hooks=[(NAME, double)]).logits.ne(untouched).any()


def test_a_second_model_in_the_process_is_untouched():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)
    other = tiny.model(seed=5)
    with torch.no_grad():
        before = other(**inputs.tensors).logits
        with vlm.hooks([(lambda name: name.startswith("blocks"), double)]):
            assert torch.equal(other(**inputs.tensors).logits, before)
        second = HookedVLM.wrap(other, tiny.processor())
        with vlm.hooks([(NAME, double)]):
            assert torch.equal(second(inputs).logits, second.run_with_cache(inputs)[0].logits)
            torch.testing.assert_close(second(inputs).logits, before)
        untouched = vlm(inputs).logits
        with second.hooks([(NAME, double)]):
            assert torch.equal(vlm(inputs).logits, untouched)
        second.unwrap()
        assert torch.equal(vlm(inputs).logits, untouched)


def test_a_model_that_shares_the_configuration_object_runs_plain_and_is_not_wrapped():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)
    torch.manual_seed(9)
    twin = type(vlm.model)(vlm.model.config).eval()
    free = type(vlm.model)(copy.deepcopy(tiny.model().config)).eval()
    free.load_state_dict(twin.state_dict())
    with torch.no_grad(), vlm.hooks([(NAME, double)]):
        assert torch.equal(twin(**inputs.tensors).logits, free(**inputs.tensors).logits)
    with pytest.raises(ModelError, match="deepcopy"):
        HookedVLM.wrap(twin, tiny.processor())
    assert not any(module in SITES for module in twin.modules())


def test_wrapping_twice_is_refused():
    vlm, inputs, untouched = case("clip", 2, "sdpa")
    with pytest.raises(ModelError, match="hooked already"):
        HookedVLM.wrap(vlm.model, vlm.processor)
    assert torch.equal(vlm(inputs).logits, untouched)
    assert vlm.run_with_hooks(inputs, fwd_hooks=[(NAME, double)]).logits.ne(untouched).any()


@pytest.mark.parametrize("implementation", ["flex_attention", "flash_attention_2"])
def test_an_attention_implementation_without_readable_masks_is_refused(implementation):
    model = tiny.model()
    model.config.text_config._attn_implementation_internal = implementation
    with pytest.raises(ModelError, match="attn_implementation='sdpa'"):
        HookedVLM.wrap(model, tiny.processor())
    assert not any(module in SITES for module in model.modules())


def test_names_that_match_nothing_are_refused_with_the_nearest_ones():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    wrong = ["blocks.1.attn.hook_patern", "pattern", "blocks.7.hook_resid_pre", [NAME, "nope"], [], lambda name: False]
    for names in wrong:
        for attempt in (
            lambda names=names: vlm.run_with_cache(inputs, names_filter=names),
            lambda names=names: vlm.run_with_hooks(inputs, fwd_hooks=[(names, nothing)]),
            lambda names=names: vlm.run_with_hooks(inputs, bwd_hooks=[(names, nothing)]),
            lambda names=names: vlm.add_hook(names, nothing),
            lambda names=names: vlm.add_perma_hook(names, nothing),
        ):
            with pytest.raises(KeyError) as refusal:
                attempt()
            assert isinstance(refusal.value, HookError) and "\n" not in str(refusal.value)
    with pytest.raises(HookError, match="did you mean blocks.1.attn.hook_pattern"):
        vlm.matching("blocks.1.attn.hook_patern")
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def test_the_verbs_of_transformer_lens_keep_their_meaning():
    vlm, inputs, untouched = case("clip", 2, "sdpa")

    def changed():
        return not torch.equal(vlm(inputs).logits, untouched)

    vlm.add_hook(NAME, double)
    assert changed()
    vlm.reset_hooks()
    assert not changed()
    vlm.add_perma_hook(NAME, double)
    vlm.reset_hooks()
    assert changed()
    vlm.reset_hooks(including_permanent=True)
    assert not changed()
    with vlm.hooks([(NAME, double)]):
        with vlm.hooks([("blocks.2.hook_mlp_out", double)]):
            both = vlm(inputs).logits
        assert changed() and not torch.equal(vlm(inputs).logits, both)
    assert not changed()
    with vlm.hooks([(NAME, double)], reset_hooks_end=False):
        pass
    assert changed()
    vlm.reset_hooks()
    heard = []
    vlm.add_hook(NAME, lambda t, hook: heard.append(t.shape[2]), query_rows="last")
    vlm.add_hook("unembed.hook_out", lambda g, hook: heard.append("backward"), "bwd")
    vlm(inputs).logits.sum().backward()
    assert heard == [1, "backward"]
    vlm.reset_hooks()
    first = []
    vlm.add_hook(NAME, lambda t, hook: first.append(2))
    vlm.add_hook(NAME, lambda t, hook: first.append(1), prepend=True)
    vlm(inputs)
    assert first == [1, 2] and list(vlm.list_hooks()) == [NAME]
    vlm.reset_hooks()
    for verb in ("add_caching_hooks", "get_caching_hooks", "cache_all", "cache_some"):
        with pytest.raises(HookError, match="run_with_cache"):
            getattr(vlm, verb)({})


def test_the_module_verbs_reach_the_model():
    vlm = tiny.vlm()
    assert {name for name, _ in vlm.named_parameters()} == set(vlm.model.state_dict())
    assert vlm.to(torch.float64) is vlm and vlm.dtype == torch.float64
    vlm.requires_grad_(True)
    assert next(vlm.model.parameters()).requires_grad
    assert vlm.train().model.training and not vlm.eval().model.training


def _through_pickle(cache, path):
    return pickle.loads(pickle.dumps(cache))


def _through_torch(cache, path):
    torch.save(cache, path)
    return torch.load(path)


@pytest.mark.parametrize("way", [_through_pickle, _through_torch, lambda cache, path: copy.deepcopy(cache)])
def test_a_cache_is_saved_and_copied_without_its_model(way, tmp_path):
    vlm = tiny.vlm()
    weights = {value.data_ptr() for value in vlm.model.state_dict().values()}
    for settings in ({}, {"remove_batch_dim": True}):
        _, cache = vlm.run_with_cache(tiny.inputs(vlm), **settings)
        again = way(cache, tmp_path / "cache.pt")
        assert type(again) is type(cache) and again.has_batch_dim == cache.has_batch_dim and list(again) == list(cache)
        assert all(torch.equal(again[name], value) for name, value in cache.items())
        assert all(value.data_ptr() not in weights for value in again.values())
        assert torch.equal(again["pattern", -1], cache["pattern", -1])
        assert torch.equal(again.stack_activation("pattern"), cache.stack_activation("pattern"))
        with pytest.raises(HookError, match="was not captured"):
            again["pattern", 9]


def test_the_cache_answers_as_a_transformer_lens_cache_where_it_can():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    _, cache = vlm.run_with_cache(inputs)
    assert torch.equal(cache["pattern", -1], cache["blocks.2.attn.hook_pattern"])
    assert torch.equal(cache["attn_logits", 1], cache["blocks.1.attn.hook_attn_logits"])
    assert torch.equal(cache["resid_mid", 0], cache["blocks.0.hook_resid_mid"])
    assert torch.equal(cache.stack_activation("pattern"), torch.stack([cache["pattern", layer] for layer in range(3)]))
    assert cache.stack_activation("resid_post", layer=2).shape[0] == 2
    assert len(cache) == len(list(cache)) == len(cache.keys())
    assert repr(cache).startswith("VLMCache(")
    assert cache.to("cpu") is cache
    for key in ("blocks.9.hook_resid_pre", ("pattern", 9), ("nope", 0), "vision.blocks.0.attn.hook_pattern", "pattern"):
        with pytest.raises(KeyError, match="was not captured"):
            cache[key]
    for verb in (
        "logit_lens",
        "accumulated_resid",
        "decompose_resid",
        "stack_head_results",
        "apply_slice_to_batch_dim",
    ):
        with pytest.raises(HookError, match=verb):
            getattr(cache, verb)


def test_the_options_of_a_capture_are_kept_or_refused():
    vlm, inputs, _ = case("clip", 2, "sdpa")
    one = tiny.inputs(vlm)
    _, with_batch = vlm.run_with_cache(one)
    _, without = vlm.run_with_cache(one, remove_batch_dim=True)
    for name, value in with_batch.items():
        assert torch.equal(without[name], value if name == "projector.hook_out" else value[0])
    _, cache = vlm.run_with_cache(one, names_filter=NAME, device="meta")
    assert cache[NAME].device.type == "meta"
    with pytest.raises(HookError, match="batch of one"):
        vlm.run_with_cache(inputs, remove_batch_dim=True)
    with pytest.raises(OptionError, match="query_rows"):
        vlm.run_with_cache(inputs, pos_slice=-1)
    with pytest.raises(OptionError, match="bwd_hooks"):
        vlm.run_with_cache(inputs, incl_bwd=True)


def live_tensors():
    gc.collect()
    return sum(isinstance(item, torch.Tensor) for item in gc.get_objects())


def test_fifty_captures_do_not_grow_memory():
    vlm, inputs, _ = case("clip", 2, "sdpa", dtype=torch.float32)

    def use():
        vlm.run_with_cache(inputs)
        vlm.run_with_hooks(inputs, fwd_hooks=[(NAME, double)])
        with vlm.hooks(bwd_hooks=[(NAME, nothing)]):
            vlm(inputs).logits.sum().backward()

    use()
    before = live_tensors()
    for _ in range(50):
        use()
    assert live_tensors() <= before + 2


def test_a_model_that_nobody_holds_is_freed():
    import weakref

    vlm = tiny.vlm()
    watched = weakref.ref(vlm.model)
    vlm.run_with_cache(tiny.inputs(vlm))
    del vlm
    gc.collect()
    assert watched() is None
