"""Spatial IDs: what is planted in words of objects is found in its slots, and shuffled places hold nothing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from broken_off import break_second
from planted_words import HELD_FROM, everywhere, load

from interp.errors import InputError
from interp.model.object_words import word_ends
from interp.study.prompter import prepare_samples
from probes.mechanisms.ids.geometry import cell_of, deviations, id_axes, moves, plane, position_hat
from probes.mechanisms.ids.measurement import IdsMeasurement
from probes.mechanisms.ids.spatial_ids import _planes, spatial_ids
from probes.mechanisms.scenes.id_scenes import id_scenes

QUIET = {"progress": False, "prompt": "paper", "draws": 100, "shuffles": 39}


@pytest.fixture(scope="module")
def relation():
    return load()


@pytest.fixture(scope="module")
def found(relation):
    return spatial_ids(relation, everywhere(), **QUIET)


def made_up(rng, *, objects=5, cells=4, width=24, noise=0.1):
    """Words that hold their object, its column and its row, each along a direction of its own."""
    directions = rng.normal(size=(2, width))
    row, col = (axis.ravel() for axis in np.indices((cells, cells)))
    own = rng.normal(size=(objects, 1, width)) * 5 + noise * rng.normal(size=(objects, cells * cells, width))
    return own + (np.stack([col, row], 1) @ directions)[None], directions


def test_words_hold_the_column_from_the_planted_slot_on_and_nothing_before(found):
    told = found.curve("r2")
    assert list(told["slot"]) == list(range(HELD_FROM, 5))
    assert told["value"].to_numpy() == pytest.approx(1, abs=1e-3) and (told["p"] == 1 / 40).all()
    assert (told["null"] < 0.5).all()
    assert found.curve("agreement")["value"].to_numpy() == pytest.approx(1, abs=1e-3)
    gone = found.left_out[found.left_out["what"] == "r2"]
    assert list(gone["slot"]) == list(range(HELD_FROM)) and gone["why"].str.contains("same wherever").all()
    ids = found.ids[HELD_FROM].reshape(4, 4, -1)
    assert ids == pytest.approx(np.broadcast_to(ids[:1], ids.shape), abs=1e-3)  # rows do not matter
    with pytest.raises(InputError, match="two axes"):
        found.plot_plane(HELD_FROM)


def test_the_axes_are_those_of_a_naive_loop():
    ids = np.random.default_rng(0).normal(size=(9, 5))
    across = [ids[3 * r + b] - ids[3 * r + a] for r in range(3) for a in range(3) for b in range(a, 3)]
    down = [ids[3 * b + c] - ids[3 * a + c] for c in range(3) for a in range(3) for b in range(a, 3)]
    assert id_axes(ids, 3) == pytest.approx(np.stack([np.mean(across, 0), np.mean(down, 0)]))


def test_the_position_code_is_column_row_and_their_product_each_without_its_mean():
    row, col = (axis.ravel() for axis in np.indices((3, 3)))
    code = np.stack([col, row, col * row, np.ones(9)], axis=1)
    explained = code @ np.linalg.pinv(code)
    assert position_hat(3) == pytest.approx(explained - 1 / 9)


def test_deviations_are_from_each_object_s_own_mean_and_the_plane_is_the_grid():
    states, directions = made_up(np.random.default_rng(1))
    own = deviations(states)
    assert own[2] == pytest.approx(states[2] - states[2].mean(axis=0))
    row, col = (axis.ravel() - 1.5 for axis in np.indices((4, 4)))
    ids = own.mean(0)
    flat = plane(ids, id_axes(ids, 4))
    slant = directions[0] @ directions[1] / (directions[0] @ directions[0])  # of the rows along the columns' direction
    assert np.corrcoef(flat[:, 0], col + row * slant)[0, 1] > 0.99
    assert np.corrcoef(flat[:, 1], row)[0, 1] > 0.99


def test_of_words_that_do_not_move_along_two_axes_no_plane_is_told(found):
    assert found.plane.mask.all() and np.isnan(found.plane.data).all()
    assert found.plane_to_dataframe().empty and set(found.left_out.query("what == 'plane'")["slot"]) == set(range(5))


def test_words_end_where_their_last_token_is_also_in_a_padded_batch(relation):
    scenes = everywhere()[:2]
    longer = replace(scenes[1], question="Where in the photo is the green " + scenes[1].question[17:])
    scenes = [scenes[0], replace(longer, objects=scenes[1].objects)]
    inputs = prepare_samples(relation, scenes, "paper")
    for own, scene, layout in zip(word_ends(relation, inputs, scenes), scenes, inputs.layouts, strict=True):
        said = [layout.tokens[place] if place >= 0 else None for place in own]
        assert said == [thing.name if thing.name in scene.question else None for thing in scene.objects]


def test_cells_are_counted_row_by_row_from_the_centre_of_the_box():
    assert [int(cell_of(at, (100, 50), 4)) for at in ((1, 1), (99, 1), (1, 49), (100, 50))] == [0, 3, 12, 15]


def test_scenes_show_each_shape_in_every_cell_with_the_right_answer():
    scenes = id_scenes(cells=3)
    assert len({scene.id for scene in scenes}) == len(scenes) == 6 * 9
    seen = {(one.objects[0].name, int(cell_of(one.objects[0].box.centre, one.image.size, 3))) for one in scenes}
    assert len(seen) == 54
    for scene in scenes:
        (x, y), (x_other, y_other) = (thing.box.centre for thing in scene.objects)
        across, down = x - x_other, y - y_other
        right = ("left", "right")[across > 0] if abs(across) > abs(down) else ("above", "below")[down > 0]
        assert scene.answer == right


def test_what_means_nothing_is_refused_by_name_before_the_first_pass(relation, monkeypatch):
    monkeypatch.setattr(relation, "forward", lambda *a, **k: pytest.fail("a pass was run"))
    scenes = everywhere()
    for given, wrong, said in (
        (scenes, {"cells": 1}, "cells 1 can not"),
        (scenes, {"shuffles": 0}, "shuffles 0 can not"),
        (scenes[:10], {}, "of 16 cells"),
        ([replace(one, objects=()) for one in scenes], {}, "0 objects"),
        ([*scenes, replace(scenes[0], id="odd", question="Where is it?")], {}, "names no object"),
    ):
        with pytest.raises(InputError, match=said):
            spatial_ids(relation, given, **{**QUIET, **wrong})
    for names, said in ((["red ball", "blue cross"], "red ball"), (["red circle", "red cross"], "no other")):
        with pytest.raises(InputError, match=said):
            id_scenes(names)


def test_a_study_that_was_broken_off_goes_on_to_the_same_numbers(relation, found, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        break_second(broken, IdsMeasurement)
        with pytest.raises(KeyboardInterrupt):
            spatial_ids(relation, everywhere(), out=tmp_path / "s", **QUIET)
    again = spatial_ids(relation, everywhere(), out=tmp_path / "s", resume=True, **QUIET)
    assert again.measures.equals(found.measures) and (again.ids == found.ids).all()
    assert json.dumps(again.settings)


def test_figures_are_drawn(found):
    assert len(found.plot().lines) == 3
    assert found.plot(measure="agreement").get_ylabel()


def test_an_object_without_a_box_moves_no_other_one_s_state(relation):
    whole = everywhere()[:2]
    first = whole[0].objects[0]
    some = [replace(whole[0], objects=(replace(first, box=None), *whole[0].objects[1:])), whole[1]]
    work = IdsMeasurement.of(relation, prompt="paper")
    rows, fewer = ([row for own in work(given) for row in own] for given in (whole, some))
    kept = [row for row in rows if not (row["object"] == first.name and row["cell"] == rows[0]["cell"])]
    assert len(kept) == len(fewer) < len(rows)
    for row, other in zip(kept, fewer, strict=True):
        assert row["object"] == other["object"] and np.array_equal(row["state"], other["state"])


def test_the_plane_is_told_cell_by_cell_and_not_where_there_is_none(found):
    flat = np.arange(5 * 16 * 2, dtype=np.float32).reshape(5, 16, 2)
    flat[:3] = np.nan
    table = replace(found, plane=np.ma.masked_invalid(flat)).plane_to_dataframe()
    assert table["slot"].tolist() == [3] * 16 + [4] * 16
    for row in table.itertuples():
        assert (row.across, row.down) == tuple(flat[row.slot, 4 * row.row + row.col])


def test_words_that_move_by_rounding_alone_have_no_plane():
    rng = np.random.default_rng(0)
    still = 100 + 1e-6 * rng.normal(size=(3, 16, 8))
    ids = deviations(still).mean(0)
    assert plane(ids, id_axes(ids, 4)) is not None and not moves(still)
    flat, left_out = _planes([still], ids[None], id_axes(ids, 4)[None])
    assert flat.mask.all() and [row["slot"] for row in left_out] == [0]
