"""Spatial-ID write finds the head that writes an object's place at its name, and R^2 is that of least squares."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tiny
from looking import FAST, planted_vlm, ranked, scenes

from interp.errors import InputError
from interp.image.boxes import Box
from interp.objects.sample import Object, Sample
from interp.planted.llava import _PLACES, WORD_HEAD
from interp.planted.parts import D_MODEL
from probes.heads.activations.writes import head_writes
from probes.heads.scorers.id_write import IdWriteMeasurement, id_write_scores
from probes.heads.scorers.placed_words import explained

MODEL = "planted-relation"


@cache
def named_by_color():
    """The relation model's words that look at objects are those of their colours."""
    return [
        replace(scene, objects=tuple(Object(one.name.split()[0], one.box) for one in scene.objects))
        for scene in scenes(MODEL)
    ]


def axes(slots=4):
    own = np.zeros((slots, 2, D_MODEL), np.float32)
    own[:, 0, _PLACES["seen_across"]] = own[:, 1, _PLACES["down"]] = 1
    return own


@pytest.mark.parametrize("by_object", [True, False])
def test_the_head_that_writes_the_place_is_first_and_no_other_writes(by_object):
    found = id_write_scores(planted_vlm(MODEL), named_by_color(), axes(), by_object=by_object, **FAST)
    assert ranked(found.of())[0] == WORD_HEAD and found.samples == (24,)
    assert found.of()[WORD_HEAD] > 0.4 > found.null[0][WORD_HEAD]
    assert found.p[0][WORD_HEAD] < 0.05 and found.p_any[0][WORD_HEAD] < 0.05
    rest = found.of().copy()
    rest[WORD_HEAD] = 0
    assert rest.max() < 0.01 and found.low[0][WORD_HEAD] > 0.2


def test_axes_of_slots_leave_out_what_enters_the_first_layer():
    own = axes(5)
    own[0] = np.nan
    found = id_write_scores(planted_vlm(MODEL), named_by_color(), own, **FAST)
    assert ranked(found.of())[0] == WORD_HEAD
    own = axes(5)
    own[2] = np.nan  # the slot behind layer 1
    gone = id_write_scores(planted_vlm(MODEL), named_by_color(), own, **FAST)
    assert np.isnan(gone.of()[1]).all() and np.isfinite(gone.of()[[0, 2, 3]]).all()


def test_axes_along_which_nothing_is_written_find_no_head():
    own = np.zeros((4, 2, D_MODEL), np.float32)
    own[:, 0, _PLACES["hash"]] = own[:, 1, _PLACES["cue"]] = 1
    found = id_write_scores(planted_vlm(MODEL), named_by_color(), own, **FAST)
    assert found.of().max() < 0.01 and found.p.min() > 0.05


def test_explained_is_the_r2_of_least_squares():
    rng = np.random.default_rng(0)
    for case in range(20):
        x, y = rng.normal(size=(15, 2)), rng.normal(size=(15, 2))
        y += x @ rng.normal(size=(2, 2))
        if case % 4 == 3:
            x[:, 1] = -2 * x[:, 0]  # both axes say the same
        x, y = x - x.mean(0), y - y.mean(0)
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        wanted = 1 - (left**2).sum() / (y**2).sum()
        sums = [x[:, 0] @ x[:, 0], x[:, 0] @ x[:, 1], x[:, 1] @ x[:, 1]]
        sums += [x[:, axis] @ y[:, side] for axis in range(2) for side in range(2)]
        parts = [np.array([own]) for own in (*sums, (y**2).sum())]
        assert explained(*parts) == pytest.approx(wanted, abs=1e-9)
    nothing = [np.zeros(1)] * 7
    assert explained(*nothing, np.ones(1)) == 0 and np.isnan(explained(*nothing, np.zeros(1)))


def test_writes_are_z_times_the_head_s_rows_along_the_axes_at_the_last_token_of_the_name():
    vlm = tiny.vlm(self_check=False)
    things = (Object("table", Box("table", (20, 0, 40, 30))), Object("mug", Box("mug", (30, 20, 70, 60))))
    samples = [
        Sample("a", tiny.photo(0), tiny.QUESTIONS[1], (), "left", things),
        Sample("b", tiny.photo(1), tiny.QUESTIONS[0], (), "left", things[1:]),
    ]
    own = np.random.default_rng(0).normal(size=(3, 2, 32)).astype(np.float32)
    found = IdWriteMeasurement.of(vlm, own)(samples)
    assert [[row["object"] for row in rows] for rows in found] == [["table", "mug"], ["mug"]]
    assert (found[0][0]["x"], found[0][0]["y"]) == (30 / 80, 15 / 60)
    inputs = vlm.prepare([one.image for one in samples], [one.question for one in samples])
    _, cache = vlm.run_with_cache(inputs, names_filter=[f"blocks.{n}.attn.hook_z" for n in range(3)])
    for place, rows in enumerate(found):
        for row in rows:
            at = max(n for n, token in enumerate(inputs.layouts[place].tokens) if token.strip() == row["object"])
            z = np.stack([cache[f"blocks.{n}.attn.hook_z"][place, at].numpy() for n in range(3)])
            written = np.einsum("lhm,lam->alh", head_writes(vlm, z[None])[0], own)
            np.testing.assert_allclose(row["h"], written[0].ravel(), atol=1e-5)
            np.testing.assert_allclose(row["v"], written[1].ravel(), atol=1e-5)


def test_what_can_not_be_scored_is_refused_before_the_model_runs():
    vlm, samples = planted_vlm(MODEL), named_by_color()
    silent = [replace(samples[0], objects=()), *samples[1:]]
    cases = [
        (samples, np.zeros((4, 2, D_MODEL + 1)), "axes have shape"),
        (samples, np.zeros((3, 2, D_MODEL)), "axes have shape"),
        (samples, np.full((4, 2, D_MODEL), np.nan), "no layer has axes"),
        (samples, "h, v", "are no numbers"),
        (silent, axes(), "1 of 24 samples names no object that has a box"),
        (samples[:4], axes(), "no function can be scored"),
    ]
    with tiny.passes(vlm) as shapes:
        for own, given, message in cases:
            with pytest.raises(InputError, match=message):
                id_write_scores(vlm, own, given, **FAST)
        with pytest.raises(InputError, match="shuffles 0"):
            id_write_scores(vlm, samples, axes(), shuffles=0, **FAST)
    assert not shapes


def test_objects_that_are_all_named_once_are_refused_by_object():
    names = [f"{word} {place}" for place, word in enumerate(["mug"] * 12)]
    samples = [
        Sample(
            f"s{n}", tiny.photo(n), f"Where is the {name}?", (), "left",
            (Object(name, Box(name, (20 + n, 10, 40 + n, 40))),), group=f"g{n}",
        )
        for n, name in enumerate(names)
    ]  # fmt: skip
    vlm, own = tiny.vlm(self_check=False), np.random.default_rng(0).normal(size=(3, 2, 32))
    given = {**FAST, "prompt": "chat"}
    with pytest.raises(InputError, match=r"each of 12 objects is named once.*by_object=False"):
        id_write_scores(vlm, samples, own, **given)
    assert id_write_scores(vlm, samples, own, by_object=False, **given).samples == (12,)
