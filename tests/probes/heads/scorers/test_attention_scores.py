"""Scorers that look: each ranks its planted head first, equals a naive loop, and all share one pass."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
from broken_off import break_second
from looking import FAST, planted_vlm, ranked, scenes
from made_up import square_grid

from interp.errors import InputError
from interp.image.boxes import Box
from interp.model.hooked_vlm import HookedVLM
from interp.objects.sample import Object, Sample
from interp.planted.build import GRID
from interp.planted.llava import OBJECT_HEAD, SINK, SINK_HEAD
from probes.heads.data.prompts import step_samples
from probes.heads.data.synthetic import synthetic_steps
from probes.heads.functions import FUNCTIONS
from probes.heads.scorers.attention import SCORERS, LookMeasurement, attention_scores, read_scorers
from probes.heads.scorers.gaze import Gaze
from probes.heads.scorers.hit_rate import HitRate
from probes.heads.scorers.image_mass import (
    ImageMass,
    SpatialEntropy,
    by_chance,
    dealt_heads,
    enough_mass,
    fills_bottom_row,
    lowest_entropies,
)
from probes.heads.scorers.items import LEAST
from probes.heads.scorers.pointing import BoxOverlap


@cache
def looked():
    samples = scenes()
    others = {sample.id: [sample.meta["other"]] for sample in samples}
    chosen = ("image_mass", SpatialEntropy(lowest=2), "overlap", "pointing", "gaze", "hit_rate")
    return attention_scores(planted_vlm(), samples, chosen, others=others, **FAST)


@pytest.mark.parametrize("name", ["overlap", "pointing", "gaze", "hit_rate"])
def test_the_head_that_looks_at_the_object_is_first(name):
    found = looked()[name]
    assert found.functions == ("spatial",) and found.samples == (24,) and found.groups == (12,)
    first, second = ranked(found.of())[:2]
    assert first == OBJECT_HEAD
    assert found.of()[first] > found.of()[second] + 0.05
    assert found.p_any[0][OBJECT_HEAD] < 0.05
    assert found.p_any[0][SINK_HEAD] > 0.05 or name == "overlap"


def test_scores_of_the_planted_head_are_what_looking_at_nothing_else_gives():
    found = looked()
    assert found["gaze"].of()[OBJECT_HEAD] == pytest.approx(1, abs=1e-3)
    assert found["gaze"].null[0][OBJECT_HEAD] == pytest.approx(0, abs=1e-3)
    for name in ("pointing", "overlap"):
        assert found[name].of()[OBJECT_HEAD] == pytest.approx(1, abs=1e-3)
    assert found["hit_rate"].of()[OBJECT_HEAD] == pytest.approx(64 / 4, rel=1e-3)  # of 64 tokens the object has four
    assert found["gaze"].settings["control"] == {"another object": 24, "moved box": 0}


def test_heads_with_all_weight_on_the_image_lead_by_mass_and_those_of_one_spot_by_entropy():
    found = looked()
    both = {OBJECT_HEAD, SINK_HEAD}
    assert set(ranked(found["image_mass"].of())[:2]) == both
    assert set(ranked(found["spatial_entropy"].of())[:2]) == both
    often = found["selection_frequency"]
    assert all(often.of()[head] == 1 for head in both) and often.of().sum() == pytest.approx(2)
    assert often.settings["heads_passing"] >= 2
    # Four tokens beside each other are one spot and anywhere four; one token is one spot wherever it lies.
    scattered = found["spatial_entropy"]
    assert scattered.p_any[0][OBJECT_HEAD] < 0.05 and scattered.null[0][OBJECT_HEAD] < -0.5
    assert scattered.null[0][SINK_HEAD] == pytest.approx(0, abs=1e-6)


def test_without_other_objects_gaze_is_held_against_moved_boxes():
    found = attention_scores(planted_vlm(), scenes(), "gaze", **FAST)["gaze"]
    assert found.settings["control"] == {"another object": 0, "moved box": 24}
    assert ranked(found.of())[0] == OBJECT_HEAD and 0.02 < found.null[0][OBJECT_HEAD] < 0.4


def test_the_model_runs_once_for_all_scorers():
    vlm = planted_vlm()
    samples = scenes()[:3]
    work = LookMeasurement.of(vlm, samples, read_scorers(tuple(SCORERS)), prompt="paper")
    with tiny.passes(vlm) as shapes:
        work(list(samples))
    assert len(shapes) == 1


def test_numbers_equal_a_naive_loop():
    vlm = tiny.vlm(self_check=False)
    box, other = Box("mug", (20, 10, 50, 40)), Box("dog", (50, 30, 70, 60))
    samples = [
        Sample(f"s{place}", tiny.photo(place), question, (), "left", (Object("mug", box), Object("dog", other)))
        for place, question in enumerate(tiny.QUESTIONS)
    ]
    work = LookMeasurement(vlm, (ImageMass(), Gaze(), HitRate(), BoxOverlap("mass")))
    rows = [own for (own,) in work(samples)]
    inputs = vlm.prepare([sample.image for sample in samples], [sample.question for sample in samples])
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(3)]
    _, cache = vlm.run_with_cache(inputs, names_filter=names)
    for place, row in enumerate(rows):
        layout, grid = inputs.layouts[place], inputs.grids[place]
        asked, beside = grid.membership(box), grid.membership(other)
        both = grid.union_membership([box, other])
        target = asked >= asked.max() / 2
        for layer in range(3):
            for head in range(4):
                own = cache[names[layer]][place, head, 0].numpy()[layout.image_positions]
                cell = 4 * layer + head
                assert row["image_mass"][cell] == pytest.approx(own.sum(), abs=1e-6)
                assert row["gaze"][cell] == pytest.approx(sum(own * asked), abs=1e-6)
                assert row["gaze_other"][cell] == pytest.approx(sum(own * beside), abs=1e-6)
                assert row["hit_rate"][cell] == pytest.approx(target[own.argmax()] / target.mean(), abs=1e-5)
                assert row["overlap"][cell] == pytest.approx(sum(own * both) / own.sum(), abs=1e-5)
        real = [kind for kind in layout.kinds if kind != "pad"]
        assert row["image_mass_even"] == pytest.approx(len(grid) / len(real), abs=1e-6)


def test_a_study_that_was_broken_off_goes_on_to_the_same_scores(tmp_path, monkeypatch):
    given = {**FAST, "batch": 8}
    whole = attention_scores(planted_vlm(), scenes(), ("gaze", "image_mass"), **given)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        break_second(patch, LookMeasurement)
        attention_scores(planted_vlm(), scenes(), ("gaze", "image_mass"), out=tmp_path, **given)
    again = attention_scores(planted_vlm(), scenes(), ("gaze", "image_mass"), out=tmp_path, resume=True, **given)
    for name, own in whole.items():
        np.testing.assert_array_equal(own.values, again[name].values)
        np.testing.assert_array_equal(own.p, again[name].p)


def test_samples_without_boxes_do_not_count_where_boxes_are_needed():
    samples = [
        replace(sample, objects=(), meta={"functions": ["recall"]}) if place % 2 else sample
        for place, sample in enumerate(scenes())
    ]
    found = attention_scores(planted_vlm(), samples, ("image_mass", "pointing"), **FAST)
    assert found["image_mass"].functions == ("spatial", "recall")
    assert found["pointing"].functions == ("spatial",) and found["pointing"].samples == (12,)
    assert "0 of its 12 samples" in found["pointing"].left_out[0]["why"]


def test_steps_are_scored_function_by_function_and_those_of_text_alone_have_no_boxes():
    vlm = HookedVLM.from_pretrained("tiny-llava", self_check=False)
    samples = step_samples(synthetic_steps(LEAST))
    found = attention_scores(vlm, samples, ("image_mass", "pointing"), draws=20, flips=20, progress=False)
    assert found["image_mass"].functions == FUNCTIONS
    seen = tuple(name for name in FUNCTIONS if name not in ("information", "recall"))
    assert found["pointing"].functions == seen and found["pointing"].groups == (LEAST,) * len(seen)
    assert {one["function"] for one in found["pointing"].left_out} == {"information", "recall"}


def test_sinks_are_left_out_of_all_but_the_image_mass():
    sinks = np.zeros(64, dtype=bool)
    sinks[GRID * SINK[0] + SINK[1]] = True
    own = ("image_mass", SpatialEntropy(lowest=1), "gaze", "hit_rate")
    found = attention_scores(planted_vlm(), scenes(), own, sinks=sinks, **FAST)
    for name in ("image_mass", "gaze"):
        np.testing.assert_allclose(found[name].of()[OBJECT_HEAD], 1, atol=1e-3)
    assert found["image_mass"].of()[SINK_HEAD] == pytest.approx(1, abs=1e-3)
    assert found["hit_rate"].of()[OBJECT_HEAD] == pytest.approx(63 / 4, rel=1e-3)
    assert found["selection_frequency"].of()[OBJECT_HEAD] == 1


# --- parts


def test_the_threshold_of_mass_is_a_value_and_no_place():
    """The released code keeps heads that stand behind the elbow's head in the flattened order."""
    mass = np.array([[[0.9, 0.01, 0.02], [0.8, 0.03, 0.85]]], np.float32)
    passing, least = enough_mass(mass)
    np.testing.assert_array_equal(passing, mass[0] >= least)
    assert passing[0, 0] and passing[1, 0] and passing[1, 2] and passing.sum() < 6
    every, least = enough_mass(np.full((2, 1, 4), 0.5, np.float32))
    assert every.all() and least == pytest.approx(0.5)  # no elbow


def test_the_lowest_entropies_are_counted_among_heads_that_pass_and_ties_share():
    entropy = np.array([[[0.1, 0.5, np.nan], [0.3, 0.3, 0.05]]], np.float32)
    passing = np.array([[True, True, True], [True, True, False]])
    np.testing.assert_allclose(lowest_entropies(entropy, passing, 2), [[[1, 0, 0], [0.5, 0.5, 0]]])
    np.testing.assert_allclose(lowest_entropies(entropy, passing, 10), [[[1, 1, 0], [1, 1, 0]]])
    expected = by_chance(lowest_entropies(entropy, passing, 2), passing)
    np.testing.assert_allclose(expected, [[[0.4, 0.4, 0.4], [0.4, 0.4, 0]]], rtol=1e-6)


def test_heads_are_dealt_alike_in_all_samples_of_a_group_and_only_among_those_that_pass():
    rng = np.random.default_rng(0)
    chosen = rng.uniform(size=(6, 2, 3)).astype(np.float32)
    passing = np.array([[True, True, False], [True, True, True]])
    groups = np.array(["a", "a", "b", "b", "c", "c"], dtype=object)
    dealt = dealt_heads(chosen, passing, groups, seed=0)
    assert not dealt[:, 0, 2].any()
    np.testing.assert_allclose(np.sort(dealt[:, passing]), np.sort(chosen[:, passing]))
    for first in (0, 2, 4):  # the same head was moved to the same place
        order = [np.flatnonzero(chosen[first][passing] == value).item() for value in dealt[first][passing]]
        np.testing.assert_array_equal(chosen[first + 1][passing][order], dealt[first + 1][passing])


def test_a_map_that_fills_its_bottom_row_is_flagged():
    grid = square_grid((60, 60), 6)
    maps = np.zeros((1, 3, 36), np.float32)
    maps[0, 0, 30:] = 1 / 6
    maps[0, 1, 30:35] = 1 / 5
    maps[0, 2] = 1 / 36
    np.testing.assert_array_equal(fills_bottom_row(maps, grid), [[1, 0, 0]])


# --- bad input


@pytest.mark.parametrize(
    ("scorers", "message"),
    [
        ("gazes", "scorer 'gazes' is not known"),
        ((), "name some of"),
        (("gaze", "gaze"), "each once"),
        ((Gaze,), "is not known"),
    ],
)
def test_scorers_that_are_none_are_refused(scorers, message):
    with pytest.raises(InputError, match=message):
        attention_scores(planted_vlm(), scenes(), scorers, **FAST)


def test_what_can_not_be_scored_is_refused_before_the_model_runs():
    vlm, samples = planted_vlm(), scenes()
    bare = [replace(sample, objects=()) for sample in samples[:20]] + samples[20:]
    cases = [
        (bare, {}, "pointing: 4 of 24 samples have any box"),
        (samples[:6], {}, "no function can be scored: spatial: 6 of its 6 samples"),
        (samples, {"others": {"nobody": []}}, "boxes of 'nobody', which is no sample"),
        (samples, {"others": {samples[0].id: [(0, 0, 1, 1)]}}, "give a list of Box"),
        (samples, {"moves": 0}, "moves 0"),
        (samples, {"sinks": np.zeros(63, dtype=bool)}, "sinks are of 63 image tokens, and photos .* have 64"),
        (samples, {"sinks": np.zeros(64)}, "one truth value for each image token"),
        (samples, {"sinks": np.ones(64, dtype=bool)}, "not all true"),
        ([], {}, "no samples"),
    ]
    with tiny.passes(vlm) as shapes:
        for own, given, message in cases:
            with pytest.raises(InputError, match=message):
                attention_scores(vlm, own, "pointing", **{**FAST, **given})
    assert not shapes


@pytest.mark.parametrize("made", [lambda: HitRate(by="any"), lambda: SpatialEntropy("area"), lambda: BoxOverlap("iou")])
def test_options_that_are_not_known_are_refused(made):
    with pytest.raises(InputError, match="is not known"):
        made()
