"""Sentences of the IDs over made-up results, contradicting ones too: each is held against its numbers."""

import numpy as np
import pytest
from said import check_form, check_p, made_up_p
from said_rows import Rows, check_picked, check_shared, picked, places

from interp.stats.intervals import APART, FREE, SHARE
from probes.mechanisms.ids.report import _of_ids, _of_steering, _of_swap


@pytest.mark.parametrize("seed", range(60))
def test_sentences_of_ids_say_their_numbers(seed):
    slots = tuple(range(1 + seed % 3))
    names = ("agreement", "r2", "words", "image", "text", "words - other_words", "ids", "random")
    p = made_up_p(np.random.default_rng(seed))
    rows = Rows(seed, places(curve=names, slot=slots), samples=7, null=0.02, p=p, few=True, ties=True)
    rows.measures["objects"] = rows.measures["groups"]
    found = rows.object(curve=lambda name: rows.get(curve=name), objects=("cat", "mug"), ids=range(len(slots)))
    told = [*_of_ids(found), *_of_swap(found), *_of_steering(found)]
    curves = {"agreement": APART, "r2": SHARE, "words": FREE, "image": FREE, "text": FREE, "ids": SHARE}
    beside = {"words": ("words - other_words", FREE), "ids": ("random", SHARE)}
    for line, (name, bounds) in zip(told, curves.items(), strict=True):
        best = rows.get(curve=name).set_index("slot", drop=False)["value"].idxmax()
        ends = [(name, bounds), *([beside[name]] if name in beside else [])]
        check_form(line)
        check_picked(
            line, *(picked(rows.get(curve=one, slot=best).iloc[0], len(slots), rows.level, most) for one, most in ends),
            count=len(slots),
        )  # fmt: skip
        check_shared(line, (rows.get(curve=name)["value"], rows.get(curve=name)["value"].max()))
    check_p(told[0], [rows.measures["p"].iloc[0]])
    best = rows.get(curve="words").set_index("slot")["value"].idxmax()
    row = rows.get(curve="words - other_words", slot=best).iloc[0]
    _, low, high = picked(row, len(slots), rows.level)
    assert (
        ("no difference was detected" in told[2]) == (low <= 0 <= high)
        and "7 pairs" in told[2]
        and "of 7 right" in told[-1]
    )
