"""RoPE sensitivity: keys encoded anew at other positions, softmaxes written out, and what must be refused."""

import inspect
from functools import cache

import numpy as np
import pytest
import tiny
import torch
from transformers import LlamaConfig, LlavaForConditionalGeneration

from interp import HookedVLM, ScaleImageLogits
from interp.errors import InputError, ModelError, RefusedError
from interp.hooks.towers import submodule, text_tower
from interp.intervene.image_hooks import IMAGE_POINT
from interp.intervene.image_tokens import ScaleImageNorms
from interp.proof.samples import four_prompts
from interp.zoo.tiny import TINY
from probes.position.rope import MEASURES, rope_sensitivity

THREE_STREAMS = {"tiny-qwen2_vl", "tiny-qwen2_5_vl", "tiny-qwen3_vl", "tiny-glm4v"}
CASES = [(name, None) for name in TINY]
CASES += [(name, axis) for name in sorted(THREE_STREAMS) for axis in ("time", "height", "width")]


ASKED = ("Where is the mug?", "Is the dog above it?")


@cache
def loaded(name):
    """A tiny model and a ragged batch of two prompts for it."""
    vlm = HookedVLM.from_pretrained(name, self_check=False)
    _, (_, one, two, _) = four_prompts(vlm)
    return vlm, vlm.prepare([one.images[0], two.images[0]], list(ASKED), prompt="paper")


class Positions:
    """Notes the positions that the model's rotary embedding is given, and its cosines at others."""

    def __init__(self, vlm):
        tower = text_tower(vlm.model, vlm.family)
        self.decoder = submodule(vlm.model, tower.blocks.rpartition(".")[0])
        self.rotary = self.decoder.rotary_emb
        self.kinds = vlm.model.config.get_text_config().layer_types if self._asks() else None

    def _asks(self):
        return "layer_type" in inspect.signature(inspect.unwrap(type(self.rotary).forward)).parameters

    def __enter__(self):
        self.handle = self.rotary.register_forward_pre_hook(self._note, with_kwargs=True)
        return self

    def __exit__(self, *of_no_interest):
        self.handle.remove()

    def _note(self, module, args, kwargs):
        self.positions = kwargs.get("position_ids", args[1] if len(args) > 1 else None)

    def at(self, layer, positions):
        more = {"layer_type": self.kinds[layer]} if self.kinds else {}
        return self.rotary(torch.zeros(1), positions, **more)


def encoded_anew(vlm, inputs, delta, axis, row=-1):
    """What the probe should find, [sample layer head], from keys before RoPE that the model encodes at other positions.

    Softmax sums are loops; nothing is shared with the probe but the model.
    """
    names = [f"blocks.{layer}.attn.hook_{kind}" for layer in range(vlm.cfg.n_layers) for kind in KINDS]
    rows = (row % inputs.input_ids.shape[1],)
    with Positions(vlm) as known, torch.no_grad():
        _, seen = vlm.run_with_cache(inputs, names_filter=names, query_rows=rows)
        shape = (len(inputs), vlm.cfg.n_layers, vlm.cfg.n_heads)
        found = {name: np.zeros(shape) for name in MEASURES}
        moved = known.positions.expand(3, -1, -1).clone() if vlm.origin["model"] in THREE_STREAMS else known.positions
        moved = moved.expand(*moved.shape[:-2], len(inputs), -1).double()
        for sample, layout in enumerate(inputs.layouts):
            streams = {None: slice(None), "time": 0, "height": 1, "width": 2}[axis]
            by = moved[streams, sample] if moved.ndim == 3 else moved[sample]
            by[..., layout.image_positions] += delta
        for layer, attention in enumerate(vlm.text_attentions):
            key = seen[f"blocks.{layer}.attn.hook_k"]
            key = attention.k_norm(key) if hasattr(attention, "k_norm") else key
            apply = vars(inspect.getmodule(type(attention)))["apply_rotary_pos_emb"]
            anew = apply(key.mT.mT, key, *known.at(layer, moved), unsqueeze_dim=2)[1].double().numpy()
            query = seen[f"blocks.{layer}.attn.hook_rot_q"][:, rows[0]].double().numpy()
            scores = seen[f"blocks.{layer}.attn.hook_attn_scores"][:, :, 0].double().numpy()
            cap = getattr(attention, "attn_logit_softcapping", None)
            for sample, head in np.ndindex(shape[0], shape[2]):
                keys = anew[sample, :, head // (vlm.cfg.n_heads // vlm.cfg.n_kv_heads)]
                logits = [attention.scaling * sum(query[sample, head] * keys[k]) for k in range(len(keys))]
                logits = [cap * np.tanh(logit / cap) for logit in logits] if cap else logits
                image = set(inputs.layouts[sample].image_positions.tolist())
                one = by_hand(scores[sample, head], logits, image, delta)
                for name, value in one.items():
                    found[name][sample, layer, head] = value
    return found


KINDS = ("k", "rot_q", "attn_scores")


def by_hand(before, logits, image, delta):
    """The measures of one row, from masked logits before and image logits after, key by key."""
    after = [logits[k] if k in image and np.isfinite(before[k]) else before[k] for k in range(len(before))]
    one, two = (np.exp(np.array(row) - max(row)) / np.exp(np.array(row) - max(row)).sum() for row in (before, after))
    alpha, alpha_after = sum(one[k] for k in image), sum(two[k] for k in image)
    seen = [k for k in image if np.isfinite(before[k])]
    change = sum(one[k] / alpha * (after[k] - before[k]) / delta for k in seen)
    found = {"alpha_v": alpha, "alpha_product": alpha * (1 - alpha), "delta_alpha_v": alpha_after - alpha}
    return found | {
        "delta_g_v": change,
        "residual": alpha_after - alpha - alpha * (1 - alpha) * change * delta,
    }


@pytest.mark.parametrize(("name", "axis"), CASES)
@pytest.mark.parametrize("delta", [1.0, -3.0])
def test_turned_keys_are_those_that_the_model_encodes_at_moved_positions(name, axis, delta):
    vlm, inputs = loaded(name)
    wanted = encoded_anew(vlm, inputs, delta, axis)
    found = rope_sensitivity(vlm, inputs, delta, axis=axis)
    for sample, one in enumerate(found):
        for measure in MEASURES:
            assert np.abs(getattr(one, measure) - wanted[measure][sample]).max() < 2e-5, measure
    assert np.abs(wanted["delta_alpha_v"]).max() > 1e-3 and np.abs(wanted["delta_g_v"]).max() > 1e-2


@pytest.mark.parametrize("name", TINY)
def test_a_move_by_nothing_changes_nothing_to_the_bit(name):
    vlm, inputs = loaded(name)
    for one in rope_sensitivity(vlm, inputs, 0.0):
        assert not any(np.any(getattr(one, measure)) for measure in ("delta_alpha_v", "delta_g_v", "residual"))
        assert (one.alpha_v > 0).any()


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen3_vl", "tiny-gemma3", "tiny-paligemma2"])
def test_small_moves_agree_with_the_derivative_of_attention_in_double_precision(name):
    vlm, inputs = loaded(name)
    step = 1e-4
    ahead, behind = (rope_sensitivity(vlm, inputs, sign * step, dtype="float64") for sign in (1, -1))
    for one, two in zip(ahead, behind, strict=True):
        slope = (one.delta_alpha_v.astype(float) - two.delta_alpha_v) / (2 * step)
        wanted = one.alpha_product.astype(float) * (one.delta_g_v.astype(float) + two.delta_g_v) / 2
        assert np.abs(slope - wanted).max() < 1e-6 and np.abs(wanted).max() > 1e-3
        assert np.abs(one.delta_g_v - two.delta_g_v).max() < 5e-3 * np.abs(one.delta_g_v).max()  # what curves
        assert np.abs(one.residual).max() < 1e-7


def test_float32_is_rounding_away_from_double_precision():
    vlm, inputs = loaded("tiny-llava")
    for one, two in zip(*(rope_sensitivity(vlm, inputs, dtype=dtype) for dtype in ("float32", "float64")), strict=True):
        assert all(np.abs(getattr(one, name) - getattr(two, name)).max() < 5e-6 for name in MEASURES)


@pytest.mark.parametrize("name", TINY)
def test_the_appended_end_is_a_row_of_its_own_and_changes_nothing_before_it(name):
    vlm, inputs = loaded(name)
    found = rope_sensitivity(vlm, inputs, query_row="appended_eos")
    shapes, logits = [], {}
    note = vlm.model.register_forward_pre_hook(lambda m, a, k: logits.update(k), with_kwargs=True)
    try:
        rope_sensitivity(vlm, inputs, query_row="appended_eos")
    finally:
        note.remove()
    ids, end = logits["input_ids"], vlm.processor.tokenizer.eos_token_id
    shapes.append(tuple(ids.shape))
    assert shapes == [(2, inputs.input_ids.shape[1] + 1)] and set(ids[:, -1].tolist()) == {end}
    with torch.no_grad():
        before = vlm(inputs).logits
        after = vlm.model(**logits).logits[:, :-1]
    real = inputs.attention_mask.bool()
    assert (before - after)[real].abs().max() < tiny.rounding(vlm)
    last = rope_sensitivity(vlm, inputs)
    assert any(np.abs(one.alpha_v - two.alpha_v).max() > 1e-3 for one, two in zip(found, last, strict=True))
    assert all(one.query_row == "appended_eos" for one in found)


def test_a_batch_gives_what_its_samples_give_alone():
    for name in ("tiny-llava", "tiny-qwen2_5_vl", "tiny-gemma3"):
        vlm, inputs = loaded(name)
        together = rope_sensitivity(vlm, inputs, sample_ids=["a", "b"])
        for place, one in enumerate(together):
            asked = vlm.prepare(inputs.images[place], ASKED[place], prompt="paper")
            (alone,) = rope_sensitivity(vlm, asked)
            assert one.sample_id == "ab"[place]
            assert all(np.abs(getattr(one, each) - getattr(alone, each)).max() < 1e-5 for each in MEASURES)


def test_any_row_from_the_image_on_can_be_asked_for():
    vlm, inputs = loaded("tiny-llava")
    row = int(max(layout.image_positions[3] for layout in inputs.layouts))
    wanted = encoded_anew(vlm, inputs, 1.0, None, row)
    for given in (row, row - inputs.input_ids.shape[1]):
        for sample, one in enumerate(rope_sensitivity(vlm, inputs, query_row=given)):
            assert one.query_row == row
            assert all(np.abs(getattr(one, name) - wanted[name][sample]).max() < 1e-5 for name in MEASURES)
            seen = (inputs.layouts[sample].image_positions <= row).sum()
            assert one.image_keys.tolist() == [seen] * vlm.cfg.n_layers and seen < 16


@pytest.mark.parametrize("row", ["last", "appended_eos"])
@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_vl"])
def test_under_an_intervention_it_is_the_edited_model_that_is_measured(name, row):
    vlm, inputs = loaded(name)
    plain = rope_sensitivity(vlm, inputs, query_row=row)
    under = rope_sensitivity(vlm, inputs, query_row=row, intervention=ScaleImageNorms(scale=0.25))
    with vlm.hooks([(IMAGE_POINT, lambda tensor, hook: tensor * 0.25)]):
        by_hand = rope_sensitivity(vlm, inputs, query_row=row)
    for before, one, wanted in zip(plain, under, by_hand, strict=True):
        assert all(np.array_equal(getattr(one, measure), getattr(wanted, measure)) for measure in MEASURES)
        assert not np.allclose(one.alpha_v[1:], before.alpha_v[1:], atol=1e-4)
    again = rope_sensitivity(vlm, inputs, query_row=row, intervention=ScaleImageNorms(scale=1))
    assert all(np.array_equal(one.delta_g_v, two.delta_g_v) for one, two in zip(plain, again, strict=True))
    with pytest.raises(ModelError, match="edit logits"):
        rope_sensitivity(vlm, inputs, intervention=ScaleImageLogits(2.0))


def test_restricted_to_the_past_a_row_does_not_see_itself():
    vlm, inputs = loaded("tiny-llava")
    _, seen = vlm.run_with_cache(inputs, names_filter=[f"blocks.{layer}.attn.hook_pattern" for layer in range(3)])
    for sample, one in enumerate(rope_sensitivity(vlm, inputs, restrict_to_past=True)):
        for layer in range(vlm.cfg.n_layers):
            row = seen["pattern", layer][sample, :, 0].numpy()
            image = row[:, inputs.layouts[sample].image_positions].sum(-1)
            assert one.alpha_v[layer] == pytest.approx(image / (1 - row[:, -1]), abs=1e-5)


def test_behind_a_sliding_window_there_is_no_image_and_all_measures_are_zero():
    vlm, short = loaded("tiny-gemma3")
    inputs = vlm.prepare(short.images[0], "Where is the mug, and what is left of it? " * 3)
    (found,) = rope_sensitivity(vlm, inputs)
    assert found.image_keys.tolist() == [0, 16, 0]
    for name in MEASURES:
        values = getattr(found, name)
        assert not values[[0, 2]].any() and values[1].any()
    assert np.isfinite(found.to_dataframe().drop(columns=["sample", "axis"]).to_numpy()).all()


SCALED = {
    "yarn": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 10000.0, "original_max_position_embeddings": 16},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0},
    "longrope": {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "factor": 4.0,
        "short_factor": [1.0] * 4,
        "long_factor": [1.5, 2.0, 3.0, 4.0],
        "original_max_position_embeddings": 16,
    },
}


@pytest.mark.parametrize("kind", SCALED)
def test_frequencies_are_those_of_the_pass_and_the_scale_of_long_contexts_is_left_out(kind):
    config = tiny.model().config
    text = {**config.text_config.to_dict(), "rope_parameters": SCALED[kind]}
    text["max_position_embeddings"] = 64 if kind == "longrope" else 16
    config.text_config = LlamaConfig(**text)
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration._from_config(config, attn_implementation="sdpa").eval()
    for name, weight in model.named_parameters():
        weight.data.normal_(0, 0.5 if "q_proj" in name or "k_proj" in name else 0.2)
    vlm = HookedVLM.wrap(model, tiny.processor(), self_check=False)
    vlm.origin = {"model": kind}
    inputs = tiny.inputs(vlm)
    wanted = encoded_anew(vlm, inputs, 2.0, None)
    before = {name: value.clone() for name, value in model.named_buffers()}
    (found,) = rope_sensitivity(vlm, inputs, 2.0)
    assert all(np.abs(getattr(found, name) - wanted[name][0]).max() < 2e-5 for name in MEASURES)
    assert all(torch.equal(before[name], value) for name, value in model.named_buffers())
    scaling = vlm.model.model.language_model.rotary_emb.attention_scaling
    assert (scaling == 1) == (kind == "dynamic")


def test_a_head_whose_queries_are_blind_to_position_is_not_moved():
    vlm = tiny.vlm(self_check=False)
    weight = vlm.model.model.language_model.layers[1].self_attn.q_proj.weight
    weight.data[8:16] = 0  # head 1 asks nothing, and attends evenly
    (found,) = rope_sensitivity(vlm, tiny.inputs(vlm))
    assert found.delta_g_v[1, 1] == found.delta_alpha_v[1, 1] == 0
    assert np.abs(found.delta_g_v[1, [0, 2, 3]]).min() > 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_models_of_other_precision_are_measured_in_at_least_single(dtype):
    vlm = tiny.vlm(dtype=dtype, self_check=False)
    (found,) = rope_sensitivity(vlm, tiny.inputs(vlm))
    assert found.alpha_v.dtype == np.float32 and np.abs(found.delta_g_v).max() > 1e-2


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_one_pass_serves_and_the_model_is_what_it_was(attention):
    vlm = tiny.vlm(attention=attention, self_check=False)
    inputs = tiny.inputs(vlm, 2, ragged=False)
    before = vlm(inputs).logits
    with tiny.passes(vlm) as passes:
        rope_sensitivity(vlm, inputs)
    assert len(passes) == 1
    assert torch.equal(vlm(inputs).logits, before)
    assert not any(point.fwd_hooks for point in vlm.hook_dict.values())


def test_the_model_is_what_it_was_after_an_error_in_the_pass():
    vlm = tiny.vlm(self_check=False)
    inputs = tiny.inputs(vlm)
    before = vlm(inputs).logits
    with vlm.hooks([("blocks.2.hook_resid_pre", _fails)]), pytest.raises(ZeroDivisionError):
        rope_sensitivity(vlm, inputs)
    assert torch.equal(vlm(inputs).logits, before)
    assert not any(point.fwd_hooks for point in vlm.hook_dict.values())


def _fails(tensor, *, hook):
    raise ZeroDivisionError


def test_logits_that_are_not_those_of_queries_and_keys_are_refused():
    vlm = tiny.vlm(self_check=False)
    inputs = tiny.inputs(vlm)
    with vlm.intervene(ScaleImageLogits(0.5), inputs), pytest.raises(ModelError, match="layer 0 are not those"):
        rope_sensitivity(vlm, inputs)
    vlm.text_attentions[1].attn_logit_softcapping = 2.0  # which its attention does not ask for
    with pytest.raises(ModelError, match="layer 1 are not those"):
        rope_sensitivity(vlm, inputs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"delta": float("nan")}, "delta=nan"),
        ({"delta": True}, "delta=True"),
        ({"delta": "1"}, "delta='1'"),
        ({"query_row": "first"}, "query_row='first'"),
        ({"query_row": [3]}, r"query_row=\[3\]"),
        ({"query_row": 1.0}, "query_row=1.0"),
        ({"query_row": 0}, "stands before the image"),
        ({"query_row": 10_000}, "outside the prompt"),
        ({"axis": "height"}, "a position is one number"),
        ({"dtype": "float16"}, "dtype='float16'"),
        ({"sample_ids": ["a", "b"]}, "2 sample_ids for 1 samples"),
    ],
)
def test_bad_input_is_refused_before_the_first_pass(options, said):
    vlm = tiny.vlm(self_check=False)
    inputs = tiny.inputs(vlm)
    with tiny.passes(vlm) as passes, pytest.raises(InputError, match=said):
        rope_sensitivity(vlm, inputs, **options)
    assert not passes


def test_an_axis_that_three_streams_do_not_have_is_refused():
    vlm, inputs = loaded("tiny-qwen2_vl")
    with pytest.raises(InputError, match="time, height, width, or None"):
        rope_sensitivity(vlm, inputs, axis="depth")


def test_decoders_without_rope_in_every_layer_are_refused_by_name():
    vlm = tiny.without_rope()
    inputs = tiny.inputs(vlm)
    with tiny.passes(vlm) as passes, pytest.raises(RefusedError, match="SmolLM3Attention"):
        rope_sensitivity(vlm, inputs)
    assert not passes


def test_the_table_has_a_row_per_layer_and_head_and_the_heat_map_its_measure():
    vlm, inputs = loaded("tiny-qwen2_vl")
    (one, _) = rope_sensitivity(vlm, inputs, 2.0, axis="width", sample_ids=["photo-7", "photo-8"])
    table = one.to_dataframe()
    assert len(table) == vlm.cfg.n_layers * vlm.cfg.n_heads
    assert set(table["sample"]) == {"photo-7"} and set(table["axis"]) == {"width"} and set(table["delta"]) == {2.0}
    row = table[(table["layer"] == 2) & (table["head"] == 3)].iloc[0]
    assert all(row[name] == getattr(one, name)[2, 3] for name in MEASURES) and row["image_keys"] == one.image_keys[2]
    assert {str(table[name].dtype) for name in MEASURES} == {"float32"}
    assert np.array_equal(one.plot(measure="delta_g_v").images[0].get_array(), one.delta_g_v)
    with pytest.raises(InputError, match="measure='alpha'"):
        one.plot(measure="alpha")


def test_a_layer_whose_logits_are_all_zero_has_no_sensitivity_and_is_no_error():
    vlm = tiny.vlm(self_check=False)
    with torch.no_grad():
        vlm.model.model.language_model.layers[1].self_attn.q_proj.weight.zero_()
    inputs = tiny.inputs(vlm, 1)
    (found,) = rope_sensitivity(vlm, inputs)
    assert not found.delta_g_v[1].any() and not found.delta_alpha_v[1].any() and found.delta_g_v[2].all()
    assert np.allclose(found.alpha_v[1], 16 / len(inputs.layouts[0]))
