"""Interchange: naive whole runs say the same to the bit; its ends are the runs they must be; bad pairs are refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from interchange_pairs import longer, noisy_pair
from towers_seen import tower_runs

from interp.errors import InputError, ModelError, RefusedError
from interp.model.hooked_vlm import HookedVLM
from interp.zoo.tiny import TINY
from probes.mechanisms.interchange import measurement
from probes.mechanisms.interchange.measurement import InterchangeMeasurement, summed


def loaded(name="tiny-llava"):
    return HookedVLM.from_pretrained(name, self_check=False)


def measured(vlm, pairs, positions, **options):
    """What is measured of the pairs as one batch: by set, [pair outcome slot]; and the rows."""
    rows = InterchangeMeasurement.of(vlm, pairs, positions, **options).measure(pairs)
    sets = dict.fromkeys(row["set"] for row in rows[0])
    return {
        name: np.array([[row["p_patched"] for row in own if row["set"] == name] for own in rows]) for name in sets
    }, rows


def column(rows, name):
    """A column of the rows of the patched set [pair outcome]."""
    return np.array([[row[name] for row in own if row["set"] == "patched"] for own in rows], np.float32)


def naive(vlm, pairs, positions, **options):
    """The same by whole runs, one pair and slot after another, each patched by hand."""
    work = InterchangeMeasurement.of(vlm, pairs, positions, **options)
    here, there = work.prepared(pairs)
    sets = work.sets_of(pairs, here, there)
    names = [work._name(slot) for slot in work.slots]
    with torch.no_grad():
        _, cache = vlm.run_with_cache(there, names_filter=names)
        found = {}
        for name, own in sets.items():
            each = []
            for point in names:

                def patch(tensor, *, hook, own=own, point=point):
                    edited = tensor.clone()
                    for sample, tokens in enumerate(own):
                        for to, of in zip(tokens.target.tolist(), tokens.source.tolist(), strict=True):
                            edited[sample, to] = cache[point][sample, of]
                    return edited

                logits = vlm.run_with_hooks(here, fwd_hooks=[(point, patch)], logits_to_keep=1).logits[:, -1].float()
                each.append([summed(own, work.ids_of(pair)) for own, pair in zip(logits, pairs, strict=True)])
            found[name] = np.array(each).transpose(1, 2, 0)
    return found


@pytest.mark.parametrize("name", TINY)
def test_a_sweep_equals_whole_runs_patched_by_hand_to_the_bit(name):
    vlm = loaded(name)
    pairs = [noisy_pair(0), longer(noisy_pair(1), "Where, if anywhere, is it?")]
    found, _ = measured(vlm, pairs, "outer_strip", prompt="paper")
    wanted = naive(vlm, pairs, "outer_strip", prompt="paper")
    assert found.keys() == wanted.keys() == {"patched", "control"}
    assert all(np.array_equal(found[own], wanted[own]) for own in wanted)
    assert np.ptp(found["patched"], axis=2).max() > 0


@pytest.mark.parametrize("hook", ("resid_mid", "attn_out", "mlp_out", "q", "k", "v", "z"))
@pytest.mark.parametrize("positions", ("object", "last"))
def test_hooks_inside_layers_equal_whole_runs_too(hook, positions):
    vlm, pairs = loaded(), [noisy_pair(0), noisy_pair(1)]
    found, _ = measured(vlm, pairs, positions, hook=hook)
    wanted = naive(vlm, pairs, positions, hook=hook)
    assert np.array_equal(found["control"], wanted["control"])
    if positions == "last":  # by one token on a shared prefill
        assert np.abs(found["patched"] - wanted["patched"]).max() < 1e-6
    else:
        assert np.array_equal(found["patched"], wanted["patched"])
    assert np.ptp(wanted["patched"], axis=2).max() > 0


@pytest.mark.parametrize("positions", ("last", "all_image", "words", (-1,), (-1, -3)))
def test_patching_a_run_into_itself_changes_no_bit(positions):
    vlm = loaded()
    pairs = [noisy_pair(number, asked="Is the mug near the dog?") for number in (0, 1)]
    pairs = [replace(pair, counterfactual=pair.clean) for pair in pairs]
    found, rows = measured(vlm, pairs, positions, control=None)
    clean = column(rows, "p_clean")
    if positions == "last":  # what a whole run has there, put into a run of one token
        assert np.abs(found["patched"] - clean[..., None]).max() < 1e-7
    else:
        assert (found["patched"] == clean[..., None]).all() and np.array_equal(clean, column(rows, "p_counterfactual"))


@pytest.mark.parametrize("name", ("tiny-llava", "tiny-gemma3", "tiny-pixtral", "tiny-qwen2_vl", "tiny-llava_next"))
def test_ends_of_a_sweep_are_the_runs_that_they_must_be(name):
    vlm, pairs = loaded(name), [noisy_pair(0), noisy_pair(1)]
    found, rows = measured(vlm, pairs, "all_image")
    assert np.array_equal(found["patched"][..., 0], column(rows, "p_counterfactual"))  # one question: all that differs
    assert np.array_equal(found["patched"][..., -1], column(rows, "p_clean"))
    last, rows = measured(vlm, pairs, "last")
    assert np.allclose(last["patched"][..., -1], column(rows, "p_counterfactual"), atol=1e-7)
    assert np.array_equal(last["patched"][..., 0], column(rows, "p_clean"))  # the last token is the same
    assert np.allclose(last["control"][..., -1], column(rows, "p_clean"), atol=1e-7)


@pytest.mark.parametrize("name", TINY)
def test_the_last_position_by_one_token_each_says_what_whole_runs_say(name):
    vlm = loaded(name)
    pairs = [noisy_pair(0, asked="Is it left?"), longer(noisy_pair(1), "Where, if anywhere, is it?")]
    found, rows = measured(vlm, pairs, "last", prompt="paper")
    wanted = naive(vlm, pairs, "last", prompt="paper")
    assert all(np.abs(found[own] - wanted[own]).max() < 1e-6 for own in wanted)
    assert np.abs(found["patched"][..., -1] - column(rows, "p_counterfactual")).max() < 1e-6


@pytest.mark.parametrize("positions", ("strip", "last"))
@pytest.mark.parametrize("name", ("tiny-llava", "tiny-pixtral", "tiny-gemma3", "tiny-qwen3_vl"))
def test_the_tower_runs_once_a_photo_however_many_slots_and_sets_there_are(name, positions):
    vlm, pairs = loaded(name), [noisy_pair(0), noisy_pair(1)]
    work = InterchangeMeasurement.of(vlm, pairs, positions)
    both = work.prepared(pairs)
    with torch.no_grad(), tower_runs(vlm) as calls:
        for inputs in both:
            vlm(inputs)
        plain = len(calls)
        work.measure(pairs)
    assert len(calls) == 2 * plain


def test_a_batch_whose_pairs_need_other_positions_gives_each_what_it_gets_alone():
    vlm = loaded()
    pairs = [noisy_pair(0), longer(noisy_pair(1, axis="vertical"), "Where, if anywhere, is it by now?")]
    together, _ = measured(vlm, pairs, "strip")
    for number, pair in enumerate(pairs):
        alone, _ = measured(vlm, [pair], "strip")
        assert all(np.abs(together[own][number] - alone[own][0]).max() < 1e-6 for own in alone)


def test_image_tokens_in_front_of_deepstack_are_refused_by_name_and_left_out_by_default():
    vlm, pairs = loaded("tiny-qwen3_vl"), [noisy_pair(0), noisy_pair(1)]
    first = vlm.cfg.n_deepstack
    with pytest.raises(RefusedError, match=rf"use slots from {first} on"):
        InterchangeMeasurement.of(vlm, pairs, "strip", slots=[0, first])
    assert InterchangeMeasurement.of(vlm, pairs, "strip").slots == tuple(range(first, vlm.cfg.n_layers + 1))
    assert InterchangeMeasurement.of(vlm, pairs, "last", control=None).slots[0] == 0


def test_what_can_not_be_measured_is_refused_before_the_first_pass():
    vlm, pairs = loaded(), [noisy_pair(0), noisy_pair(1)]

    def refused(match, pairs=pairs, positions="strip", **options):
        with pytest.raises(InputError, match=match), tower_runs(vlm) as calls:
            work = InterchangeMeasurement.of(vlm, pairs, positions, **options)
            work.check([pair.as_sample() for pair in pairs], progress=False)
        assert not calls

    refused("there are no pairs", [])
    refused("is no Pair", [pairs[0].clean])
    refused("two samples have the id", [pairs[0], pairs[0]])
    refused("pairs have other outcomes", [pairs[0], replace(pairs[1], outcomes={"clean": "l"})])
    refused("is no token set", positions="stripe")
    refused("control='x' is no token set|'x' is no token set", control="x")
    refused("control='last' is what is patched", positions="last", control="last")
    refused("hook='pattern' can not be patched", hook="pattern")
    refused(r"slots=\[4\] of resid_pre: give different whole numbers from 0 to 3", slots=[4])
    refused(r"slots=\[3\] of attn_out: give different whole numbers from 0 to 2", hook="attn_out", slots=[3])
    refused(r"slots=\[1, 1\]", slots=[1, 1])
    refused(r"slots=\[\]", slots=[])
    refused(
        "can not be read at one position",
        [
            replace(pairs[0], outcomes={"clean": "l", "place": "left"}),
            replace(pairs[1], outcomes={"clean": "l", "place": "left"}),
        ],
    )
    refused("are said by one token", [replace(pair, outcomes={"clean": "l", "place": "L"}) for pair in pairs])
    refused("so the set is empty", [replace(pair, counterfactual=pair.clean) for pair in pairs], "object")
    refused("neither question names any", positions="words")
    refused("prompts of", [pairs[0], longer(pairs[1], "Where?")], [3])


def test_each_side_is_right_by_its_own_answer_and_the_control_is_as_large_and_drawn_by_the_seed(monkeypatch):
    vlm, pairs = loaded(), [noisy_pair(0), noisy_pair(1)]
    monkeypatch.setattr(measurement, "_said", lambda vlm, logits: "r")  # the counterfactual's answer
    found, rows = measured(vlm, pairs, "strip")
    for own in rows:
        assert all(row["counterfactual_right"] and not row["clean_right"] for row in own)
        assert len({row["tokens"] for row in own}) == 1 and own[0]["tokens"] > 1
    _, rows = measured(vlm, pairs, "last")
    assert {row["tokens"] for own in rows for row in own} == {1}
    other, _ = measured(vlm, pairs, "strip", seed=1)
    assert np.array_equal(other["patched"], found["patched"]) and not np.array_equal(other["control"], found["control"])


def test_a_sweep_of_some_slots_starts_from_the_same_clean_run():
    vlm, pairs = loaded(), [noisy_pair(0), longer(noisy_pair(1), "Where, if anywhere, is it?")]
    whole, rows = measured(vlm, pairs, "last", control=None)
    some, again = measured(vlm, pairs, "last", control=None, slots=[2, 3])
    assert np.allclose(column(again, "p_clean"), column(rows, "p_clean"), atol=1e-7)
    assert np.allclose(some["patched"], whole["patched"][..., 2:], atol=1e-7)


def test_behind_the_last_block_the_last_position_alone_says_something():
    vlm, pairs = loaded(), [noisy_pair(0), noisy_pair(1)]
    for positions in ((-1,), (-1, -3), (-3,)):
        found, rows = measured(vlm, pairs, positions, control=None, slots=[vlm.cfg.n_layers])
        assert np.array_equal(found["patched"], naive(vlm, pairs, positions, control=None, slots=[3])["patched"])
        wanted = column(rows, "p_counterfactual" if -1 in positions else "p_clean")
        assert np.allclose(found["patched"][..., 0], wanted, atol=1e-7)


def test_the_probability_of_a_word_is_the_sum_of_those_of_its_tokens():
    chances = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]])
    assert summed(chances.log(), [(0, 2), (3,)]) == pytest.approx(np.array([[0.4, 0.4], [0.6, 0.1]]))


def test_probabilities_that_are_not_finite_are_refused_by_the_name_of_their_pair():
    vlm, pairs = loaded(), [noisy_pair(0), noisy_pair(1)]

    def overflow(tensor, *, hook):
        return torch.full_like(tensor, torch.inf)

    refused = pytest.raises(ModelError, match=f"sample {pairs[0].id!r}: .* probabilities are infinite or NaN")
    with vlm.hooks([("ln_final.hook_normalized", overflow)]), refused:
        measured(vlm, pairs, "strip")
