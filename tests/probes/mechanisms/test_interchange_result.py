"""The numbers of an interchange over made-up probabilities, against loops over pairs; and what can not be told."""

import numpy as np
import pytest

from interp.errors import InputError
from probes.mechanisms.interchange.result import SMALLEST_EFFECT, TOO_CLOSE, WRONG, Interchange
from probes.study.run import ONE_GROUP

PAIRS, SLOTS, OUTCOMES = 12, 3, ("clean", "place")
SIDES = ("left", "right")


def made_up(**changes):
    """Pairs of two directions in turn and six groups; some wrong on one side or the other, some runs close together."""
    rng = np.random.default_rng(0)
    shape = (PAIRS, SLOTS, len(OUTCOMES))
    own = {
        "positions": "object", "control": "random_same_size", "hook": "resid_pre", "slots": tuple(range(SLOTS)),
        "outcomes": OUTCOMES, "ids": tuple(map(str, range(PAIRS))), "groups": np.arange(PAIRS) // 2,
        "directions": np.resize(np.array(SIDES, dtype=object), PAIRS),
        "p_clean": rng.random((PAIRS, 2)), "p_counterfactual": rng.random((PAIRS, 2)),
        "p_patched": rng.random(shape), "p_control": rng.random(shape),
        "right_clean": np.arange(PAIRS) != 3, "right_counterfactual": ~np.isin(np.arange(PAIRS), (3, 6, 8)),
        "settings": {"seed": 0, "draws": 40, "level": 0.95},
    } | changes  # fmt: skip
    numbers = {name: np.float32(own[name]) for name in own if name.startswith("p_") and own[name] is not None}
    return Interchange(**own | numbers)


KEPT = [place for place in range(PAIRS) if place not in (3, 6, 8)]


def test_pairs_are_counted_by_what_was_wrong_with_them():
    rows = made_up().both_right().set_index("direction").to_dict("index")
    assert rows["all"] == {"pairs": 12, "kept": 9, "dropped": 3, "clean_wrong": 1, "counterfactual_wrong": 3}
    assert rows["left"] == {"pairs": 6, "kept": 4, "dropped": 2, "clean_wrong": 0, "counterfactual_wrong": 2}
    assert rows["right"] == {"pairs": 6, "kept": 5, "dropped": 1, "clean_wrong": 1, "counterfactual_wrong": 1}
    assert made_up(settings={"seed": 0, "draws": 40, "level": 0.95, "keep_wrong": True}).kept.all()


def test_means_are_of_the_pairs_kept_one_after_another():
    found = made_up()
    table = found.to_dataframe().set_index(["direction", "set", "slot", "outcome"])
    apart = found.differences().set_index(["direction", "slot", "outcome"])
    for direction, own in (("all", KEPT), ("left", [pair for pair in KEPT if pair % 2 == 0])):
        for slot in range(SLOTS):
            for at, outcome in enumerate(OUTCOMES):
                both = [[float(part[pair, slot, at]) for pair in own] for part in (found.p_patched, found.p_control)]
                row = table.loc[(direction, "patched", slot, outcome)]
                assert row["value"] == pytest.approx(np.mean(both[0]), abs=1e-6)
                assert row["std"] == pytest.approx(np.std(both[0]), abs=1e-6) and row["pairs"] == len(own)
                beside = table.loc[(direction, "control", slot, outcome), "value"]
                assert beside == pytest.approx(np.mean(both[1]), abs=1e-6)
                row = apart.loc[(direction, slot, outcome)]
                assert row["value"] == pytest.approx(np.mean(both[0]) - np.mean(both[1]), abs=1e-6)
                assert row["std"] == pytest.approx(np.std(np.subtract(*both)), abs=1e-6)


def test_what_is_alike_in_all_pairs_has_an_interval_as_wide_as_so_few_groups_ask_for():
    every = np.float32([[[0.5, 0.0]] * SLOTS] * PAIRS)
    found = made_up(p_patched=every, p_control=every, right_clean=np.ones(PAIRS, bool),
                    right_counterfactual=np.ones(PAIRS, bool))  # fmt: skip
    reach = 1 - 0.025 ** (1 / 6)
    for table, value, low, high in (
        (found.to_dataframe().query("outcome == 'clean'"), 0.5, 0.5 - reach / 2, 0.5 + reach / 2),
        (found.to_dataframe().query("outcome == 'place'"), 0, 0, reach),
        (found.differences(), 0, -reach, reach),
    ):
        own = table.query("direction == 'all'")[["value", "low", "high"]].to_numpy()
        assert len(own) and own == pytest.approx(np.tile([value, low, high], (len(own), 1)), abs=1e-6)
    clean = np.float32([[0.5, 0.0]] * PAIRS)
    still = made_up(p_patched=np.repeat(clean[:, None], SLOTS, 1), p_clean=clean, p_counterfactual=1 - clean)
    for clamp, (least, most) in ((True, (0, 1)), (False, (1 - 1 / SMALLEST_EFFECT, 1 / SMALLEST_EFFECT))):
        own = still.restoration(clamp=clamp).query("direction == 'all' and set == 'patched'")
        assert own["groups"].eq(6).all() and own["value"].eq(0).all()
        assert own[["low", "high"]].to_numpy() == pytest.approx(np.tile(reach * np.array([least, most]), (SLOTS, 1)))


@pytest.mark.parametrize("clamp", [False, True])
def test_restoration_is_of_pairs_whose_runs_differ_in_either_direction(clamp):
    found = made_up()
    table = found.restoration(clamp=clamp).set_index(["direction", "set", "slot"])["value"]
    for slot in range(SLOTS):
        for name, part in (("patched", found.p_patched), ("control", found.p_control)):
            scores = []
            for pair in KEPT:
                whole = float(found.p_counterfactual[pair, 1]) - float(found.p_clean[pair, 1])
                if abs(whole) >= SMALLEST_EFFECT:
                    score = (float(part[pair, slot, 1]) - float(found.p_clean[pair, 1])) / whole
                    scores.append(min(max(score, 0), 1) if clamp else score)
            assert table["all", name, slot] == pytest.approx(np.mean(scores), abs=1e-5)
    whole = (found.p_counterfactual - found.p_clean)[KEPT, 1]
    kinds = (whole <= -SMALLEST_EFFECT, whole >= SMALLEST_EFFECT, abs(whole) < SMALLEST_EFFECT)
    assert all(own.any() for own in kinds)
    with pytest.raises(InputError, match="outcome='content' was not measured"):
        found.restoration("content")


def test_what_can_not_be_told_is_named_with_its_reason():
    def why(**changes):
        return {(row.direction, row.measure): row.why for row in made_up(**changes).left_out.itertuples()}

    assert why() == {}
    nothing = np.zeros(PAIRS, dtype=bool)
    assert why(right_clean=nothing) == {(name, "all"): WRONG for name in ("all", *SIDES)}
    assert why(right_counterfactual=np.arange(PAIRS) < 2) == {(name, "all"): ONE_GROUP for name in ("all", *SIDES)}
    level = np.full((PAIRS, 2), 0.5)
    assert why(p_clean=level, p_counterfactual=level) == {(name, "restoration"): TOO_CLOSE for name in ("all", *SIDES)}
    some = level + 0.5 * (np.arange(PAIRS) < 2)[:, None]
    assert set(why(p_clean=level, p_counterfactual=some).values()) == {ONE_GROUP}
    deep = made_up(settings={"seed": 0, "draws": 40, "level": 0.95, "first_slot": 3}).left_out.iloc[-1]
    assert deep["measure"] == "slots below 3" and "DeepStack" in deep["why"]
    with pytest.raises(InputError, match="no control to compare with"):
        made_up(p_control=None, control="").differences()


def test_a_part_whose_pairs_lie_in_one_group_is_left_out():
    found = made_up()
    labels = np.where(np.arange(PAIRS) < 2, "few", "many").astype(object)
    assert found.differences_by(labels)["part"].unique().tolist() == ["many"]
    assert list(found.differences_by(np.array([f"{place}" for place in range(PAIRS)], dtype=object)))[0] == "part"
