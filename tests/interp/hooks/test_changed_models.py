"""A model that is changed after it was hooked is heard as before, or refused by name; copies are never half hooked."""

import copy
import io
import pickle

import pytest
import tiny
import torch

from interp.errors import HookError, ModelError
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.loading import load_model
from interp.model.prefix import Prefix
from interp.model.selfcheck import check_on_load

FAMILIES = ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3", "tiny-llava_next")
BLIND = ScaleImageLogits(-50, mode="add")
PATTERN = "blocks.1.attn.hook_pattern"


def wrapped(name, implementation="sdpa"):
    model, processor = load_model(name, dtype="float32")
    model.set_attn_implementation(implementation)
    vlm = HookedVLM.wrap(model, processor, self_check=False)
    return vlm, vlm.prepare(tiny.photo(), "Where is the mug?", prompt="paper")


def own_call(vlm, inputs):
    return vlm.model(**inputs.tensors).logits


def uses(vlm, inputs):
    """Every way to run a model under hooks; each gives something to compare."""

    def within(work):
        with vlm.intervene(BLIND, inputs):
            return work()

    def lasting():
        vlm.add_hook(PATTERN, lambda tensor, hook: tensor * 0.5)
        try:
            return own_call(vlm, inputs)
        finally:
            vlm.reset_hooks()

    yield "hooks", lambda: within(lambda: vlm(inputs).logits)
    yield "own call", lambda: within(lambda: own_call(vlm, inputs))
    yield "own generate", lambda: within(lambda: _generated(vlm, inputs))
    yield "run_with_hooks", lambda: vlm.run_with_hooks(inputs, fwd_hooks=[(PATTERN, lambda t, hook: t * 0.5)]).logits
    yield "run_with_cache", lambda: vlm.run_with_cache(inputs, names_filter=PATTERN)[1][PATTERN]
    yield "generate", lambda: vlm.generate(inputs, 3, intervention=BLIND).first_logits
    yield "add_hook", lasting
    if "prefix" not in vlm.family.refusals:
        yield "prefix", lambda: Prefix(vlm, inputs).step([BLIND]).logits


def _generated(vlm, inputs):
    settings = {"max_new_tokens": 3, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    return torch.stack(vlm.model.generate(**inputs.tensors, **settings).logits)


def refused_at_every_use(vlm, inputs, match, *, but=()):
    for name, use in uses(vlm, inputs):
        if name not in but:
            with torch.no_grad(), pytest.raises((ModelError, HookError), match=match):
                use()
    assert vlm._wiring.guard.turns.owner is None
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())


def implementations(model):
    parts = (model.config, model.config.get_text_config(), model.config.vision_config)
    return [part._attn_implementation for part in parts]


SETTERS = {
    "method": lambda model, name: model.set_attn_implementation(name),
    "assignment": lambda model, name: setattr(model.config, "_attn_implementation", name),
}


@pytest.mark.parametrize("setter", SETTERS)
@pytest.mark.parametrize("before, after", [("sdpa", "eager"), ("eager", "sdpa")])
@pytest.mark.parametrize("name", FAMILIES)
def test_hooks_go_on_above_another_implementation_and_unwrap_leaves_it(name, before, after, setter):
    vlm, inputs = wrapped(name, before)
    other, _ = wrapped(name, after)
    other.model.load_state_dict(vlm.model.state_dict())
    with torch.no_grad():
        plain = vlm(inputs).logits
        SETTERS[setter](vlm.model, after)
        for (use, ours), (_, theirs) in zip(uses(vlm, inputs), uses(other, inputs), strict=True):
            assert torch.equal(ours(), theirs()), use
        assert torch.equal(vlm(inputs).logits, other(inputs).logits)
        torch.testing.assert_close(vlm(inputs).logits, plain, rtol=1e-4, atol=1e-5)
        check_on_load(vlm)
        assert vlm._wiring.implementations.names == [after, after]
        with vlm.paused() as model:
            assert implementations(model)[1:] == [after, after]
        assert implementations(vlm.unwrap())[1:] == [after, after]
        assert torch.equal(own_call(vlm, inputs), own_call(other, inputs))


def test_an_implementation_that_is_set_while_paused_or_never_run_stays_as_well():
    vlm, inputs = wrapped("tiny-llava")
    with vlm.paused() as model:
        model.set_attn_implementation("eager")
    assert implementations(vlm.model)[1:] == ["spatial_lens_eager"] * 2
    vlm.model.set_attn_implementation("sdpa")
    assert implementations(vlm.unwrap()) == ["sdpa"] * 3


@pytest.mark.parametrize("name", FAMILIES)
def test_an_implementation_whose_masks_are_not_known_is_refused_until_another_is_set(name):
    vlm, inputs = wrapped(name)
    with torch.no_grad():
        wanted = [use() for _, use in uses(vlm, inputs)]
        vlm.model.config._attn_implementation = "flex_attention"
        refused_at_every_use(vlm, inputs, "'flex_attention' is not supported")
        with pytest.raises(ModelError, match="flex_attention"):
            vlm(inputs)
        vlm.model.set_attn_implementation("sdpa")
        assert all(torch.equal(use(), value) for (_, use), value in zip(uses(vlm, inputs), wanted, strict=True))


@pytest.mark.parametrize("part", ["vlm", "model", "language", "block", "attention"])
@pytest.mark.parametrize("way", [copy.deepcopy, pickle.dumps, lambda it: torch.save(it, io.BytesIO())])
def test_what_is_hooked_is_not_copied_pickled_or_saved(part, way):
    vlm, inputs = wrapped("tiny-llava")
    language = vlm.model.model.language_model
    parts = {"vlm": vlm, "model": vlm.model, "language": language, "block": language.layers[0]}
    parts["attention"] = language.layers[0].self_attn
    with pytest.raises(ModelError, match=r"copy\.deepcopy\(model\) inside `with vlm\.paused\(\) as model:`"):
        way(parts[part])
    assert all(use() is not None for _, use in uses(vlm, inputs))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_the_refusal_advises_works(name, tmp_path):
    vlm, inputs = wrapped(name)
    with torch.no_grad():
        wanted = [use() for _, use in uses(vlm, inputs)]
        with vlm.paused() as model:
            twin = copy.deepcopy(model)
        vlm.model.save_pretrained(tmp_path)
        for other in (twin, type(vlm.model).from_pretrained(tmp_path)):
            hooked = HookedVLM.wrap(other, vlm.processor)
            for (_, use), value in zip(uses(hooked, inputs), wanted, strict=True):
                torch.testing.assert_close(use(), value, rtol=1e-4, atol=1e-5)
            vlm.add_hook(PATTERN, lambda tensor, hook: tensor * 0)
            torch.testing.assert_close(dict(uses(hooked, inputs))["own call"](), wanted[1], rtol=1e-4, atol=1e-5)
            vlm.reset_hooks()
        assert all(torch.equal(use(), value) for (_, use), value in zip(uses(vlm, inputs), wanted, strict=True))


def test_a_copy_of_a_hooked_model_s_configuration_makes_a_model_that_can_be_hooked():
    vlm, inputs = wrapped("tiny-llava")
    other = type(vlm.model)(copy.deepcopy(vlm.model.config)).eval()
    other.load_state_dict(vlm.model.state_dict())
    with torch.no_grad():
        with vlm.hooks([(PATTERN, lambda tensor, hook: tensor * 0)]):
            plain = other(**inputs.tensors).logits
        assert torch.equal(plain, vlm(inputs).logits)
        second = HookedVLM.wrap(other, vlm.processor)
        for (_, ours), (_, theirs) in zip(uses(vlm, inputs), uses(second, inputs), strict=True):
            assert torch.equal(ours(), theirs())
    assert implementations(second.unwrap())[1:] == ["sdpa", "sdpa"]


def test_a_replica_that_takes_our_torch_hooks_along_is_refused():
    vlm, inputs = wrapped("tiny-llava")
    attention = vlm.model.model.language_model.layers[1].self_attn
    replica = attention._replicate_for_data_parallel()
    vlm.model.model.language_model.layers[1]._modules["self_attn"] = replica
    with pytest.raises(ModelError, match="is a copy of a hooked one"):
        vlm(inputs)


COMPILED = {
    "layer": lambda vlm: vlm.model.model.language_model.layers[1],
    "attention": lambda vlm: vlm.model.model.language_model.layers[1].self_attn,
    "vision block": lambda vlm: vlm._wiring.guard.links._lengths[1][1][0],
    "root": lambda vlm: vlm.model,
}


@pytest.mark.parametrize("part", COMPILED)
@pytest.mark.usefixtures("unlogged")
def test_what_is_compiled_in_place_is_refused_at_every_use_and_at_wrap(part):
    vlm, inputs = wrapped("tiny-qwen2_5_vl" if part == "layer" else "tiny-llava")
    with torch.no_grad():
        plain = vlm(inputs).logits
        COMPILED[part](vlm).compile(backend="eager")
        for _ in range(2):  # untouched, so that there is a graph
            torch.testing.assert_close(vlm(inputs).logits, plain)
        refused_at_every_use(vlm, inputs, "compile")
        vlm.blocks[1].hook_resid_post.add_hook(lambda tensor, hook: tensor * 0)
        with pytest.raises((ModelError, HookError), match="compile"):
            own_call(vlm, inputs)
        vlm.reset_hooks()
        torch.testing.assert_close(vlm(inputs).logits, plain)
    with pytest.raises(ModelError, match="was compiled in place"):
        HookedVLM.wrap(vlm.unwrap(), vlm.processor)


@pytest.mark.parametrize("order", ["graph before hooks", "graph after hooks"])
@pytest.mark.usefixtures("unlogged")
def test_a_graph_of_the_whole_model_runs_untouched_and_is_refused_under_hooks(order):
    model, processor = load_model("tiny-llava", dtype="float32")
    graph = torch.compile(model, backend="eager")
    with pytest.raises(ModelError, match="_orig_mod"):
        HookedVLM.wrap(graph, processor)
    vlm = HookedVLM.wrap(graph._orig_mod, processor)
    inputs = vlm.prepare(tiny.photo(), "Where is the mug?", prompt="paper")
    with torch.no_grad():
        plain = vlm(inputs).logits
        with vlm.paused():
            if order == "graph before hooks":
                graph(**inputs.tensors)
                graph(**inputs.tensors)
        if order == "graph after hooks":
            graph(**inputs.tensors)
        torch.testing.assert_close(graph(**inputs.tensors).logits, plain)
        for hooks in (BLIND.hooks(vlm.cfg, inputs.layouts), [("blocks.1.hook_resid_post", lambda t, hook: t * 0)]):
            with pytest.raises(HookError, match=r"inside a graph of torch\.compile"), vlm.hooks(hooks):
                graph(**inputs.tensors)
        torch.testing.assert_close(graph(**inputs.tensors).logits, plain)
    assert vlm._wiring.guard.turns.owner is None


def test_a_part_that_is_replaced_removed_or_added_is_refused_at_every_use():
    def replaced(layers):
        layers[1] = copy.deepcopy(spare[1])

    def inner(layers):
        layers[1].self_attn.q_proj = torch.nn.Linear(32, 32)

    def removed(layers):
        del layers[-1]

    def added(layers):
        layers.append(copy.deepcopy(spare[1]))

    spare = tiny.model().model.language_model.layers
    for change in (replaced, inner, removed, added):
        vlm = tiny.vlm()
        inputs = tiny.inputs(vlm)
        change(vlm.model.model.language_model.layers)
        refused_at_every_use(vlm, inputs, "when the model was hooked|after the model was hooked")


def test_a_model_that_can_not_be_hooked_again_after_a_pause_says_how_to_go_on():
    vlm, inputs = wrapped("tiny-llava")
    language = vlm.model.model.language_model
    with torch.no_grad():
        plain = vlm(inputs).logits
        with pytest.raises(ModelError, match="left without hooks: .*norm'.* Undo .*wrap"), vlm.paused():
            norm = language.norm
            del language.norm
        language.norm = norm
        with pytest.raises(ModelError, match="was unwrapped, or is paused"):
            vlm(inputs)
        again = HookedVLM.wrap(vlm.model, vlm.processor)
        assert all(torch.isfinite(use()).all() for _, use in uses(again, inputs))
        assert torch.equal(again(inputs).logits, plain)


def test_an_attention_of_the_tower_whose_forward_was_replaced_is_refused():
    vlm, inputs = wrapped("tiny-llava")
    tower = vlm.model.model.vision_tower
    attention = next(module for name, module in tower.named_modules() if name.endswith("layers.1.self_attn"))
    attention.forward = lambda hidden_states, **kwargs: (hidden_states, None)
    with torch.no_grad(), pytest.raises(HookError, match=r"vision\.blocks\.1\.attn\.hook_z: hooks are on"):
        vlm.run_with_cache(inputs, names_filter="vision.blocks.1.attn.hook_z")


def test_an_attention_whose_forward_was_replaced_is_refused():
    vlm, inputs = wrapped("tiny-llava")
    attention = vlm.model.model.language_model.layers[1].self_attn
    attention.forward = lambda hidden_states, **kwargs: (hidden_states, None)
    with torch.no_grad():
        vlm(inputs)
        elsewhere = vlm.run_with_cache(inputs, names_filter="blocks.0.attn.hook_pattern")[1]
        assert "blocks.0.attn.hook_pattern" in elsewhere.cache_dict
        refused_at_every_use(vlm, inputs, "did not attend through transformers' attention interface", but=["prefix"])
