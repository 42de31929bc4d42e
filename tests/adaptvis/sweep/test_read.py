"""Reading a sweep: of several settings of one strength, those that were asked for and no others."""

import pytest
import tiny

from adaptvis.sweep.plan import UNTOUCHED, Plan
from adaptvis.sweep.read import rows_under
from adaptvis.sweep.run import run_sweep
from interp.datasets.synthetic.shapes import shapes
from interp.intervene.image_logits import ScaleImageLogits

SCALINGS = {
    "last": ScaleImageLogits(0.5),
    "last, decode": ScaleImageLogits(0.5, rows="generated"),
    "last, image_tokens=0-3": ScaleImageLogits(0.5, image_tokens=(0, 1, 2, 3)),
}


@pytest.fixture(scope="module")
def swept():
    plan = Plan(tuple(SCALINGS.values()), max_new_tokens=2)
    return run_sweep(tiny.vlm(), shapes(3, kinds=("relation",)), plan, progress=False)


@pytest.mark.parametrize("rows", SCALINGS)
def test_settings_of_one_alpha_and_other_rows_are_not_taken_together(swept, rows):
    found = rows_under(swept) if rows == "last" else rows_under(swept, rows=rows)
    assert found["alpha"].tolist() == [0.5] * 3 + [1.0] * 3 and set(found["rows"]) == {rows}
    assert set(found["setting"]) == {UNTOUCHED, str(SCALINGS[rows])}


def test_a_sweep_that_does_not_say_its_rows_edits_the_last_one(swept):
    known = swept[swept["setting"].isin([UNTOUCHED, str(SCALINGS["last"])])]
    for earlier in (known.drop(columns="rows"), known.assign(rows=None)):
        assert rows_under(earlier)["text"].tolist() == rows_under(known)["text"].tolist()
        assert set(rows_under(earlier, rows="last, decode")["setting"]) == {UNTOUCHED}
