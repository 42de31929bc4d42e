"""Parts: all samples, then each name; rows that are looked up, or refused with the reason; curves with gaps."""

import numpy as np
import pandas as pd
import pytest

from interp.errors import InputError
from probes.study.parts import curve_of, gapped, parts_of, row_of, rows_of

TABLE = pd.DataFrame(
    {"arm": ["a", "a", "b", "b"], "measure": ["x", "x", "x", "y"], "slot": [0, 2, 1, 0], "value": [1.0, 2.0, 3.0, 4.0]}
)
LEFT_OUT = pd.DataFrame({"arm": ["b"], "measure": ["z"], "why": ["there is one group"]})


def told(names, **how):
    return {name: own.tolist() for name, own in parts_of(np.array(names, dtype=object), **how).items()}


def test_all_come_first_then_each_name_as_it_first_appears_where_there_are_several():
    assert told(["right", "left", "right"]) == {
        "all": [True, True, True],
        "right": [True, False, True],
        "left": [False, True, False],
    }
    assert list(told(["left", "left"])) == ["all"] and list(told(["left", "left"], alone=True)) == ["all", "left"]
    assert list(told(["left", ""])) == ["all", "left", "(no relation)"]


def test_a_row_is_looked_up_by_all_that_is_named_and_a_missing_one_says_why():
    assert row_of(TABLE, LEFT_OUT, measure="y", arm="b")["value"] == 4
    for named, said in (
        ({"measure": "z", "arm": "b"}, "measure='z', arm='b': there is one group"),
        ({"measure": "z", "arm": "b", "slot": 1}, "there is one group"),  # which slot, the reason does not say
        ({"measure": "z", "arm": "a"}, "of measure, use one of x, y"),
        ({"measure": "x", "arm": "c"}, "of arm, use one of a, b"),
        ({"measure": "y", "arm": "a"}, "was not measured"),
    ):
        with pytest.raises(InputError, match=said):
            row_of(TABLE, LEFT_OUT, **named)
    with pytest.raises(InputError, match="use one of none"):
        row_of(TABLE.iloc[:0], LEFT_OUT.iloc[:0], measure="x")


def test_a_curve_keeps_what_differs_and_an_empty_one_is_refused():
    assert curve_of(TABLE, arm="a", measure="x").to_dict("list") == {"slot": [0, 2], "value": [1.0, 2.0]}
    with pytest.raises(InputError, match="arm='a', measure='y' is not told"):
        curve_of(TABLE, arm="a", measure="y")


def test_slots_without_a_row_are_masked_and_hold_no_number():
    found = gapped([rows_of(TABLE, arm="a"), rows_of(TABLE, arm="b", measure="x"), TABLE.iloc[:0]], 3)
    assert found.dtype == np.float32 and found.mask.tolist() == [[False, True, False], [True, False, True], [True] * 3]
    assert found[0].compressed().tolist() == [1, 2] and found[1, 1] == 3 and np.isnan(found.data[found.mask]).all()
