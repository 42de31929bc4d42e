"""A keyword that nobody knows is refused by its name before anything runs; one that says nothing is let through."""

import inspect

import pytest
import tiny
import torch
from transformer_lens import HookedRootModule
from transformer_lens.model_bridge import TransformerBridge
from transformers import DynamicCache

from interp import HookedVLM, OptionError, Prefix, ScaleImageLogits, SpatialLensError, Untouched, analyze, explore
from interp.compat import call_options
from interp.hooks.rows import RowHook
from interp.model.features import ImageFeatures
from interp.model.prefix import WholePasses, share_prefill
from interp.options import ANSWERS, RUN, known_options
from interp.proof.samples import one_prompt
from interp.zoo.tiny import TINY

NAME = "blocks.1.attn.hook_pattern"


@pytest.fixture(scope="module")
def asked():
    vlm = tiny.vlm()
    return vlm, tiny.inputs(vlm)


WRONG = {
    "fwd_hooks": lambda vlm, inputs: vlm.run_with_hooks(inputs, fwd_hook=[(NAME, lambda t, hook: t * 0)]),
    "names_filter": lambda vlm, inputs: vlm.run_with_cache(inputs, name_filter=NAME),
    "query_rows": lambda vlm, inputs: vlm.run_with_cache(inputs, query_row="all", names_filter=NAME),
    "remove_batch_dim": lambda vlm, inputs: vlm.run_with_cache(inputs, remove_batch=True),
    "logits_to_keep": lambda vlm, inputs: vlm(inputs, num_logits_to_keep=1),
    "output_hidden_states": lambda vlm, inputs: vlm(inputs, output_hidden_state=True),
    "intervention": lambda vlm, inputs: vlm.generate(inputs, 2, interventions=Untouched()),
    "max_new_tokens": lambda vlm, inputs: vlm.generate_with_cache(inputs, max_tokens=2),
    "bwd_hooks": lambda vlm, inputs: vlm.hooks(bwd_hook=[]),
    "inputs": lambda vlm, inputs: vlm.intervene(Untouched(), input=inputs),
    "prompt": lambda vlm, inputs: vlm.prepare(tiny.photo(), "Where?", promt="paper"),
    "system": lambda vlm, inputs: vlm.prepare(tiny.photo(), "Where?", sytem="x"),
    "query_rows of a hook": lambda vlm, inputs: vlm.add_perma_hook(NAME, print, query_row="last"),
    "query_rows of add_hook": lambda vlm, inputs: vlm.add_hook(NAME, print, query_row="last"),
    "is_permanent": lambda vlm, inputs: vlm.add_hook(NAME, print, permanent=True),
    "self_check": lambda vlm, inputs: HookedVLM.wrap(vlm.model, vlm.processor, selfcheck=False),
    "dtype": lambda vlm, inputs: HookedVLM.from_pretrained("shapes-vlm", dtyp="float32"),
    "device_map": lambda vlm, inputs: HookedVLM.from_pretrained("shapes-vlm", device_mapp="cpu"),
    "chunk": lambda vlm, inputs: Prefix(vlm, inputs, chunks=2),
    "chunk of shared": lambda vlm, inputs: share_prefill(vlm, inputs, chunck=2),
    "capture": lambda vlm, inputs: Prefix(vlm, inputs).step([Untouched()], captures=[NAME]),
    "samples": lambda vlm, inputs: WholePasses(vlm, inputs).step([Untouched()], sample=[0]),
    "max_new_tokens of a prefix": lambda vlm, inputs: Prefix(vlm, inputs).generate([Untouched()], max_new_token=2),
    "fwd_hooks of features": lambda vlm, inputs: ImageFeatures.capture(vlm, inputs).forward(fwd_hook=[]),
    "query_rows of a RowHook": lambda vlm, inputs: RowHook(print, query_row="last"),
    "detector": lambda vlm, inputs: explore(vlm, tiny.photo(), "Where?", detectors="yolo11n.pt"),
    "max_new_tokens of a page": lambda vlm, inputs: vlm.explore(tiny.photo(), "Where?", max_tokens=3),
    "layers": lambda vlm, inputs: analyze(tiny.photo(), "Where?", model=vlm, layer=[1]),
}


@pytest.mark.parametrize("meant", WRONG)
def test_a_misspelled_option_is_refused_with_the_one_that_was_meant(asked, meant):
    vlm, inputs = asked
    with pytest.raises(OptionError, match=rf"has no option '\w+': did you mean .*{meant.split(' ')[0]}") as refusal:
        WRONG[meant](vlm, inputs)
    assert isinstance(refusal.value, TypeError) and isinstance(refusal.value, SpatialLensError)
    assert "\n" not in str(refusal.value) and not any(point.has_hooks() for point in vlm.hook_dict.values())


ELSEWHERE = {
    "pos_slice": (-1, "query_rows"),
    "return_cache_object": (False, "cache_dict"),
    "start_at_layer": (1, "fwd_hooks"),
    "return_type": ("loss", "output.loss"),
    "loss_per_token": (True, "output.logits"),
    "prepend_bos": (True, "raw"),
    "padding_side": ("right", "left"),
    "reset_hooks_end": (False, "add_hook"),
}


@pytest.mark.parametrize("option", ELSEWHERE)
def test_an_option_of_transformer_lens_that_says_something_is_refused_with_what_to_do(asked, option):
    vlm, inputs = asked
    value, instead = ELSEWHERE[option]
    with pytest.raises(OptionError, match=f"{option}.*{instead}"):
        vlm.run_with_cache(inputs, **{option: value})


def defaults_of(*functions):
    """Keywords of functions with their defaults."""
    known = {name: one for each in functions for name, one in inspect.signature(each).parameters.items()}
    return {name: one.default for name, one in known.items() if one.default is not inspect.Parameter.empty}


@pytest.mark.parametrize("method", ["run_with_cache", "run_with_hooks", "forward", "hooks"])
def test_what_transformer_lens_says_by_default_changes_nothing(asked, method):
    vlm, inputs = asked
    with torch.no_grad():
        untouched = vlm(inputs).logits
        defaults = defaults_of(*(getattr(of, method) for of in (HookedRootModule, TransformerBridge)))
        own = [inspect.signature(each).parameters for each in (getattr(vlm, method), vlm.forward)]
        known = {*RUN, *own[0], *own[1], *call_options(vlm.model)}
        assert {*defaults} - known <= {"input_values"}, "an option of TransformerLens that nobody has thought of"
        for name, value in ((name, value) for name, value in defaults.items() if name in known):
            if method == "hooks":
                with vlm.hooks(**{name: value}):
                    output = vlm(inputs)
            else:
                output = getattr(vlm, method)(inputs, **{name: value})
            output = output[0] if isinstance(output, tuple) else output
            assert torch.equal(output.logits, untouched), name


def test_what_transformer_lens_says_of_answers_by_default_changes_nothing_where_it_is_greedy(asked):
    vlm, inputs = asked
    wanted = vlm.generate(inputs, 3)
    defaults = defaults_of(TransformerBridge.generate)
    for name in ANSWERS:
        value = ANSWERS[name][0][0]
        assert torch.equal(vlm.generate(inputs, 3, **{name: value}).tokens, wanted.tokens), name
        assert defaults.get(name, value) == value or name == "do_sample", name
    for wrong in ({"stop_at_eos": False}, {"freq_penalty": 0.5}, {"eos_token_id": 3}, {"use_past_kv_cache": False}):
        with pytest.raises(OptionError, match="for what vlm.generate does not take"):
            vlm.generate(inputs, 3, **wrong)


@pytest.mark.parametrize("name", TINY)
def test_each_family_is_given_what_its_forward_reads_and_nothing_else(name):
    vlm = HookedVLM.from_pretrained(name)
    inputs = one_prompt(vlm)
    length = inputs.input_ids.shape[1]
    with torch.no_grad():
        untouched = vlm(inputs).logits
        torch.testing.assert_close(vlm(inputs, logits_to_keep=1).logits, untouched[:, -1:])
        assert len(vlm(inputs, output_hidden_states=True).hidden_states) == vlm.cfg.n_layers + 1
        assert vlm(inputs, labels=inputs.input_ids).loss is not None
        assert torch.equal(vlm(inputs, return_dict=False)[0], untouched)
        for spelled in ("cache", "past_key_values"):  # one of both is dropped by each version of transformers
            kept = DynamicCache(config=vlm.model.config)
            vlm(inputs, use_cache=True, **{spelled: kept})
            assert kept.get_seq_length() == length
    for wrong in ("decoder_input_ids", "attn_mask", "pixel_value", "return_dicts"):
        with pytest.raises(OptionError, match=f"forward has no option '{wrong}'"):
            vlm(inputs, **{wrong: None})


def test_a_forward_is_asked_by_its_signature_and_by_the_type_of_its_keywords():
    from typing import TypedDict, Unpack

    class More(TypedDict, total=False):
        deep: int

    class Part:
        def forward(self, hidden, cache=None, **kwargs: Unpack[More]): ...

    class Old:
        def forward(self, ids, past_key_values=None, **kwargs): ...

    assert call_options(Part()) >= {"hidden", "cache", "past_key_values", "deep", "return_dict"}
    assert call_options(Old()) >= {"ids", "past_key_values", "cache"} and "kwargs" not in call_options(Old())
    assert "deep" in call_options(Old(), Part()) and "self" not in call_options(Old())


def test_a_decorated_function_keeps_its_signature_and_its_keywords():
    @known_options()
    def ask(photo, *, prompt="chat"):
        """Ask."""
        return photo, prompt

    assert str(inspect.signature(ask)) == "(photo, *, prompt='chat')" and ask.__doc__ == "Ask."
    assert ask(1, prompt="raw") == (1, "raw") == ask(photo=1, prompt="raw")
    with pytest.raises(OptionError, match="ask has no option 'zzz': it has photo, prompt"):
        ask(1, zzz=2)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        ask()


def test_an_intervention_reaches_the_run_beside_defaults_of_transformer_lens(asked):
    vlm, inputs = asked
    edit = ScaleImageLogits(0.5)
    wanted = vlm.run_with_hooks(inputs, intervention=edit).logits
    both = vlm.run_with_hooks(inputs, intervention=edit, return_type="logits", prepend_bos=None, logits_to_keep=0)
    assert torch.equal(both.logits, wanted) and not torch.equal(wanted, vlm(inputs).logits)
