"""Head scores: one function's map by name, a row for each head, and a repr of one line."""

import numpy as np
import pytest
from head_scores import made_scores

from interp.errors import InputError
from probes.heads.functions import FUNCTIONS, in_order

VALUES = np.arange(12).reshape(2, 2, 3) / 10


def test_the_map_of_a_function_is_had_by_its_name():
    scores = made_scores(VALUES, ("spatial", "math"))
    np.testing.assert_allclose(scores.of("math"), VALUES[1])
    np.testing.assert_allclose(made_scores(VALUES[0]).of(), VALUES[0])
    with pytest.raises(InputError, match="no scores of None: use one of spatial, math"):
        scores.of()


def test_a_function_that_was_left_out_is_refused_with_its_reason():
    why = {"function": "recall", "why": "3 items"}
    with pytest.raises(InputError, match="no scores of 'recall': 3 items: use one of spatial, math"):
        made_scores(VALUES, ("spatial", "math"), left_out=(why,)).of("recall")


def test_the_table_has_a_row_for_each_function_layer_and_head():
    table = made_scores(VALUES, ("spatial", "math"), p=VALUES / 2, p_any=VALUES).to_dataframe()
    assert list(table.columns) == ["scorer", "function", "layer", "head", "value", "p", "p_any"]
    row = table.query("function == 'math' and layer == 1 and head == 2").iloc[0]
    assert row["value"] == pytest.approx(1.1) and row["p"] == pytest.approx(0.55)
    assert len(table) == 12 and table["value"].dtype == np.float32


def test_scores_fit_a_cell_and_are_drawn():
    scores = made_scores(VALUES, ("spatial", "math"))
    assert "made_up" in repr(scores) and len(repr(scores)) <= 200
    ax = scores.plot(function="math")
    assert "made_up, math" in ax.get_title(loc="left")
    np.testing.assert_allclose(ax.images[0].get_array(), VALUES[1], rtol=1e-6)


def test_the_eight_functions_come_first_and_in_their_order_whatever_comes_first_in_the_data():
    assert in_order(["own", "math", "spatial", "math", "logical"]) == ("spatial", "math", "own", "logical")
    assert in_order(reversed(FUNCTIONS)) == FUNCTIONS
