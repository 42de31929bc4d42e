"""Hearing: states of answers are what hooks written by hand see of Hugging Face's output projections."""

import pytest
import torch
from ragged import loaded

from interp.hooks.towers import submodule, text_tower
from interp.model.forced import forced_tokens
from interp.zoo.tiny import TINY
from probes.heads.activations.hearing import hear_forced, hear_own

STEPS = 4


def by_hand(vlm, run):
    """What goes into each layer's output projection in each pass of a plain model, [batch pos head d_head]."""
    seen = [[] for _ in range(vlm.cfg.n_layers)]
    with vlm.paused() as model:
        blocks = submodule(model, text_tower(model, vlm.family).blocks)
        handles = [
            block.self_attn.o_proj.register_forward_pre_hook(
                lambda module, args, own=own: own.append(args[0].unflatten(-1, (vlm.cfg.n_heads, -1)).clone())
            )
            for block, own in zip(blocks, seen, strict=True)
        ]
        try:
            with torch.no_grad():
                said = run(model)
        finally:
            for handle in handles:
                handle.remove()
    return said, seen


@pytest.mark.parametrize("name", TINY)
def test_own_answers_are_heard_as_by_hooks_written_by_hand_in_every_pass_of_a_batch(name):
    vlm, inputs = loaded(name)
    heard = hear_own(vlm, inputs, STEPS)
    options = {"max_new_tokens": STEPS + 1, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
    said, seen = by_hand(vlm, lambda model: model.generate(**inputs.tensors, **options))
    tokens = said.sequences[:, inputs.input_ids.shape[1] :]
    assert heard.tokens == tuple(map(tuple, tokens[:, :STEPS].tolist())) and heard.finished == (False,) * 3
    for layer, passes in enumerate(seen):
        assert len(passes) == len(heard.states[layer]) == STEPS + 1
        for state, own in zip(heard.states[layer], passes, strict=True):
            assert torch.equal(state, own[:, -1])
    for step, logits in enumerate(said.logits[:STEPS]):
        likely = logits.float().log_softmax(-1).gather(1, tokens[:, step, None])[:, 0]
        torch.testing.assert_close(likely, torch.tensor([own[step] for own in heard.log_probs]))


@pytest.mark.parametrize("name", TINY)
def test_an_answer_is_heard_alike_when_it_is_said_and_when_it_is_forced_in_one_pass_also_beside_longer_ones(name):
    vlm, inputs = loaded(name)
    own = hear_own(vlm, inputs, STEPS)
    cut = [said[: STEPS - place] for place, said in enumerate(own.tokens)]
    forced = hear_forced(vlm, inputs, cut)
    for sample, said in enumerate(cut):
        torch.testing.assert_close(
            torch.from_numpy(forced.log_probs[sample]), torch.from_numpy(own.log_probs[sample][: len(said)]),
            atol=2e-4, rtol=1e-3,
        )  # fmt: skip
        for state in range(len(said) + 1):
            torch.testing.assert_close(forced.mean(sample, [state]), own.mean(sample, [state]), atol=2e-4, rtol=1e-3)


def test_forcing_is_one_pass_and_equals_hooks_by_hand_on_prompts_alone_with_their_answers_behind():
    vlm, _ = loaded("tiny-llava")
    _, inputs = loaded("tiny-llava", 2)
    answers = [
        forced_tokens(vlm, prompt, text) for prompt, text in zip(inputs.prompts, ("left", "on top"), strict=True)
    ]
    heard = hear_forced(vlm, inputs, answers)
    for sample, own in enumerate(answers):
        there = inputs.attention_mask[sample].bool()
        ids = torch.cat([inputs.input_ids[sample][there], torch.tensor(own)])[None]
        given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        given["pixel_values"] = inputs.tensors["pixel_values"][sample : sample + 1]
        _, seen = by_hand(vlm, lambda model, given=given: model(**given, use_cache=False))
        start = int(there.sum()) - 1
        for states in ([0], [len(own)], list(range(1, len(own) + 1))):
            naive = torch.stack([layer[0][0, [start + state for state in states]].mean(0) for layer in seen])
            torch.testing.assert_close(heard.mean(sample, states), naive, atol=1e-5, rtol=1e-4)


def test_answers_that_end_are_heard_to_their_last_token_and_not_their_end():
    vlm, inputs = loaded("tiny-llava")
    first = hear_own(vlm, inputs, STEPS)
    end = next(token for token in first.tokens[0] if token not in first.tokens[1] + first.tokens[2])
    place = first.tokens[0].index(end)
    vlm.model.generation_config.eos_token_id = [end]
    heard = hear_own(vlm, inputs, STEPS)
    assert heard.tokens == (first.tokens[0][:place], *first.tokens[1:]) and heard.finished == (True, False, False)
    assert len(heard.log_probs[0]) == place
    torch.testing.assert_close(heard.mean(1, [STEPS]), first.mean(1, [STEPS]))


def test_an_answer_that_ends_right_at_the_limit_is_finished():
    vlm, inputs = loaded("tiny-llava", 1)
    said = hear_own(vlm, inputs, 9).tokens[0]
    place = next(at for at, token in enumerate(said) if at and token not in said[:at])
    vlm.model.generation_config.eos_token_id = [said[place]]
    assert hear_own(vlm, inputs, place).finished == (True,)
    assert hear_own(vlm, inputs, place, at_tokens=False).finished == (False,)  # nobody looked


def test_no_pass_is_made_and_no_state_kept_that_is_not_asked_for():
    vlm, inputs = loaded("tiny-llava", 1)
    predicting = hear_own(vlm, inputs, STEPS, at_tokens=False)
    assert len(predicting.states[0]) == STEPS
    first = hear_own(vlm, inputs, STEPS, only_first=True)
    assert [state is not None for state in first.states[0]] == [True, True, False, False, False]
