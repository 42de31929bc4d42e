"""The self-check refuses a model whose hooks are not real, and leaves it as it was."""

import os
import tomllib
from importlib.metadata import version

import pytest
import tiny
import torch
from packaging.requirements import Requirement
from transformers.models.clip.modeling_clip import CLIPAttention
from transformers.models.llama.modeling_llama import LlamaAttention

from interp.errors import ModelError
from interp.hooks import attention, wiring
from interp.hooks.attention import SITES
from interp.hooks.shared_keys import shared_cache
from interp.model import prefix, selfcheck, versions
from interp.model.hooked_vlm import HookedVLM

pytestmark = pytest.mark.compat


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.setattr(selfcheck, "_PASSED", set())


def refuse(model, reason, processor=None):
    with pytest.raises(ModelError, match=reason) as refusal:
        HookedVLM.wrap(model, processor or tiny.processor())
    assert "\n" not in str(refusal.value) and "self_check=False" in str(refusal.value)
    assert not any(module in SITES for module in model.modules())
    assert model.config.text_config._attn_implementation == "sdpa"
    assert not selfcheck._PASSED


class Deaf(LlamaAttention):
    """Attention that never asks the registered function."""

    def forward(self, hidden_states, **kwargs):
        return hidden_states * 0.5, None


class DeafTower(CLIPAttention):
    def forward(self, hidden_states, **kwargs):
        return hidden_states * 0.5, None


class Twice(LlamaAttention):
    """Attention that asks twice, so that a capture would keep one of two."""

    def forward(self, hidden_states, **kwargs):
        return super().forward(super().forward(hidden_states, **kwargs)[0], **kwargs)


class Ignores(LlamaAttention):
    """Attention that asks, and throws the answer away."""

    def forward(self, hidden_states, **kwargs):
        super().forward(hidden_states, **kwargs)
        return hidden_states * 0.5, None


class Literal(LlamaAttention):
    """Attention that behaves differently under a name that it does not know."""

    def forward(self, hidden_states, **kwargs):
        out, weights = super().forward(hidden_states, **kwargs)
        return (out if self.config._attn_implementation == "sdpa" else out * 1.001), weights


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize(
    "sabotage, reason",
    [(Deaf, "did not attend"), (Twice, "fired 2 times"), (Ignores, "does not reach the output"), (Literal, "differs")],
)
def test_a_layer_that_does_not_do_as_its_hooks_say_is_refused(layer, sabotage, reason):
    model = tiny.model()
    model.model.language_model.layers[layer].self_attn.__class__ = sabotage
    refuse(model, reason)


def test_a_vision_tower_that_does_not_do_as_its_hooks_say_is_refused():
    model = tiny.model()
    model.model.vision_tower.encoder.layers[0].self_attn.__class__ = DeafTower
    refuse(model, r"vision.blocks.0.attn.hook_pattern: hooks are on, but \w+ did not attend")


def test_rows_that_do_not_sum_to_one_are_refused(monkeypatch):
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda tensor, dim: softmax(tensor, dim) * 0.9)
    refuse(tiny.model(), "do not sum to one")


def test_edits_that_are_dropped_are_refused(monkeypatch):
    monkeypatch.setattr(attention.EditedRows, "written_over", lambda edited, out: out)
    refuse(tiny.model(), "does not reach the output")


def test_a_cached_step_that_is_taken_for_a_prompt_is_refused(monkeypatch):
    """As when the cache got a name that nobody looked for: an edit of the last row then met every decoded one."""
    monkeypatch.setattr(wiring, "cache_in", lambda kwargs: None)
    refuse(tiny.model(), "a cached decode step: .* fired 0 times")


def test_a_step_that_does_not_see_the_prompt_is_refused(monkeypatch):
    def forgetful(*args):
        kept = shared_cache(*args)
        for layer in kept.layers:
            layer.prompt.value.zero_()
        return kept

    monkeypatch.setattr(prefix, "shared_cache", forgetful)
    refuse(tiny.model(), "a step on a shared prefill: it says something else")


def test_a_step_that_drops_its_edit_is_refused(monkeypatch):
    monkeypatch.setattr(prefix.Prefix, "_hooks", lambda self, interventions, samples: [])
    refuse(tiny.model(), "a step on a shared prefill: an edit does not reach")


def test_a_refusal_says_which_versions_are_proved(monkeypatch):
    row = {
        "versions": {"torch": version("torch").partition("+")[0], "transformers": "5.2.0", "transformer-lens": "4.1"}
    }
    older = {"versions": {**row["versions"], "transformers": "5.10.1"}}
    monkeypatch.setattr(versions, "proved_versions", lambda: [row, older])
    monkeypatch.setattr(wiring, "cache_in", lambda kwargs: None)
    here = version("transformers")
    refuse(
        tiny.model(), f"torch .* is a proved version. transformers {here} is not proved: install transformers==5.10.1"
    )


@pytest.mark.skipif("PROVING_VERSIONS" in os.environ, reason="this run is what the table is written from")
def test_the_proved_versions_are_within_the_declared_ranges(repo):
    """And the lowest of them are the lowest that are declared."""
    declared = {
        Requirement(line).name: Requirement(line).specifier
        for line in tomllib.loads((repo / "pyproject.toml").read_text())["project"]["dependencies"]
    }
    for name in versions.LIBRARIES:
        rows = versions.proved_versions()
        assert all(row["versions"][name] in declared[name] for row in rows)
        floors = {row["versions"][name] for row in rows if row["name"] == "floor"}
        spelled = {f">={one}" for one in floors} | {f">={one.removesuffix('.0')}" for one in floors}
        assert not floors or str(declared[name]) in spelled


def test_a_model_whose_output_is_not_finite_is_refused():
    model = tiny.model()
    with torch.no_grad():
        model.lm_head.weight[0, 0] = torch.nan
    refuse(model, "not finite")


def test_without_the_check_the_model_is_wrapped_and_says_so():
    model = tiny.model()
    model.model.language_model.layers[0].self_attn.__class__ = Ignores
    assert not HookedVLM.wrap(model, tiny.processor(), self_check=False).self_checked
    assert tiny.vlm().self_checked


def test_only_a_check_that_passed_is_remembered(monkeypatch):
    broken = tiny.model()
    broken.model.language_model.layers[0].self_attn.__class__ = Ignores
    refuse(broken, "does not reach")
    refuse(broken, "does not reach")
    tiny.vlm()
    assert len(selfcheck._PASSED) == 1
    monkeypatch.setattr(selfcheck, "_check_text", lambda vlm: pytest.fail("checked again"))
    assert tiny.vlm(seed=3).self_checked
    with pytest.raises(pytest.fail.Exception):
        tiny.vlm(tower="siglip")


@pytest.mark.parametrize("tower", ["clip", "siglip"])
@pytest.mark.parametrize("attention_name", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_sound_models_pass(tower, attention_name, dtype):
    assert tiny.vlm(tower=tower, attention=attention_name, dtype=dtype).self_checked


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_trained_model_passes_in_every_precision(dtype):
    """Where an edit of one layer hardly moves the logits, and rounding in half precision does."""
    assert HookedVLM.from_pretrained("shapes-vlm", dtype=dtype).self_checked


def test_the_check_leaves_no_hook_and_no_random_number_behind():
    model = tiny.model()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    vlm = HookedVLM.wrap(model, tiny.processor())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
