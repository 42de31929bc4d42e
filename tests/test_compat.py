"""What differs between versions of the libraries is found on the object, on whichever side of the change it stands."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch.utils.checkpoint import checkpoint

from adaptvis.contrastive.decoding import VCD
from interp.compat import (
    CACHE_NAMES,
    cache_in,
    cache_name,
    checkpoint_activations,
    image_settings,
    keeps_no_activations,
)
from interp.datasets.synthetic.shapes import shapes
from interp.hooks.towers import submodule
from interp.intervene.base import Untouched
from interp.intervene.image_logits import ScaleImageLogits
from interp.model.hooked_vlm import HookedVLM
from interp.model.prefix import Prefix

pytestmark = pytest.mark.compat

EDIT = ScaleImageLogits(-5.0, mode="add", rows="last", decode=True)


class Output(dict):
    """An output of transformers: fields by key and by attribute."""

    __getattr__ = dict.__getitem__


def renamed(given, old, new):
    """Arguments or fields with one of them under another name."""
    return {new if name == old else name: value for name, value in given.items()}


@contextmanager
def speaking_inside(vlm, name):
    """The model as if the calls inside it had the cache under `name`."""
    own, language = cache_name(vlm.model), submodule(vlm.model, vlm.family.language)

    def rename(old, new):
        return lambda module, args, kwargs: (args, renamed(kwargs, old, new))

    ours = list(language._forward_pre_hooks)
    first = language.register_forward_pre_hook(rename(own, name), with_kwargs=True, prepend=True)
    last = language.register_forward_pre_hook(rename(name, own), with_kwargs=True)
    assert list(language._forward_pre_hooks)[1:-1] == ours
    try:
        yield
    finally:
        first.remove()
        last.remove()


@contextmanager
def speaking(vlm, name):
    """The model as if its own call and output, too, had the cache under `name`."""
    own, forward = cache_name(vlm.model), vlm.model.forward

    def run(kept, *args, **kwargs):
        return Output(renamed(forward(*args, **{own: kept}, **kwargs), own, name))

    calls = {
        "cache": lambda *args, cache=None, **kwargs: run(cache, *args, **kwargs),
        "past_key_values": lambda *args, past_key_values=None, **kwargs: run(past_key_values, *args, **kwargs),
    }
    with speaking_inside(vlm, name):
        vlm.model.forward = calls[name]
        try:
            yield
        finally:
            del vlm.model.forward


@pytest.fixture(scope="module", params=["tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3"])
def vlm(request):
    return HookedVLM.from_pretrained(request.param)


@pytest.fixture
def inputs(vlm):
    return vlm.prepare([tiny.photo(0), tiny.photo(1)], list(tiny.QUESTIONS[:2]), prompt="paper")


@pytest.mark.parametrize("name", CACHE_NAMES)
def test_a_prefix_steps_and_decodes_under_either_name_of_the_cache(vlm, inputs, name):
    interventions = [Untouched(), EDIT]
    wanted = Prefix(vlm, inputs).step(interventions).logits
    answers = [answer.tokens for answer in Prefix(vlm, inputs).generate(interventions, 4)]
    with speaking(vlm, name):
        assert cache_name(vlm.model) == name
        prefix = Prefix(vlm, inputs)
        torch.testing.assert_close(prefix.step(interventions).logits, wanted)
        for tokens, answer in zip(answers, prefix.generate(interventions, 4), strict=True):
            assert torch.equal(answer.tokens, tokens)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-2


@pytest.mark.parametrize("name", CACHE_NAMES)
@pytest.mark.parametrize("rows", ["last", "decoded"])
def test_a_decode_step_is_known_for_one_under_either_name_of_the_cache(vlm, inputs, name, rows):
    """Where it is not, an edit of the last prompt row also meets every row that is decoded."""
    met = []

    def meet(pattern, *, hook):
        met.append((vlm._wiring.now.offset, vlm._wiring.now.length))

    with speaking_inside(vlm, name):
        vlm.generate(inputs, 4, fwd_hooks=[("blocks.0.attn.hook_pattern", meet)], query_rows=rows)
    prompt = inputs.input_ids.shape[1]
    assert met == ([(0, prompt)] if rows == "last" else [(prompt + step, 1) for step in range(3)])


def test_a_model_that_takes_no_cache_by_name_is_called_by_the_older_one():
    assert cache_name(SimpleNamespace(forward=lambda **kwargs: None)) == "past_key_values"


def test_an_empty_cache_is_a_cache():
    for name in CACHE_NAMES:
        assert cache_in({name: (), "logits": 1}) == ()
        assert cache_in({name: None}) is None
    assert cache_in({}) is None


def test_what_a_processor_says_of_photos_is_found_in_both_of_its_places():
    said = {"crop_to_patches": True}
    earlier = SimpleNamespace(valid_processor_kwargs=SimpleNamespace(_defaults={"images_kwargs": said}))
    assert image_settings(SimpleNamespace(images_kwargs=said)) == image_settings(earlier) == said
    assert image_settings(SimpleNamespace()) == image_settings(SimpleNamespace(valid_processor_kwargs=object)) == {}


@pytest.mark.parametrize("word", ["activation_checkpointing", "gradient_checkpointing"])
def test_activations_are_checkpointed_under_either_name(word):
    said = []
    model = SimpleNamespace(
        **{
            f"{word}_enable": lambda **given: said.append(given),
            f"{word}_disable": lambda: said.append(None),
        }
    )
    checkpoint_activations(model, True, reentrant=True)
    checkpoint_activations(model, False)
    assert said == [{f"{word}_kwargs": {"use_reentrant": True}}, None]


def test_what_torch_computes_again_is_known_where_it_can_be_asked(monkeypatch):
    def run(reentrant):
        said = []
        checkpoint(
            lambda x: said.append(keeps_no_activations()) or x * 1,
            torch.ones(1, requires_grad=True),
            use_reentrant=reentrant,
        )
        return said

    assert run(False) == [True] and run(True) == [False] == [keeps_no_activations()]
    with torch.autograd.graph.save_on_cpu():
        assert not keeps_no_activations()
    monkeypatch.delattr(torch._C._autograd, "_top_saved_tensors_default_hooks")
    assert not keeps_no_activations()


def test_the_noised_run_never_shares_the_cache_of_the_true_one_by_either_name(monkeypatch):
    class Kept:
        def __init__(self, model, state):
            states.append(state)

    states, vlm = [], tiny.vlm()
    inputs = vlm.prepare(shapes(1)[0].image, "Where is it?")
    cache = [torch.zeros(1)]
    monkeypatch.setattr("adaptvis.contrastive.decoding._Run", Kept)
    monkeypatch.setattr(
        "adaptvis.contrastive.decoding._answer",
        lambda vlm, inputs, n, scorer: scorer(vlm.model, dict.fromkeys(CACHE_NAMES, cache)),
    )
    VCD().generate(vlm, inputs)
    true, noised = states
    assert all(true[name] is cache for name in CACHE_NAMES)
    (own,) = [noised[name] for name in CACHE_NAMES if name in noised]
    assert own is not cache and own[0] is not cache[0]
