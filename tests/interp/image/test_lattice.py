"""The lattice of tokens: the border of each view, and what lies on it."""

import numpy as np
import pytest
from made_up import square_grid

from interp.errors import InputError
from interp.image.grid import View, grid_of_views
from interp.image.lattice import border_mass, border_tokens

GRID = square_grid((60, 60), 6)
PLACES = [(0, 60, 5, 4), (0, 30, 4, 6), (30, 60, 3, 6)]  # of views: left, right, edges of columns and rows
VIEWS = [View(np.linspace(a, b, n), np.linspace(0, 60, m), view) for view, (a, b, n, m) in enumerate(PLACES)]
TILED = grid_of_views((60, 60), VIEWS)


def test_the_border_is_the_outer_ring_of_each_view():
    ring = border_tokens(GRID).reshape(6, 6)
    assert ring.sum() == 20 and not ring[1:-1, 1:-1].any()
    tiled = border_tokens(TILED)
    assert [int(tiled[TILED.view == number].sum()) for number in range(3)] == [10, 12, 10]


def test_border_mass_is_the_share_on_the_border_and_that_of_the_tokens_for_even_attention():
    values = np.zeros((6, 6))
    values[[0, 2, 5], [3, 2, 5]] = 0.3, 0.1, 0.2
    assert border_mass(values.ravel(), GRID) == pytest.approx(0.5 / 0.6)
    assert border_mass(np.full((2, 3, 36), 0.01), GRID) == pytest.approx(20 / 36)
    assert np.isnan(border_mass(np.zeros(36), GRID))
    with pytest.raises(InputError, match="36 tokens"):
        border_mass(np.ones(35), GRID)
