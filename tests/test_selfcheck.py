"""The self-check refuses a model whose hooks are not real, and leaves it as it was."""

import pytest
import tiny
import torch
from transformers.models.clip.modeling_clip import CLIPAttention
from transformers.models.llama.modeling_llama import LlamaAttention

from interp import attention, selfcheck
from interp.attention import SITES
from interp.errors import ModelError
from interp.hooked_vlm import HookedVLM


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
    refuse(model, "vision.blocks.0.attn: hooks are on, but DeafTower did not attend")


def test_rows_that_do_not_sum_to_one_are_refused(monkeypatch):
    softmax = torch.Tensor.softmax
    monkeypatch.setattr(torch.Tensor, "softmax", lambda tensor, dim: softmax(tensor, dim) * 0.9)
    refuse(tiny.model(), "do not sum to one")


def test_edits_that_are_dropped_are_refused(monkeypatch):
    monkeypatch.setattr(attention.EditedRows, "written_over", lambda edited, out: out)
    refuse(tiny.model(), "does not reach the output")


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


def test_the_check_leaves_no_hook_and_no_random_number_behind():
    model = tiny.model()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    vlm = HookedVLM.wrap(model, tiny.processor())
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
