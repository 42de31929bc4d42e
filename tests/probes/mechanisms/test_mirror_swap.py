"""Mirror swap: in the planted relation model the turn passes from the image to colour words to the last row."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from broken_off import break_second
from PIL import ImageOps
from planted_words import HELD_FROM, load, scene
from towers_seen import tower_runs

from interp.errors import InputError, ModelError
from interp.intervene.patch import Patch, slot_point
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.study.prompter import prepare_samples
from interp.zoo.tiny import build_tiny
from probes.mechanisms.ids import mirror_measurement
from probes.mechanisms.ids.mirror_measurement import SETS, MirrorMeasurement
from probes.mechanisms.ids.mirror_swap import _measures, mirror_swap
from probes.mechanisms.ids.report import swap_findings
from probes.mechanisms.scenes.pairs import Pair
from probes.mechanisms.scenes.photo_pairs import mirrored_pairs
from probes.mechanisms.scenes.vocabulary import spelled_ids
from probes.study.parts import gapped

QUIET = {"progress": False, "prompt": "paper", "draws": 100, "batch": 4}
PLACES = ((0, 3), (7, 5), (8, 10), (13, 12), (2, 7), (11, 8))


@pytest.fixture(scope="module")
def relation():
    return load()


def pairs_of(places=PLACES):
    names = (("red", "green"), ("blue", "yellow"), ("purple", "red"))
    return mirrored_pairs([scene(names[at % 3], own, at) for at, own in enumerate(places)])[0]


@pytest.fixture(scope="module")
def found(relation):
    return mirror_swap(relation, pairs_of(), **QUIET)


def test_the_turn_passes_from_image_to_words_to_last_row_in_the_planted_slots(found):
    slots = np.arange(5)
    told = dict(zip(found.sets, found.shift.filled(np.nan), strict=True))
    assert told["image"] == pytest.approx((slots < HELD_FROM).astype(float), abs=1e-3)
    assert told["words"] == pytest.approx((slots == HELD_FROM).astype(float), abs=1e-3)
    assert told["text"] == pytest.approx((slots >= HELD_FROM).astype(float), abs=1e-3)
    assert told["other_words"] == pytest.approx(np.zeros(5), abs=1e-3)
    beyond = found.curve("words - other_words")
    assert beyond["value"].to_numpy() == pytest.approx((slots == HELD_FROM).astype(float), abs=1e-3)


def test_a_pair_of_one_photo_moves_nothing_to_the_bit(relation):
    pairs = [replace(pair, counterfactual=pair.clean) for pair in pairs_of()]
    rows = MirrorMeasurement.of(relation, pairs, prompt="paper")([pair.clean for pair in pairs])
    for row in (row for own in rows for row in own):
        assert (row["swapped"] == np.float32(row["clean"])).all()


def test_probabilities_that_are_not_finite_are_refused_by_the_name_of_their_pair(relation):
    pairs = pairs_of()[:2]
    refused = pytest.raises(ModelError, match=f"sample {pairs[0].id!r}: .* probabilities are infinite or NaN")

    def overflow(tensor, *, hook):
        return torch.full_like(tensor, torch.inf)

    with relation.hooks([("ln_final.hook_normalized", overflow)]), refused:
        MirrorMeasurement.of(relation, pairs, prompt="paper")([pair.clean for pair in pairs])


def test_the_tower_runs_once_for_each_photo(relation):
    pairs = pairs_of()[:2]
    with tower_runs(relation) as seen:
        MirrorMeasurement.of(relation, pairs, prompt="paper")([pair.clean for pair in pairs])
    assert len(seen) == 2


def test_swaps_equal_whole_passes_to_the_bit_and_cost_the_blocks_behind_their_slot(relation):
    pairs = pairs_of()[:3]
    work, samples = MirrorMeasurement.of(relation, pairs, prompt="paper"), [pair.clean for pair in pairs]
    calls = []
    note = relation.text_attentions[0].register_forward_pre_hook(lambda *of_no_interest: calls.append(1))
    rows = work(samples)
    note.remove()
    assert len(calls) == 2 + len(SETS)  # block 0: both runs, and the swaps at slot 0
    inputs, others = (
        prepare_samples(relation, [getattr(pair, side) for pair in pairs], "paper")
        for side in ("clean", "counterfactual")
    )
    points = [slot_point(slot, relation.cfg.n_layers) for slot in range(relation.cfg.n_layers + 1)]
    with torch.no_grad():
        _, cache = relation.run_with_cache(others, names_filter=points)
        for name, places in work._sets(inputs, pairs).items():
            for slot, point in enumerate(points):
                patch = Patch.recorded(point, cache, places, others)
                logits = relation.run_with_hooks(inputs, intervention=patch, logits_to_keep=1).logits[:, -1].float()
                for place, (own, pair) in enumerate(zip(rows, pairs, strict=True)):
                    (row,) = [row for row in own if row["tokens"] == name]
                    ids = list(spelled_ids(relation, pair.clean.answer))
                    assert row["swapped"][slot] == np.float32(float(logits[place].softmax(-1)[ids].sum())), (name, slot)


def test_pairs_that_are_answered_wrong_are_left_out_by_name(relation, found):
    pairs = pairs_of()
    said = pairs[0].counterfactual.answer
    wrong = replace(pairs[0], clean=replace(pairs[0].clean, answer=said), outcomes={"clean": said})
    told = mirror_swap(relation, [wrong, *pairs[1:]], **QUIET)
    assert told.left_out.to_dict("records")[0]["cases"] == 1 and (told.measures["samples"] == 5).all()
    assert not found.measures["value"].isna().any()  # a slot that changes nothing has no interval


def test_what_can_not_be_swapped_is_refused_by_name_before_the_first_pass(relation, monkeypatch):
    monkeypatch.setattr(relation, "forward", lambda *a, **k: pytest.fail("a pass was run"))
    pair = pairs_of()[0]
    small = pair.counterfactual.image.resize((56, 56))
    for wrong, said in (
        (replace(pair, counterfactual=replace(pair.counterfactual, question="Where is it?")), "two questions"),
        (replace(pair, counterfactual=replace(pair.counterfactual, image=small, objects=tuple(
            replace(one, box=None) for one in pair.counterfactual.objects))), "two sizes"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            mirror_swap(relation, [wrong, *pairs_of()[1:]], **QUIET)


def test_a_study_that_was_broken_off_goes_on_to_the_same_numbers(relation, found, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        break_second(broken, MirrorMeasurement)
        with pytest.raises(KeyboardInterrupt):
            mirror_swap(relation, pairs_of(), out=tmp_path / "s", **QUIET)
    again = mirror_swap(relation, pairs_of(), out=tmp_path / "s", resume=True, **QUIET)
    assert again.measures.equals(found.measures) and json.dumps(again.settings)


def test_the_figure_shows_all_sets(found):
    assert len(found.plot().lines) == 4


def test_the_page_tells_the_best_slot_as_chosen_and_what_other_tokens_do(found):
    told = swap_findings(found)
    assert "The numbers are of 3 groups" in told.few[0]
    assert "names of the objects" in told.sentences[0] and f"slot {HELD_FROM}" in told.sentences[0]
    assert "picked after the fact" in told.sentences[0] and "beyond as many other tokens" in told.sentences[0]
    assert len(told.sections()) >= 3


@pytest.mark.parametrize("name", ["tiny-llava", "tiny-qwen2_5_vl", "tiny-pixtral", "tiny-llava_next"])
def test_all_image_tokens_at_slot_0_give_the_other_photo_s_answer_in_every_family(name, monkeypatch):
    monkeypatch.setattr(mirror_measurement, "spelled_ids", lambda vlm, word: (len(word),))  # their words are letters
    vlm = HookedVLM.wrap(*build_tiny(name), self_check=False)
    photo = tiny.photo(0)
    asked = "Where is the mug in the photo? Answer with left or right."
    clean = Sample("a", photo, asked, ("left", "right"), "left", (Object("mug"),))
    other = replace(clean, id="b", image=ImageOps.mirror(photo), answer="right")
    pair = Pair(clean, other, {"clean": "left"}, "horizontal")
    rows = {row["tokens"]: row for row in MirrorMeasurement.of(vlm, [pair], prompt="paper")([pair.clean])[0]}
    assert rows["image"]["swapped"][0] == pytest.approx(rows["image"]["mirrored"], abs=1e-6)
    assert rows["text"]["swapped"][0] == pytest.approx(rows["text"]["clean"], abs=1e-6)
    assert rows["text"]["swapped"][-1] == pytest.approx(rows["text"]["mirrored"], abs=1e-6)
    assert rows["image"]["clean"] != rows["image"]["mirrored"]
    assert rows["words"]["many"] == rows["other_words"]["many"] >= 1


def made_up(below=0.5, pairs=6):
    """Rows of pairs as a study has them, with known probabilities."""
    rng = np.random.default_rng(0)
    rows = [
        {"id": str(pair), "tokens": name, "many": 2, "right": pair > 0, "key": "", "clean": 0.9 - 0.05 * pair,
         "mirrored": 0.9 - 0.05 * pair - below * (pair + 1) / pairs, "swapped": rng.random(3)}
        for pair in range(pairs) for name in SETS
    ]  # fmt: skip
    groups = {str(pair): f"group {pair // 2}" for pair in range(pairs)}
    return pd.DataFrame(rows), groups


def test_the_shift_is_a_quotient_of_means_over_pairs_that_are_right_on_both_sides():
    table, groups = made_up()
    measures, left_out = _measures(table, groups, {"seed": 0, "n": 50, "level": 0.95})
    kept = table[table["right"]]
    for name in SETS:
        own = kept[kept["tokens"] == name]
        above = np.mean([row.clean - row.swapped for row in own.itertuples()], axis=0)
        shift = above / (own["clean"] - own["mirrored"]).mean()
        assert measures[measures["tokens"] == name]["value"].to_numpy() == pytest.approx(shift, rel=1e-5)
    assert left_out["cases"].tolist() == [1] and (measures["groups"] == 3).all()


def test_a_swap_that_moves_nothing_in_any_pair_has_an_interval():
    table, groups = made_up()
    table["swapped"] = [np.full(3, row.clean) for row in table.itertuples()]
    measures, _ = _measures(table, groups, {"seed": 0, "n": 50, "level": 0.95})
    own = table[table["right"] & (table["tokens"] == SETS[0])]
    reach = (1 - 0.025 ** (1 / 3)) / (own["clean"] - own["mirrored"]).mean()
    assert len(measures) == 3 * (len(SETS) + 1) and measures["value"].eq(0).all()
    assert [*-measures["low"], *measures["high"]] == pytest.approx([reach] * 2 * len(measures), rel=1e-5)


def test_where_mirroring_takes_nothing_from_the_answer_no_shift_is_told():
    for table, said in ((made_up(below=-0.1), "no shift to be part of"), (made_up(pairs=2), "fewer than three groups")):
        measures, left_out = _measures(*table, {"seed": 0, "n": 50, "level": 0.95})
        assert measures.empty and said in left_out["why"].iloc[-1]
        assert gapped([measures], 3).mask.all()


def test_other_words_are_drawn_for_each_pair_and_are_none_of_the_names(relation):
    pairs = [replace(pair, clean=replace(pair.clean, id=f"pair {at}")) for at, pair in enumerate(pairs_of()[:1] * 6)]
    inputs = prepare_samples(relation, [pair.clean for pair in pairs], "paper")
    found = MirrorMeasurement.of(relation, pairs, prompt="paper")._sets(inputs, pairs)
    assert len({tuple(own) for own in found["other_words"]}) > 1 == len({tuple(own) for own in found["words"]})
    for words, others in zip(found["words"], found["other_words"], strict=True):
        assert not set(words) & set(others) and len(words) == len(others) == 2
