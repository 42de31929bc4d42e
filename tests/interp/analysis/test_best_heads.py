"""The best heads are those of a loop over layers and heads, and none of them comes without its share of the image."""

import numpy as np
import pytest
import tiny

from interp import Box, GivenBoxes, analyze
from interp.errors import InputError

QUESTION = "Where is the mug in relation to the table?"
BOXES = GivenBoxes([Box("mug", (5, 5, 25, 25)), Box("table", (30, 20, 70, 55))])


@pytest.fixture(scope="module")
def model():
    """A tiny model."""
    return tiny.vlm()


@pytest.mark.parametrize("tokens", ["first", "all"])
@pytest.mark.parametrize("measure", ["cosine", "mass", "distance"])
def test_the_best_heads_are_those_of_a_loop_with_the_share_that_each_gives_the_image(model, measure, tokens):
    found = analyze(tiny.photo(), QUESTION, model=model, detector=BOXES, tokens=tokens, max_new_tokens=3)
    n_layers, n_heads = found.trajectory.shares.shape[:2]
    table = found.best_heads(measure, n=n_layers * n_heads)
    rows = found.overlap.to_dataframe().query("region == 'union' and step == 0 and normalisation == 'image'")
    rows = rows.set_index(["layer", "head"])
    looked = found.trajectory.to_dataframe().query("step == 0").set_index(["layer", "head"])
    assert len(table) == n_layers * n_heads
    for one in table.itertuples():
        at = (one.layer, one.head)
        assert getattr(one, measure) == pytest.approx(rows.loc[at, measure], nan_ok=True)
        assert getattr(one, f"{measure}_even") == pytest.approx(rows.loc[at, f"{measure}_even"])
        assert one.image_share == pytest.approx(looked.loc[at, "share_image"])
    order = table[measure].dropna() * (-1 if measure == "distance" else 1)
    assert order.is_monotonic_decreasing and len(order)


def test_so_many_heads_are_given_as_are_asked_for(model):
    found = analyze(tiny.photo(), QUESTION, model=model, detector=BOXES, max_new_tokens=1)
    assert len(found.best_heads()) == 5 and len(found.best_heads(n=2)) == 2
    assert list(found.best_heads().columns) == ["layer", "head", "cosine", "cosine_even", "image_share"]
    assert np.isfinite(found.best_heads()["image_share"]).all()


def test_without_boxes_or_for_what_is_no_measure_it_is_refused(model):
    with pytest.raises(InputError, match="give a detector or boxes"):
        analyze(tiny.photo(), QUESTION, model=model, max_new_tokens=1).best_heads()
    found = analyze(tiny.photo(), QUESTION, model=model, detector=BOXES, max_new_tokens=1)
    for wrong in ("iou", "entropy"):
        with pytest.raises(InputError):
            found.best_heads(wrong)
