"""Statements on made-up evidence: what interval and test have to say, and which slot's number is told."""

import pandas as pd
import pytest
from said_rows import for_all

from probes.mechanisms.dual.evidence import UntoldError
from probes.mechanisms.dual.statements import state

HALF = 0.1
"""Half of the width of each slot's own interval."""


def of_all(low, count):
    """The lower end of such an interval of one slot, of which the interval for so many has this lower end."""
    return low + (low - for_all((low + HALF, low, 1), count, 9, 0.95)[1])


class MadeUp:
    """Evidence that says what it is told."""

    axes, refused, level = ("all",), {}, 0.95

    def __init__(self, tables=None, accuracy=None):
        self.sweeps, self.row = tables or {}, accuracy

    def beyond_control(self, tool, axis="all"):
        if tool not in self.sweeps:
            raise UntoldError("no")
        return pd.DataFrame(self.sweeps[tool]).assign(value=lambda own: own["low"] + HALF, high=1.0, pairs=9, groups=9)

    def accuracy(self, what, axis="all"):
        if self.row is None:
            raise UntoldError("no")
        return {"value": 0.0, "samples": 9, "groups": 9, **self.row}


def table_of(low, p_any, p=0.001):
    return {"slot": range(len(low)), "low": low, "p": p, "p_any": p_any}


def test_an_interval_and_a_test_have_to_hold_both():
    for low, p_any, shown in ((0.5, 0.05, True), (0.5, 0.051, False), (0.0099, 0.001, False), (0.011, 0.001, True)):
        sweeps = {
            "object": table_of([low, 0], [p_any, 1]),
            "last": table_of([0, of_all(low, 2)], [1, p_any]),
            "backup": table_of([0, low], [1, p_any]),
        }
        table, _ = state(MadeUp(sweeps))
        assert table["statement"].tolist() == ["encoder_carries", "language_builds", "answer_is_read"]
        assert table["shown"].tolist() == [shown] * 3, (low, p_any)
        assert table["slots"].tolist() == ["0", "1" if shown else "", "1" if shown else ""]
        assert table["p"].tolist() == pytest.approx([p_any] * 3)
    for low, p, shown in ((0.001, 0.05, True), (0.001, 0.051, False), (0.0, 0.001, False)):
        own = {"low": low, "high": 0.5, "p": p}
        told = state(MadeUp(accuracy=own))[0].set_index("statement")["shown"]
        assert told["language_adds"] == shown, (low, p)
        turned = {"low": -0.5, "high": -low, "p": p}
        assert state(MadeUp(accuracy=turned))[0].set_index("statement")["shown"]["encoder_is_enough"] == shown


def test_the_first_slot_is_told_of_reading_and_the_largest_of_building():
    own = table_of([0, 0.2, 0.6, 0.4], [1, 0.01, 0.02, 0.03])
    table = state(MadeUp({"last": own, "backup": own}))[0].set_index("statement")
    assert table["slots"].tolist() == ["1,2,3"] * 2
    read, builds = table.loc["answer_is_read"], table.loc["language_builds"]
    assert (read["slot"], read["p"], read["picked_from"]) == (1, pytest.approx(0.01), 4)
    assert (builds["slot"], builds["p"], builds["picked_from"]) == (2, pytest.approx(0.02), 3)
    for row, low in ((read, 0.2), (builds, 0.6)):
        wide = for_all((low + HALF, low, 1), row["picked_from"], 9, 0.95, (-1, 1))
        assert tuple(row[["value", "low", "high"]]) == pytest.approx(wide), "an interval for all slots together"
    none = table_of([0.9, 0, 0.005], [0.5, 0.9, 0.3])
    table = state(MadeUp({"last": none, "backup": none}))[0].set_index("statement")
    assert table["slot"].tolist() == [2, 0] and not table["shown"].any(), "the largest, and slot 0 builds nothing"


def test_what_only_the_interval_of_one_slot_leaves_out_is_not_shown():
    low = of_all(0.0099, 3)  # its own interval lies above what counts as none, and that for all three does not
    own = table_of([0, low, 0, 0], [1, 0.001, 1, 1])
    table = state(MadeUp({"backup": own, "last": own, "strip": table_of([low], [0.001])}))[0].set_index("statement")
    assert low > 0.02 and table["shown"].to_dict() == {
        "encoder_carries": True, "language_builds": False, "answer_is_read": False
    }  # fmt: skip
    assert table["slots"].tolist() == ["0", "", ""] and table["picked_from"].tolist() == [1, 3, 4]


def test_the_swap_that_raises_more_pays_for_the_other_by_holm():
    strip, objects = table_of([0.5], [0.03]), table_of([0.2], [0.02])
    told = state(MadeUp({"strip": strip, "object": objects}))[0].iloc[0]
    assert told["measure"].startswith("P(place), strips") and told["p"] == pytest.approx(0.04) and told["shown"]
    strip["p_any"] = [0.02]
    objects["p_any"] = [0.9]
    assert state(MadeUp({"strip": strip, "object": objects}))[0].iloc[0]["p"] == pytest.approx(0.04)
    late = {"slot": [3], "low": [0.5], "p": [0.001], "p_any": [0.001]}
    table, out = state(MadeUp({"strip": late, "object": objects}))
    assert table.iloc[0]["picked_from"] == 1
    assert table.iloc[0]["measure"].startswith("P(place), objects"), "of what is not swapped at slot 0 nothing is taken"
    assert "strips were not swapped at slot 0" in state(MadeUp({"strip": late}))[1].iloc[0]["why"]


def test_of_numbers_that_are_the_same_it_is_told_how_many_share_the_largest():
    both = {"strip": table_of([0.5, 0], [0.01, 1]), "object": table_of([0.5, 0], [0.01, 1])}
    later = table_of([0, 0.6, 0.2, 0.6], [1, 0.01, 0.01, 0.01])
    nothing = table_of([0, 0, 0], [1, 1, 1])
    table = state(MadeUp({**both, "backup": later, "last": nothing}))[0].set_index("statement")
    assert table["shared_by"].to_dict() == {"encoder_carries": 2, "language_builds": 2, "answer_is_read": 3}
    assert table.loc["language_builds", "slot"] == 1, "the first of equals"
    one = state(MadeUp({"last": later}))[0].iloc[0]
    assert one["slot"] == 1 and one["shared_by"] == 1, "the first slot is named for being the first"


def test_of_numbers_that_are_not_finite_nothing_is_told():
    nothing, nan = table_of([float("nan")] * 3, 1.0, 1.0), float("nan")
    table, out = state(MadeUp(dict.fromkeys(("strip", "object", "backup", "last"), nothing)))
    told = out.set_index("measure")["why"]
    assert table.empty and len(out) == 5
    for name in ("encoder_carries", "language_builds", "answer_is_read"):
        assert told[name] == "the model's probabilities are not finite"
    some = table_of([nan, 0.0, 0.005, nan], 1.0, 1.0)
    sweeps = {"strip": nothing, "object": table_of([0.5], [0.01]), "backup": some, "last": some}
    table = state(MadeUp(sweeps))[0].set_index("statement")
    assert table["slot"].to_dict() == {"encoder_carries": 0, "language_builds": 2, "answer_is_read": 2}
    assert table.loc["encoder_carries", "measure"].startswith("P(place), objects")
