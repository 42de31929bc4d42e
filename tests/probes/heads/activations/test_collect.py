"""Collecting: what is on the disk is what the passes gave, survives kills to the bit, and bad input is refused."""

import json
import os
import re
import shutil
import signal
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from broken_off import break_second

from interp.errors import InputError, ModelError, RefusedError
from interp.model.forced import forced_tokens, with_answers
from interp.objects.sample import Sample
from interp.store.shards import Shards
from probes import HeadMeasurement, collect_heads, load_head_activations
from probes.heads.activations import z_shards
from probes.heads.activations.features import layer_of, read_features
from probes.heads.activations.hearing import hear_forced, hear_own
from probes.heads.activations.z_shards import HeadAxes, disk_needed
from probes.study.run import measured_samples

QUESTIONS = (*tiny.QUESTIONS, "Where is the red dog in relation to the mug?")


@cache
def model():
    return tiny.vlm(self_check=False)


def made(place):
    options = ("left", "right") if place % 2 else ()
    meta = {"functions": ["spatial", "recall"] if place % 3 else ["math"]}
    answer = "left" if options else "on the table"
    question = QUESTIONS[place % len(QUESTIONS)]
    return Sample(f"i{place}", tiny.photo(place), question, options, answer, group=f"g{place // 2}", meta=meta)


ITEMS = [made(place) for place in range(7)]


def collected(out, items=ITEMS, **changes):
    options = {"batch": 3, "max_new_tokens": 5, "progress": False, "tokens": "full"}
    return collect_heads(model(), items, out=out, **{**options, **changes})


@pytest.mark.parametrize("alignment", ["at", "predicts"])
@pytest.mark.parametrize("answers", ["own", "reference"])
def test_each_head_of_each_item_is_the_mean_of_its_states_alone_whatever_the_batch(tmp_path, answers, alignment):
    found = collected(tmp_path, answers=answers, alignment=alignment)
    assert found.ids == tuple(item.id for item in ITEMS) and found.axes == HeadAxes(3, 4, 8)
    table = found.to_dataframe()
    for place, item in enumerate(ITEMS):
        inputs = model().prepare(item.image, item.question)
        own = table.iloc[place]
        if answers == "own":
            heard = hear_own(model(), inputs, 5)
        else:
            ids = [model().processor.tokenizer(item.answer, add_special_tokens=False)["input_ids"]]
            heard = hear_forced(model(), inputs, ids)
        assert len(own["tokens"]) == len(heard.tokens[0])
        states = [token + (alignment == "at") for token in own["chosen"]]
        naive = heard.mean(0, states).numpy()
        for layer in range(3):
            np.testing.assert_allclose(found.of_layer(layer)[place], naive[layer], atol=1e-5, rtol=1e-4)
            for head in range(4):
                np.testing.assert_allclose(found.of(layer, head)[place], naive[layer, head], atol=1e-5, rtol=1e-4)
        np.testing.assert_allclose(own["log_probs"], heard.log_probs[0], atol=1e-5)
        assert own["perplexity"] == pytest.approx(np.exp(-np.mean(own["log_probs"])))
    parts = list(found.chunks())
    assert sorted(place for places, _ in parts for place in places) == list(range(7))
    for places, z in parts:
        np.testing.assert_array_equal(z[:, 1], found.of_layer(1)[places])


def test_what_is_known_of_the_items_comes_back(tmp_path):
    found = collected(tmp_path, answers="reference")
    assert found.groups == tuple(item.group for item in ITEMS)
    assert found.functions == tuple(tuple(item.meta["functions"]) for item in ITEMS)
    assert found.answers == tuple(item.answer for item in ITEMS)
    assert found.correct.all() and found.parse_failures == 0 and found.left_out.empty
    np.testing.assert_array_equal(found.labels(("math", "recall"))[:, 0], [place % 3 == 0 for place in range(7)])
    again = load_head_activations(tmp_path)
    pd.testing.assert_frame_equal(again.to_dataframe(), found.to_dataframe())
    np.testing.assert_array_equal(again.of(2, 3), found.of(2, 3))
    assert again.settings == found.settings and "z-0000" in {path.stem for path in (tmp_path / "shards").iterdir()}


def test_answers_are_judged_by_the_strict_rule_and_those_that_name_no_option_are_counted(tmp_path):
    texts = {item.id: "on" for item in ITEMS} | {"i1": "right", "i3": "left", "i0": "on the table"}
    found = collected(tmp_path, answers=texts)
    right = dict(zip(found.ids, found.correct, strict=True))
    assert right == {"i0": True, "i1": False, "i2": False, "i3": True, "i4": False, "i5": False, "i6": False}
    assert found.parse_failures == 1  # i5 has options and names none of them


def test_one_head_is_read_without_the_others(tmp_path, monkeypatch):
    found = collected(tmp_path, answers="reference")
    whole = found.of(1, 2)
    monkeypatch.setattr(z_shards.ZShard, "layer", None)
    monkeypatch.setattr(z_shards.ZShard, "every", None)
    np.testing.assert_array_equal(found.of(1, 2), whole)
    for layer, head, said in ((3, 0, "no layer 3"), (0, 4, "no head 4"), (-1, 0, "layer -1"), (0, True, "head True")):
        with pytest.raises(InputError, match=said):
            found.of(layer, head)


def test_some_items_are_selected_without_the_others_and_read_by_scorers_as_features(tmp_path):
    found = collected(tmp_path, answers="reference")
    chosen = [5, 0, 3]
    some = found.select(chosen)
    assert some.ids == ("i5", "i0", "i3") and read_features(some).shape == (3, 3, 4, 8)
    np.testing.assert_array_equal(layer_of(some, 2), found.of_layer(2)[chosen])
    np.testing.assert_array_equal(some.of(1, 3), found.of(1, 3)[chosen])
    parts = {int(place): z for places, own in some.chunks() for place, z in zip(places, own, strict=True)}
    np.testing.assert_array_equal(np.stack([parts[place] for place in range(3)])[:, 0], found.of_layer(0)[chosen])
    math = found.select(found.labels(("math",))[:, 0])
    assert set(math.primary) == {"math"} and math.select([1]).ids == ("i3",)
    for wrong in ([], [7], [-1], [0, 0], [True, False], [0.5], "all", np.zeros(7, bool)):
        with pytest.raises(InputError, match="are no items of 7"):
            found.select(wrong)


def same(first, second):
    pd.testing.assert_frame_equal(first.to_dataframe(), second.to_dataframe(), check_exact=True)
    for layer in range(first.axes.layers):
        np.testing.assert_array_equal(first.of_layer(layer), second.of_layer(layer))


def test_a_run_that_is_broken_off_goes_on_to_the_very_same_numbers(tmp_path, monkeypatch):
    whole = collected(tmp_path / "whole")
    with monkeypatch.context() as patch:
        calls = break_second(patch, HeadMeasurement)
        with pytest.raises(KeyboardInterrupt):
            collected(tmp_path / "out")
        with pytest.raises(InputError, match="resume=True"):
            collected(tmp_path / "out")
        with pytest.raises(InputError, match="alignment: was 'at', now 'predicts'"):
            collected(tmp_path / "out", resume=True, alignment="predicts")
        with pytest.raises(InputError, match="3 of 7 samples"):
            load_head_activations(tmp_path / "out")
        same(whole, collected(tmp_path / "out", resume=True))
    assert len(calls) == 4  # one that was kept, one that broke off, two after it


@pytest.mark.parametrize("die", ["z-0001", "part-00001", "manifest"])
def test_a_process_that_is_killed_while_it_writes_is_gone_on_with_to_the_bit(tmp_path, monkeypatch, die):
    whole = collected(tmp_path / "whole")
    monkeypatch.setitem(measured_samples.__wrapped__.__kwdefaults__, "flush_seconds", 0.0)
    child = os.fork()
    if not child:
        rename = os.replace

        def deadly(source, target):
            if die in str(target):
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, target)

        os.replace = deadly
        try:
            collected(tmp_path / "out")
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    same(whole, collected(tmp_path / "out", resume=True))
    assert not list((tmp_path / "out" / "shards").glob(".part-*"))


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-40])])
def test_rows_whose_shard_is_gone_or_cut_off_are_measured_again(tmp_path, damage):
    whole = collected(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    damage(tmp_path / "out" / "shards" / "z-0001.safetensors")
    with pytest.raises(InputError, match=r"z-0001.safetensors.*resume=True"):
        load_head_activations(tmp_path / "out")
    same(whole, collected(tmp_path / "out", resume=True))


def test_a_shard_of_other_items_is_told_and_replaced(tmp_path):
    whole = collected(tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "out")
    shards = tmp_path / "out" / "shards"
    shutil.copy(shards / "z-0000.safetensors", shards / "z-0001.safetensors")
    with pytest.raises(InputError, match="is not the shard of its study"):
        load_head_activations(tmp_path / "out")
    same(whole, collected(tmp_path / "out", resume=True))


def test_two_processes_on_one_folder_are_refused(tmp_path):
    with Shards(tmp_path / "shards").lock(), pytest.raises(InputError, match="another process is writing"):
        collected(tmp_path)


def test_a_disk_without_room_is_refused_up_front_with_both_numbers(tmp_path, monkeypatch, capsys):
    collected(tmp_path / "told", progress=True, answers="reference")
    needed = disk_needed(7, HeadAxes(3, 4, 8), "float32")
    assert needed == 7 * 3 * 4 * 8 * 4
    assert "7 items x 3 layers x 4 heads x 8 numbers (float32) need 2.688 kB" in capsys.readouterr().err
    usage = shutil.disk_usage(tmp_path)._replace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    with tiny.passes(model()) as passes, pytest.raises(InputError, match=r"need 2.688 kB, and .* has 2.687 kB left"):
        collected(tmp_path / "out")
    assert not passes and not (tmp_path / "out").exists()
    collected(tmp_path / "out", store="float16", answers="reference")


def test_half_precision_keeps_what_it_holds_and_refuses_what_it_does_not(tmp_path, monkeypatch):
    exact = collected(tmp_path / "exact", answers="reference")
    half = collected(tmp_path / "half", answers="reference", store="float16")
    np.testing.assert_array_equal(half.of_layer(1), exact.of_layer(1).astype(np.float16).astype(np.float32))
    inner = HeadMeasurement._read
    monkeypatch.setattr(HeadMeasurement, "_read", lambda self, z: inner(self, z) * np.float32(1e6))
    with pytest.raises(InputError, match=r"item 'i\d'.*beyond what float16 holds.*store='float32'"):
        collected(tmp_path / "large", answers="reference", store="float16")
    collected(tmp_path / "wide", answers="reference")
    monkeypatch.setattr(HeadMeasurement, "_read", lambda self, z: inner(self, z) * np.float32(np.nan))
    with pytest.raises(ModelError, match=r"item 'i\d': 96 of 96 activations are infinite or NaN"):
        collected(tmp_path / "nan", answers="reference")


def test_writes_of_all_heads_sum_to_what_attention_adds_and_their_norms_are_those(tmp_path):
    found = collected(tmp_path / "write", answers="reference", tokens="last", read="write")
    norms = collected(tmp_path / "norm", answers="reference", tokens="last", read="write_norm")
    assert found.axes == HeadAxes(3, 4, 32) and norms.axes == HeadAxes(3, 4, 1)
    item = ITEMS[1]
    inputs = model().prepare(item.image, item.question)
    place = found.ids.index(item.id)
    forced = with_answers(model(), inputs, [forced_tokens(model(), inputs.prompts[0], item.answer)])
    names = [f"blocks.{layer}.hook_attn_out" for layer in range(3)]
    with torch.no_grad():
        _, cache = model().run_with_cache(forced, names_filter=names)
    for layer in range(3):
        own = found.of_layer(layer)[place]
        np.testing.assert_allclose(own.sum(0), cache["attn_out", layer][0, -1].numpy(), atol=1e-5)
        np.testing.assert_allclose(norms.of_layer(layer)[place, :, 0], np.linalg.norm(own, axis=-1), rtol=1e-5)


def test_writes_of_a_projection_that_is_no_plain_matrix_are_refused_before_the_first_pass(tmp_path):
    class Adapted(torch.nn.Linear):
        pass

    vlm = tiny.vlm(self_check=False)
    vlm.model.model.language_model.layers[1].self_attn.o_proj.__class__ = Adapted
    with tiny.passes(vlm) as passes, pytest.raises(RefusedError, match="is a Adapted.*merge the adapter"):
        collect_heads(vlm, ITEMS, out=tmp_path / "out", read="write", progress=False)
    assert not passes and not (tmp_path / "out").exists()


def test_a_shard_that_is_gone_is_not_made_of_other_answers_than_those_that_were_kept(tmp_path, monkeypatch):
    collected(tmp_path, answers="reference")
    shard = tmp_path / "shards" / "z-0002.safetensors"
    shard.unlink()
    inner = HeadMeasurement._row

    def other(self, *given):
        row, states = inner(self, *given)
        return {**row, "text": "under"}, states

    monkeypatch.setattr(HeadMeasurement, "_row", other)
    with pytest.raises(InputError, match=r"z-0002.safetensors .* is now answered 'under', not"):
        collected(tmp_path, answers="reference", resume=True)
    assert not shard.exists()


def test_items_that_are_answered_with_nothing_are_left_out_and_counted(tmp_path, monkeypatch):
    first = collected(tmp_path / "first", max_new_tokens=1)
    said, common = dict(zip(first.ids, first.answers, strict=True)), first.answers[0]
    end = model().processor.tokenizer.convert_tokens_to_ids(common)
    monkeypatch.setattr(model().model.generation_config, "eos_token_id", end)
    found = collected(tmp_path / "out", max_new_tokens=1)
    spoke = [item.id for item in ITEMS if said.get(item.id, common) != common]  # the others say a special token
    assert spoke and list(found.ids) == spoke
    assert list(found.left_out["id"]) == [item.id for item in ITEMS if item.id not in spoke]
    assert set(found.left_out["why"]) == {"the model said nothing"}
    assert found.parse_failures >= len(found.left_out) and found.of(0, 0).shape == (len(spoke), 8)


def refusals():
    """What is wrong, with what it is refused by."""
    first, *rest = ITEMS
    long = replace(first, answer="on " * 6)
    yield [replace(first, image=None), *rest], {}, r"item 'i0' has no image"
    yield [replace(first, answer=" "), *rest], {"answers": "reference"}, r"'i0'.*its answer is empty"
    yield [long, *rest], {"answers": "reference"}, r"item 'i0'.*has 6 tokens, and an answer may have 5"
    yield [replace(first, question="the " * 600), *rest], {}, r"item 'i0': prompt and answer have \d+ positions"
    yield [replace(first, meta={}), *rest], {}, r"1 of 7 items has no function, the first is 'i0'"
    yield [replace(first, meta={"functions": "math"}), *rest], {}, r"item 'i0' has the functions 'math'"
    yield [replace(first, meta={"functions": [""]}), *rest], {}, r"item 'i0' has the functions"
    yield [first, first], {}, "two samples have the id 'i0'"
    yield [], {}, "no items"
    yield ITEMS, {"answers": {"i0": "on"}}, "answers do not fit the 7 items: 6 items have none"
    yield ITEMS, {"answers": dict.fromkeys([*(item.id for item in ITEMS), "x"], "on")}, "1 are of no item, such as 'x'"
    yield (
        ITEMS,
        {"answers": {item.id: "" for item in ITEMS}},
        r"7 of 7 items have answers.*'i0': its answer '' is empty",
    )
    for held in (model().processor.image_token, model().processor.tokenizer.eos_token):
        told = rf"7 of 7 items have answers.*'i0'.* holds the special token '{re.escape(held)}'"
        yield ITEMS, {"answers": {item.id: f"on {held}" for item in ITEMS}}, told
    yield ITEMS, {"answers": "given"}, "give them by id"
    yield ITEMS, {"answers": "mine"}, "answers='mine' is not known: use one of own, reference, given"
    yield ITEMS, {"tokens": "middle"}, "tokens='middle' is not known: use one of first, last"
    yield ITEMS, {"alignment": "on"}, "alignment='on' is not known: use one of at, predicts"
    yield ITEMS, {"store": "int8"}, "store='int8' is not known: use one of float16, float32"
    yield ITEMS, {"k": 0}, "k 0 can not be used"
    yield ITEMS, {"functions": {"i0": ["math"]}}, "functions do not fit the 7 items"


@pytest.mark.parametrize(("items", "changes", "said"), list(refusals()))
def test_bad_input_is_refused_by_name_before_the_first_pass_and_leaves_no_folder(tmp_path, items, changes, said):
    with tiny.passes(model()) as passes, pytest.raises(InputError, match=said):
        collected(tmp_path / "out", items, **changes)
    assert not passes and not (tmp_path / "out").exists()


def test_functions_and_answers_that_are_given_by_id_belong_to_what_a_resumed_run_must_have(tmp_path):
    labels = {item.id: ["decision"] for item in ITEMS}
    found = collected(tmp_path, answers=dict.fromkeys(labels, "on top"), functions=labels)
    assert set(found.functions) == {("decision",)} and set(found.answers) == {"on top"}
    with pytest.raises(InputError, match="digest"):
        collected(tmp_path, answers=dict.fromkeys(labels, "under"), functions=labels, resume=True)
    assert json.loads((tmp_path / "manifest.json").read_text())["settings"]["answers"] == "given"


def test_activations_of_another_model_are_refused_by_its_weights(tmp_path):
    found = collected(tmp_path, answers="reference")
    found.refuse_other(model())
    with pytest.raises(InputError, match="collect them from this model"):
        found.refuse_other(tiny.vlm(seed=1, self_check=False))
