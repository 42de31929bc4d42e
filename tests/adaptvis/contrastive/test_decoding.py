"""Contrastive decoding says what two whole passes without any cache say, and without a contrast what greedy says."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import tiny
import torch
from ragged import LAYOUTS, frames, loaded, ragged
from torch.nn.functional import log_softmax

from adaptvis.contrastive.contrast import divergence, noised_pixels, plausible_only
from adaptvis.contrastive.decoding import VCD, DoLa, _farthest
from interp.errors import HookError, InputError, ModelError
from interp.hooks.towers import submodule
from interp.intervene.image_logits import ScaleImageLogits
from interp.zoo.tiny import TINY


def greedy(vlm, inputs, steps=6):
    """transformers' own greedy tokens [batch step]."""
    with vlm.paused(), torch.no_grad():
        made = vlm.model.generate(**inputs.tensors, max_new_tokens=steps, do_sample=False)
    return made[:, inputs.input_ids.shape[1] :]


# against whole passes -------------------------------------------------------------------------------------------


def continued(inputs, tokens, pixels=None):
    """The prompt with tokens [batch step] after it, as one pass, perhaps about other pixels."""
    tensors = {**inputs.tensors, **({} if pixels is None else {"pixel_values": pixels})}
    added = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    added["mm_token_type_ids"] = torch.zeros_like(tokens)
    return {name: torch.cat([value, added[name]], 1) if name in added else value for name, value in tensors.items()}


def whole_pass(vlm, inputs, tokens, pixels=None):
    with vlm.paused(), torch.no_grad():
        return vlm.model(**continued(inputs, tokens, pixels), use_cache=False, output_hidden_states=True)


def naive_vcd(vlm, inputs, tokens, method):
    pixels = noised_pixels(inputs, method.noise_step, seed=method.seed, frames=frames(vlm))
    true, noised = (whole_pass(vlm, inputs, tokens, each).logits[:, -1].numpy() for each in (None, pixels))
    scores = (1 + method.strength) * true - method.strength * noised
    return naively_plausible(scores, true, method.plausibility)


def naive_dola(vlm, inputs, tokens, method):
    output = whole_pass(vlm, inputs, tokens)
    norm, unembed = (submodule(vlm.model, path) for path in (vlm.family.final_norm, vlm.family.unembed))
    final = output.logits[:, -1]
    scores = []
    for sample in range(len(inputs)):
        own, best = log_softmax(final[sample], -1).numpy(), (-1.0, None)
        for layer in method.layers:
            with vlm.paused(), torch.no_grad():
                row = output.hidden_states[layer][sample, -1]
                early = log_softmax(unembed(norm(row) if method.norm else row), -1).numpy()
            best = max(best, (naive_divergence(np.exp(own), np.exp(early)), layer, early), key=lambda each: each[0])
        scores.append(own - method.strength * best[2])
    return naively_plausible(np.stack(scores), final.numpy(), method.plausibility)


def naively_plausible(scores, logits, plausibility):
    odds = np.exp(logits - logits.max(-1, keepdims=True))
    return np.where(odds >= plausibility, scores, -np.inf)


def naive_divergence(p, q):
    p, q = p.astype(np.float64), q.astype(np.float64)
    middle = (p + q) / 2
    return sum(0.5 * (each[each > 0] * np.log(each[each > 0] / middle[each > 0])).sum() for each in (p, q))


REFERENCES = [
    (VCD(), naive_vcd),
    (VCD(strength=2.5, plausibility=0.01, noise_step=900, seed=3), naive_vcd),
    (DoLa(layers=(0, 1, 2)), naive_dola),
    (DoLa(strength=0.5, plausibility=0.01, layers=(0, 2), norm=False), naive_dola),
]


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "qwen3_vl", "idefics3", "llava_next"])
@pytest.mark.parametrize("method, naive", REFERENCES, ids=lambda each: str(each) if not callable(each) else "")
def test_tokens_and_scores_are_those_of_whole_passes(name, method, naive):
    vlm, inputs = loaded(name)
    answer = method.generate(vlm, inputs, 5)
    tokens = torch.zeros((3, 0), dtype=torch.long)
    for step in range(5):
        scores = naive(vlm, inputs, tokens, method)
        if step == 0:
            torch.testing.assert_close(answer.first_logits, torch.from_numpy(scores), rtol=1e-5, atol=1e-5)
        tokens = torch.cat([tokens, torch.from_numpy(scores.argmax(-1))[:, None]], 1)
    assert torch.equal(answer.tokens, tokens)
    assert answer.first_logits.dtype == torch.float32 and answer.lengths == (5, 5, 5)
    plain = vlm.generate(inputs, 1).first_logits.log_softmax(-1)
    assert not torch.allclose(answer.first_logits.log_softmax(-1), plain, atol=0.01), "the contrast changes the scores"


# without a contrast ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
def test_strength_0_is_greedy_search_of_transformers(name):
    vlm, inputs = loaded(name)
    wanted = greedy(vlm, inputs)
    for method in (VCD(strength=0), DoLa(strength=0), DoLa(strength=0, layers="low", plausibility=0)):
        assert torch.equal(method.generate(vlm, inputs, 6).tokens, wanted)


@pytest.mark.parametrize("name", TINY)
def test_a_contrast_changes_what_is_said(name):
    vlm, inputs = loaded(name)
    wanted = greedy(vlm, inputs)
    for method in (VCD(strength=3, plausibility=0), DoLa(plausibility=0)):
        assert not torch.equal(method.generate(vlm, inputs, 6).tokens, wanted)
        only_likeliest = replace(method, plausibility=1)
        assert torch.equal(only_likeliest.generate(vlm, inputs, 6).tokens, wanted)


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("method", [VCD(), DoLa(layers=(0, 1, 2))], ids=str)
def test_a_batch_says_what_its_samples_say_alone(name, method):
    vlm, inputs = loaded(name)
    together = method.generate(vlm, inputs, 5)
    for place in range(3):
        alone = method.generate(vlm, ragged(vlm, [place]), 5)
        assert alone.texts[0] == together.texts[place]
        assert torch.equal(alone.tokens[0], together.tokens[place])
        torch.testing.assert_close(alone.first_logits[0], together.first_logits[place], rtol=1e-4, atol=1e-4)


# arithmetic -----------------------------------------------------------------------------------------------------


def test_a_token_below_the_share_of_the_largest_probability_is_left_out():
    true, noised = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log(), torch.tensor([[0.5, 0.1, 0.399, 0.001]]).log()
    scores = 2 * true - noised  # p p / q: 0.5, 0.9, 0.056, 2.5: the last has the largest, and is no plausible token
    assert scores.exp()[0].tolist() == pytest.approx([0.5, 0.9, 0.15**2 / 0.399, 2.5])
    kept = plausible_only(scores, true, 0.2)
    assert kept.exp()[0].tolist() == pytest.approx([0.5, 0.9, 0.15**2 / 0.399, 0])
    assert plausible_only(scores, true, 0.4)[0].isinf().tolist() == [False, False, True, True]
    assert torch.equal(plausible_only(scores, true, 0.0), scores)
    assert plausible_only(scores, true, 1.0).isinf().tolist() == [[False, True, True, True]]


def test_a_token_that_can_not_be_said_stays_out():
    logits = torch.tensor([[1.0, -math.inf, 0.5]])
    assert plausible_only(2 * logits - logits, logits, 0.0).tolist() == [[1.0, -math.inf, 0.5]]
    assert float(divergence(logits.log_softmax(-1), logits.log_softmax(-1))) == 0


def test_the_farthest_layer_is_chosen_for_each_sample():
    generator = np.random.default_rng(0)
    final, early = generator.normal(0, 3, (6, 50)), generator.normal(0, 3, (4, 6, 50))
    log_final, log_early = (log_softmax(torch.from_numpy(each), -1) for each in (final, early))
    chosen = _farthest(log_final, torch.from_numpy(early))
    distances = np.array(
        [
            [naive_divergence(p.exp().numpy(), q.exp().numpy()) for p, q in zip(log_final, each, strict=True)]
            for each in log_early
        ]
    )
    np.testing.assert_allclose(divergence(log_final, log_early).numpy(), distances, rtol=1e-9)
    best = distances.argmax(0)
    assert len(set(best.tolist())) > 1
    assert torch.equal(chosen, torch.stack([log_early[layer, sample] for sample, layer in enumerate(best)]))


def test_distributions_without_a_common_token_are_the_logarithm_of_2_apart():
    p, q = torch.tensor([0.5, 0.5, 0.0, 0.0]).log(), torch.tensor([0.0, 0.0, 0.9, 0.1]).log()
    assert float(divergence(p, q)) == pytest.approx(math.log(2))


def test_early_layers_are_the_published_buckets():
    def buckets(n_layers, tied):
        weight = torch.zeros(1)
        ends = [SimpleNamespace(weight=weight), SimpleNamespace(weight=weight if tied else torch.zeros(1))]
        model = SimpleNamespace(get_input_embeddings=lambda: ends[0], get_output_embeddings=lambda: ends[1])
        vlm = SimpleNamespace(cfg=SimpleNamespace(n_layers=n_layers), model=model)
        return DoLa(layers="low").candidates(vlm), DoLa(layers="high").candidates(vlm)

    assert buckets(32, False) == ((0, 2, 4, 6, 8, 10, 12, 14), (16, 18, 20, 22, 24, 26, 28, 30))
    assert buckets(40, False) == (tuple(range(0, 20, 2)), tuple(range(20, 40, 2)))
    assert buckets(60, False) == (tuple(range(0, 20, 2)), tuple(range(40, 60, 2)))
    assert buckets(32, True)[0] == (2, 4, 6, 8, 10, 12, 14)
    assert buckets(2, True) == ((1,), (1,))


# ends, settings, hooks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [VCD(strength=3), DoLa(layers=(0, 1, 2))], ids=str)
def test_an_answer_stops_at_its_end_token_and_is_padded(method):
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 3)
    free = method.generate(vlm, inputs, 8)
    end = int(free.tokens[0, 2])
    vlm.model.generation_config.eos_token_id = [end, 2]
    answer = method.generate(vlm, inputs, 8)
    for sample, whole in enumerate(free.tokens.tolist()):
        length = whole.index(end) + 1 if end in whole else 8
        assert answer.lengths[sample] == length
        row = answer.tokens[sample].tolist()
        assert row[:length] == whole[:length] and set(row[length:]) <= {3}
    assert answer.tokens.shape[1] == max(answer.lengths) and min(answer.lengths) <= 3


@pytest.mark.parametrize("method", [VCD(), DoLa()], ids=str)
def test_settings_of_the_checkpoint_change_nothing(method):
    vlm = tiny.vlm()
    inputs, own = tiny.inputs(vlm, 2), vlm.model.generation_config
    wanted = method.generate(vlm, inputs, 6).tokens
    for name, value in {"do_sample": True, "temperature": 3.0, "repetition_penalty": 9.0, "num_beams": 3}.items():
        setattr(own, name, value)
    own.update(suppress_tokens=[20, 22], min_new_tokens=7, max_length=4, no_repeat_ngram_size=1)
    assert torch.equal(method.generate(vlm, inputs, 6).tokens, wanted)
    assert vlm.model.generation_config is own


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl", "gemma3", "llava_next"])
def test_interventions_act_on_a_contrast_too(name):
    vlm, inputs = loaded(name)
    intervention = ScaleImageLogits(4.0)
    wanted = vlm.generate(inputs, 6, intervention=intervention).tokens
    for method in (VCD(strength=0), DoLa(strength=0)):
        free = replace(method, strength=1.0).generate(vlm, inputs, 6)
        with vlm.intervene(intervention, inputs):
            assert torch.equal(method.generate(vlm, inputs, 6).tokens, wanted)
            assert not torch.equal(
                replace(method, strength=1.0).generate(vlm, inputs, 6).first_logits, free.first_logits
            )
        assert torch.equal(replace(method, strength=1.0).generate(vlm, inputs, 6).first_logits, free.first_logits)


@pytest.mark.parametrize("method, passes", [(VCD(), 2), (DoLa(), 1)], ids=str)
def test_a_step_is_one_pass_of_one_token(method, passes):
    vlm, inputs = loaded("llava")
    heard = {name: [] for name in ("blocks.0.hook_resid_pre", "ln_final.hook_normalized", "unembed.hook_out")}
    hooks = [(name, lambda tensor, hook: heard[hook.name].append(tensor.shape[:2])) for name in heard]
    with vlm.hooks(hooks):
        method.generate(vlm, inputs, 4)
    prompt = inputs.input_ids.shape[1]
    assert heard["blocks.0.hook_resid_pre"] == [(3, prompt)] * passes + [(3, 1)] * 3 * passes
    assert heard["unembed.hook_out"] == [(3, 1)] * 4 * passes
    assert len(heard["ln_final.hook_normalized"]) == 4 * passes


@pytest.mark.parametrize("name", ["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("method", [VCD(), DoLa()], ids=str)
def test_what_breaks_off_in_the_middle_leaves_the_model_as_it_was(name, method):
    vlm, inputs = loaded(name)
    before, config = vlm(inputs).logits, vlm.model.generation_config
    weights = {key: value.clone() for key, value in vlm.model.state_dict().items()}
    positions, calls = getattr(vlm.model.model, "rope_deltas", None), []

    def break_off(tensor, hook):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), vlm.hooks([("blocks.1.hook_resid_post", break_off)]):
        method.generate(vlm, inputs, 8)
    assert len(calls) == 4
    assert vlm.model.generation_config is config and getattr(vlm.model.model, "rope_deltas", None) is positions
    assert not any(point.has_hooks() for point in vlm.hook_dict.values())
    assert all(torch.equal(value, weights[key]) for key, value in vlm.model.state_dict().items())
    assert torch.equal(vlm(inputs).logits, before)


@pytest.mark.parametrize("method", [VCD(), DoLa()], ids=str)
def test_an_unwrapped_model_is_refused(method):
    vlm, inputs = loaded("llava")
    with vlm.paused(), pytest.raises(ModelError, match="unwrapped"):
        method.generate(vlm, inputs, 2)


@pytest.mark.parametrize(
    "kind, bad",
    [
        *(
            (kind, {"strength": value})
            for kind in (VCD, DoLa)
            for value in (-1, 1e38, math.inf, math.nan, True, "1", None)
        ),
        *((kind, {"plausibility": value}) for kind in (VCD, DoLa) for value in (-0.1, 1.1, math.nan, True, "0.1")),
        *((VCD, {"noise_step": value}) for value in (-1, 1000, 500.0, True)),
        *((VCD, {"seed": value}) for value in (0.5, None, False)),
        *((DoLa, {"layers": value}) for value in ("middle", (), (1, 1), (-1,), (0.5,), (True,), 3, None)),
        (DoLa, {"norm": 1}),
    ],
    ids=str,
)
def test_a_setting_that_means_nothing_is_refused(kind, bad):
    with pytest.raises(InputError, match=next(iter(bad))):
        kind(**bad)


def test_a_layer_that_does_not_exist_is_refused():
    vlm, inputs = loaded("llava")
    with pytest.raises(HookError, match=r"layers \[3\] does not exist"):
        DoLa(layers=(1, 3)).generate(vlm, inputs, 2)


@pytest.mark.parametrize("method", [VCD(), DoLa()], ids=str)
@pytest.mark.parametrize("tokens", [0, 2.0])
def test_a_number_of_tokens_that_means_nothing_is_refused(method, tokens):
    vlm, inputs = loaded("llava")
    with pytest.raises(InputError, match="max_new_tokens"):
        method.generate(vlm, inputs, tokens)


def test_a_method_names_all_of_its_settings():
    assert str(VCD(2, 0.05, 400, 7)) == "VCD(strength=2, plausibility=0.05, noise_step=400, seed=7)"
    assert str(DoLa(0.5)) == "DoLa(strength=0.5, plausibility=0.1, layers=high, norm=True)"
    assert str(DoLa(layers=[4, 2, 3], norm=False)) == "DoLa(strength=1, plausibility=0.1, layers=2-4, norm=False)"
    assert DoLa(layers=[4, 2]) == DoLa(layers=(2, 4)) and hash(VCD(1)) == hash(VCD(1.0))
