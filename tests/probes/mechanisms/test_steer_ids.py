"""Steering by spatial IDs: answers turn at the slot from which words are read, and random directions turn few."""

from dataclasses import replace

import numpy as np
import pytest
from broken_off import break_second
from planted_words import HELD_FROM, everywhere, load, scene

from interp.errors import InputError
from probes.mechanisms.ids.report import id_findings
from probes.mechanisms.ids.spatial_ids import spatial_ids
from probes.mechanisms.ids.steer_ids import steer_ids
from probes.mechanisms.ids.steering_measurement import SteeringMeasurement

QUIET = {"progress": False, "prompt": "paper", "draws": 100}


@pytest.fixture(scope="module")
def relation():
    return load()


@pytest.fixture(scope="module")
def ids(relation):
    return spatial_ids(relation, everywhere(), shuffles=9, **QUIET)


def scenes():
    places = ((0, 3), (7, 5), (8, 10), (13, 12), (2, 7), (11, 8))
    names = (("red", "green"), ("blue", "yellow"), ("purple", "red"))
    return [scene(names[at % 3], own, at) for at, own in enumerate(places)]


@pytest.fixture(scope="module")
def found(relation, ids):
    return steer_ids(relation, scenes(), ids, batch=3, **QUIET)


def test_all_answers_turn_where_words_are_read_and_none_behind(found):
    told = found.curve()
    assert list(told["slot"]) == list(range(HELD_FROM, 5))
    assert told["value"].to_numpy() == pytest.approx([1, 0, 0])
    assert found.flipped.mask.tolist() == [[True] * HELD_FROM + [False] * 3] * 2  # at these slots there is no direction
    assert np.isnan(found.flipped.data[:, :HELD_FROM]).all() and found.flipped[0].compressed() == pytest.approx(
        [1, 0, 0]
    )
    beyond = found.curve("ids - random")
    assert beyond["value"].iloc[0] > 0.5 and beyond["low"].iloc[0] > 0.1  # six groups, so far is Student's
    assert found.curve("random")["value"].iloc[1:].to_numpy() == pytest.approx(0)


def test_steering_the_other_way_turns_nothing(relation, ids):
    other = replace(ids, ids=-ids.ids)
    told = steer_ids(relation, scenes(), other, **QUIET)
    assert told.curve()["value"].to_numpy() == pytest.approx(0)
    assert told.curve("ids", "opposite")["value"].iloc[0] < 0.01


def test_random_directions_are_as_long_as_those_of_ids(relation, ids):
    work = SteeringMeasurement.of(relation, ids)
    mean = np.linalg.norm(ids.ids[HELD_FROM], axis=-1).mean()
    assert np.linalg.norm(work.directions[0, HELD_FROM]) == pytest.approx(mean, rel=1e-5)
    assert not work.directions[1].any() or np.abs(work.directions[1, HELD_FROM]).max() <= mean


def test_what_can_not_be_steered_is_refused_by_name_before_the_first_pass(relation, ids, monkeypatch):
    monkeypatch.setattr(relation, "forward", lambda *a, **k: pytest.fail("a pass was run"))
    odd = replace(scenes()[0], id="odd", options=("left", "near"), answer="near")
    one = replace(scenes()[0], id="one", objects=scenes()[0].objects[:1])
    small = replace(ids, ids=ids.ids[:, :, :8], axes=ids.axes[:, :, :8])
    for given, own, wrong, said in (
        ([*scenes(), odd], ids, {}, "near"),
        ([*scenes(), one], ids, {}, "ask about two"),
        (scenes(), small, {}, "another|this model"),
        (scenes(), ids, {"scale": 0}, "scale=0"),
        (scenes(), replace(ids, measures=ids.measures.iloc[:0]), {}, "nothing to steer"),
    ):
        with pytest.raises(InputError, match=said):
            steer_ids(relation, given, own, **{**QUIET, **wrong})


def test_a_study_that_was_broken_off_goes_on_to_the_same_numbers(relation, ids, found, tmp_path, monkeypatch):
    with monkeypatch.context() as broken:
        break_second(broken, SteeringMeasurement)
        with pytest.raises(KeyboardInterrupt):
            steer_ids(relation, scenes(), ids, batch=3, out=tmp_path / "s", **QUIET)
    again = steer_ids(relation, scenes(), ids, batch=3, out=tmp_path / "s", resume=True, **QUIET)
    assert again.measures.equals(found.measures)


def test_the_figure_shows_both_arms(found):
    assert len(found.plot().lines) == 2


def test_the_page_tells_ids_and_steering_with_their_controls(ids, found):
    told = id_findings(ids, steering=found)
    assert "The numbers are of 3 groups" in told.few[0]
    assert "with each object's cells shuffled" in told.sentences[0] and "random directions" in told.sentences[-1]
    assert set(told.figures) == {"r2", "agreement", "steering"} and "steering" in told.tables
    assert len(told.shown["By slot"]) == 3


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (1, "IDs are of 1 object: what is drawn by object has no interval of fewer than 3."),
        (2, "IDs are of 2 objects: what is drawn by object has no interval of fewer than 3."),
        (3, "IDs are of 3 objects, which are few: intervals are "),
        (12, "That words hold the cell of their object"),
    ],
)
def test_the_page_says_that_objects_are_few_and_that_two_have_no_interval(ids, count, said):
    told = id_findings(replace(ids, objects=tuple(f"thing {n}" for n in range(count))))
    assert told.cautions[0].startswith(said)
    assert f"({count} object{'s' * (count > 1)})." in told.sentences[0]


def test_random_directions_are_added_as_long_as_those_of_ids_and_anew_at_each_slot(relation, ids, monkeypatch):
    added, steered = [], SteeringMeasurement._steered
    monkeypatch.setattr(SteeringMeasurement, "_steered", lambda *given: added.append(given[2:4]) or steered(*given))
    SteeringMeasurement.of(relation, ids, seeds=(0, 1), prompt="paper")(scenes()[:2])
    by_slot = {}
    for direction, slot in added:
        by_slot.setdefault(slot, []).append(direction)
    assert len(by_slot) == 3 and {len(own) for own in by_slot.values()} == {3}
    for own in by_slot.values():
        assert np.linalg.norm(own, axis=1) == pytest.approx(np.linalg.norm(own[0]), rel=1e-5)
    units = [own[1] / np.linalg.norm(own[1]) for own in by_slot.values()]
    assert np.abs(np.triu(np.stack(units) @ np.stack(units).T, 1)).max() < 0.9
