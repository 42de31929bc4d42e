"""Generated tokens are Hugging Face's, and every kept row is that of an eager pass over the text so far."""

import naive
import pytest
import tiny
import torch
from tiny import MODELS

from interp.errors import HookError, InputError
from interp.hooks.rows import RowHook
from interp.intervene.image_logits import ScaleImageLogits

pytestmark = pytest.mark.compat

SAMPLING = {"do_sample": True, "temperature": 3.0, "top_k": 5, "top_p": 0.3, "repetition_penalty": 9.0}
SAMPLING |= {"no_repeat_ngram_size": 1, "suppress_tokens": [20, 22], "bad_words_ids": [[9]], "num_beams": 3}
SAMPLING |= {"forced_eos_token_id": 2, "min_new_tokens": 7, "num_return_sequences": 3, "max_length": 4}


def plain_greedy(vlm, inputs, steps):
    """transformers' own greedy tokens [batch step]."""
    with vlm.paused(), torch.no_grad():
        made = vlm.model.generate(**inputs.tensors, max_new_tokens=steps, do_sample=False)
    return made[:, inputs.input_ids.shape[1] :]


def continued(inputs, tokens):
    """The prompt with tokens [batch step] after it, as one pass."""
    ids = torch.cat([inputs.input_ids, tokens], 1)
    mask = torch.cat([inputs.attention_mask, torch.ones_like(tokens)], 1)
    return {**inputs.tensors, "input_ids": ids, "attention_mask": mask}


@pytest.fixture(params=MODELS, ids=str)
def vlm(request):
    tower, kv_heads, attention = request.param
    return tiny.vlm(tower=tower, kv_heads=kv_heads, attention=attention)


@pytest.mark.parametrize("samples", [1, 3])
def test_tokens_are_those_of_transformers_greedy_search(vlm, samples):
    inputs = tiny.inputs(vlm, samples)
    wanted = plain_greedy(vlm, inputs, 8)
    answer = vlm.generate(inputs, 8)
    assert torch.equal(answer.tokens, wanted)
    assert torch.equal(vlm.generate_with_cache(inputs, 8)[0].tokens, wanted)
    texts = vlm.processor.tokenizer.batch_decode(wanted, skip_special_tokens=True)
    assert answer.texts == tuple(text.strip() for text in texts)
    logits = vlm(inputs).logits[:, -1]
    torch.testing.assert_close(answer.first_logits, logits.float(), rtol=0, atol=tiny.rounding(vlm))
    assert answer.confidence == pytest.approx(logits.softmax(-1).amax(-1).tolist(), rel=1e-4)


def test_settings_of_the_checkpoint_do_not_change_greedy(vlm):
    inputs = tiny.inputs(vlm, 2)
    wanted = vlm.generate(inputs, 6).tokens
    own = vlm.model.generation_config
    for name, value in SAMPLING.items():
        setattr(own, name, value)
    assert torch.equal(vlm.generate(inputs, 6).tokens, wanted)
    assert vlm.model.generation_config is own and own.repetition_penalty == 9.0
    with pytest.raises(ZeroDivisionError):
        vlm.generate(inputs, 6, fwd_hooks=[("blocks.0.hook_resid_pre", lambda t, hook: 1 / 0)])
    assert vlm.model.generation_config is own


def test_an_answer_stops_at_its_end_token(vlm):
    inputs = tiny.inputs(vlm, 3)
    free = vlm.generate(inputs, 8)
    assert free.lengths == (8, 8, 8)
    end = int(free.tokens[0, 2])
    for ends in (end, [end, 2]):
        vlm.model.generation_config.eos_token_id = ends
        answer, rows = vlm.generate_with_cache(inputs, 8)
        assert torch.equal(answer.tokens, plain_greedy(vlm, inputs, 8))
        for sample, whole in enumerate(free.tokens.tolist()):
            length = whole.index(end) + 1 if end in whole else 8
            assert answer.lengths[sample] == length
            assert answer.tokens[sample, :length].tolist() == whole[:length]
            assert rows[sample].pattern.shape[2] == len(rows[sample].tokens) == length
        assert answer.tokens.shape[1] == max(answer.lengths)


def test_a_checkpoint_that_names_no_end_takes_the_tokenizers(vlm):
    inputs = tiny.inputs(vlm)
    vlm.model.generation_config.eos_token_id = None
    vlm.model.generation_config.pad_token_id = None
    first = int(vlm.generate(inputs, 1).tokens[0, 0])
    vlm.processor.tokenizer.eos_token = vlm.processor.tokenizer.convert_ids_to_tokens(first)
    assert vlm.generate(inputs, 5).lengths == (1,)


@pytest.mark.parametrize("window", [None, 20])
@pytest.mark.parametrize("kv_heads, attention", [(2, "sdpa"), (4, "eager")])
def test_kept_rows_are_those_of_a_teacher_forced_eager_pass(kv_heads, attention, window):
    options = {"kv_heads": kv_heads, "window": window}
    vlm = tiny.vlm(attention=attention, **options)
    inputs = tiny.inputs(vlm, 3)
    answer, rows = vlm.generate_with_cache(inputs, 5)
    eager, prompt = tiny.model(attention="eager", **options), inputs.input_ids.shape[1]
    with torch.no_grad():
        whole = eager(**continued(inputs, answer.tokens[:, :-1]), output_attentions=True).attentions
    for sample, kept in enumerate(rows):
        assert kept.pattern.shape == (3, 4, 5, prompt + 4) and kept.pattern.dtype == "float32"
        for layer in range(3):
            wanted = whole[layer][sample, :, prompt - 1 :]
            torch.testing.assert_close(torch.from_numpy(kept.pattern[layer]), wanted, rtol=0, atol=5e-5)
        assert kept.tokens == tuple(vlm.processor.tokenizer.convert_ids_to_tokens(answer.tokens[sample].tolist()))
        assert len(kept.layout) == prompt + 4 and kept.layout.kinds[prompt:] == ("answer",) * 4
        assert kept.layout.kinds[:prompt] == inputs.layouts[sample].kinds
        assert kept.layout.last == inputs.layouts[sample].last == prompt - 1
        assert kept.layout.tokens[prompt:] == kept.tokens[:4]


def test_rows_of_the_last_prompt_position_alone(vlm):
    inputs = tiny.inputs(vlm, 2)
    _, rows = vlm.generate_with_cache(inputs, 5, query_rows="last")
    _, cache = vlm.run_with_cache(inputs, names_filter=lambda name: name.endswith("hook_pattern") and name[0] == "b")
    for sample in range(2):
        assert rows[sample].pattern.shape[2] == len(rows[sample].tokens) == 1
        got = torch.from_numpy(rows[sample].pattern)
        torch.testing.assert_close(got, cache.stack_activation("pattern")[:, sample], rtol=0, atol=2e-5)


def test_decoded_rows_are_untouched_by_an_intervention_on_the_last_prompt_row():
    vlm = tiny.vlm(kv_heads=2, dtype=torch.float64)
    inputs = tiny.inputs(vlm, 2)
    prompt = inputs.input_ids.shape[1]
    intervention = ScaleImageLogits(2.0)
    answer, rows = vlm.generate_with_cache(inputs, 6, intervention=intervention)
    assert not torch.equal(answer.tokens, vlm.generate(inputs, 6).tokens)
    assert torch.equal(answer.tokens, vlm.generate(inputs, 6, intervention=intervention).tokens)

    def scale(logits):
        logits = logits.clone()
        for sample, layout in enumerate(inputs.layouts):
            logits[sample, :, prompt - 1, layout.image_positions] *= 2.0
        return logits

    edits = {f"blocks.{layer}.attn.hook_attn_logits": scale for layer in range(3)}
    with vlm.paused():
        logits, seen = naive.naive_run(vlm.model, continued(inputs, answer.tokens[:, :-1]), edits)
    assert torch.equal(logits[:, prompt - 1 :].argmax(-1), answer.tokens)
    for layer in range(3):
        wanted = seen[f"blocks.{layer}.attn.hook_pattern"][:, :, prompt - 1 :].float()
        got = torch.stack([torch.from_numpy(kept.pattern[layer]) for kept in rows])
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5)


def test_an_intervention_on_generated_rows_reaches_every_step():
    vlm = tiny.vlm(dtype=torch.float64)
    inputs = tiny.inputs(vlm, 2)
    prompt = inputs.input_ids.shape[1]
    intervention = ScaleImageLogits(1.5, mode="temper", layers=(0, 2), rows="generated")
    answer = vlm.generate(inputs, 5, intervention=intervention)

    def temper(logits):
        logits = logits.clone()
        for sample, layout in enumerate(inputs.layouts):
            own = logits[sample, :, prompt - 1 :, layout.image_positions]
            shift = own.logsumexp(-1, keepdim=True) - (1.5 * own).logsumexp(-1, keepdim=True)
            logits[sample, :, prompt - 1 :, layout.image_positions] = 1.5 * own + shift
        return logits

    edits = {f"blocks.{layer}.attn.hook_attn_logits": temper for layer in (0, 2)}
    with vlm.paused():
        logits = naive.naive_run(vlm.model, continued(inputs, answer.tokens[:, :-1]), edits)[0]
    assert torch.equal(logits[:, prompt - 1 :].argmax(-1), answer.tokens)


def test_hooks_see_each_pass_of_a_generation():
    vlm = tiny.vlm()
    inputs = tiny.inputs(vlm, 2)
    prompt, seen = inputs.input_ids.shape[1], {"all": [], "last": [], "generated": []}
    name = "blocks.1.attn.hook_pattern"
    hooks = [(name, RowHook(lambda t, hook, rows=rows: seen[rows].append(tuple(t.shape[2:])), rows)) for rows in seen]
    vlm.generate(inputs, 3, fwd_hooks=hooks)
    assert seen["all"] == [(prompt, prompt), (1, prompt + 1), (1, prompt + 2)]
    assert seen["last"] == [(1, prompt)]
    assert seen["generated"] == [(1, prompt), (1, prompt + 1), (1, prompt + 2)]


@pytest.mark.parametrize("tokens", [0, -1, 2.0, True, "3", None])
def test_a_number_of_tokens_that_means_nothing_is_refused(tokens):
    vlm = tiny.vlm()
    with pytest.raises(InputError, match="max_new_tokens"):
        vlm.generate(tiny.inputs(vlm), tokens)


@pytest.mark.parametrize(
    "chosen",
    [
        {"num_beams": 3},
        {"num_beams": 3, "num_return_sequences": 2},
        {"num_beams": 2, "do_sample": True},
        {"do_sample": True, "temperature": 0.7, "num_return_sequences": 3},
    ],
    ids=str,
)
def test_beams_and_samples_are_those_of_transformers_under_an_intervention(chosen):
    vlm = tiny.vlm()
    inputs, edit = tiny.inputs(vlm, 2), ScaleImageLogits(-5.0, mode="add")
    torch.manual_seed(0)
    answer = vlm.generate(inputs, 4, intervention=edit, min_new_tokens=4, **chosen)
    torch.manual_seed(0)
    with torch.no_grad(), vlm.intervene(edit, inputs):
        wanted = vlm.model.generate(
            **inputs.tensors, max_new_tokens=4, min_new_tokens=4, **{"do_sample": False, **chosen}
        )
        first = vlm(inputs).logits[:, -1]
    each = chosen.get("num_return_sequences", 1)
    assert torch.equal(answer.tokens, wanted[:, inputs.input_ids.shape[1] :])
    assert len(answer.texts) == len(answer.lengths) == len(answer.confidence) == 2 * each
    torch.testing.assert_close(answer.first_logits, first.repeat_interleave(each, 0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        ({"number_of_beams": 3}, "no option 'number_of_beams'"),
        ({"max_length": 3}, "no option 'max_length'"),
        ({"return_dict_in_generate": False}, "no option 'return_dict_in_generate'"),
        ({"num_return_sequences": 2}, "refused by transformers"),
        ({"num_beams": 0}, "num_beams"),
        ({"num_return_sequences": -1}, "num_return_sequences"),
        ({"do_sample": True, "temperature": 0}, "give a number above 0"),
        ({"do_sample": True, "temperature": float("nan")}, "give a number above 0"),
        ({"temperature": 0.5}, "do_sample"),
    ],
    ids=str,
)
def test_settings_that_would_not_do_what_they_say_are_refused(chosen, why):
    vlm = tiny.vlm()
    with pytest.raises(InputError, match=why):
        vlm.generate(tiny.inputs(vlm, 1), 3, **chosen)


@pytest.mark.parametrize("rows", ["all", [3], "first"])
def test_other_rows_of_a_generation_are_refused(rows):
    vlm = tiny.vlm()
    with pytest.raises(HookError, match="generate_with_cache keeps"):
        vlm.generate_with_cache(tiny.inputs(vlm), 2, query_rows=rows)
