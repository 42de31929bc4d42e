"""Heads as cells: what is drawn is what was given, selected heads are framed, and functions share one scale."""

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from interp.errors import InputError
from probes.heads.figures.cells import plot_cells, plot_functions

VALUES = np.arange(24).reshape(2, 3, 4) / 10


def frames(ax):
    drawn = [one.get_bbox() for one in ax.patches if isinstance(one, Rectangle)]
    return sorted((round((one.y0 + one.y1) / 2), round((one.x0 + one.x1) / 2)) for one in drawn)


def test_cells_are_the_values_and_frames_the_marked_heads():
    marked = VALUES[1] > 2
    ax = plot_cells(VALUES[1], title="spatial", label="accuracy", marked=marked)
    np.testing.assert_allclose(ax.images[0].get_array(), VALUES[1])
    assert frames(ax) == [tuple(own) for own in np.argwhere(marked)]
    assert ax.get_xlabel() == "head (0-based)" and ax.get_ylabel() == "layer (0-based)"
    assert ax.figure.axes[1].get_ylabel() == "accuracy"
    assert plot_cells(VALUES[0], ax) is ax


def test_an_unmarked_head_among_marked_ones_is_in_no_frame():
    marked = np.ones((3, 3), bool)
    marked[1, 1] = False
    around = [one.get_bbox() for one in plot_cells(np.eye(3), marked=marked).patches]
    assert all(one.x1 < 0.5 or one.x0 > 1.5 or one.y1 < 0.5 or one.y0 > 1.5 for one in around)


def test_values_on_both_sides_of_zero_have_white_at_zero():
    image = plot_cells(VALUES[1] - 1.5).images[0]
    assert image.norm(0.0) == 0.5 and image.cmap.name == "RdBu_r"
    assert plot_cells(VALUES[1]).images[0].cmap.name == "viridis"
    assert plot_cells(np.ones((2, 2))).images[0].norm(1.0) == 0


def test_functions_share_one_scale_and_say_how_many_are_selected():
    marked = VALUES > 1.9
    axes = plot_functions(VALUES, ("spatial", "math"), marked=marked, titles={"math": "Math Reasoning"}, columns=2)
    assert [ax.get_title(loc="left") for ax in axes] == ["spatial\n0 of 12 heads", "Math Reasoning\n4 of 12 heads"]
    for ax, own, here in zip(axes, VALUES, marked, strict=True):
        np.testing.assert_allclose(ax.images[0].get_array(), own)
        assert frames(ax) == [tuple(each) for each in np.argwhere(here)]
        assert ax.images[0].norm.vmax == VALUES.max() and ax.images[0].norm.vmin == 0
    assert len(axes[0].figure.axes) == 3  # one colour bar for both


def test_a_head_without_a_value_is_left_white():
    own = VALUES[0].copy()
    own[1, 1] = np.nan
    assert np.ma.getmaskarray(plot_cells(own).images[0].get_array())[1, 1]


def test_what_is_no_map_of_heads_is_refused():
    with pytest.raises(InputError, match=r"shape \(2, 3, 4\)"):
        plot_cells(VALUES)
    with pytest.raises(InputError, match="0 numbers"):
        plot_cells(np.full((2, 2), np.nan))
    with pytest.raises(InputError, match=r"marks have shape \(2, 2\)"):
        plot_cells(VALUES[0], marked=np.ones((2, 2), bool))
    with pytest.raises(InputError, match="for 3 functions: give one map for each"):
        plot_functions(VALUES, ("a", "b", "c"))
    with pytest.raises(InputError, match=r"marks \(3, 4\), for 2 functions"):
        plot_functions(VALUES, ("a", "b"), marked=np.ones((3, 4), bool))
